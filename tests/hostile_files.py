"""A campaign of hostile files: damaged and crafted bundles, which must be refused in one line or answered.

``python tests/hostile_files.py --files 20000 BUNDLE...`` makes files from sound bundles, each from a kind of damage and
a seed, and gives them to child processes, which read, load and use them as an app would. It prints one line for each
outcome, and the files that broke something, which ``--only NAME:KIND:SEED:BACKEND`` makes again.

Half of the kinds keep the hashes consistent, as whoever crafts a file would.
"""

import hashlib
import io
import json
import os
import random
import select
import struct
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from device_runner.child_process import child_environment

BACKENDS = ("litert", "tflite-runtime")
# Bounds for each file: seconds of the processor, as the machine may be busy, and megabytes at the largest.
SECONDS, MEGABYTES = 2.0, 100
# A child that computes, or waits, for so many seconds hangs.
PATIENCE, WAITING = 15.0, 120.0
FILES_OF_A_CHILD = 100
REFUSED = ("refused", "refused by the runtime")
FINE = (*REFUSED, "answered")

INTEGERS = [0, 1, -1, 2, 3, 4, 7, 8, 31, 32, 33, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, -(2**31), 2**30, 10**6]
ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 1e308, -1e308, float("nan"), float("inf"), "", "x", "\n", "\0",
    "\u2028", "\ud800", "x" * 100_000, [], {}, [[]], [None], {"": None}, [1] * 1000, "1", -0.0, [[[[[[]]]]]],
]  # fmt: skip


@dataclass(frozen=True)
class Parts:
    """A sound bundle, taken apart."""

    model: bytes
    manifest: dict[str, Any]
    members: dict[str, bytes]

    @classmethod
    def of(cls, content: bytes) -> "Parts":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
            start = min(info.header_offset for info in archive.infolist())
        return cls(content[:start], json.loads(members.pop("edgerec.json")), members)

    def whole(self, consistent: bool = True, methods: Sequence[int] = (zipfile.ZIP_DEFLATED,)) -> bytes:
        """The file, with hashes that fit."""
        manifest = dict(self.manifest)
        if consistent:
            manifest["flatbuffer_bytes"] = len(self.model)
            manifest["flatbuffer_sha256"] = hashlib.sha256(self.model).hexdigest()
            manifest["members"] = {name: hashlib.sha256(content).hexdigest() for name, content in self.members.items()}
        file = io.BytesIO(self.model)
        with warnings.catch_warnings(), zipfile.ZipFile(file, "a") as archive:
            warnings.simplefilter("ignore")  # of members that are there twice
            text = json.dumps(manifest, ensure_ascii=True).encode()
            for number, (name, content) in enumerate([("edgerec.json", text), *self.members.items()]):
                archive.writestr(name, content, methods[number % len(methods)], 1)
        return file.getvalue()


