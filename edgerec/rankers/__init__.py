"""Keras ranking models: they score given candidates for a user at a moment. One ranker a file, one interface."""

from edgerec.rankers.ranker import RANKERS, RankingModel

__all__ = ["RANKERS", "RankingModel"]
