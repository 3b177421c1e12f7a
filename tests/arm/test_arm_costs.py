"""The cost of a recommendation on ARM, in instructions, is the recorded one."""

import functools
import json
from typing import Any

import pytest
from costs import FIGURES, FIGURES_OF_RANKING, RECORDED, cases, count, measured
from machine import Cpu

# Share of the recorded figure by which a cost may change unnoticed.
ALLOWED = 0.05


@functools.cache
def recorded() -> dict[tuple[str, ...], dict[str, Any]]:
    """The figures of the last ``make bench-arm``."""
    return {identity(record): record for record in json.loads(RECORDED.read_text())["counts"]}


def identity(record: dict[str, Any]) -> tuple[str, ...]:
    return tuple(record[name] for name in ("cpu", "runtime", "bundle", "scheme"))


@pytest.mark.parametrize(("cpu", "runtime"), cases(), ids=[f"{cpu.name}-{runtime}" for cpu, runtime in cases()])
def test_instructions_of_a_recommendation_and_of_a_step_are_those_recorded(cpu: Cpu, runtime: str) -> None:
    found = {identity(record): record for record in count(cpu, runtime, measured())}
    expected = {key: record for key, record in recorded().items() if key[:2] == (cpu.name, runtime)}
    assert found.keys() == expected.keys(), f"record anew with: make bench-arm ({RECORDED})"
    changed = []
    for key, record in expected.items():
        for figure in FIGURES_OF_RANKING if "score" in record else FIGURES:
            before, now = record[figure], found[key][figure]
            assert (before is None) == (now is None)
            if before is not None and abs(now / before - 1) > ALLOWED:
                changed.append(f"{' '.join(key)}: {figure} {before:,} -> {now:,} ({now / before - 1:+.1%})")
    assert not changed, "\n".join(["if this is meant, record it with: make bench-arm", *changed])


def test_a_step_from_the_state_costs_less_than_half_of_the_whole_history() -> None:
    for key, record in recorded().items():
        if record.get("step") is not None:
            assert record["step"] < record["recommend"] / 2, key