def damaged(content: bytes, rng: random.Random, start: int = 0) -> bytes:
    """Bytes with a few of them flipped, overwritten, cut out, doubled or cut off, from ``start`` on."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        if len(data) <= start + 1:
            break
        place, length = rng.randrange(start, len(data)), rng.choice([1, 2, 4, 16, 300])
        match rng.randrange(8):
            case 0 | 1:
                data[place] ^= 1 << rng.randrange(8)
            case 2 | 3:
                data[place] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
            case 4:
                data[place : place + length] = rng.randbytes(length)
            case 5:
                del data[place : place + length]
            case 6:
                data[place:place] = data[place : place + length]
            case 7:
                if rng.random() < 0.2:
                    del data[place:]
    return bytes(data)


def raw(content: bytes, rng: random.Random) -> bytes:
    """Any bytes of the file."""
    return damaged(content, rng)


def archive(content: bytes, rng: random.Random) -> bytes:
    """The ZIP: its structure, or entries that lie."""
    parts = Parts.of(content)
    choice = rng.randrange(8)
    if choice < 4:
        return damaged(content, rng, len(parts.model))
    if choice == 4:  # another field of a header
        data, signatures = bytearray(content), (b"PK\1\2", b"PK\3\4", b"PK\5\6")
        places = [p for s in signatures for p in _all(content, s, len(parts.model))]
        for _ in range(rng.choice([1, 2, 3])):
            place = rng.choice(places) + rng.randrange(4, 46)
            value = struct.pack("<i", rng.choice(INTEGERS))[: rng.choice([1, 2, 4])]
            data[place : place + len(value)] = value
        return bytes(data[: len(content)])
    if choice == 5:  # methods that need more memory or are not deflated
        methods = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
        return parts.whole(methods=[rng.choice(methods) for _ in range(3)])
    name = rng.choice([*parts.members, "edgerec.json", "titles.txt", "golden.json"])
    bomb = rng.choice([b"\n", b"a", b" ", b"[", b"0,", b"\0", b"1\n"]) * rng.choice([10, 10**5, 10**7, 6 * 10**7])
    if choice == 6:
        members = {**parts.members, name: bomb}
        return Parts(parts.model, parts.manifest, members).whole()
    file = io.BytesIO(content)
    with warnings.catch_warnings(), zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as again:
        warnings.simplefilter("ignore")
        for _ in range(rng.choice([1, 2, 30])):  # the same member several times
            again.writestr(name, bomb[: 10**7])
    return file.getvalue()


def _all(content: bytes, wanted: bytes, start: int) -> Iterator[int]:
    while (start := content.find(wanted, start)) >= 0:
        yield start
        start += 1


def members(content: bytes, rng: random.Random) -> bytes:
    """The content of a member, with hashes that fit."""
    parts = Parts.of(content)
    changed = dict(parts.members)
    for _ in range(rng.choice([1, 1, 2])):
        name = rng.choice([*changed, "titles.txt", "golden.json", "MODEL_CARD.md", "attributes.json", "features.json"])
        old = changed.get(name, b"")
        lines = old.split(b"\n")
        match rng.randrange(10):
            case 0 | 1:
                changed[name] = damaged(old, rng)
            case 2:
                changed[name] = b"\n" * rng.choice([0, 1, len(lines), 10**6, 2 * 10**7])
            case 3:
                changed[name] = b"".join(b"%d\n" % n for n in range(rng.choice([0, 1, len(lines), 10**6])))
            case 4:
                lines[rng.randrange(len(lines))] = rng.choice(
                    [b"\xff", b"\\ud800", b"\\u000a", b"\\", b'","', b"\x00", b"\r", "\u2028".encode(), b"x" * 10**6]
                )
                changed[name] = b"\n".join(lines)
            case 5:
                changed[name] = rng.choice([b"[" * 10**6, b'{"a":' * 10**5, b"[" * 990 + b"]" * 990, b"9" * 10**5])
            case 6:
                changed[name] = b"[" + rng.choice([b"[],", b"{},", b"0,", b'"",']) * rng.choice([10, 10**6]) + b"0]"
            case 7:
                changed.pop(name, None)
            case _:
                changed[name] = _json(old, rng)
    return Parts(parts.model, parts.manifest, changed).whole()


def _json(content: bytes, rng: random.Random) -> bytes:
    """JSON with a value somewhere in it replaced."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return json.dumps(rng.choice(ODD)).encode()
    return json.dumps(replaced(document, rng)).encode()


def replaced(document: Any, rng: random.Random) -> Any:
    """The document with a value somewhere in it replaced, left out or doubled."""
    if isinstance(document, dict) and document and rng.random() < 0.9:
        key = rng.choice(list(document))
        changed = dict(document)
        if rng.random() < 0.08:
            del changed[key]
        else:
            changed[key] = replaced(document[key], rng)
        return changed
    if isinstance(document, list) and document and rng.random() < 0.85:
        place = rng.randrange(len(document))
        if rng.random() < 0.1:
            return [*document[:place], *document[place + 1 :]]
        if rng.random() < 0.1:
            return [*document, document[place]]
        return [*document[:place], replaced(document[place], rng), *document[place + 1 :]]
    if type(document) is int and rng.random() < 0.6:
        return document + rng.choice([-1, 1, 2, 7, 1000]) if rng.random() < 0.5 else rng.choice(INTEGERS)
    return rng.choice(ODD)


def manifest(content: bytes, rng: random.Random) -> bytes:
    """Entries of the manifest, with hashes that fit."""
    parts = Parts.of(content)
    changed = dict(parts.manifest)
    for _ in range(rng.choice([1, 1, 2, 4])):
        key = rng.choice([*changed, "contract", "contract", "user_features", "runtimes", "quality"])
        changed[key] = replaced(changed.get(key), rng)
    return Parts(parts.model, changed, parts.members).whole(consistent=rng.random() < 0.9)


