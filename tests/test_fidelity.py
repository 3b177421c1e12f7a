"""Does the ranking survive compression: figures, verdict, and a gate that stops what is broken."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import architecture, tiny_dataset

from converters.bundle_writer import bundle_bytes
from device_runner import Bundle, Recommender
from edgerec import gate
from edgerec.data.dataset import Dataset
from edgerec.errors import GateError
from edgerec.evaluation.device import evaluate_bundle
from edgerec.evaluation.fidelity import conclude, fidelity, worst_tier
from edgerec.evaluation.rank_overlap import rank_biased_overlap, rank_biased_overlaps
from edgerec.evaluation.ranking import Evaluation, evaluate
from edgerec.evaluation.slices import by_slice
from edgerec.pipeline import Run
from edgerec.recipe.gate import Gate
from edgerec.recommenders import SequenceRecommender
from edgerec.recommenders.parts import Parts
from edgerec.recommenders.prior import Prior
from edgerec.recommenders.transitions import fit_transitions
from edgerec.stages.measure import Measure, fidelity_conclusions
from edgerec.stages.steps import float_bytes

LISTS = st.lists(st.integers(1, 12), unique=True, max_size=10)


def padded(rows: list[int]) -> np.ndarray:
    return np.array([rows + [0] * (10 - len(rows))], np.int32)


def rbo_by_definition(first: list[int], second: list[int], p: float = 0.9) -> float:
    """Equation 32 of Webber et al. (2010), term by term."""
    short, long = sorted((first, second), key=len)
    s, n = len(short), len(long)
    common = [len(set(short[:d]) & set(long[:d])) for d in range(n + 1)]
    total = sum(common[d] / d * p**d for d in range(1, n + 1))
    total += sum(common[s] * (d - s) / (s * d) * p**d for d in range(s + 1, n + 1))
    return (1 - p) / p * total + ((common[n] - common[s]) / n + common[s] / s) * p**n


@given(LISTS, LISTS)
def test_rank_biased_overlap_is_what_the_paper_defines(first: list[int], second: list[int]) -> None:
    (found,) = rank_biased_overlaps(padded(first), padded(second))
    if first and second:
        assert found == pytest.approx(rbo_by_definition(first, second))
    else:
        assert found == (not first and not second)
    assert -1e-12 <= found <= 1 + 1e-12
    assert rank_biased_overlap(padded(second), padded(first)) == pytest.approx(found)
    assert rank_biased_overlap(padded(first), padded(first)) == pytest.approx(1)


def test_an_exchange_at_the_head_costs_more_than_one_at_the_end() -> None:
    rows = list(range(1, 11))
    head, end = [2, 1, *rows[2:]], [*rows[:8], 10, 9]
    values = rank_biased_overlaps(np.repeat(padded(rows), 3, 0), np.concatenate([padded(r) for r in (rows, end, head)]))
    assert values[0] == pytest.approx(1) and values[0] > values[1] > values[2]
    # At one place of two, (1 - p) / p * p of the weight: at the first, 0.1; at the ninth, 0.9 ** 8 of a ninth of it.
    assert 1 - values[2] == pytest.approx(0.1)
    assert 1 - values[1] == pytest.approx(0.1 * 0.9**8 / 9)


def test_no_targets_have_no_values() -> None:
    assert len(rank_biased_overlaps(np.zeros((0, 10), np.int32), np.zeros((0, 10), np.int32))) == 0


def figures(drop: float | None, low: float = 0.0, high: float = 0.0) -> dict[str, Any]:
    ends = None if drop is None else [low, high]
    return {"ndcg_drop": drop, "ndcg_drop_ci": ends, "overlap@10": 0.9, "rbo@10": 0.95}


@pytest.mark.parametrize(
    ("found", "targets", "verdict", "said"),
    [
        (figures(0.01, -0.01, 0.03), 99, "non-inferior", "int4 ranks as well as keras, within the margin of 5.0 %: "
         "NDCG@10 -1.0 % [-3.0 %, +1.0 %]; of the top-10, 90.0 % are the same (rank-biased overlap 0.950)."),
        (figures(0.1, 0.06, 0.2), 99, "inferior", "int4 ranks worse than keras, by more than the margin of 5.0 %"),
        (figures(0.04, 0.01, 0.07), 99, "undecided", "is undecided: NDCG@10 -4.0 %"),
        (figures(None), 99, "undecided", "is undecided: the change is not measurable"),
        (figures(0.0), 1, "undecided", "one target is too few for an interval"),
    ],
)  # fmt: skip
def test_the_verdict_is_a_plain_sentence(found: dict[str, Any], targets: int, verdict: str, said: str) -> None:
    conclusion = conclude("int4", "keras", found, targets, 0.05)
    assert conclusion.verdict == verdict
    assert said in conclusion.sentence
    assert conclusion.payers == ""


def test_who_pays_are_the_slices_that_lose_more_than_chance() -> None:
    slices = {
        "popularity": [
            {"name": "head", **figures(0.01, -0.01, 0.02)},
            {"name": "tail", **figures(0.2, 0.1, 0.3)},
            {"name": "cold", **figures(None)},
        ],
        "history": [{"name": ">200", **figures(0.3, 0.1, 0.5)}],
    }
    said = conclude("int4", "keras", figures(0.05, 0.02, 0.08), 99, 0.05, slices).payers
    assert said == (
        "Who pays: histories of >200 events (-30.0 % [-50.0 %, -10.0 %]), targets of the tail (-20.0 % [-30.0 %, "
        "-10.0 %])."
    )
    tier = worst_tier(slices)
    assert tier and tier["name"] == "tail"
    harmless = {"popularity": slices["popularity"][:1]}
    assert conclude("int4", "keras", figures(0.0), 99, 0.05, harmless).payers.startswith("No popularity tier")
    unknown = {"popularity": slices["popularity"][2:]}
    assert "cannot be told" in conclude("int4", "keras", figures(0.0), 99, 0.05, unknown).payers
    assert worst_tier(unknown) is None


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """400 users who walk around a circle of 60 items, so that a model is easily right or wrong."""
    rng = np.random.default_rng(0)
    users = [[1 + (start + place) % 60 for place in range(9)] for start in rng.integers(0, 60, 400).tolist()]
    return tiny_dataset(tmp_path_factory.mktemp("walks"), users)


def next_on_the_circle(dataset: Dataset) -> np.ndarray:
    """A table [61, 16] whose rows, times the matrix of one step, are nearest to the row of the next item."""
    angles = 2 * np.pi * np.arange(dataset.items + 1) / dataset.items
    table = np.concatenate([f(k * angles)[:, None] for k in range(1, 9) for f in (np.cos, np.sin)], axis=1)
    table[0] = 0
    return table.astype(np.float32)


def step_matrix() -> np.ndarray:
    blocks = np.zeros((16, 16), np.float32)
    for k in range(1, 9):
        c, s = np.cos(2 * np.pi * k / 60), np.sin(2 * np.pi * k / 60)
        blocks[2 * k - 2 : 2 * k, 2 * k - 2 : 2 * k] = [[c, s], [-s, c]]
    return blocks


def evaluated(dataset: Dataset, table: np.ndarray) -> Evaluation:
    """The figures of a model with this table: the last item's vector, moved on by a step, times the table."""
    step = step_matrix()

    def score(histories: Any) -> np.ndarray:
        last = np.array([history[-1] for history in histories])
        return (table[last] @ step @ table.T).astype(np.float32)

    return evaluate(score, dataset.targets("test"), dataset)


