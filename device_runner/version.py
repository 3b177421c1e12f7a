"""The version, in a file that imports nothing, for the build."""

__version__ = "0.1.0"
