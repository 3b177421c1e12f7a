"""Estimates of latency by board."""

import pytest

from edgerec.report.boards import BOARDS, counts_of, estimates, latency_table

COUNTS = [
    {
        "cpu": "cortex-a53",
        "runtime": "litert",
        "bundle": "shop",
        "scheme": "int8",
        "recommend": 2_000_000,
        "step": 500_000,
    },
    {
        "cpu": "cortex-a72",
        "runtime": "litert",
        "bundle": "shop",
        "scheme": "int8",
        "recommend": 1_600_000,
        "step": None,
    },
    {"cpu": "cortex-a72", "bundle": "shop", "scheme": "int4", "recommend": 9},
]


def test_an_estimate_is_instructions_by_clock_and_rate_and_the_reading_of_the_weights() -> None:
    zero, three = estimates({"cortex-a53": 2_000_000}, 1_900_000)
    # 2 M instructions at 1 GHz: 2 ms at one a cycle; 4 ms at one in two cycles, and 1 ms for 1.9 MB at 1.9 GB/s.
    assert (zero.low_ms, zero.high_ms) == (pytest.approx(2.0), pytest.approx(5.0))
    assert three.low_ms == pytest.approx(2 / 1.4) and three.high_ms < zero.high_ms
    assert all(one.low_ms < one.high_ms for one in estimates({board.cpu: 10**6 for board in BOARDS}, 0))


def test_counts_are_found_by_what_they_are_of() -> None:
    assert counts_of(COUNTS, "recommend", bundle="shop", scheme="int8") == {
        "cortex-a53": 2_000_000,
        "cortex-a72": 1_600_000,
    }
    assert counts_of(COUNTS, "step", bundle="shop", scheme="int8") == {"cortex-a53": 500_000}
    assert counts_of(COUNTS, "recommend", bundle="another") == {}


def test_the_table_says_that_it_is_an_estimate_and_of_what() -> None:
    operations = {name: counts_of(COUNTS, name, scheme="int8") for name in ("recommend", "step")}
    table = latency_table(operations, 200_000)
    lines = table.splitlines()
    assert lines[0] == "| board (estimated, not measured) | recommend, ms | step, ms |"
    assert lines[2] == "| Raspberry Pi Zero 2 W (1 GHz) | 2 to 4.1 | 0.5 to 1.1 |"
    assert lines[4] == "| Raspberry Pi 4 (1.5 GHz) | 0.67 to 1.4 |  |"
    assert "Raspberry Pi 5" not in table and "0.5 to 1 on the cortex-a53" in table and "200 kB" in table


def test_without_counts_there_is_no_table() -> None:
    assert latency_table({"recommend": {}}, 1) == "" and estimates({"cortex-m0": 5}, 1) == []
    with pytest.raises(ValueError, match="negative"):
        estimates({"cortex-a53": -1}, 0)