def quantized(table: np.ndarray, bits: int) -> np.ndarray:
    levels = 2 ** (bits - 1) - 1
    scale = np.abs(table).max() / levels
    return (np.round(table / scale) * scale).astype(np.float32)


def with_a_zero_scale(table: np.ndarray) -> np.ndarray:
    """The scale of twenty rows, the most popular items, is 0."""
    broken = quantized(table, 8)
    broken[1:21] = 0
    return broken


BROKEN: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "zeros": np.zeros_like,
    "shuffled rows": lambda table: np.random.default_rng(0).permutation(table),
    "one bit and a sign": lambda table: quantized(table, 2) * (np.abs(table) > 0.9),
    "a zero scale": with_a_zero_scale,
}
LIMITS = {
    "max_ndcg_drop": (0.05, r"loss of NDCG@10 is [\d.]+%, above the limit of 5.00%"),
    "non_inferiority_margin": (0.05, r"95 % bound of the loss of NDCG@10 is [\d.]+%, above the limit of 5.00%"),
    "max_tier_ndcg_drop": (0.05, r"loss of NDCG@10 in (head|torso|tail) is [\d.]+%, above the limit of 5.00%"),
    "min_overlap": (0.9, r"top-10 overlap with Keras is 0\.\d+, below the limit of 0.900"),
    "min_rbo": (0.9, r"rank-biased overlap with Keras is 0\.\d+, below the limit of 0.900"),
}


