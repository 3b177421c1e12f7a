"""Measures a bundle on this device: latency, cold start, memory, file, operators, energy and the device's state."""

from device_runner.bench.cold import cold_start
from device_runner.bench.measure import bench

__all__ = ["bench", "cold_start"]
