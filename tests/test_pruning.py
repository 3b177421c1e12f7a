"""Structured pruning: dense shapes shrink, and what is left works like any other model."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import small_recipe
from test_recommenders import HISTORIES, ITEMS, shaken
from tiny import architecture, tiny_dataset

from converters.schemes import SCHEMES
from edgerec.data.feature_encoding import encode_features, fit_feature
from edgerec.pipeline import Run
from edgerec.progress import Progress
from edgerec.pruning.criteria import CRITERIA
from edgerec.pruning.methods.structured import structured
from edgerec.pruning.sparsity import parameters
from edgerec.pruning.surgery import cut
from edgerec.pruning.units import UnitGroup, unit_groups, writers
from edgerec.recipe import Train
from edgerec.recipe.prune import StructuredPrune
from edgerec.recommenders import ENCODERS, SequenceRecommender
from edgerec.training.gap import generalization_gap
from edgerec.training.objective import NextItem

KINDS = ["feed_forward", "state", "heads", "blocks", "dims"]
EACH = [
    *((encoder, kind) for encoder in ENCODERS for kind in ("feed_forward", "blocks", "dims")),
    ("gru", "state"),
    ("lru", "state"),
    ("sasrec", "heads"),
]


def model(encoder: str, blocks: int = 2, **given: object) -> SequenceRecommender:
    more = {"heads": 4} if encoder == "sasrec" else {}
    return shaken(architecture(encoder=encoder, dim=8, blocks=blocks, max_history=6, **more), **given)


def silenced(recommender: SequenceRecommender, group: UnitGroup, units: np.ndarray) -> None:
    """Let the units contribute nothing."""
    if group.kind == "blocks":
        for name, number in writers(recommender):
            layer = recommender.network.get_layer(name)
            if number in units:
                layer.set_weights([np.zeros_like(values) for values in layer.get_weights()])
        return
    for part in group.slices:
        values = part.variable.numpy()
        np.moveaxis(values, part.axis, 0)[part.places(units, group.units)] = 0
        part.variable.assign(values)
    if group.kind == "dims":  # norms subtract the mean over all dimensions
        others = np.setdiff1d(np.arange(group.units), units)
        added = ["item_table", "positions", *(name for name, _ in writers(recommender))]
        for layer in recommender.network.layers:
            if layer.name in added:
                centred = layer.get_weights()
                for values in centred:
                    values[..., others] -= values[..., others].mean(axis=-1, keepdims=True)
                layer.set_weights(centred)


@pytest.mark.parametrize(("encoder", "kind"), EACH)
def test_cutting_silent_units_changes_no_score(encoder: str, kind: str) -> None:
    recommender = model(encoder)
    groups = unit_groups(recommender, [kind])
    assert len(groups) == (1 if kind in ("blocks", "dims") else 2)
    kept = {}
    for group in groups:
        gone = np.arange(0, group.units, 2)
        silenced(recommender, group, gone)
        kept[group.name] = np.setdiff1d(np.arange(group.units), gone)
    smaller = cut(recommender, groups, kept)
    np.testing.assert_allclose(smaller.score(HISTORIES), recommender.score(HISTORIES), rtol=1e-3, atol=1e-3)
    assert smaller.network.count_params() < recommender.network.count_params()


def test_dimensions_of_item_features_are_cut_too() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"colour": rng.choice(["red", "blue"], ITEMS), "price": rng.random(ITEMS).astype(str)})
    features = [fit_feature("colour", "categorical", table["colour"]), fit_feature("price", "numeric", table["price"])]
    recommender = model("gru", item_features=features, encoded=encode_features(features, table).with_padding())
    groups = unit_groups(recommender, ["dims"])
    gone = np.array([0, 3, 5])
    silenced(recommender, groups[0], gone)
    smaller = cut(recommender, groups, {"dims": np.setdiff1d(np.arange(8), gone)})
    assert [w.shape[1] for w in smaller.item_table.weights] == [5, 5, 5]
    np.testing.assert_allclose(smaller.score(HISTORIES), recommender.score(HISTORIES), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_model_cut_in_every_way_saves_and_loads_with_its_own_widths(encoder: str, tmp_path: Path) -> None:
    recommender = model(encoder, blocks=3)
    groups = unit_groups(recommender, KINDS)
    kept = {group.name: np.arange(number % 2, group.units, 2) for number, group in enumerate(groups)}
    smaller = cut(recommender, groups, kept)
    assert smaller.architecture.dim == len(kept["dims"])
    assert len(smaller.architecture.blocks) == len(kept["blocks"])
    smaller.save(tmp_path)
    loaded = SequenceRecommender.load(tmp_path)
    assert loaded.architecture == smaller.architecture
    np.testing.assert_array_equal(loaded.score(HISTORIES), smaller.score(HISTORIES))


def test_a_group_keeps_at_least_one_unit() -> None:
    recommender = model("mean", blocks=1)
    groups = unit_groups(recommender, ["feed_forward"])
    with pytest.raises(ValueError, match="no unit of feed_forward_0 would be left"):
        cut(recommender, groups, {"feed_forward_0": np.array([], int)})


@pytest.mark.parametrize("criterion", ["magnitude", "normalized-magnitude", "scaling-factor", "taylor"])
def test_criteria_tell_silent_units_from_loud_ones(criterion: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    dataset = tiny_dataset(tmp_path, [(rng.permutation(ITEMS)[:7] + 1).tolist() for _ in range(30)] + [[ITEMS] * 3])
    recommender = model("gru", blocks=1)
    groups = unit_groups(recommender, ["feed_forward", "state"])
    for group in groups:
        silenced(recommender, group, np.array([1, 5]))
    before = recommender.network.get_weights()
    importance = CRITERIA[criterion](groups, NextItem(recommender, dataset, Train(batch=8, precision="float32")))
    for group in groups:
        assert importance[group.name].shape == (group.units,)
        if criterion != "scaling-factor":  # gates of silent units have only the penalty, which loud ones resist or not
            assert sorted(np.argsort(importance[group.name])[:2]) == [1, 5]
        else:
            assert (importance[group.name][[1, 5]] < 0.9).all()
    for weight, kept in zip(recommender.network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)


def test_taylor_is_the_squared_change_of_the_loss_by_a_unit(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path, [[1, 2, 3, 4, 5], [3, 4, 5, 1, ITEMS]])
    recommender = shaken(architecture(encoder="gru", dim=8, blocks=1, max_history=6, dropout=0.0))
    objective = NextItem(recommender, dataset, Train(batch=8, precision="float32"))
    (group,) = unit_groups(recommender, ["state"])
    importance = CRITERIA["taylor"]([group], objective)["state_0"]
    (batch,) = objective.batches(1)
    kernel = recommender.network.get_layer("mixed_0").kernel
    trained = kernel.numpy()
    losses = []
    for factor in (1.01, 0.99):
        kernel.assign(np.concatenate([trained[:1] * factor, trained[1:]]))
        losses.append(float(objective.loss(*objective.tensors(batch))))
    assert importance[0] == pytest.approx(((losses[0] - losses[1]) / 0.02) ** 2, rel=0.05)


def test_chance_does_not_tell_them() -> None:
    groups = unit_groups(model("gru"), ["feed_forward", "state"])
    chance = CRITERIA["random"](groups, None)
    assert any(sorted(np.argsort(chance[group.name])[:2]) != [1, 5] for group in groups)


def test_units_ranked_over_all_layers_leave_as_many_parameters_as_equal_cuts() -> None:
    recommender = model("gru")
    for number, size in ((0, 0.01), (1, 1.0)):  # one unit of block 0 has nearly all of its layer's weight
        for part in unit_groups(recommender, ["feed_forward"])[number].slices:
            values = np.moveaxis(part.variable.numpy(), part.axis, 0).copy()
            values[1:] *= size
            part.variable.assign(np.moveaxis(values, 0, part.axis))
    equal, ranked = (
        structured(
            recommender, StructuredPrune(method="structured", shares={"feed_forward": 0.5}, criterion=name), None
        )
        for name in ("magnitude", "normalized-magnitude")
    )
    widths = [block.feed_forward for block in ranked.recommender.architecture.blocks]
    assert widths[0] < widths[1]
    assert sum(widths) == 16
    assert ranked.network.count_params() == equal.network.count_params()


def test_the_gap_compares_the_last_training_event_with_the_validation_event(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path, [[1, 2, 3, 9, ITEMS], [4, 5, 6, 9, 8]])
    recommender = model("mean")
    seen = {}

    def score(histories: list[np.ndarray]) -> np.ndarray:
        scores = np.zeros((len(histories), ITEMS + 1), np.float32)
        for line, history in zip(scores, histories, strict=True):
            seen[tuple(history.tolist())] = True
            line[[3, 6]] = 1 if len(history) == 2 else 0  # knows by heart what was trained
        return scores

    recommender.score = score  # type: ignore[method-assign]
    gap = generalization_gap(recommender, dataset)
    assert set(seen) == {(1, 2), (4, 5), (1, 2, 3), (4, 5, 6)}
    assert gap["train_ndcg@10"] > 0.6
    assert gap["validation_ndcg@10"] < 0.4


def test_parameters_are_counted_with_and_without_zeros() -> None:
    recommender = model("gru", blocks=1)
    counts = parameters(recommender)
    assert counts["total"] == recommender.network.count_params() == counts["nonzero"]
    recommender.item_table.embeddings.assign(0 * recommender.item_table.embeddings)
    assert parameters(recommender)["nonzero"] == counts["total"] - (ITEMS + 1) * 8


@pytest.mark.slow
def test_a_structured_run_ships_a_smaller_file(purchases: Path, tmp_path: Path) -> None:
    sections = {
        "model": {"encoder": "gru", "dim": 32, "hidden": 32, "expansion": 4},
        "train": {"epochs": 1},
        "prune": {"method": "structured", "shares": {"feed_forward": 0.5, "state": 0.5}, "epochs": 1},
        "convert": {"schemes": ["float32"]},
        "report": {"histories": 20},
    }
    recipe = small_recipe(purchases, **sections)
    report = Run(recipe, tmp_path, Progress()).report
    unpruned, pruned = report["variants"][-2:]
    blocks = SequenceRecommender.load(tmp_path / "pruned").architecture.blocks
    assert [(block.feed_forward, block.mixer) for block in blocks] == [(64, 16)]
    assert pruned["bytes"]["network"] < 0.75 * unpruned["bytes"]["network"]
    for outcome in pruned["runtimes"].values():
        assert outcome["overlap@10"] >= SCHEMES["float32"].least["overlap@10"]


def test_a_model_can_begin_anew_after_the_cut() -> None:
    recommender = model("gru")
    kept, anew = (
        structured(recommender, StructuredPrune(method="structured", shares={"state": 0.5}, after=after), None)
        for after in ("fine-tune", "reinitialise")
    )
    assert anew.recommender.architecture == kept.recommender.architecture
    table = recommender.item_table.embeddings.numpy()
    np.testing.assert_array_equal(kept.recommender.item_table.embeddings, table)
    assert not np.isclose(anew.recommender.item_table.embeddings, table).any(1).all()


@pytest.mark.parametrize(
    ("settings", "block", "zeros"), [({"method": "block", "block": 4}, 4, 4), ({"method": "2:4"}, 4, 2)]
)
def test_zeros_come_in_the_pattern_of_the_method(
    purchases: Path, run_copy: Path, settings: dict[str, object], block: int, zeros: int
) -> None:
    run = Run(small_recipe(purchases, prune={"method": "magnitude", "epochs": 2, **settings}), run_copy, Progress())
    pruned = SequenceRecommender.load(run.stages.pruned.made())
    for name in ("query_0", "widen_0", "narrow_0"):
        kernel = pruned.network.get_layer(name).kernel.numpy()
        counts = (kernel.reshape(-1, block, kernel.shape[1]) == 0).sum(1)
        assert set(np.unique(counts)) <= ({0, zeros} if zeros == block else {zeros}), name
    assert run.stages.pruned.log()["sparsity"]["widen_0"] == pytest.approx(0.5, abs=0.05)