def variant_of(dataset: Dataset, table: np.ndarray, reference: Evaluation) -> dict[str, Any]:
    """What the report has of a file with this table."""
    evaluation = evaluated(dataset, table)
    return {
        "name": "int8",
        "fidelity": fidelity(reference, evaluation),
        "slices": by_slice(evaluation, dataset.targets("test"), dataset, reference),
        "bytes": {"total": 1},
        "latency_ms": {"p95": 1.0},
    }


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("fault", BROKEN)
def test_the_gate_stops_broken_conversions_and_names_figure_value_and_limit(
    walks: Dataset, fault: str, limit: str
) -> None:
    table = next_on_the_circle(walks)
    reference = evaluated(walks, table)
    assert reference.ndcg(10).mean() > 0.9
    value, message = LIMITS[limit]
    set_gate = Gate.model_validate({limit: value})
    sound = gate.judge(set_gate, variant_of(walks, quantized(table, 8), reference), None)
    gate.check({"gate": sound})
    judged = gate.judge(set_gate, variant_of(walks, BROKEN[fault](table), reference), None)
    with pytest.raises(GateError, match=message):
        gate.check({"gate": judged})


@pytest.mark.slow
@pytest.mark.parametrize("fault", BROKEN)
def test_the_gate_stops_a_file_whose_item_table_was_broken_by_its_conversion(
    small_run: Run, tmp_path: Path, fault: str
) -> None:
    """The float32 file with other weights in place of the item table, measured on the device runtime as every file."""
    path, dataset = small_run.bundles["float32"], small_run.dataset
    table = small_run.stages.pruned.recommender.folded().item_table.embeddings.numpy()
    bundle = Bundle.read(path)
    content = path.read_bytes()[: bundle.manifest["flatbuffer_bytes"]]
    assert content.count(table.tobytes()) == 1
    scaled = table / np.abs(table).max()
    content = content.replace(table.tobytes(), (BROKEN[fault](scaled) * np.abs(table).max()).astype("<f4").tobytes())
    facts = {"dataset": bundle.manifest["dataset"]}
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(
        bundle_bytes(content, bundle.name, "int8", bundle.contract, bundle.items[1:], bundle.titles[1:], facts=facts)
    )
    targets = dataset.targets("test")
    evaluation = evaluate_bundle(Recommender.load(broken, "litert"), targets, dataset)
    reference = Evaluation.load(small_run.trained, dataset.items)
    variant = {
        "name": "int8",
        "fidelity": fidelity(reference, evaluation),
        "slices": by_slice(evaluation, targets, dataset, reference),
        "bytes": {"total": 1},
        "latency_ms": {"p95": 1.0},
    }
    limits = Gate(non_inferiority_margin=0.05, min_overlap=0.8, min_rbo=0.8)
    with pytest.raises(GateError) as stopped:
        gate.check({"gate": gate.judge(limits, variant, None)})
    for limit in ("non_inferiority_margin", "min_overlap", "min_rbo"):
        assert re.search(LIMITS[limit][1].replace("0.900", "0.800"), str(stopped.value))


