"""Files on which tflite-runtime may crash where the processor has dot products: found, told and passed over."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from toys import toys

from converters.bundle_writer import with_facts
from converters.flatbuffer.dot_products import FEATURE, may_crash
from converters.flatbuffer.graph import BUILTIN, TYPES, new_buffer, new_operator, new_tensor, operator_code
from converters.flatbuffer.packing import write
from converters.verify import Verification
from device_runner.backends import choose_backend, crashes_here
from device_runner.bundle import Bundle
from device_runner.doctor import Machine, examine
from device_runner.errors import BackendError

CLAIM = {"version": "2.14.0", "not_on": [FEATURE]}


def layer(vectors: int, columns: int, rows: int, weights: int = TYPES.INT8) -> bytes:
    """A model of one FULLY_CONNECTED."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.operatorCodes, model.buffers = 3, [graph], [], [schema.BufferT()]
    graph.tensors = []
    buffer = new_buffer(model, np.zeros(rows * columns, np.int8))
    places = [
        new_tensor(graph, [1, vectors, columns], TYPES.FLOAT32),
        new_tensor(graph, [rows, columns], weights, buffer),
        new_tensor(graph, [1, vectors, rows], TYPES.FLOAT32),
    ]
    graph.operators = [new_operator(operator_code(model, BUILTIN.FULLY_CONNECTED, 3), places[:2], places[2:])]
    graph.inputs, graph.outputs = places[:1], places[2:]
    return write(model)


@pytest.mark.parametrize(
    ("sizes", "crashes"),
    [
        ((20, 32, 128), True),  # those that crashed
        ((20, 128, 32), True),
        ((4, 32, 128), True),
        ((8, 64, 64), True),
        ((2, 128, 128), True),  # which is padded to four vectors
        ((1, 32, 128), False),
        ((21, 32, 128), False),
        ((100, 32, 64), False),
        ((4, 30, 128), False),
        ((4, 32, 127), False),
    ],
)
def test_layers_that_take_the_kernel_of_four_vectors_are_found(sizes: tuple[int, int, int], crashes: bool) -> None:
    assert may_crash(layer(*sizes)) == crashes
    assert not may_crash(layer(*sizes, weights=TYPES.FLOAT32))


def test_the_manifest_says_it() -> None:
    assert Verification("2.14.0", "", not_on=(FEATURE,)).facts(5)["not_on"] == [FEATURE]
    assert Verification("2.14.0", "", not_on=(FEATURE,)).to_json()["not_on"] == [FEATURE]
    assert "not_on" not in Verification("2.14.0", "").facts(5)


def test_auto_passes_over_a_runtime_that_may_crash_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(verified: dict[str, Any], *features: str) -> str:
        monkeypatch.setattr("device_runner.backends.cpu_features", lambda: [*features])
        return choose_backend("auto", verified)

    monkeypatch.setattr("device_runner.backends.available_backends", lambda: ["tflite-runtime"])
    assert chosen({"tflite-runtime": CLAIM}, "asimd") == "tflite-runtime"
    with pytest.raises(BackendError, match="tflite-runtime may crash on this file, as this processor has asimddp"):
        chosen({"tflite-runtime": CLAIM}, "asimd", FEATURE)
    assert choose_backend("tflite-runtime", {"tflite-runtime": CLAIM}) == "tflite-runtime"  # as it was named
    monkeypatch.setattr("device_runner.backends.available_backends", lambda: ["tflite-runtime", "litert"])
    assert chosen({"tflite-runtime": CLAIM, "litert": {}}, FEATURE) == "litert"
    for malformed in (None, 5, {}, {"not_on": "asimddp"}, {"not_on": [5, None]}):
        assert crashes_here(malformed, [FEATURE]) == []


@pytest.mark.parametrize("runtimes", [("tflite-runtime",), ("litert", "tflite-runtime")])
def test_doctor_tells_it_and_what_to_do(runtimes: tuple[str, ...], tmp_path: Path) -> None:
    claims = {**Bundle.read(toys()["plain"]).runtimes, "tflite-runtime": CLAIM}
    (tmp_path / "m.tflite").write_bytes(with_facts(toys()["plain"], {"runtimes": claims}))
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text("Features\t: fp asimd asimddp\n")
    machine = Machine("aarch64", 64, (3, 11), ("glibc", "2.36"), "1.26.4", dict.fromkeys(runtimes, "1"), tmp_path)
    found = [finding for finding in examine(tmp_path / "m.tflite", machine) if finding.subject == "inference"]
    assert found[0].status == "warning" and "tflite-runtime may crash on this file" in found[0].found
    if "litert" in runtimes:
        assert found[1].found.startswith("litert")
    else:
        assert found[1].status == "problem" and found[1].remedy == "pip install ai-edge-litert"
