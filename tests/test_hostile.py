"""Hostile files: refused in one short line within bounds of time and memory, or answered; the process goes on."""

import hashlib
import io
import json
import signal
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hostile_files import BACKENDS, FINE, MEGABYTES, SECONDS, Child, Hostile, Parts, campaign, run
from toys import toys

from converters.flatbuffer import packing
from device_runner import Bundle, BundleError, Recommender
from device_runner.archive import ArchiveError, NoArchiveError, read_members
from device_runner.bundle import MEMBERS
from device_runner.child_process import child_environment
from device_runner.errors import LONGEST

MODEL = Path(__file__).parent.parent / "models" / "grocery" / "model.tflite"
OPERATORS = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
# Of a campaign without the check of the flatbuffer: these ended the process by a signal, or made it hang.
CRASHED = {
    ("linked", "structure", "tflite-runtime"): [509, 562, 717, 761, 984, 1036, 1039, 1122],
    ("model", "graph", "litert"): [1254],
    ("model", "structure", "tflite-runtime"): [668],
    ("plain", "graph", "litert"): [1276],
    ("plain", "structure", "tflite-runtime"): [649, 756, 804, 833, 856, 865, 1087, 1135, 1162, 1182],
    ("recurrent", "graph", "litert"): [1091],
    ("recurrent", "structure", "tflite-runtime"): [524, 568, 637, 648, 742, 759, 784, 838, 896, 1010, 1163],
    ("told", "graph", "litert"): [535],
    ("told", "structure", "tflite-runtime"): [624, 816, 819, 887, 957, 975, 1052, 1080, 1102, 1153, 1161],
}


def sound_files() -> dict[str, Path]:
    names = ("plain", "told", "linked", "recurrent", "ranking")
    return {"model": MODEL, **{name: toys()[name] for name in names}}


@pytest.mark.slow
def test_a_campaign_of_hostile_files_breaks_nothing(tmp_path: Path) -> None:
    crashed = [Hostile(name, kind, seed, backend) for (name, kind, backend), seeds in CRASHED.items() for seed in seeds]
    files = [*crashed, *campaign(150, sorted(sound_files()), 77)]
    broken = [f"{file}: {o.word} {o.said}" for file, o in run(files, sound_files(), tmp_path) if o.word not in FINE]
    assert broken == []


def archive_of(*entries: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method, compresslevel=9) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return file.getvalue()


def read(content: bytes) -> dict[str, bytes]:
    _, members = read_members(io.BytesIO(content), len(content), MEMBERS)
    return {name: member.content() for name, member in members.items()}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_stored_and_deflated_members_are_read_from_any_place(method: int) -> None:
    entries = (("edgerec.json", b"{}"), ("items.txt", b"a\n" * 1000), ("titles.txt", b""))
    content = archive_of(*entries, method=method)
    assert read(content) == dict(entries)
    file = io.BytesIO(b"TFL3" * 25)
    with zipfile.ZipFile(file, "a", method) as archive:
        for name, member in entries:
            archive.writestr(name, member)
    start, members = read_members(file, len(file.getvalue()), MEMBERS)
    assert (start, list(members)) == (100, [name for name, _ in entries])


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (archive_of(("items.txt", b"a")) + b"x", "no ZIP"),
        (b"", "no ZIP"),
        (archive_of(("items.txt", b"a"), ("items.txt", b"b")), "items.txt is there twice"),
        (archive_of(("items.txt", b"a"), method=zipfile.ZIP_BZIP2), r"a method \(12\)"),
        (archive_of(("items.txt", b"a"), method=zipfile.ZIP_LZMA), r"a method \(14\)"),
        (archive_of(("items.txt", b"\n" * 2**28)), "claims 268,435,456 bytes"),
        (archive_of(*((name, b" " * 3_000_000) for name in sorted(MEMBERS)[:5])), "claims 3,000,000 bytes"),
        (archive_of(*(("items.txt", b"") for _ in range(20))), "20 members"),
        (archive_of(("../items.txt", b"a")), "unexpected member"),
        (archive_of(("a\nb", b"a")), "unexpected member"),
        (archive_of(("items.txt", b"abc"), method=zipfile.ZIP_STORED).replace(b"abc", b"abd"), "a wrong checksum"),
    ],
)
def test_archives_that_bundles_do_not_have_are_refused(content: bytes, said: str) -> None:
    with pytest.raises((ArchiveError, NoArchiveError), match=said):
        read(content)