def structure(content: bytes, rng: random.Random) -> bytes:
    """Numbers of the flatbuffer outside of its weights, with hashes that fit."""
    parts = Parts.of(content)
    data = bytearray(parts.model)
    places = _structural(parts.model)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        place = rng.choice(places) if rng.random() < 0.95 else rng.randrange(len(data) // 4) * 4
        if place + 4 > len(data):
            continue
        old = struct.unpack_from("<i", data, place)[0]
        match rng.randrange(6):
            case 0:
                new = rng.choice(INTEGERS)
            case 1:
                new = old + rng.choice([-4, -2, -1, 1, 2, 4, 64])
            case 2:
                new = struct.unpack_from("<i", data, rng.choice(places))[0]
            case 3:
                new = old ^ 1 << rng.randrange(32)
            case 4:
                at = place + rng.randrange(4)
                data[at] = rng.choice([0, 1, 2, 4, 6, 9, 17, 255, rng.randrange(256)])
                continue
            case _:
                new = old ^ 1 << rng.randrange(8)
        struct.pack_into("<i", data, place, (new + 2**31) % 2**32 - 2**31)
    return Parts(bytes(data), parts.manifest, parts.members).whole()


def weights(content: bytes, rng: random.Random) -> bytes:
    """Weights of the flatbuffer, with hashes that fit: indexes of transitions, scales, numbers that are not finite."""
    from device_runner.flatbuffer import read_model

    parts = Parts.of(content)
    data = bytearray(parts.model)
    tensors = [t for graph in read_model(parts.model).graphs for t in graph.tensors if t.data and t.bytes > 8]
    for _ in range(rng.choice([1, 2, 3])):
        tensor = rng.choice(tensors)
        numbers = [struct.pack("<i", n) for n in INTEGERS] + [struct.pack("<f", x) for x in (1e38, -1e38, 1e-40)]
        numbers += [b"\0\0\xc0\x7f", b"\0\0\x80\xff", b"\xff\xff\xff\xff", rng.randbytes(4)]
        length = rng.choice([4, 4, tensor.bytes // 2, tensor.bytes])
        start = tensor.data + rng.randrange(0, max(1, tensor.bytes - length + 1), 2)
        value = rng.choice(numbers) * (length // 4 + 1)
        data[start : start + length] = value[:length]
    return Parts(bytes(data[: len(parts.model)]), parts.manifest, parts.members).whole()


def _structural(model: bytes) -> list[int]:
    """Places of numbers that are not weights (of constants of more than 64 bytes)."""
    from device_runner.flatbuffer import read_model

    known = bytearray(len(model) // 4 + 1)
    for graph in read_model(model).graphs:
        for tensor in graph.tensors:
            if tensor.data and tensor.bytes > 64:
                first, last = tensor.data // 4, (tensor.data + (0 if tensor.sparse else tensor.bytes)) // 4
                known[first:last] = b"\1" * (last - first)
    return [4 * place for place, weight in enumerate(known[:-1]) if not weight]


def graph(content: bytes, rng: random.Random) -> bytes:
    """What the flatbuffer says, written anew by a sound writer, with hashes that fit."""
    from ai_edge_litert import schema_py_generated as schema

    from converters.flatbuffer import packing

    parts = Parts.of(content)
    model = packing.read(parts.model)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        at = rng.choice(model.subgraphs)
        tensor, operator = rng.choice(at.tensors), rng.choice(at.operators or [None])
        match rng.randrange(14):
            case 0 | 1:
                shape = [int(n) for n in tensor.shape] if tensor.shape is not None else []
                for _ in range(rng.choice([1, 2])):
                    place = rng.randrange(len(shape) + 1)
                    shape[place : place + rng.choice([0, 1, 1])] = [rng.choice([*INTEGERS, *shape])]
                tensor.shape = shape
            case 2:
                tensor.type = rng.choice([*range(23), 0, 2, 9])
            case 3:
                tensor.buffer = rng.randrange(len(model.buffers))
            case 4:
                tensor.quantization = rng.choice(at.tensors).quantization
            case 5:
                buffer = rng.choice(model.buffers[1:])
                data = buffer.data
                if data is not None:
                    size = len(data) + rng.choice([-len(data), -4, -1, 1, 4, len(data)])
                    buffer.data = (list(data) * 2)[: max(size, 0)]
            case 6 | 7:
                small = [b for b in model.buffers if b.data is not None and 0 < len(b.data) <= 64]
                if small:
                    chosen = rng.choice(small)
                    values = bytearray(bytes(int(b) for b in chosen.data))
                    place = rng.randrange(max(1, len(values) // 4)) * 4
                    values[place : place + 4] = struct.pack("<i", rng.choice(INTEGERS))[: len(values) - place]
                    chosen.data = list(values)
            case 8 if operator:
                inputs = [int(n) for n in operator.inputs]
                if inputs:
                    inputs[rng.randrange(len(inputs))] = rng.choice([-1, rng.randrange(len(at.tensors))])
                operator.inputs = inputs if rng.random() < 0.8 else inputs[:-1]
            case 9 if operator:
                operator.outputs = [rng.randrange(len(at.tensors)) for _ in operator.outputs]
            case 10:
                code = rng.choice(model.operatorCodes)
                code.builtinCode = rng.choice([*range(210), *[c.builtinCode for c in model.operatorCodes]])
                code.deprecatedBuiltinCode = min(code.builtinCode, 127)
            case 11 if operator:
                if operator.builtinOptions is not None and vars(operator.builtinOptions):
                    key = rng.choice(list(vars(operator.builtinOptions)))
                    value = getattr(operator.builtinOptions, key)
                    if isinstance(value, bool):
                        setattr(operator.builtinOptions, key, not value)
                    elif isinstance(value, int):
                        small = [n for n in INTEGERS if -128 <= n < 128]
                        setattr(operator.builtinOptions, key, rng.choice(small))
            case 12 if operator:
                operator.opcodeIndex = rng.randrange(len(model.operatorCodes))
            case 13:
                if at.operators and rng.random() < 0.5:
                    at.operators.pop(rng.randrange(len(at.operators)))
                elif at.operators:
                    rng.shuffle(at.operators)
                else:
                    at.outputs = [rng.randrange(len(at.tensors)) for _ in at.outputs]
            case _:
                entry = rng.choice(model.signatureDefs)
                for one in rng.choice([entry.inputs, entry.outputs]):
                    one.tensorIndex = rng.randrange(len(at.tensors))
    assert schema
    try:
        written = packing.write(model)
    except (ValueError, TypeError, struct.error, OverflowError):  # the writer itself refuses a value
        return structure(content, rng)
    return Parts(bytes(written), parts.manifest, parts.members).whole()


# Name -> how a sound file is changed, and how many of a hundred files are made so.
KINDS: dict[str, tuple[Callable[[bytes, random.Random], bytes], int]] = {
    "raw": (raw, 25),
    "archive": (archive, 20),
    "members": (members, 10),
    "manifest": (manifest, 12),
    "structure": (structure, 18),
    "graph": (graph, 15),
    "weights": (weights, 8),
}


@dataclass(frozen=True)
class Hostile:
    """One file: what it is made from, how, and which runtime gets it."""

    bundle: str
    kind: str
    seed: int
    backend: str

    def __str__(self) -> str:
        return f"{self.bundle}:{self.kind}:{self.seed}:{self.backend}"

    @classmethod
    def parse(cls, text: str) -> "Hostile":
        bundle, kind, seed, backend = text.split(":")
        return cls(bundle, kind, int(seed), backend)

    def content(self, sound: bytes) -> bytes:
        return KINDS[self.kind][0](sound, random.Random(f"{self.bundle}:{self.kind}:{self.seed}"))


@dataclass(frozen=True)
class Outcome:
    """What came of a file: a word, what was said, seconds, and megabytes of the process at its largest."""

    word: str
    said: str = ""
    seconds: float = 0.0
    megabytes: float = 0.0


def campaign(files: int, bundles: Sequence[str], first: int = 0) -> Iterator[Hostile]:
    """So many different files, of every kind, bundle and runtime."""
    rng = random.Random(f"campaign {first}")
    names, weights = list(KINDS), [weight for _, weight in KINDS.values()]
    for seed in range(first, first + files):
        yield Hostile(rng.choice(bundles), rng.choices(names, weights)[0], seed, rng.choice(BACKENDS))


class Child:
    """A process that reads files, one at a time, with one runtime."""

    def __init__(self, backend: str) -> None:
        command = [sys.executable, __file__, "--child", backend]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=child_environment()
        )
        self.files = 0
        assert self._line() == b"ready\n"

    def ask(self, path: Path, sound: Path) -> Outcome:
        """What becomes of the file."""
        assert self._process.stdin and self._process.stdout
        self.files += 1
        self._process.stdin.write(f"{path}\t{sound}\n".encode())
        self._process.stdin.flush()
        line = self._line()
        if line is None:
            self.end()
            return Outcome("hung", seconds=PATIENCE)
        if not line:
            return Outcome("crashed", f"the process ended with {self._process.wait()}")
        return Outcome(**json.loads(line))

    def _line(self) -> bytes | None:
        """The next line of the child's output, empty if it has ended; ``None`` if it hangs."""
        assert self._process.stdout
        started, computed = time.monotonic(), self._computed()
        while time.monotonic() - started < WAITING and self._computed() - computed < PATIENCE:
            if select.select([self._process.stdout], [], [], 1.0)[0]:
                return self._process.stdout.readline()
        return None

    def _computed(self) -> float:
        """Seconds of the processor that the child has used."""
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None


def run(files: Sequence[Hostile], sound: dict[str, Path], folder: Path) -> Iterator[tuple[Hostile, Outcome]]:
    """What becomes of each file. A child serves many files, and another follows one that has ended."""
    children: dict[str, Child] = {}
    whole = {name: path.read_bytes() for name, path in sound.items()}
    path = folder / "hostile.tflite"
    try:
        for hostile in files:
            path.write_bytes(hostile.content(whole[hostile.bundle]))
            child = children.get(hostile.backend)
            if child is None or not child.alive or child.files >= FILES_OF_A_CHILD:
                if child:
                    child.end()
                child = children[hostile.backend] = Child(hostile.backend)
            outcome = child.ask(path, sound[hostile.bundle])
            if outcome.word in FINE and outcome.seconds > SECONDS:
                outcome = Outcome("slow", outcome.said, outcome.seconds, outcome.megabytes)
            elif outcome.word in REFUSED and outcome.megabytes > MEGABYTES:
                outcome = Outcome("large", outcome.said, outcome.seconds, outcome.megabytes)
            yield hostile, outcome
    finally:
        for child in children.values():
            child.end()


def serve(backend: str) -> None:
    """The child's side: a path on each line of standard input, an outcome on each of standard output."""
    import importlib
    import resource

    from device_runner.backends import BACKENDS as MODULES

    # Far above what the process needs itself, so that a file that asks for gigabytes gets a MemoryError.
    resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    importlib.import_module(MODULES[backend][0])
    answers: dict[str, Any] = {}
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        path, sound = line.rstrip("\n").split("\t")
        if sound not in answers:
            try:
                answers[sound] = _used(sound, backend)
            except Exception as error:  # a scheme that this runtime refuses
                answers[sound] = type(error).__name__
        Path("/proc/self/clear_refs").write_text("5")
        started = time.process_time()
        word, said = _outcome(path, backend, answers[sound])
        seconds = time.process_time() - started
        print(json.dumps({"word": word, "said": said, "seconds": seconds, "megabytes": _peak()}), file=out, flush=True)


def _peak() -> float:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def _outcome(path: str, backend: str, expected: Any) -> tuple[str, str]:
    """What came of the file, in a word, and what was said."""
    from device_runner.errors import BackendError, BundleError

    try:
        found = _used(path, backend)
    except (BundleError, BackendError) as error:
        said = str(error)
        if not said.isprintable() or len(said) > 700:
            return "message of several lines", repr(said)[:300]
        return REFUSED[isinstance(error, BackendError)], said
    except BaseException as error:
        import traceback

        place = traceback.extract_tb(error.__traceback__)[-1]
        return "escaped", f"{type(error).__name__}: {str(error)[:200]} ({place.filename}:{place.lineno})"
    if isinstance(expected, dict) and found["given"] == expected["given"] and found["lists"] != expected["lists"]:
        return "another answer", str(found)[:300]
    return "answered", ""


def _used(path: str, backend: str) -> dict[str, Any]:
    """Use a bundle as an app does: what it was read from, and its lists."""
    from click.testing import CliRunner

    from device_runner import Bundle, Recommender
    from device_runner.cli.inspect import inspect
    from device_runner.contract import Retrieval
    from device_runner.errors import EdgeRecError

    bundle = Bundle.read(path)
    for read in (bundle.golden, bundle.card):
        read()
    shown = CliRunner().invoke(inspect, [path])
    if shown.exception is not None and not isinstance(shown.exception, EdgeRecError | SystemExit):
        raise shown.exception
    items = list(bundle.items[1:4]) + list(bundle.items[-3:])
    parts = [list(bundle.items), list(bundle.features), dict(bundle.item_values), bundle.manifest["contract"]]
    given = [bundle.model.hex(), *map(repr, parts), bundle.manifest.get("user_features"), bundle.exclude_history]
    given = [hashlib.sha256(repr(given).encode()).hexdigest()]
    if not isinstance(bundle.contract, Retrieval):
        return {"given": given, "lists": _ranked(path, bundle, backend)}
    lists: list[Any] = []
    with Recommender.load(path, backend) as recommender:
        for history in (items, items[:1], items[:2] * 40):
            found = recommender.recommend(history, 5, exclude=items[:1], exclude_history=False)
            assert all(one.item in bundle.items for one in found) and len({one.item for one in found}) == len(found)
            lists.append([one.item for one in found])
        recommender.recommend(items, 3, explain=True)
        recommender.recommend(items, len(bundle.items))
        recommender.similar(items[0], 3)
        recommender.score(items, items)
        if recommender.contract.state:
            state = recommender.new_state()
            for item in items[:3]:
                state = recommender.advance(state, item)
            lists.append([one.item for one in recommender.recommend_from_state(state, 5)])
        for name, attribute in bundle.attributes.items():
            if attribute.values:
                recommender.recommend(items, 5, at_most={name: 1})
    return {"given": given, "lists": lists}


def _ranked(path: str, bundle: Any, backend: str) -> list[Any]:
    from device_runner.contract import Ranking
    from device_runner.loaded import LoadedBundle
    from device_runner.ranker import Ranker

    if not bundle.features:
        LoadedBundle.load(path, Ranking, backend, 1)
        return []
    with Ranker.load(path, backend) as ranker:
        return [repr(ranker.score({}, [*bundle.items[1:4], {}]))]


@click.command()
@click.argument("bundles", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--files", default=1000, show_default=True, help="How many files.")
@click.option("--first", default=0, show_default=True, help="The first seed.")
@click.option("--only", help="Only this file, NAME:KIND:SEED:BACKEND.")
@click.option("--keep", type=click.Path(path_type=Path), help="Write the file of --only here, and do not run it.")
@click.option("--child", hidden=True)
def main(bundles: tuple[Path, ...], files: int, first: int, only: str, keep: Path | None, child: str | None) -> None:
    """Make hostile files from sound BUNDLES and say what comes of them."""
    if child:
        serve(child)
        return
    sound = {path.stem: path.resolve() for path in bundles}
    chosen = [Hostile.parse(only)] if only else list(campaign(files, sorted(sound), first))
    if keep:
        keep.write_bytes(chosen[0].content(sound[chosen[0].bundle].read_bytes()))
        return
    words: Counter[tuple[str, str]] = Counter()
    seconds = megabytes = refused = 0.0
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        for number, (hostile, outcome) in enumerate(run(chosen, sound, Path(folder)), 1):
            words[hostile.kind, outcome.word] += 1
            seconds = max(seconds, outcome.seconds)
            megabytes = max(megabytes, outcome.megabytes)
            refused = max(refused, outcome.megabytes if outcome.word in REFUSED else 0)
            if outcome.word not in FINE or only:
                said = f"{outcome.said} ({outcome.seconds:.2f} s, {outcome.megabytes:.0f} MB)"
                click.echo(f"{outcome.word:<14} {hostile}  {said}")
            if number % 1000 == 0:
                click.echo(f"{number:,} files, {time.monotonic() - started:.0f} s", err=True)
    for word in sorted({word for _, word in words}):
        by_kind = ", ".join(f"{kind} {words[kind, word]:,}" for kind in KINDS if words[kind, word])
        click.echo(f"{word:<24} {sum(words[kind, word] for kind in KINDS):>7,}  ({by_kind})")
    click.echo(f"longest {seconds:.2f} s, largest {megabytes:.0f} MB, of those refused {refused:.0f} MB")
    sys.exit(any(word not in FINE for _, word in words))


if __name__ == "__main__":
    main()
