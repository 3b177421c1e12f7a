"""A small report with made-up figures, so that tests of the report need no trained model."""

from typing import Any

CUTOFFS = (1, 5, 10, 20)
BYTES = {"float32": (40_000, 30_000), "float16": (21_000, 17_000), "int8": (12_000, 9_000)}
ENVIRONMENT = {"governor": None, "clock_mhz": None, "temperature_c": None, "load_1min": 0.5}


def sample_report() -> dict[str, Any]:
    """A report as ``report.json`` has it: a trained and a pruned model, three files, two baselines, one example."""
    variants = [
        _variant("keras", 0.100, 0.0),
        _variant("keras-pruned", 0.098, 0.02),
        _file("float32", 0.098, 0.02),
        _file("float16", 0.099, 0.01),
        _file("int8", 0.102, -0.02),
    ]
    return {
        "schema": 1,
        "version": "0.0.0",
        "made_from": "0123456789abcdef",
        "dataset": {
            "name": "sample",
            "users": 1200,
            "items": 50,
            "interactions": 34000,
            "split": "leave-one-out",
            "split_fingerprint": "fedcba9876543210",
            "test_targets": 1200,
            "exclude_seen": True,
        },
        "model": {
            "encoder": "gru",
            "dim": 16,
            "blocks": 1,
            "max_history": 20,
            "item_features": ["brand"],
            "user_features": [],
        },
        "training": {
            "trained": _stage([(4.0, 0.05), (3.0, 0.09), (2.5, 0.11), (2.4, 0.10)], 3, {"gates_0": 0.0, "total": 0.0}),
            "pruned": _stage([(2.7, 0.10), (2.6, 0.12)], 2, {"gates_0": 0.5, "item_table": 0.0, "total": 0.16}),
        },
        "baselines": [
            {"name": "popularity", "quality": _quality(0.02), "lists": {}, "slices": _slices(0.02)},
            {"name": "markov", "quality": _quality(0.099), "lists": {}, "slices": _slices(0.099)},
        ],
        "variants": variants,
        "steps": [
            _step("trained", {"item_table": 24_000, "network": 16_000}, 0.100, None),
            _step("pruned", {"item_table": 24_000, "network": 8_000}, 0.098, 0.02),
            _step("int8", {"item_table": 6_000, "network": 3_000}, 0.102, -0.04),
        ],
        "fidelity": [
            {
                "model": "int8",
                "reference": "keras",
                "margin": 0.05,
                "verdict": "non-inferior",
                "sentence": "int8 ranks as well as keras, within the margin of 5.0 %.",
                "payers": "No popularity tier pays.",
            }
        ],
        "verdict": {
            "model": "int8",
            "baseline": "markov",
            "gain": 0.03,
            "gain_ci": [0.01, 0.05],
            "verdict": "better than",
            "sentence": "int8 is better than markov, the best baseline: NDCG@10 +3.0 %.",
        },
        "examples": [
            {
                "user": "u<1>",
                "history": [{"item": "a", "title": "Tea"}, {"item": "b", "title": "Milk & honey"}],
                "recommendations": [{"item": "c", "score": 1.5, "title": "Scones"}],
            }
        ],
        "gate": {"variant": "int8", "limits": {"max_ndcg_drop": 0.05}, "failed": []},
    }


def _quality(ndcg: float) -> dict[str, float]:
    by_cutoff = {f"{name}@{k}": ndcg * k / 10 for name in ("ndcg", "hr", "recall", "mrr", "map") for k in CUTOFFS}
    return {**by_cutoff, "mrr": ndcg * 0.9, "coverage@10": 0.5}


def _slices(ndcg: float, drop: float | None = None) -> dict[str, list[dict[str, Any]]]:
    def row(name: str, targets: int, drop: float | None) -> dict[str, Any]:
        ends = None if drop is None else [drop - 0.05, drop + 0.05]
        return {
            "name": name,
            "targets": targets,
            "ndcg@10": ndcg,
            "ndcg@10_ci": [0.9 * ndcg, 1.1 * ndcg],
            "hr@10": 2 * ndcg,
            "hr@10_ci": [1.8 * ndcg, 2.2 * ndcg],
            "ndcg_drop": drop,
            "ndcg_drop_ci": ends,
            "overlap@10": 0.9,
            "rbo@10": 0.91,
        }

    return {"popularity": [row("head", 1100, drop), row("cold", 100, None)], "history": [row("<=20", 1200, drop)]}


def _variant(name: str, ndcg: float, drop: float) -> dict[str, Any]:
    return {
        "name": name,
        "file": None,
        "scheme": "keras",
        "fidelity": {"overlap@10": 0.9, "rbo@10": 0.91, "ndcg_drop": drop, "ndcg_drop_ci": [drop - 0.01, drop + 0.01]},
        "quality": _quality(ndcg),
        "lists": {},
        "slices": _slices(ndcg, drop),
    }


def _file(scheme: str, ndcg: float, drop: float) -> dict[str, Any]:
    total, compressed = BYTES[scheme]
    variant = _variant(scheme, ndcg, drop)
    variant["fidelity"]["runtime_overlap@10"] = 0.999
    return {
        **variant,
        "file": f"bundles/{scheme}/sample-{scheme}.tflite",
        "scheme": scheme,
        "bytes": {
            "total": total,
            "item_table": total // 2,
            "network": total // 4,
            "vocabulary": total // 4,
            "compressed": compressed,
        },
        "latency_ms": {"p50": 0.2, "p90": 0.3, "p95": 0.35, "p99": 0.5},
        "invoke_ms": {"p50": 0.1, "p90": 0.2, "p95": 0.25, "p99": 0.3},
        "cold_start_ms": {"import": 5.0, "load": 8.0, "first": 0.4},
        "peak_rss_mb": 50.0,
        "measured_on": {
            "backend": "litert",
            "threads": 1,
            "cpu": "Sample CPU",
            "machine": "x86_64",
            "before": ENVIRONMENT,
            "after": ENVIRONMENT,
        },
        "runtimes": {
            name: {"version": version, "passed": True, "overlap@10": 1.0, "max_difference": 0.01, "reason": ""}
            for name, version in (("litert", "2.3.0"), ("tflite-runtime", "2.14.0"))
        },
        "verified_histories": 100,
    }


def _step(name: str, sizes: dict[str, int], ndcg: float, drop: float | None) -> dict[str, Any]:
    ends = None if drop is None else [drop - 0.01, drop + 0.01]
    return {
        "name": name,
        "bytes": {"total": sum(sizes.values()), **sizes},
        "ndcg@10": ndcg,
        "ndcg_drop": drop,
        "ndcg_drop_ci": ends,
    }


def _stage(curve: list[tuple[float, float]], best: int, sparsity: dict[str, float]) -> dict[str, Any]:
    entries = [
        {"epoch": number, "loss": loss, "ndcg@10": ndcg, "learning_rate": 1e-3}
        for number, (loss, ndcg) in enumerate(curve, 1)
    ]
    return {
        "loss": "cross-entropy",
        "epochs": len(curve),
        "best_epoch": best,
        "validation_ndcg@10": curve[best - 1][1],
        "seconds": 12.3,
        "curve": entries,
        "sparsity": sparsity,
        "stopped": "all epochs run",
    }