def test_a_member_that_is_longer_than_it_claims_is_not_inflated_further() -> None:
    content = bytearray(archive_of(("items.txt", b"a" * 1_000_000)))
    for signature, place in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        struct.pack_into("<I", content, content.index(signature) + place, 10)
    with pytest.raises(ArchiveError, match="not as long as it claims"):
        read(bytes(content))


def test_overlapping_members_are_refused() -> None:
    content = bytearray(archive_of(("items.txt", b"a" * 100), ("titles.txt", b"a" * 100)))
    second = content.index(b"PK\1\2", content.index(b"PK\1\2") + 1)
    struct.pack_into("<I", content, second + 42, 0)
    with pytest.raises(ArchiveError, match="is not behind the one before it"):
        read(bytes(content))


def changed(name: str, change: Callable[[Any], None], folder: Path) -> Path:
    """The file of a toy whose flatbuffer was changed, with hashes that fit."""
    parts = Parts.of(toys()[name].read_bytes())
    model = packing.read(parts.model)
    change(model)
    path = folder / "m.tflite"
    path.write_bytes(Parts(bytes(packing.write(model)), parts.manifest, parts.members).whole())
    return path


def operators(model: Any, name: str) -> Iterator[tuple[Any, Any]]:
    """Each operator of this name, with its graph."""
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            if OPERATORS[max(code.builtinCode, code.deprecatedBuiltinCode)] == name:
                yield graph, operator


def buffer_of(model: Any, name: str, number: int) -> Any:
    """The buffer of an input of the first operator of this name."""
    graph, operator = next(operators(model, name))
    return model.buffers[graph.tensors[operator.inputs[number]].buffer]


def shorter_table(model: Any) -> None:
    buffer = buffer_of(model, "GATHER", 0)
    buffer.data = buffer.data[:-4]


def larger_shape(model: Any) -> None:
    graph, operator = next(operators(model, "GATHER"))
    graph.tensors[operator.inputs[0]].shape = [2**30, 4]


def result_of_another_shape(model: Any) -> None:
    graph, operator = next(operators(model, "TANH"))
    graph.tensors[operator.outputs[0]].shape = [1, 4096]


def written_constant(model: Any) -> None:
    graph, operator = next(operators(model, "TANH"))
    constant = next(n for n, t in enumerate(graph.tensors) if model.buffers[t.buffer].data is not None)
    operator.outputs = [constant]


def read_before_written(model: Any) -> None:
    graph, _ = next(operators(model, "TANH"))
    graph.operators.reverse()


def absent_tensor(model: Any) -> None:
    next(operators(model, "TANH"))[1].inputs = [100_000]


def custom_operator(model: Any) -> None:
    model.operatorCodes[0].customCode = b"evil"


def unknown_operator(model: Any) -> None:
    _, operator = next(operators(model, "TANH"))
    code = model.operatorCodes[operator.opcodeIndex]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.SKIP_GRAM


def too_large_k(model: Any) -> None:
    buffer_of(model, "TOPK_V2", 1).data = list(struct.pack("<i", 10**9))


def variable(model: Any) -> None:
    model.subgraphs[0].tensors[0].isVariable = True


def text_tensor(model: Any) -> None:
    model.subgraphs[0].tensors[0].type = schema.TensorType.STRING


def foreign_signature(model: Any) -> None:
    model.signatureDefs[0].inputs[0].tensorIndex = 10_000


def graph_of_a_signature(model: Any) -> None:
    model.signatureDefs[0].subgraphIndex = 99


def unequal_inputs(model: Any) -> None:
    graph, operator = next(operators(model, "ADD"))
    graph.tensors[operator.inputs[0]].type = schema.TensorType.INT32


def scale_of_nothing(model: Any) -> None:
    graph, operator = next(operators(model, "TANH"))
    quantization = graph.tensors[operator.outputs[0]].quantization = schema.QuantizationParametersT()
    quantization.scale, quantization.zeroPoint = [float("nan")], [0]


