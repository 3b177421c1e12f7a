"""Measures a bundle on this device: latency, cold start, memory, file, operators, energy and the device's state."""

from device_runner.bench.cold import cold_start
from device_runner.bench.measure import bench
from device_runner.bench.measure_ranking import bench_ranking

__all__ = ["bench", "bench_ranking", "cold_start"]
