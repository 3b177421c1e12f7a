"""What the device is, and what may slow it down while it is measured.

Every function takes ``root``, the folder in which ``proc`` and ``sys`` are; what the system does not show is ``None``.
"""

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

from device_runner.processor import ROOT, cpu_features, cpuinfo, read

# Bits of the Raspberry Pi's get_throttled; those of bit 16 and above say that it happened since the start.
THROTTLING = {
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
    16: "under-voltage since start",
    17: "frequency capped since start",
    18: "throttled since start",
    19: "soft temperature limit since start",
}
# Names of parts by ARM's number, as /proc/cpuinfo of a Raspberry Pi gives no name.
ARM_PARTS = {
    "0xc07": "Cortex-A7",
    "0xc0f": "Cortex-A15",
    "0xd03": "Cortex-A53",
    "0xd04": "Cortex-A35",
    "0xd05": "Cortex-A55",
    "0xd08": "Cortex-A72",
    "0xd0b": "Cortex-A76",
    "0xd0c": "Neoverse-N1",
}
# Seconds; vcgencmd answers in a few ms.
VCGENCMD_LIMIT = 5.0


def describe_device(root: Path = ROOT) -> dict[str, Any]:
    """What does not change: ``board``, ``cpu``, ``machine``, ``cores``, ``cpu_features``, ``memory_mb`` and the
    operating system's ``kernel``.
    """
    return {
        "board": read(root, "proc/device-tree/model").strip("\0") or None,
        "cpu": cpu_model(root),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "cpu_features": cpu_features(root),
        "memory_mb": memory_mb(root, "MemTotal"),
        "kernel": platform.release(),
    }


def device_state(root: Path = ROOT) -> dict[str, Any]:
    """What changes: ``governor``, ``clock_mhz`` and ``clock_limit_mhz`` of the first core, ``temperature_c`` of the
    hottest zone, ``throttled`` (the reasons by the firmware, an empty list for none), ``throttle_events`` (the
    kernel's count, x86-64), ``load_1min`` and ``memory_free_mb``.
    """
    clock = "sys/devices/system/cpu/cpu0/cpufreq/"
    return {
        "governor": read(root, clock + "scaling_governor") or None,
        "clock_mhz": _scaled(read(root, clock + "scaling_cur_freq"), 1000),
        "clock_limit_mhz": _scaled(read(root, clock + "scaling_max_freq"), 1000),
        "temperature_c": _hottest(root),
        "throttled": throttled(root),
        "throttle_events": _scaled(read(root, "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"), 1),
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "memory_free_mb": memory_mb(root, "MemAvailable"),
    }


def cpu_model(root: Path = ROOT) -> str:
    """The processor's name by ``/proc/cpuinfo``, else the machine's architecture."""
    facts = cpuinfo(root)
    named = next((facts[key] for key in ("model name", "Model", "Hardware") if key in facts), "")
    part = ARM_PARTS.get(facts.get("CPU part", ""), "")
    return (
        ", ".join(dict.fromkeys(name for name in (part, named) if name)) or platform.processor() or platform.machine()
    )


def memory_mb(root: Path, name: str) -> float | None:
    """An entry of ``/proc/meminfo`` in MB."""
    for line in read(root, "proc/meminfo").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return _scaled(value.removesuffix("kB").strip(), 1024)
    return None


def throttled(root: Path = ROOT) -> list[str] | None:
    """Why a Raspberry Pi's firmware holds, or held, its clock down; ``None`` where no firmware says so."""
    text = read(root, "sys/devices/platform/soc/soc:firmware/get_throttled")
    if not text and root == ROOT and (tool := shutil.which("vcgencmd")):
        try:
            done = subprocess.run([tool, "get_throttled"], capture_output=True, text=True, timeout=VCGENCMD_LIMIT)
            text = done.stdout.strip().partition("throttled=")[2]
        except (OSError, subprocess.TimeoutExpired):
            text = ""
    try:
        bits = int(text, 16)
    except ValueError:
        return None
    return [reason for bit, reason in THROTTLING.items() if bits >> bit & 1]


def _hottest(root: Path) -> float | None:
    zones = (root / "sys/class/thermal").glob("thermal_zone*")
    found = [_scaled(read(root, str((zone / "temp").relative_to(root))), 1000) for zone in zones]
    return max((one for one in found if one is not None), default=None)


def _scaled(text: str, unit: int) -> float | None:
    return round(int(text) / unit, 1) if text.removeprefix("-").isdigit() else None
