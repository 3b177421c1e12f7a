"""Pruning of a trained recommender."""
