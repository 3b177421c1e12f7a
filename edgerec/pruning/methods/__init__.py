"""Pruning methods, one file each: what becomes of the weights that are pruned."""

from converters.registry import import_modules
from edgerec.pruning.methods.method import METHODS, Method, Pruning

import_modules(__name__, __path__)

__all__ = ["METHODS", "Method", "Pruning"]
