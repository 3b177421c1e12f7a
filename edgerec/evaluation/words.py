"""Figures as people read them: shares in percent, and changes with their sign."""

from collections.abc import Sequence

# What stands in place of a change that could not be measured, and why it could not.
NOT_MEASURABLE = "not measurable"
WHY_NOT_MEASURABLE = "not measurable: the reference has no hit in its top 10"


def figure(value: float | None) -> str:
    """``0.12345`` as "0.1234", and what could not be measured as "–"."""
    return "–" if value is None else f"{value:.4f}"


def percent(share: float, digits: int = 1) -> str:
    """``0.1234`` as "12.3 %"."""
    return f"{_unsigned_zero(100 * share, digits):,.{digits}f} %"


def signed_percent(share: float, digits: int = 1) -> str:
    """``0.1234`` as "+12.3 %", ``-0.1`` as "-10.0 %", and what rounds to zero as "0.0 %"."""
    value = _unsigned_zero(100 * share, digits)
    return f"{value:{'+' if value else ''},.{digits}f} %"


def change(drop: float | None, ends: Sequence[float] | None = None, digits: int = 1) -> str:
    """A relative loss as a change with its sign, and its interval if given: "-1.2 % [-2.5 %, +0.1 %]".

    Args:
        drop: 0.01 is a loss of 1 %; ``None`` where it could not be measured (see ``ndcg_drop``): the text is then
            ``NOT_MEASURABLE``.
        ends: low and high end of its interval.
    """
    if drop is None:
        return NOT_MEASURABLE
    shown = signed_percent(-drop, digits)
    if ends is None:
        return shown
    return f"{shown} [{signed_percent(-ends[1], digits)}, {signed_percent(-ends[0], digits)}]"


def _unsigned_zero(value: float, digits: int) -> float:
    """``value`` rounded, with 0.0 in place of -0.0."""
    return round(value, digits) + 0.0
