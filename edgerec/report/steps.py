"""The waterfall from the float model to the file that ships, in words."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from edgerec.evaluation.words import change, percent, signed_percent


def bytes_change(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """The change of the bytes from one step to the next, with its sign."""
    return signed_percent(after["bytes"]["total"] / before["bytes"]["total"] - 1)


def step_sentences(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each step after the first bought, in a sentence, and a last one for the whole way if it has several."""
    sentences = [_sentence(before, after) for before, after in pairwise(steps)]
    if len(steps) > 2:
        first, last = steps[0], steps[-1]
        ratio = first["bytes"]["total"] / last["bytes"]["total"]
        lost = 1 - last["ndcg@10"] / first["ndcg@10"] if first["ndcg@10"] else None
        sentences.append(
            f"Together: {_kb(first)} kB became {_kb(last)} kB, {ratio:.1f} times less, for {change(lost)} NDCG@10."
        )
    return sentences


def _sentence(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    share = 1 - after["bytes"]["total"] / before["bytes"]["total"]
    cost = f"for {change(after['ndcg_drop'], after['ndcg_drop_ci'])} NDCG@10"
    name = after["name"]
    if abs(share) < 0.0005:
        return f"{name} left the bytes as they were, {cost}."
    if share < 0:
        return f"{name} added {percent(-share)} to the bytes, {cost}."
    return f"{name} took {percent(share)} of the bytes {cost}."


def _kb(step: Mapping[str, Any]) -> str:
    return f"{step['bytes']['total'] / 1000:,.1f}"
