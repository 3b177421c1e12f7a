"""Keras sequence recommenders: one encoder a file, one tied item table, one interface."""

from edgerec.recommenders.recommender import ENCODERS, SequenceRecommender

__all__ = ["ENCODERS", "SequenceRecommender"]
