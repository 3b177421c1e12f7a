"""Compression of ranking models: patterns of zeros, clusters, 8 bits, and what the files then leave out or round."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_ranking_run import document
from toy_ranker import CANDIDATES, CONTRACT, FEATURES, bundled, expected_scores, module

from converters.calibration import write_calibration
from converters.flatbuffer import packing
from converters.flatbuffer.graph import BUILTIN, TYPES, operators
from converters.schemes import SCHEMES
from converters.verify import verify
from device_runner.flatbuffer import FlatbufferError
from device_runner.flatbuffer_check import check_flatbuffer
from edgerec.errors import RecipeError
from edgerec.pipeline import Run
from edgerec.progress import Progress
from edgerec.rankers import RankingModel
from edgerec.recipe.load import check_recipe

WIDE = (64, 64)


def requests(count: int, seed: int) -> dict[str, np.ndarray]:
    """Inputs of the toy ranker with missing values of every kind."""
    rng = np.random.default_rng(seed)
    found = {}
    for entry in FEATURES:
        lines = CANDIDATES if entry["of"] in ("item", "retrieval") else 1
        shape = (count, lines, entry["size"]) if "size" in entry else (count, lines)
        if entry["type"] == "number":
            values = rng.normal(0, 3, shape).astype(np.float32)
            values[rng.random(shape) < 0.3] = np.nan
        else:
            codes = 41 if entry["type"] == "items" else len(entry["values"]) + 1
            values = rng.integers(0, codes, shape).astype(np.int32)
        found[entry["input"]] = values
    return found


def answers(cases: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    count = len(cases["item"])
    return {"scores": np.stack([expected_scores({k: v[n] for k, v in cases.items()}) for n in range(count)])}


@pytest.fixture(scope="module")
def integers(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, np.ndarray]], bytes]:
    """The toy ranker by int8-full, measured on the given inputs."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("toy")
    made = module()
    tf.saved_model.save(made, str(folder), signatures={"score": made.score})
    float_dense = SCHEMES["int8"].build(folder)

    def build(cases: dict[str, np.ndarray]) -> bytes:
        write_calibration(folder, cases)
        content = SCHEMES["int8-full"].build(folder)
        assert len(content) < len(float_dense) + 1000
        return content

    return build


def test_a_full_integer_file_agrees_on_both_runtimes_and_computes_with_integers(
    integers: Callable[[dict[str, np.ndarray]], bytes], tmp_path: Path
) -> None:
    content, cases = integers(requests(40, 1)), requests(40, 2)
    path = tmp_path / "toy.tflite"
    path.write_bytes(bundled(content, "int8-full"))
    outcome = verify(path, "int8-full", cases, answers(cases), tmp_path)
    assert {name: v.reason for name, v in outcome.items()} == {"litert": "", "tflite-runtime": ""}
    model = packing.read(content)
    layers = [(graph, operator) for graph, operator in operators(model, BUILTIN.FULLY_CONNECTED)]
    types = [[graph.tensors[place].type for place in (*o.inputs[:2], *o.outputs)] for graph, o in layers]
    assert types[0] == [TYPES.INT8] * 3 and types[-1][0] == TYPES.FLOAT32  # the score is not rounded
    assert {model.subgraphs[0].tensors[place].type for place in model.subgraphs[0].inputs} == {0, 2}


def test_ranges_that_are_not_those_of_requests_are_caught(
    integers: Callable[[dict[str, np.ndarray]], bytes], tmp_path: Path
) -> None:
    narrow = {name: np.zeros_like(values) for name, values in requests(2, 1).items()}
    path, cases = tmp_path / "toy.tflite", requests(40, 2)
    path.write_bytes(bundled(integers(narrow), "int8-full"))
    outcome = verify(path, "int8-full", cases, answers(cases), tmp_path)
    assert all("int8-full needs" in v.reason for v in outcome.values())


def spoiled(content: bytes, change: Callable[[Any, Any], None]) -> bytes:
    """The file with its first integer layer changed."""
    model = packing.read(content)
    for graph, operator in operators(model, BUILTIN.FULLY_CONNECTED):
        if graph.tensors[operator.inputs[0]].type == TYPES.INT8:
            change(graph, operator)
            break
    return packing.write(model)


