"""``edgerec-device``: the commands that run on the device, one file each."""

from device_runner.cli.main import main

__all__ = ["main"]
