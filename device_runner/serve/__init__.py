"""A small JSON endpoint for other programs of the same device."""

from device_runner.serve.fields import Limits
from device_runner.serve.server import Address, Source, serve

__all__ = ["Address", "Limits", "Source", "serve"]