SPOILING: dict[str, Callable[[Any, Any], None]] = {
    "a zero point that int8 does not have": lambda g, o: g.tensors[o.inputs[0]].quantization.zeroPoint.fill(128),
    "weights with a zero point": lambda g, o: g.tensors[o.inputs[1]].quantization.zeroPoint.fill(3),
    "integers of another form": lambda g, o: g.tensors[o.outputs[0]].quantization.scale.fill(1e-9),
    "not positive and finite": lambda g, o: g.tensors[o.inputs[0]].quantization.scale.fill(np.nan),
    "without a scale": lambda g, o: setattr(g.tensors[o.outputs[0]], "quantization", None),
}


@pytest.mark.parametrize("reason", SPOILING)
def test_a_device_refuses_integers_that_its_runtime_was_not_made_for(
    integers: Callable[[dict[str, np.ndarray]], bytes], reason: str
) -> None:
    content = integers(requests(5, 1))
    check_flatbuffer(content, CONTRACT)
    with pytest.raises(FlatbufferError, match=reason):
        check_flatbuffer(spoiled(content, SPOILING[reason]), CONTRACT)


@pytest.mark.parametrize(
    ("kernel", "side"),
    [((128, 128), 64), ((100, 130), 64), ((64, 96), 32), ((256, 256), 128)],
)
def test_a_layer_in_tiles_gives_what_the_whole_layer_gives(kernel: tuple[int, int], side: int) -> None:
    import tf_keras as keras

    from edgerec.rankers.tiles import TiledDense, live_tiles, side_of_tiles, without_zero_tiles

    rng = np.random.default_rng(0)
    given = keras.Input((kernel[0],))
    network = keras.Model(given, keras.layers.Dense(kernel[1], activation="relu", name="dense")(given))
    live = rng.random((-(-kernel[0] // side), -(-kernel[1] // side))) < 0.4
    live[:, 0], live[0, -1] = False, True  # units that read nothing
    mask = np.repeat(np.repeat(live, side, 0), side, 1)[: kernel[0], : kernel[1]]
    network.set_weights([(rng.normal(size=kernel) * mask).astype(np.float32), rng.normal(size=kernel[1])])
    assert np.array_equal(live_tiles(network.get_weights()[0], side), live)
    assert side_of_tiles(network.get_weights()[0]) == side
    tiled = without_zero_tiles(network)
    assert isinstance(tiled.layers[-1], TiledDense)
    assert sum(piece[1].shape.num_elements() for piece in tiled.layers[-1].pieces) < 0.8 * kernel[0] * kernel[1]
    inputs = rng.normal(size=(7, kernel[0])).astype(np.float32)
    np.testing.assert_allclose(tiled(inputs), network(inputs), atol=1e-4)


def test_a_layer_without_zero_tiles_stays_as_it_is() -> None:
    from edgerec.rankers.tiles import side_of_tiles

    kernel = np.random.default_rng(0).normal(size=(256, 256))
    assert side_of_tiles(kernel) == 0
    assert side_of_tiles(np.where(np.arange(256)[:, None] % 2, kernel, 0)) == 0
    assert side_of_tiles(np.zeros((16, 500))) == 0  # narrower than any tile


@pytest.fixture(scope="module")
def wide(purchases: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """A run over the same data set and trained model, with other sections."""
    made = tmp_path_factory.mktemp("wide")
    data = document(purchases)["data"]
    model = {"hidden": list(WIDE), "dim": 4, "history": "summary", "context": ["hour"], "item_features": ["department"]}
    train = {"epochs": 1, "batch": 512, "learning_rate": 1e-2}

    def run(ranker: str = "mlp", **sections: object) -> Run:
        chosen = {**model, "ranker": ranker}
        given = {**document(purchases), "data": data, "model": chosen, "train": train, **sections}
        return Run(check_recipe(given), made, Progress())

    return run


def kernel_of(run: Run, layer: str = "dense_1") -> np.ndarray:
    model = RankingModel.load(run.stages.quantized.made())
    return np.asarray(model.network.get_layer(layer).kernel)


def zeros_of_blocks(kernel: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """How many zeros each block of a kernel has, float [blocks]."""
    blocks = kernel.reshape(kernel.shape[0] // rows, rows, kernel.shape[1] // columns, columns)
    return np.asarray((blocks == 0).sum((1, 3))).ravel()


@pytest.mark.slow
def test_zeros_of_every_pattern_stay_through_fine_tuning(wide: Callable[..., Run]) -> None:
    patterns = [
        ({"method": "magnitude", "sparsity": 0.8}, (1, 1), {0, 1}, 0.8),
        ({"method": "block", "sparsity": 0.8}, (16, 1), {0, 16}, 0.8),
        ({"method": "2:4"}, (4, 1), {2}, 0.5),
        ({"method": "tile", "sparsity": 0.75, "side": 32}, (32, 32), {0, 1024}, 0.75),
    ]
    for prune, block, counts, share in patterns:
        kernel = kernel_of(wide(prune={"epochs": 1, **prune}))
        assert set(np.unique(zeros_of_blocks(kernel, *block))) <= counts, prune
        assert (kernel == 0).mean() == pytest.approx(share, abs=0.02), prune


@pytest.mark.slow
def test_blocks_larger_than_every_layer_are_an_error(wide: Callable[..., Run]) -> None:
    with pytest.raises(RecipeError, match="no layer has room for two blocks of 64 x 64 weights"):
        kernel_of(wide(prune={"method": "tile"}))


@pytest.mark.slow
def test_clusters_and_grids_keep_the_zeros_that_were_there(wide: Callable[..., Run]) -> None:
    pruned = {"method": "magnitude", "sparsity": 0.8, "epochs": 1}
    clustered = kernel_of(wide("deepfm", prune=pruned, cluster={"clusters": 8, "epochs": 1}))
    assert len(np.unique(clustered)) <= 8
    assert (clustered == 0).mean() > 0.78
    for sections in ({}, {"prune": pruned}, {"prune": pruned, "cluster": {"clusters": 8, "epochs": 1}}):
        kernel = kernel_of(wide("deepfm", **sections, quantize={"scheme": "int8-full", "epochs": 1}))
        codes = kernel / np.abs(kernel).max() * 127
        np.testing.assert_allclose(codes, np.rint(codes), atol=2e-3)
        if sections:
            assert (kernel == 0).mean() > 0.78
        if "cluster" in sections:
            assert len(np.unique(kernel)) <= 8


@pytest.mark.slow
def test_what_is_pruned_in_tiles_is_not_in_any_file(wide: Callable[..., Run]) -> None:
    prune = {"method": "tile", "sparsity": 0.75, "side": 32, "epochs": 1}
    report = wide("dcn", prune=prune, convert={"schemes": ["float32", "int8-full"], "candidates": 20}).report
    whole, *files = (variant for variant in report["variants"] if variant["file"])
    for variant in (whole, *files):
        assert {name: v["reason"] for name, v in variant["runtimes"].items()} == {"litert": "", "tflite-runtime": ""}
    saved = whole["bytes"]["network"] - files[0]["bytes"]["network"]
    assert saved > 0.6 * 4 * WIDE[0] * WIDE[1]  # of three tiles of four; calls and slices take some


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"prune": {"method": "magnitude", "target": "item_table"}}, "only the kernels of the network are pruned"),
        ({"cluster": {"epochs": 2}}, "epochs has no effect without cluster.clusters"),
        ({"quantize": {"learning_rate": 0.1}}, "learning_rate has no effect without quantize.scheme"),
        ({"cluster": {"clusters": 8}, "model": {"hidden": []}}, "cluster.clusters needs model.hidden"),
        ({"quantize": {"scheme": "int4"}}, "int8-full"),
    ],
)
def test_a_recipe_that_asks_for_what_is_not_there_is_an_error(
    sections: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=message):
        check_recipe({**document(tmp_path), **sections})


def test_retrieval_recipes_have_neither_tiles_nor_measured_ranges() -> None:
    data = {"data": {"source": "grocery", "name": "shop"}}
    with pytest.raises(RecipeError, match='needs kind = "ranking": only its files'):
        check_recipe({**data, "prune": {"method": "tile"}})
