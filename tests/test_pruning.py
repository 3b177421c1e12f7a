"""Structured pruning: dense shapes shrink, and what is left works like any other model."""

from pathlib import Path

import numpy as np
import pytest
from conftest import small_recipe
from test_recommenders import HISTORIES, shaken
from tiny import architecture

from converters.schemes import SCHEMES
from edgerec.pipeline import Run
from edgerec.progress import Progress
from edgerec.pruning.criteria import CRITERIA
from edgerec.pruning.surgery import cut
from edgerec.pruning.units import UnitGroup, unit_groups
from edgerec.recommenders import ENCODERS, SequenceRecommender

KINDS = ["feed_forward", "state"]


def silenced(group: UnitGroup, units: np.ndarray) -> None:
    """Set all weights of the units to zero, as if they were not there."""
    for part in group.slices:
        values = part.variable.numpy()
        where = np.concatenate([units + number * group.units for number in range(part.parts)])
        np.moveaxis(values, part.axis, 0)[where] = 0
        part.variable.assign(values)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_cutting_silent_units_changes_no_score(encoder: str) -> None:
    recommender = shaken(architecture(encoder=encoder, dim=8, blocks=2, max_history=6))
    groups = unit_groups(recommender, KINDS)
    assert len(groups) == (4 if encoder == "gru" else 2)
    kept = {}
    for group in groups:
        gone = np.arange(0, group.units, 2)
        silenced(group, gone)
        kept[group.name] = np.setdiff1d(np.arange(group.units), gone)
    smaller = cut(recommender, groups, kept)
    np.testing.assert_allclose(smaller.score(HISTORIES), recommender.score(HISTORIES), rtol=1e-4, atol=1e-5)
    assert smaller.network.count_params() < 0.9 * recommender.network.count_params()


def test_a_cut_model_saves_and_loads_with_its_own_widths(tmp_path: Path) -> None:
    recommender = shaken(architecture(encoder="gru", dim=8, blocks=2, max_history=6))
    groups = unit_groups(recommender, KINDS)
    kept = {group.name: np.arange(number + 1) for number, group in enumerate(groups)}
    smaller = cut(recommender, groups, kept)
    assert [(b.feed_forward, b.mixer) for b in smaller.architecture.blocks] == [(1, 2), (3, 4)]
    smaller.save(tmp_path)
    loaded = SequenceRecommender.load(tmp_path)
    assert loaded.architecture == smaller.architecture
    np.testing.assert_array_equal(loaded.score(HISTORIES), smaller.score(HISTORIES))


def test_a_group_keeps_at_least_one_unit() -> None:
    recommender = shaken(architecture(encoder="mean", dim=8, blocks=1, max_history=6))
    groups = unit_groups(recommender, KINDS)
    with pytest.raises(ValueError, match="no unit of feed_forward_0 would be left"):
        cut(recommender, groups, {"feed_forward_0": np.array([], int)})


def test_magnitude_tells_silent_units_from_loud_ones_and_random_does_not() -> None:
    recommender = shaken(architecture(encoder="gru", dim=8, blocks=1, max_history=6))
    groups = unit_groups(recommender, KINDS)
    for group in groups:
        silenced(group, np.array([1, 5]))
    importance = CRITERIA["magnitude"](groups, None)
    for group in groups:
        assert importance[group.name].shape == (group.units,)
        assert sorted(np.argsort(importance[group.name])[:2]) == [1, 5]
    chance = CRITERIA["random"](groups, None)
    assert any(sorted(np.argsort(chance[group.name])[:2]) != [1, 5] for group in groups)


@pytest.mark.slow
def test_a_structured_run_ships_a_smaller_file(purchases: Path, tmp_path: Path) -> None:
    sections = {
        "model": {"encoder": "gru", "dim": 32, "hidden": 32, "expansion": 4},
        "train": {"epochs": 1},
        "prune": {"method": "structured", "units": KINDS, "share": 0.5, "epochs": 1},
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
