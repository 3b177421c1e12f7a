"""Pruning of a trained recommender: methods and criteria, one file each."""
