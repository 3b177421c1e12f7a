"""A small JSON endpoint for other programs of the same device."""

from device_runner.serve.endpoint import Limits
from device_runner.serve.server import Address, serve

__all__ = ["Address", "Limits", "serve"]