@pytest.mark.parametrize(
    "change",
    [
        shorter_table, larger_shape, result_of_another_shape, written_constant, read_before_written, absent_tensor,
        custom_operator, unknown_operator, too_large_k, variable, text_tensor, foreign_signature, graph_of_a_signature,
        unequal_inputs, scale_of_nothing,
    ],
)  # fmt: skip
def test_flatbuffers_that_would_break_a_runtime_are_refused(change: Callable[[Any], None], tmp_path: Path) -> None:
    path = changed("recurrent", change, tmp_path)
    assert Bundle.read(path).model  # the hashes fit
    with pytest.raises(BundleError, match=r"m\.tflite: the model is damaged or not one that edgerec writes: "):
        Recommender.load(path)


def endless(model: Any) -> None:
    """The counter of the loop of the GRU stays as it is."""
    _, loop = next(operators(model, "WHILE"))
    body = model.subgraphs[loop.builtinOptions.bodySubgraphIndex]
    body.outputs = [body.inputs[place] if place < 2 else out for place, out in enumerate(body.outputs)]


def loop_of_itself(model: Any) -> None:
    for number, graph in enumerate(model.subgraphs):
        for _, loop in operators(model, "WHILE"):
            if loop in graph.operators:
                loop.builtinOptions.bodySubgraphIndex = number


def far_bound(model: Any) -> None:
    _, loop = next(operators(model, "WHILE"))
    condition = model.subgraphs[loop.builtinOptions.condSubgraphIndex]
    for tensor in condition.tensors:
        if (buffer := model.buffers[tensor.buffer]).data is not None:
            buffer.data = list(struct.pack("<i", 2**31 - 1))


@pytest.mark.parametrize("change", [endless, loop_of_itself, far_bound])
def test_loops_that_may_not_end_are_refused(change: Callable[[Any], None], tmp_path: Path) -> None:
    parts = Parts.of(MODEL.read_bytes())
    model = packing.read(parts.model)
    change(model)
    (tmp_path / "m.tflite").write_bytes(Parts(bytes(packing.write(model)), parts.manifest, parts.members).whole())
    with pytest.raises(BundleError, match=r"loop|written to"):
        Recommender.load(tmp_path / "m.tflite")


@pytest.mark.parametrize("ids", [[41, 1, 2, 3, 4], [-1, 1, 2, 3, 4], [1, 0, 2, 3, 4], [1, 2, 3, 0, -7]])
def test_a_model_that_lists_rows_of_no_item_is_a_damaged_bundle(
    ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    recommender = Recommender.load(toys()["plain"])
    out = {"ids": np.array([ids], np.int32), "scores": np.zeros((1, 5), np.float32)}
    monkeypatch.setattr(recommender._loaded, "run", lambda *_, **__: out)
    with pytest.raises(BundleError, match="the model gives rows that no item has"):
        recommender.recommend(["i1"], 5)


def test_a_model_that_looks_up_what_it_does_not_have_is_a_damaged_bundle(tmp_path: Path) -> None:
    """The transitions of the first item lead to an item beyond the last: what ``load`` does not see."""

    def far(model: Any) -> None:
        graph, operator = next(o for o in operators(model, "GATHER") if o[0].tensors[o[1].inputs[0]].type == 2)
        buffer = model.buffers[graph.tensors[operator.inputs[0]].buffer]
        values = np.frombuffer(bytes(bytearray(buffer.data)), "<i4").copy()
        values[2] = 10**6
        buffer.data = list(values.tobytes())

    recommender = Recommender.load(changed("linked", far, tmp_path))
    assert recommender.recommend(["i2"])
    with pytest.raises(BundleError, match="the model fails in recommend"):
        recommender.recommend(["i1"])


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"contract": {"state": 3}}, "'state': "),
        ({"contract": {"items": 10**9}}, "more than the model has bytes"),
        ({"contract": {"max_history": 2**62}}, "the inputs of recommend are"),
        ({"format": 0}, "no format version"),
        ({"format": True}, "no format version"),
        ({"name": 7}, "lacks the name"),
        ({"name": "\ud800"}, "not JSON"),
        ({"user_features": [{"name": "a", "first": 41, "values": [], "edges": [10**400]}]}, "malformed entry"),
        ({"user_features": [{"name": "a", "first": 41, "values": "ab", "edges": []}]}, "malformed entry"),
        ({"user_features": 7}, "malformed entry"),
        ({"flatbuffer_bytes": "many"}, "the model has"),
        ({"runtimes": {"litert": []}}, "entries of the wrong kind"),
        ({"padding": [0] * 300_000}, "its values would take more than 8,388,608 bytes"),
    ],
)
def test_manifests_that_lie_are_refused_in_one_line(entries: dict[str, Any], said: str, tmp_path: Path) -> None:
    parts = Parts.of(toys()["recurrent"].read_bytes())
    contract = {**parts.manifest["contract"], **entries.pop("contract", {})}
    manifest = {**parts.manifest, "contract": contract, **entries}
    whole = Parts(parts.model, manifest, parts.members)
    (tmp_path / "m.tflite").write_bytes(whole.whole())
    if "flatbuffer_bytes" in entries:
        manifest["members"] = {name: hashlib.sha256(content).hexdigest() for name, content in parts.members.items()}
        (tmp_path / "m.tflite").write_bytes(whole.whole(consistent=False))
    with pytest.raises(BundleError, match=said) as caught:
        Recommender.load(tmp_path / "m.tflite")
    assert str(caught.value).isprintable() and len(str(caught.value)) < LONGEST + 10


