"""Integer schemes: the file computes what the Keras model with the same integers computes, and stores them once."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.build import build
from converters.bundle_writer import bundle_bytes
from converters.convert import ConversionError, check_convertible
from converters.flatbuffer import packing
from converters.flatbuffer.quantize import packed
from converters.flatbuffer.strip import strip
from converters.grids import nearest_grid
from converters.schemes import SCHEMES
from converters.servable import save_model
from converters.sizes import bundle_sizes
from converters.verify import verify
from device_runner import EdgeRecError
from device_runner.child_process import run_module

ITEMS, DIM, HIDDEN, LENGTH = 90, 32, 20, 24
INTEGER = [name for name, scheme in SCHEMES.items() if scheme.storage]
# The others need a sample of training rows: see test_ranking_compression.
OF_RETRIEVAL = [name for name, scheme in SCHEMES.items() if not scheme.calibrated]
TYPES = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
WIDTH = {"FLOAT32": 32, "FLOAT16": 16, "INT16": 16, "INT8": 8, "UINT8": 8, "INT4": 4, "INT2": 2}


@given(
    bits=st.sampled_from([2, 3, 4, 8]),
    by_row=st.booleans(),
    largest=st.integers(1, 127),
    exponent=st.integers(-20, 10),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_values_on_a_grid_are_found_without_error(
    bits: int, by_row: bool, largest: int, exponent: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    levels = min(largest, 2 ** (bits - 1) - 1)
    values = (rng.integers(-levels, levels + 1, (5, 9)) * np.float32(1.3 * 2.0**exponent)).astype(np.float32)
    codes, scales = nearest_grid(values, bits, by_row)
    assert (codes.dtype, codes.shape) == (np.int8, values.shape)
    assert (scales.dtype, scales.shape) == (np.float32, (5 if by_row else 1,))
    assert np.abs(codes).max() <= 2 ** (bits - 1) - 1
    assert codes * scales[:, None] == pytest.approx(values, rel=1e-6)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("by_row", [True, False])
def test_the_grid_is_no_worse_than_one_that_reaches_the_largest_value(bits: int, by_row: bool) -> None:
    values = np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32)
    levels = 2 ** (bits - 1) - 1
    codes, scales = nearest_grid(values, bits, by_row)
    plain = np.abs(values).max(1, keepdims=True) / levels if by_row else np.abs(values).max() / levels
    error = ((codes * scales[:, None] - values) ** 2).sum()
    assert error <= ((np.rint(values / plain) * plain - values) ** 2).sum() * (0.95 if bits < 8 else 1)


def test_a_row_of_zeros_has_a_grid() -> None:
    codes, scales = nearest_grid(np.zeros((2, 3), np.float32), 4, True)
    assert (codes.tolist(), scales.tolist()) == ([[0] * 3] * 2, [1, 1])


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_codes_are_packed_from_the_lowest_bits_on(bits: int) -> None:
    codes = np.array([[1, -1, 0], [-1, 1, 1]], np.int8)
    assert np.array_equal(unpacked(packed(codes, bits), bits)[:6], codes.ravel())


def unpacked(data: np.ndarray, bits: int) -> np.ndarray:
    fields = (data[:, None] >> (np.arange(8 // bits, dtype=np.uint8) * bits)) & (2**bits - 1)
    codes = fields.ravel().astype(np.int16)
    return np.where(codes >= 2 ** (bits - 1), codes - 2**bits, codes)


class Made:
    """A GRU with transitions and a prior whose weights lie on the grids of the scheme, and its file."""

    def __init__(self, folder: Path, levels: int = 7, seed: int = 0) -> None:
        from tiny import architecture

        from device_runner.contract import Retrieval
        from edgerec.recommenders import SequenceRecommender
        from edgerec.recommenders.parts import Parts
        from edgerec.recommenders.prior import Prior
        from edgerec.recommenders.serving import ServedRecommender
        from edgerec.recommenders.transitions import Transitions

        rng = np.random.default_rng(seed)
        shape = architecture(encoder="gru", dim=DIM, hidden=HIDDEN, blocks=1, max_history=LENGTH)
        recommender = SequenceRecommender(shape, ITEMS, "made")
        self.codes = {}
        for layer in recommender.network.layers:
            for weight in layer.weights:
                if len(weight.shape) < 2:
                    weight.assign(weight + rng.normal(0, 0.1, weight.shape))
                    continue
                top = levels if layer.name == "item_table" else 7
                codes = rng.integers(-top, top + 1, weight.shape)
                if layer.name == "item_table":
                    scales = rng.integers(100, 256, (len(codes), 1)) if top == 7 else 255
                    scales = scales * 0.5 / 255 / top
                    self.codes[layer.name] = codes
                else:
                    scales = rng.uniform(0.2, 0.3, codes.shape[1]) / 7
                    self.codes[layer.name] = codes.T
                weight.assign((codes * scales).astype(np.float32))
        neighbours = rng.integers(1, ITEMS + 1, (ITEMS + 1, 5)).astype(np.int32)
        codes = rng.integers(1, 16, (ITEMS + 1, 5)).astype(np.uint8)
        levels = np.sqrt(np.arange(16, dtype=np.float32) / 16)
        weights = (0.8 ** np.arange(10)).astype(np.float32)
        recommender.parts = Parts(
            Transitions(neighbours, codes, levels, weights, np.zeros(0, np.float32), 0.5),
            Prior.of_counts(rng.integers(0, 100, ITEMS + 1), 0.3, None),
        )
        self.contract = Retrieval(
            LENGTH, 4 * LENGTH, 10, ITEMS, recommender.state_size or 0, recommender.parts.recent, 5
        )
        self.servable = ServedRecommender(recommender, self.contract)
        self.folder, self.recommender = folder, recommender
        self.inputs = rng.integers(1, ITEMS + 1, (30, LENGTH)).astype(np.int32)
        self.inputs[:15, : LENGTH // 2] = 0

    def files(self, schemes: list[str], **bits: int) -> dict[str, Path]:
        """The bundles of the schemes."""
        saved = self.folder / ("saved" + "".join(f"-{name}{n}" for name, n in bits.items()))
        save_model(self.servable, saved, bits)
        paths = {}
        for scheme, content in build(saved, schemes, saved).items():
            assert isinstance(content, bytes), content
            paths[scheme] = saved / f"{scheme}-bundle.tflite"
            items = [f"i{row}" for row in range(1, ITEMS + 1)]
            paths[scheme].write_bytes(bundle_bytes(content, "made", scheme, self.contract, items))
        return paths


def levels_of(scheme: str) -> int:
    """The largest code of the model that its tables can hold: with one level, they lie on the grids of all schemes."""
    storage = SCHEMES[scheme].storage
    return 1 if storage and (storage.table == 2 or not storage.by_row) else 7


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Made, Path]]:
    """The model and the file of a scheme; schemes whose grids may have the same codes share a model."""

    @cache
    def model(levels: int) -> tuple[Made, dict[str, Path]]:
        model = Made(tmp_path_factory.mktemp("made"), levels)
        return model, model.files([name for name in OF_RETRIEVAL if levels_of(name) == levels])

    def of(scheme: str) -> tuple[Made, Path]:
        found, files = model(levels_of(scheme))
        return found, files[scheme]

    return of


Making = Callable[[str], tuple[Made, Path]]


def constants(path: Path) -> list[tuple[str, tuple[int, ...], np.ndarray, Any]]:
    """Type, shape, data (uint8) and quantization of all constants, one for each buffer and shape."""
    model = packing.read(path.read_bytes())
    found = {}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            if data is not None and len(data):
                shape = tuple(int(n) for n in tensor.shape)
                found[tensor.buffer, shape] = TYPES[tensor.type], shape, np.asarray(data), tensor.quantization
    return list(found.values())


@pytest.mark.slow
@pytest.mark.parametrize("scheme", INTEGER)
def test_a_file_agrees_with_the_keras_model_of_the_same_integers(scheme: str, made: Making, tmp_path: Path) -> None:
    """By history and event by event; what is left is the rounding of activations to 8 bits."""
    model, path = made(scheme)
    outcome = verify(path, scheme, model.inputs, model.servable.reference(model.inputs), tmp_path)
    assert list(outcome) == list(SCHEMES[scheme].runtimes)
    for verification in outcome.values():
        assert verification.reason == ""
        assert verification.agreement["score_error"] < 0.02
        assert verification.agreement["overlap@10"] > 0.97


@pytest.mark.slow
@pytest.mark.parametrize("scheme", [name for name in SCHEMES if "tflite-runtime" not in SCHEMES[name].runtimes])
def test_tflite_runtime_refuses_what_it_would_compute_wrongly(scheme: str, made: Making, tmp_path: Path) -> None:
    model, path = made(scheme)
    np.savez(tmp_path / "in.npz", inputs=model.inputs)
    given = (path, "tflite-runtime", tmp_path / "in.npz", tmp_path / "out.npz")
    error = run_module("converters.verify_process", *given, time_limit=100)
    assert error and "tflite-runtime refuses" in error


@pytest.mark.slow
@pytest.mark.parametrize("scheme", INTEGER)
def test_weights_on_the_grid_are_stored_as_these_integers(scheme: str, made: Making) -> None:
    model, path = made(scheme)
    stored = constants(path)
    for codes in model.codes.values():
        kind, _, data, _ = next(entry for entry in stored if entry[1] == codes.shape and entry[0] != "UINT8")
        found = unpacked(data, WIDTH[kind])[: codes.size].reshape(codes.shape)
        # What shares a scale, and is zero or has a common divisor, has several exact grids.
        blocks = codes.reshape(-1, 32) if codes.shape[1] % 32 == 0 else codes
        found = found.reshape(blocks.shape)
        ratio = np.abs(found).max(1) / np.maximum(np.abs(blocks).max(1), 1)
        assert np.array_equal(found, np.rint(blocks * ratio[:, None]))


@pytest.mark.slow
@pytest.mark.parametrize("scheme", OF_RETRIEVAL)
def test_every_large_constant_is_stored_once_in_the_bits_of_the_scheme(scheme: str, made: Making) -> None:
    model, path = made(scheme)
    stored = constants(path)
    sizes = bundle_sizes(path, model.servable.tables)
    assert sizes["item_table"] * 8 == (ITEMS + 1) * DIM * SCHEMES[scheme].table_bits
    assert sizes["transitions"] == (ITEMS + 1) * 5 * 2
    assert sizes["prior"] == ITEMS + 1
    if storage := SCHEMES[scheme].storage:
        for name, codes in model.codes.items():
            alike = [other for other in model.codes.values() if sorted(other.shape) == sorted(codes.shape)]
            copies = [data for _, shape, data, _ in stored if sorted(shape) == sorted(codes.shape)]
            limit = codes.size * (storage.table if name == "item_table" else storage.kernels) // 8
            assert sum(len(data) for data in copies) <= limit * len(alike)
    data = [entry[2].tobytes() for entry in stored if entry[2].size >= 16]
    assert len(set(data)) == len({id(entry[2]) for entry in stored if entry[2].size >= 16})


@pytest.mark.slow
@pytest.mark.parametrize("scheme", OF_RETRIEVAL)
def test_nothing_but_weights_and_the_graph_is_in_the_file(scheme: str, made: Making) -> None:
    model, path = made(scheme)
    flatbuffer = packing.read(path.read_bytes())
    assert flatbuffer.description is flatbuffer.metadata is None
    assert {tensor.name for graph in flatbuffer.subgraphs for tensor in graph.tensors} == {None}
    assert {s.signatureKey.decode() for s in flatbuffer.signatureDefs} == set(model.contract.signatures)
    used = {tensor.buffer for graph in flatbuffer.subgraphs for tensor in graph.tensors} | {0}
    assert used == set(range(len(flatbuffer.buffers)))
    weights = sum(entry[2].size for entry in constants(path))
    content = path.read_bytes()[: bundle_sizes(path, [])["network"]]
    assert len(content) - weights < 26_000
    assert strip(content) == content


@pytest.mark.slow
def test_kernels_pruned_in_blocks_are_stored_without_them_and_run_everywhere(tmp_path: Path) -> None:
    model = Made(tmp_path)
    with pytest.raises(ConversionError, match=r"int8-sparse: .*no kernel has 30% of its blocks of 16 x 1 weights zero"):
        check_convertible(model.servable, "int8-sparse")
    rng = np.random.default_rng(0)
    layer = model.recommender.network.get_layer("gates_0")
    layer.kernel.assign(layer.kernel * np.repeat(rng.random((DIM // 16, 3 * HIDDEN)) < 0.2, 16, 0))
    check_convertible(model.servable, "int8-sparse")
    files = model.files(["int8", "int8-sparse"])
    saved = files["int8"].stat().st_size - files["int8-sparse"].stat().st_size
    assert saved > 0.6 * DIM * 3 * HIDDEN - 200  # of the 80 % that are zero, some are spent on indices
    expected = model.servable.reference(model.inputs)
    outcome = verify(files["int8-sparse"], "int8-sparse", model.inputs, expected, tmp_path)
    assert {runtime: v.reason for runtime, v in outcome.items()} == {"litert": "", "tflite-runtime": ""}
    assert max(v.agreement["score_error"] for v in outcome.values()) < 0.05


@pytest.mark.slow
def test_bits_of_a_layer_override_those_of_the_scheme(tmp_path: Path) -> None:
    model = Made(tmp_path)
    path = model.files(["int4"], recurrence_0=8, item_table=2)["int4"]
    types = {shape: kind for kind, shape, _, _ in constants(path) if kind.startswith("INT")}
    assert types[ITEMS + 1, DIM] == "INT2"
    assert types[3 * HIDDEN, HIDDEN] == "INT8"
    assert types[3 * HIDDEN, DIM] == "INT4"


@pytest.mark.parametrize("bits", [3, 16, 0])
def test_a_recipe_names_bits_that_there_are(bits: int) -> None:
    from edgerec.recipe.convert import Convert

    assert Convert.model_validate({"bits": {"recurrence_0": 8}}).bits == {"recurrence_0": 8}
    with pytest.raises(ValueError, match=r"bits\.recurrence_0\n.*2, 4 or 8"):
        Convert.model_validate({"bits": {"recurrence_0": bits}})


def test_blocks_that_do_not_divide_the_rows_are_refused_before_conversion(tmp_path: Path) -> None:
    model = Made(tmp_path)
    narrow = replace(SCHEMES["int4-block"], storage=replace(SCHEMES["int4-block"].storage, block=64))
    assert narrow.check(model.servable) == "its blocks have 64 weights; make model.dim, now 32, a multiple of that"
    assert SCHEMES["int4-block"].check(model.servable) is None


def test_bits_of_an_unknown_layer_are_refused(tmp_path: Path) -> None:
    model = Made(tmp_path)
    with pytest.raises(EdgeRecError, match="the model has no layer recurrence_1; its layers are item_table, gates_0"):
        save_model(model.servable, tmp_path / "saved", {"recurrence_1": 8})


def test_rows_that_do_not_end_with_a_byte_are_refused_before_conversion(tmp_path: Path) -> None:
    from tiny import architecture

    from edgerec.recommenders import SequenceRecommender
    from edgerec.recommenders.serving import ServedRecommender

    made = Made(tmp_path)
    odd = SequenceRecommender(architecture(encoder="mean", dim=15, max_history=6), ITEMS, "odd")
    servable = ServedRecommender(odd, replace(made.contract, state=0, recent=0, neighbours=0))
    with pytest.raises(ConversionError, match=r"int4: .*15 x 4 bits do not end with a byte; make model\.dim"):
        check_convertible(servable, "int4")
    check_convertible(servable, "int8-channel")


def test_integers_alone_are_for_models_with_a_sample_of_training_rows(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"int8-full: .*only ranking models"):
        check_convertible(Made(tmp_path).servable, "int8-full")
