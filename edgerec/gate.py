"""The gate: checks the file that ships against the limits of ``[gate]``."""

from collections.abc import Mapping, Sequence
from typing import Any

from edgerec.errors import GateError
from edgerec.evaluation.fidelity import worst_tier
from edgerec.evaluation.words import NOT_MEASURABLE
from edgerec.recipe.gate import Gate
from edgerec.recipe.ranking_gate import RankingGate


def judge(gate: Gate, variant: Mapping[str, Any], gain: float | None) -> dict[str, Any]:
    """The report's entry ``gate``: the limits that are set, and a sentence for each that ``variant`` fails.

    Args:
        variant: the report's entry of the file that ships.
        gain: its relative gain in NDCG@10 over the best baseline; ``None`` if not measurable.
    """
    fidelity = variant["fidelity"]
    _, bound = fidelity.get("ndcg_drop_ci") or (None, None)
    worst = worst_tier(variant.get("slices", {}))
    tier, tier_drop = (worst["name"], worst["ndcg_drop"]) if worst else ("every tier", None)
    checks = [
        ("loss of NDCG@10", fidelity["ndcg_drop"], gate.max_ndcg_drop, "above", "{:.2%}"),
        ("95 % bound of the loss of NDCG@10", bound, gate.non_inferiority_margin, "above", "{:.2%}"),
        (f"loss of NDCG@10 in {tier}", tier_drop, gate.max_tier_ndcg_drop, "above", "{:.2%}"),
        ("top-10 overlap with Keras", fidelity["overlap@10"], gate.min_overlap, "below", "{:.3f}"),
        ("rank-biased overlap with Keras", fidelity.get("rbo@10"), gate.min_rbo, "below", "{:.3f}"),
        ("gain in NDCG@10 over the best baseline", gain, gate.min_gain_over_baselines, "below", "{:+.2%}"),
        ("size", variant["bytes"]["total"], gate.max_bytes, "above", "{:,} bytes"),
        ("p95 latency", variant["latency_ms"]["p95"], gate.max_p95_ms, "above", "{:.3f} ms"),
    ]
    return _judged(gate, variant, checks)


def judge_ranking(gate: RankingGate, variant: Mapping[str, Any], gain: float) -> dict[str, Any]:
    """Like :func:`judge`, for a ranking model."""
    fidelity = variant["fidelity"]
    checks = [
        ("loss of the main figure", fidelity["loss"], gate.max_loss, "above", "{:.2%}"),
        ("Kendall's tau with Keras", fidelity["kendall_tau"], gate.min_kendall_tau, "below", "{:.4f}"),
        ("score error against Keras", fidelity["score_error"], gate.max_score_error, "above", "{:.4f}"),
        ("gain over the best baseline", gain, gate.min_gain_over_baselines, "below", "{:+.2%}"),
        ("size", variant["bytes"]["total"], gate.max_bytes, "above", "{:,} bytes"),
        ("p95 latency", variant["latency_ms"]["p95"], gate.max_p95_ms, "above", "{:.3f} ms"),
    ]
    return _judged(gate, variant, checks)


def _judged(
    gate: Gate | RankingGate, variant: Mapping[str, Any], checks: Sequence[tuple[str, Any, Any, str, str]]
) -> dict[str, Any]:
    failed = [
        f"{variant['name']}: {what} is {shown.format(value)}, {side} the limit of {shown.format(limit)}"
        if value is not None
        else f"{variant['name']}: {what} is {NOT_MEASURABLE}"
        for what, value, limit, side, shown in checks
        if limit is not None and not _keeps(value, limit, side)
    ]
    return {"variant": variant["name"], "limits": gate.model_dump(exclude_none=True), "failed": failed}


def _keeps(value: float | None, limit: float, side: str) -> bool:
    if value is None:  # what cannot be measured cannot be vouched for
        return False
    return value <= limit if side == "above" else value >= limit


def check(report: Mapping[str, Any]) -> None:
    """Stop if the report's gate is not met.

    Raises:
        GateError: names every limit that is not kept.
    """
    if report["gate"]["failed"]:
        raise GateError("gate not met: " + "; ".join(report["gate"]["failed"]))