@pytest.mark.parametrize("text", ["a\nb", "\x1b[2J", "\u2028", "\u202e", "x" * 10_000, "\0", "é🎬 …"])
def test_a_message_is_one_short_line_whatever_it_quotes(text: str) -> None:
    said = str(BundleError(f"m.tflite: {text}; convert it again"))
    assert said.isprintable() and len(said) < LONGEST + 10
    assert said.startswith("m.tflite: ") and said.endswith("convert it again")
    assert (text in said) == (text == "é🎬 …")


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_files_that_ask_for_much_are_refused_soon_and_with_little_memory(backend: str, tmp_path: Path) -> None:
    sound = toys()["told"]
    parts = Parts.of(sound.read_bytes())

    def of(contract: dict[str, Any], **members: bytes) -> Iterator[bytes]:
        manifest = {**parts.manifest, "contract": {**parts.manifest["contract"], **contract}, "format": 3}
        named = {name.replace("_dot_", "."): content for name, content in members.items()}
        kept = {} if "items_dot_bin" in members else parts.members
        yield Parts(parts.model, manifest, {**kept, **named}).whole()

    files = [
        *of({}, items_dot_txt=b"\n" * 2**28),
        *of({"items": 2**23}, items_dot_txt=b"\n" * 2**23),
        *of({"items": 20_000_000}, items_dot_bin=bytes([25]) + bytes(62_500_000)),
        *of({}, titles_dot_txt=b"a\n" * 4_000_000),
        *of({}, **{f"{name}_dot_json": b"[" * 8_000_000 for name in ("golden", "attributes", "features")}),
        *of({}, attributes_dot_json=b"[" + b"[]," * 2_500_000 + b"[]]"),
        *of({}, item_values_dot_json=b'{"a":[' + b"0," * 4_000_000 + b"0]}"),
        *of({}, features_dot_json=b"[" + b"9" * 5_000_000 + b"]"),
        *of({}, golden_dot_json=b'{"cases":[' + b"{}," * 2_000_000 + b"{}]}"),
        *of({"max_history": 10**9, "max_exclude": 10**9, "top_k": 10**9}),
    ]
    child = Child(backend)
    path = tmp_path / "m.tflite"
    for number, content in enumerate(files):
        path.write_bytes(content)
        outcome = child.ask(path, sound)
        assert outcome.word == "refused", (number, outcome)
        assert outcome.seconds < SECONDS and outcome.megabytes < MEGABYTES, (number, outcome)
    child.end()


