"""Quantization schemes, one file each: how the weights are stored, and on which runtimes the file may be verified."""

from converters.registry import import_modules
from converters.schemes.scheme import SCHEMES, Scheme
from converters.storage import Storage

import_modules(__name__, __path__)

__all__ = ["SCHEMES", "Scheme", "Storage"]
