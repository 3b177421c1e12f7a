"""Energy that the board itself measures: Intel's and AMD's RAPL counters, and power meters of hwmon such as an INA219.

A counter (``energy_uj``) is read before and after; a power meter is sampled in between by a thread. Either measures the
whole package or board, not this process alone, so nothing else should run.
"""

import statistics
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_runner.processor import ROOT, read

# Seconds between two samples of a power meter.
SAMPLE_EVERY = 0.05


@dataclass(frozen=True)
class Meter:
    """A source of energy or power.

    Attributes:
        name: how the system calls it.
        counter: file of microjoules that were used so far, or ``None``.
        wraps_at: microjoules after which the counter begins again at 0; 0: unknown.
        power: files whose product is the power in microwatts: one of microwatts, or one of millivolts and one of
            milliamperes.
    """

    name: str
    counter: str | None = None
    wraps_at: int = 0
    power: tuple[str, ...] = ()

    def joules(self, root: Path) -> float | None:
        """Energy so far, by the counter."""
        return _number(root, self.counter, 1e6) if self.counter else None

    def watts(self, root: Path) -> float | None:
        """Power now, by the power files."""
        found = [_number(root, path, 1) for path in self.power]
        if not found or None in found:
            return None
        product = 1.0
        for one in found:
            product *= one or 0.0
        return product / 1e6


def find_meter(root: Path = ROOT) -> Meter | None:
    """The first meter that can be read, counters first; ``None`` where the board has none (or root's rights are needed,
    as for RAPL on most systems).
    """
    return next((one for one in _meters(root) if one.joules(root) is not None or one.watts(root) is not None), None)


class EnergyUse:
    """Measures what the board uses while the block of ``with`` runs.

    Attributes:
        found: after the block, ``source``, ``joules``, ``watts`` and ``seconds``; ``None`` without a meter.
    """

    def __init__(self, meter: Meter | None, root: Path = ROOT) -> None:
        self.found: dict[str, Any] | None = None
        self._meter, self._root = meter, root
        self._samples: list[float] = []
        self._ended = threading.Event()

    def __enter__(self) -> "EnergyUse":
        if self._meter:
            self._start = time.perf_counter()
            self._joules = self._meter.joules(self._root)
            if self._joules is None:
                self._sampler = threading.Thread(target=self._sample, daemon=True)
                self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._meter:
            return
        seconds = time.perf_counter() - self._start
        if self._joules is not None:
            after = self._meter.joules(self._root)
            joules = None if after is None else after - self._joules
            if joules is not None and joules < 0:
                joules = joules + self._meter.wraps_at / 1e6 if self._meter.wraps_at else None
        else:
            self._ended.set()
            self._sampler.join()
            joules = statistics.fmean(self._samples) * seconds if self._samples else None
        if joules is not None:
            self.found = {
                "source": self._meter.name,
                "joules": joules,
                "watts": joules / seconds,
                "seconds": seconds,
            }

    def _sample(self) -> None:
        assert self._meter
        while True:
            if (watts := self._meter.watts(self._root)) is not None:
                self._samples.append(watts)
            if self._ended.wait(SAMPLE_EVERY):
                return


def _meters(root: Path) -> list[Meter]:
    found = []
    for zone in sorted((root / "sys/class/powercap").glob("*:*")):
        place = str(zone.relative_to(root))
        if zone.name.count(":") == 1:  # deeper zones are parts of these
            name = f"powercap {read(root, place + '/name') or zone.name}"
            wraps = read(root, place + "/max_energy_range_uj")
            found.append(Meter(name, place + "/energy_uj", int(wraps) if wraps.isdigit() else 0))
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        place = str(chip.relative_to(root))
        name = f"hwmon {read(root, place + '/name') or chip.name}"
        for counter in sorted(chip.glob("energy*_input")):
            found.append(Meter(name, str(counter.relative_to(root))))
        for power in sorted(chip.glob("power*_input")):
            found.append(Meter(name, power=(str(power.relative_to(root)),)))
        if (chip / "in1_input").is_file() and (chip / "curr1_input").is_file():
            found.append(Meter(name, power=(place + "/in1_input", place + "/curr1_input")))
    return found


def _number(root: Path, path: str, unit: float) -> float | None:
    text = read(root, path)
    return int(text) / unit if text.isdigit() else None
