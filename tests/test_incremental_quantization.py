"""Incremental quantization: at the end the model has the weights of the file, and the file has just these."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import small_recipe
from test_recommenders import shaken
from tiny import architecture

from converters.flatbuffer.row_scales import coarse
from converters.grids import nearest_grid
from converters.storage import Storage
from edgerec.data.feature_encoding import EncodedFeatures
from edgerec.errors import RecipeError
from edgerec.pipeline import Run
from edgerec.progress import Progress
from edgerec.recipe import check_recipe
from edgerec.recommenders import ENCODERS, SequenceRecommender
from edgerec.training.hooks import AverageWeights
from edgerec.training.incremental_quantization import SHARES, IncrementalQuantization


def on_grid(values: np.ndarray, bits: int, by_row: bool, bytes_a_row: bool = False) -> np.ndarray:
    """The values that a file has for ``values`` [n, m], with a scale for each row or one for all."""
    codes, scales = nearest_grid(values, bits, by_row)
    if bytes_a_row:
        rows, step = coarse(scales)
        scales = rows * step
        codes = np.clip(np.rint(values / scales[:, None]), 1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1)
    return codes * scales[:, None]


def finish(hook: IncrementalQuantization) -> None:
    """As after the last epoch that rounds."""
    for _ in SHARES:
        hook.after_epoch()


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("by_row", [True, False])
def test_at_the_end_all_weights_are_on_the_grid_of_the_file(encoder: str, by_row: bool) -> None:
    recommender = shaken(architecture(encoder=encoder, dim=8, blocks=1, max_history=6))
    before = [weight.numpy() for weight in recommender.network.weights]
    finish(IncrementalQuantization(recommender, Storage(4, 8, by_row), {"narrow_0": 2}))
    table = recommender.item_table.vectors().numpy()
    np.testing.assert_allclose(on_grid(table, 4, by_row, by_row), table, rtol=1e-5)
    # Of each row no more than the 15 levels.
    assert max(len(np.unique(np.round(row / np.abs(row).max(), 4))) for row in table) <= 15
    for name, bits in (("widen_0", 8), ("narrow_0", 2)):
        if encoder != "mean":
            kernel = recommender.network.get_layer(name).kernel.numpy().T
            np.testing.assert_allclose(on_grid(kernel, bits, True), kernel, rtol=1e-5)
    changed = [w for w, old in zip(recommender.network.weights, before, strict=True) if (w.numpy() != old).any()]
    assert changed
    assert not any("bias" in weight.name or "norm" in weight.name for weight in changed)


def test_values_that_are_fixed_stay_and_the_others_move() -> None:
    recommender = shaken(architecture(encoder="gru", dim=8, blocks=1, max_history=6))
    table = recommender.item_table.embeddings
    trained = table.numpy()
    hook = IncrementalQuantization(recommender, Storage(4, 4), {})
    rounded = table.numpy()
    fixed = hook.variables()[1].numpy()  # of the first layer, the item table
    assert fixed.mean() == pytest.approx(SHARES[0], abs=0.02)
    # Those that are nearest to their grid come first.
    distance = np.abs(on_grid(trained, 4, True, True) - trained)
    assert distance[fixed].max() <= distance[~fixed].min()

    @tf.function
    def step() -> None:
        table.assign_add(tf.ones_like(table))
        hook.after_step(tf.constant(1))

    step()
    np.testing.assert_array_equal(table.numpy()[fixed], rounded[fixed])
    np.testing.assert_array_equal(table.numpy()[~fixed], rounded[~fixed] + 1)
    finish(hook)
    np.testing.assert_array_equal(table.numpy()[fixed], rounded[fixed])
    last = table.numpy()
    step()
    np.testing.assert_array_equal(table, last)
    assert not any(hook.counts(epoch) for epoch in range(1, len(SHARES) + 1)) and hook.counts(len(SHARES) + 1)


def test_averages_of_the_weights_have_what_is_fixed() -> None:
    recommender = shaken(architecture(encoder="gru", dim=8, blocks=1, max_history=6))
    averages = AverageWeights(recommender.network.weights, 0.999)
    hook = IncrementalQuantization(recommender, Storage(4, 4), {})
    finish(hook)
    table = recommender.item_table.embeddings.numpy()
    with averages.kept_weights(), hook.kept_weights():
        kept = recommender.item_table.embeddings.numpy()
    np.testing.assert_array_equal(kept, table)


def test_a_checkpoint_has_what_is_fixed() -> None:
    recommender = shaken(architecture(encoder="gru", dim=8, blocks=1, max_history=6))
    trained = recommender.network.get_weights()
    hook = IncrementalQuantization(recommender, Storage(4, 4), {})
    hook.after_epoch()
    saved = [variable.numpy() for variable in hook.variables()]
    weights = recommender.network.get_weights()
    recommender.network.set_weights(trained)
    again = IncrementalQuantization(recommender, Storage(4, 4), {})
    for variable, value in zip(again.variables(), saved, strict=True):
        variable.assign(value)
    recommender.network.set_weights(weights)
    finish(again)
    resumed = recommender.network.get_weights()
    recommender.network.set_weights(weights)
    finish(hook)
    for one, other in zip(resumed, recommender.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_pruned_weights_stay_zero() -> None:
    recommender = shaken(architecture(encoder="gru", dim=8, blocks=1, max_history=6))
    kernel = recommender.network.get_layer("widen_0").kernel
    zeros = np.random.default_rng(0).random(kernel.shape) < 0.5
    kernel.assign(np.where(zeros, 0, kernel))
    hook = IncrementalQuantization(recommender, Storage(4, 4), {})
    kernel.assign_add(tf.ones_like(kernel))
    hook.after_step(tf.constant(1))
    np.testing.assert_array_equal(kernel.numpy()[zeros], 0)


def test_vectors_with_item_features_are_rounded_as_a_whole() -> None:
    codes, numbers = np.array([[0], *[[1 + row % 3] for row in range(30)]], np.int32), np.ones((31, 1), np.float32)
    shape = architecture(encoder="gru", dim=8, blocks=1, max_history=6)
    recommender = shaken(shape, encoded=EncodedFeatures(codes, numbers, 4))
    hook = IncrementalQuantization(recommender, Storage(4, 4), {})
    categories = recommender.item_table.categories
    categories.assign_add(tf.random.normal(categories.shape))
    hook.after_step(tf.constant(1))
    changed = categories.numpy()
    finish(hook)
    vectors = recommender.folded().item_table.embeddings.numpy()
    np.testing.assert_allclose(on_grid(vectors, 4, True, True), vectors, atol=1e-5)
    np.testing.assert_array_equal(categories, changed)


@pytest.fixture(scope="module")
def quantized(small_run: Run, tmp_path_factory: pytest.TempPathFactory, purchases: Path) -> Run:
    """The small run, fine-tuned for 4 bits with its own trained model as the teacher."""
    import shutil

    folder = Path(shutil.copytree(small_run.folder, tmp_path_factory.mktemp("quantized") / "run"))
    recipe = small_recipe(
        purchases,
        distill={"teacher": "trained"},
        quantize={"scheme": "int4", "epochs": 6},
        convert={"schemes": ["int4"]},
    )
    run = Run(recipe, folder, Progress())
    assert run.report
    return run


def test_the_file_scores_as_the_quantized_model_does(quantized: Run) -> None:
    measured = json.loads((quantized.folder / "bundles" / "int4" / "measured.json").read_text())
    # All that is left are the activations, which the runtime rounds to 8 bits.
    assert measured["runtimes"]["litert"]["score_error"] < 0.05
    assert measured["runtimes"]["litert"]["overlap@10"] > 0.9


def test_a_quantized_run_is_current_and_its_steps_are_in_the_report(quantized: Run) -> None:
    assert not any(reason for _, reason in quantized.plan())
    assert [name for name, _ in quantized.plan()][1:5] == ["trained", "taught", "pruned", "quantized"]
    names = [variant["name"] for variant in quantized.report["variants"]]
    assert {"keras", "keras-pruned", "keras-quantized", "int4"} <= set(names)
    log = quantized.stages.quantized.log()
    assert log["loss"].startswith("distilled ") and (log["epochs"], log["best_epoch"]) == (6, 6)


def test_a_model_that_is_loaded_has_the_rounded_weights(quantized: Run) -> None:
    table = SequenceRecommender.load(quantized.folder / "quantized").folded().item_table.embeddings.numpy()
    np.testing.assert_allclose(on_grid(table, 4, True, True), table, atol=1e-5)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"scheme": "float16"}, "training cannot be aware of the scheme 'float16'"),
        ({"scheme": "int44"}, "did you mean int4"),
        ({"epochs": 9}, r"epochs has no effect without quantize\.scheme"),
    ],
)
def test_settings_that_cannot_be_kept_are_refused(section: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        check_recipe({"data": {"name": "x", "path": "x.csv"}, "quantize": section})
