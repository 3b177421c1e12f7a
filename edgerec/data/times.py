"""How an interaction table writes its times, and SQL that reads them."""

from dataclasses import dataclass

from edgerec.data.engine import Engine
from edgerec.data.sources.table import Say

INTEGER = "^[+-]?[0-9]{1,19}$"
DECIMAL = "^[+-]?[0-9]{1,19}([.][0-9]+)?$"
WHOLE_PART = "^[+-]?[0-9]{1,19}"
OFFSET = "(Z|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?)"
ISO_8601 = f"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}([ T][0-9]{{2}}:[0-9]{{2}}(:[0-9]{{2}}([.][0-9]+)?)?{OFFSET}?)?$"
# How many there are in a second; a number is told to be one of these by lying between the years 1980 and 2100.
UNITS = {"s": 10**0, "ms": 10**3, "us": 10**6, "ns": 10**9}
NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
YEAR_1980, YEAR_2100 = 315_532_800, 4_102_444_800


@dataclass(frozen=True)
class Times:
    """SQL for the texts of the column ``time``.

    Attributes:
        valid: whether a text is a time, SQL boolean.
        value: the time, SQL bigint, where ``valid``.
        wrong: what is said of a text that is not a time.
        unit: of ``value`` since 1970: ``s``, ``ms`` or ``us``; ``None`` where numbers are mere positions.
    """

    valid: str
    value: str
    wrong: str
    unit: str | None


def recognise_times(engine: Engine, say: Say) -> Times:
    """Look at the column ``time`` of the table ``raw``: dates, whole numbers, or numbers with a fraction, whichever
    most rows have; nanoseconds become microseconds.

    ``say`` is told when the numbers are of several units, which cannot be sorted together.
    """
    kinds = [f"count(case when {_matches(pattern)} then 1 end)" for pattern in (INTEGER, DECIMAL, ISO_8601)]
    units = [
        f"count(case when whole >= {YEAR_1980 * many} and whole < {YEAR_2100 * many} then 1 end)"
        for many in UNITS.values()
    ]
    whole = f"case when {_matches(DECIMAL)} then try_cast(regexp_extract(time, '{WHOLE_PART}', 0) as bigint) end"
    looked_at = f"(select time, {whole} as whole from raw) as looked_at"
    integers, numbers, dates, *of_unit = engine.rows(f"select {', '.join([*kinds, *units])} from {looked_at}")[0]
    if dates > numbers:
        micros = engine.time_micros("time")
        return Times(f"{micros} is not null and {_matches(ISO_8601)}", micros, "not a date like the others", "us")
    counts = dict(zip(UNITS, of_unit, strict=True))
    unit = max(counts, key=lambda name: counts[name]) if 2 * max(of_unit) > numbers else None
    _warn_of_mixed_units({name: count for name, count in counts.items() if count}, say)
    if numbers > integers:
        return _with_fraction(unit)
    value = "try_cast(time as bigint)"
    if unit == "ns":
        return Times(f"{_matches(INTEGER)} and {value} is not null", _thousandth("time"), "not a whole number", "us")
    return Times(f"{_matches(INTEGER)} and {value} is not null", value, "not a whole number", unit)


def _with_fraction(unit: str | None) -> Times:
    if unit == "ns":
        value = _thousandth(f"regexp_extract(time, '{WHOLE_PART}', 0)")
    else:
        times = UNITS["us"] // UNITS[unit or "s"]
        # Only what has at most 19 digits before the point: more would overflow.
        number = f"case when {_matches(DECIMAL)} then try_cast(time as decimal(38, 6)) end"
        value = f"try_cast(floor(({number}) * {times}) as bigint)"
    return Times(f"{_matches(DECIMAL)} and {value} is not null", value, "not a number", unit and "us")


def _thousandth(digits: str) -> str:
    """A whole number without its last three digits; exact, as no division of large numbers is on every engine."""
    return f"coalesce(try_cast(substr({digits}, 1, length({digits}) - 3) as bigint), 0)"


def _warn_of_mixed_units(counts: dict[str, int], say: Say) -> None:
    if len(counts) < 2:
        return
    total = sum(counts.values())
    shares = ", ".join(f"{count / total:.1%} like {NAMES[name]}" for name, count in counts.items())
    say(f"warning: data.columns.time: the times are of several units: {shares}; the order of events will be wrong")


def _matches(pattern: str) -> str:
    return f"regexp_extract(time, '{pattern}', 0) <> ''"
