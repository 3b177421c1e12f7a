import json
from pathlib import Path

import numpy as np
import pytest
from conftest import small_recipe

from edgerec.evaluation.ranking import Evaluation, evaluate
from edgerec.pipeline import Run
from edgerec.progress import Progress
from edgerec.pruning.sparsity import sparsity
from edgerec.recommenders import SequenceRecommender
from edgerec.recommenders.architecture import Architecture
from edgerec.recommenders.parts import Parts
from edgerec.training.batches import training_batches


def test_every_event_but_the_first_is_a_target_after_its_own_predecessor() -> None:
    histories = [np.arange(1, n + 1, dtype=np.int32) for n in (2, 7, 8, 50)]
    batches = training_batches(histories, length=7, batch=3, seed=1, epoch=4)
    pairs = {(int(a), int(b)) for batch in batches for a, b in zip(batch.inputs.flat, batch.targets.flat, strict=True)}
    assert {pair for pair in pairs if pair[1]} == {(n, n + 1) for n in range(1, 50)}
    assert max(batch.inputs.shape[1] for batch in batches) == 7


def test_epochs_differ_and_the_same_epoch_does_not() -> None:
    histories = [np.arange(1, 41, dtype=np.int32)] * 3
    one, again, next_ = (training_batches(histories, 8, 4, 1, epoch) for epoch in (1, 1, 2))
    assert all(np.array_equal(a.inputs, b.inputs) for a, b in zip(one, again, strict=True))
    assert any(not np.array_equal(a.inputs, b.inputs) for a, b in zip(one, next_, strict=False))


def test_the_model_kept_is_the_best_epochs(small_run: Run) -> None:
    log = json.loads((small_run.trained / "training.json").read_text())
    best = max(log["curve"], key=lambda entry: entry["ndcg@10"])
    assert log["best_epoch"] == best["epoch"]
    recommender = SequenceRecommender.load(small_run.trained)
    recommender.parts = Parts()  # the epoch is chosen by the network alone
    result = evaluate(recommender.score, small_run.dataset.targets("validation"), small_run.dataset)
    assert result.ndcg(10).mean() == pytest.approx(best["ndcg@10"], abs=1e-9)


def test_training_ranks_better_than_an_untrained_model(small_run: Run) -> None:
    dataset = small_run.dataset
    untrained = SequenceRecommender(Architecture.of_recipe(small_run.recipe.model), dataset.items)
    before = evaluate(untrained.score, dataset.targets("test"), dataset)
    after = Evaluation.load(small_run.trained, dataset.items)
    assert after.reciprocal_ranks().mean() > 1.5 * before.reciprocal_ranks().mean()


def test_pruning_reaches_its_sparsity_in_the_network_alone(small_run: Run) -> None:
    shares = sparsity(SequenceRecommender.load(small_run.pruned))
    assert shares.pop("item_table") == 0
    shares.pop("total")
    assert len(shares) == 6
    assert all(share == pytest.approx(0.5, abs=0.01) for share in shares.values())


@pytest.mark.slow
def test_the_item_table_can_be_pruned_too(small_run: Run, purchases: Path, tmp_path: Path) -> None:
    for part in ("dataset", "trained"):
        (tmp_path / part).symlink_to(small_run.folder / part)
    recipe = small_recipe(purchases, prune={"target": "item_table", "sparsity": 0.7})
    run = Run(recipe, tmp_path, Progress())
    shares = sparsity(SequenceRecommender.load(run.pruned))
    assert shares["item_table"] == pytest.approx(0.7, abs=0.01)
    assert shares["query_0"] == 0


@pytest.mark.slow
def test_sampled_softmax_trains_too(small_run: Run, purchases: Path, tmp_path: Path) -> None:
    (tmp_path / "dataset").symlink_to(small_run.folder / "dataset")
    recipe = small_recipe(purchases, train={"loss": "sampled-softmax", "negatives": 64}, prune={"enabled": False})
    log = json.loads((Run(recipe, tmp_path, Progress()).pruned / "training.json").read_text())
    assert log["loss"] == "sampled-softmax"
    assert log["curve"][-1]["loss"] < log["curve"][0]["loss"]