def test_a_loss_that_may_be_chance_passes_the_mean_but_not_the_margin(walks: Dataset) -> None:
    variant = {
        "name": "int8", "fidelity": figures(0.03, -0.01, 0.08), "slices": {}, "bytes": {"total": 1},
        "latency_ms": {"p95": 1.0},
    }  # fmt: skip
    assert gate.judge(Gate(max_ndcg_drop=0.05), variant, None)["failed"] == []
    (said,) = gate.judge(Gate(non_inferiority_margin=0.05), variant, None)["failed"]
    assert said == "int8: 95 % bound of the loss of NDCG@10 is 8.00%, above the limit of 5.00%"
    (said,) = gate.judge(Gate(max_tier_ndcg_drop=0.05), variant, None)["failed"]
    assert said == "int8: loss of NDCG@10 in every tier is not measurable"


def test_the_float_bytes_of_a_model_are_those_of_its_weights_and_tables(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path, [[1, 2, 3, 1, 2], [1, 3, 2, 1]])
    recommender = SequenceRecommender(architecture(encoder="gru", dim=8, max_history=6), dataset.items)
    weights = sum(int(np.prod(weight.shape)) for weight in recommender.network.weights)
    everything = ["network", "transitions", "prior"]
    sizes = float_bytes(recommender, everything)
    assert sizes["item_table"] == 4 * 4 * 8
    assert sum(sizes.values()) == 4 * weights
    transitions = fit_transitions(dataset, 2, 6)
    recommender.parts = Parts(transitions, Prior.of_counts(np.array([0.0, 3, 2, 1]), 0.5, None))
    with_parts = float_bytes(recommender, everything)
    assert with_parts == {**sizes, "transitions": 4 * 2 * 2, "prior": 4}
    assert set(float_bytes(recommender, ["transitions"])) == {"transitions"}


def test_the_report_tells_of_every_model_and_file_how_closely_it_follows_its_references(
    small_run: Run, tmp_path: Path
) -> None:
    figures = small_run.stages.measured.document()
    for variant in figures["variants"]:
        assert 0 <= variant["fidelity"]["rbo@10"] <= 1
        for rows in variant["slices"].values():
            assert all({"overlap@10", "rbo@10", "ndcg_drop"} <= set(row) for row in rows)
    assert figures["variants"][0]["fidelity"]["rbo@10"] == pytest.approx(1)
    (kept,) = fidelity_conclusions(figures, 0.05)
    assert (kept["model"], kept["reference"], kept["margin"]) == ("int8", "keras", 0.05)
    assert small_run.report["fidelity"] == [kept]
    assert "teacher_fidelity" not in figures["variants"][0]

    steps = figures["steps"]
    assert [step["name"] for step in steps] == ["trained", "pruned", "int8"]
    by_name = {variant["name"]: variant for variant in figures["variants"]}
    for step, name in zip(steps, ("keras", "keras-pruned", "int8"), strict=True):
        assert step["ndcg@10"] == by_name[name]["quality"]["ndcg@10"]
    assert steps[1]["ndcg_drop"] == by_name["keras-pruned"]["fidelity"]["ndcg_drop"]
    sizes = by_name["int8"]["bytes"]
    assert steps[2]["bytes"]["total"] == sizes["total"] - sizes["vocabulary"]
    # A float32 file has the operators beside the weights, and little else.
    shipped = by_name["float32"]["bytes"]
    for part in ("item_table", "transitions"):
        assert steps[1]["bytes"][part] == pytest.approx(shipped[part], rel=0.02)
    assert 0.2 < steps[1]["bytes"]["network"] / shipped["network"] < 1


def test_a_teacher_is_a_second_reference(small_run: Run, tmp_path: Path) -> None:
    """Here the float32 file plays the teacher; only its evaluation counts."""
    teacher = small_run.bundles["float32"].parent
    own = small_run.stages.measured
    taught = Measure(own.workspace, small_run.stages.prepared, own.models, small_run.stages.bundles, teacher)
    assert taught.key != own.key
    taught.make(tmp_path)
    figures = json.loads((tmp_path / "figures.json").read_text())
    followed = {variant["name"]: variant["teacher_fidelity"] for variant in figures["variants"]}
    assert followed["float32"]["overlap@10"] == 1 and followed["float32"]["ndcg_drop"] == 0
    assert followed["int8"]["rbo@10"] < 1
    first, second = fidelity_conclusions(figures, 0.05)
    assert (first["reference"], second["reference"]) == ("keras", "the teacher")
    assert "the teacher" in second["sentence"]
