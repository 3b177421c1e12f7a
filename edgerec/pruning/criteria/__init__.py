"""Pruning criteria, one file each: how important a unit is."""

from converters.registry import import_modules
from edgerec.pruning.criteria.criterion import CRITERIA, Criterion

import_modules(__name__, __path__)

__all__ = ["CRITERIA", "Criterion"]