OVERWRITTEN = """
import os, sys
from device_runner import Recommender
path, backend = sys.argv[1:]
recommender = Recommender.load(path, backend)
items = recommender.bundle.items[1:6]
expected = list(recommender.recommend(items))
with open(path, "r+b") as file:
    for start in range(0, os.path.getsize(path), 512):
        file.seek(start)
        file.write(os.urandom(512))
        file.flush()
        if start % 4096 == 0:
            assert list(recommender.recommend(items)) == expected
    file.truncate(100)
    assert list(recommender.recommend(items)) == expected
    assert recommender.bundle.golden() is not None
print("the same", flush=True)
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_file_may_be_overwritten_and_cut_off_while_it_is_used(backend: str, tmp_path: Path) -> None:
    """A mapped file would end the process by a signal, or give other answers."""
    path = tmp_path / "m.tflite"
    path.write_bytes((MODEL if backend == "litert" else toys()["recurrent"]).read_bytes())
    command = [sys.executable, "-c", OVERWRITTEN, str(path), backend]
    done = subprocess.run(command, capture_output=True, text=True, env=child_environment(), timeout=120)
    assert done.returncode != -signal.SIGBUS
    assert (done.stdout, done.returncode) == ("the same\n", 0), done.stderr


def test_what_was_hashed_is_what_is_loaded(tmp_path: Path) -> None:
    bundle = Bundle.read(MODEL)
    assert bundle.model == MODEL.read_bytes()[: bundle.manifest["flatbuffer_bytes"]]
    assert bundle.checked_model() is bundle.model


def test_attributes_and_features_are_read_and_checked(tmp_path: Path) -> None:
    parts = Parts.of(toys()["plain"].read_bytes())
    rows = [[0], [1, 0], *([[]] * 38)]
    good = {"category": {"values": ["DAIRY", "MEAT"], "rows": rows}}
    path = tmp_path / "m.tflite"

    def written(member: str, document: Any, version: int = 3) -> Path:
        manifest = {**parts.manifest, "format": version}
        text = json.dumps(document).encode()
        path.write_bytes(Parts(parts.model, manifest, {**parts.members, member: text}).whole())
        return path

    attribute = Bundle.read(written("attributes.json", good)).attributes["category"]
    assert (attribute.values, attribute.of(1), attribute.of(2), attribute.of(3)) == (("DAIRY", "MEAT"), [0], [1, 0], [])
    with pytest.raises(BundleError, match="format 2 does not have"):
        Bundle.read(written("attributes.json", good, 2))
    for bad in ([], {"a": 1}, {"a": {"values": ["x"], "rows": [[1]] * 40}}, {"a": {"values": ["x"], "rows": [[0]]}}):
        with pytest.raises(BundleError, match=r"attributes\.json"):
            Bundle.read(written("attributes.json", bad))
    for bad in ({}, [7], [{"name": "a"}], [{"input": 1, "name": "a", "of": "user", "type": "number"}], float("nan")):
        with pytest.raises(BundleError, match=r"features\.json"):
            Bundle.read(written("features.json", bad))
    prices = [1.5, None, [1, 2], *([0] * 37)]
    assert Bundle.read(written("item_values.json", {"price": prices})).item_values == {"price": prices}
    for bad in (
        [],
        {"a": [0]},
        {"a": ["x"] * 40},
        {"a": [float("inf")] * 40},
        {"a": [True] * 40},
        {"a": [10**400] * 40},
    ):
        with pytest.raises(BundleError, match=r"item_values\.json"):
            Bundle.read(written("item_values.json", bad))


@pytest.mark.parametrize(
    "case",
    [
        {"history": [1], "exclude": [], "ids": [1], "scores": [float("nan")]},
        {"history": [1], "exclude": [], "ids": [1], "scores": [10**400]},
        {"history": [1], "exclude": [], "ids": [1], "scores": [True]},
        {"history": [1], "exclude": [], "ids": [1], "scores": []},
        {"history": [1], "exclude": [], "ids": [1], "scores": [0.5], "tolerance": "much"},
    ],
)
def test_golden_vectors_that_no_test_can_use_are_refused(case: dict[str, Any], tmp_path: Path) -> None:
    parts = Parts.of(toys()["plain"].read_bytes())
    members = {**parts.members, "golden.json": json.dumps({"cases": [case]}).encode()}
    (tmp_path / "m.tflite").write_bytes(Parts(parts.model, parts.manifest, members).whole())
    with pytest.raises(BundleError, match=r"golden\.json has"):
        Bundle.read(tmp_path / "m.tflite").golden()
