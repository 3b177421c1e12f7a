"""Makes the cases of the conformance suite in which a model is replaced (specification, sections 11 and 12)."""

import base64
import hashlib
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from file_recipes import Changed, content_of
from replacements import replaced

Recipe = dict[str, Any]
Step = tuple[dict[str, Any], bool]
# Keys for these cases only: everyone has their private halves.
OWN, FOREIGN = (Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32) for seed in (1, 2))
HEADING = "edgerec-signature 1"
REOPEN: Step = ({"do": "reopen"}, True)
ROLLBACK: Step = ({"do": "rollback"}, True)
NOTHING_TO_GO_BACK_TO: Step = ({"do": "rollback"}, False)
RECOMMEND = {"history": ["i3", "i9"], "k": 3}


class Service:
    """Cases that begin with one model in service, and end by opening anew what is in service then."""

    def __init__(self, base: str, ask: Mapping[str, Any], release: int) -> None:
        self.changed, self.ask = Changed(base), ask
        self.first = self.released(release)
        self.cases: list[dict[str, Any]] = []

    def released(
        self,
        release: int | None,
        items: Sequence[str] | None = None,
        golden: object | None = None,
        members: Mapping[str, bytes | None] | None = None,
        **entries: Any,
    ) -> Recipe:
        """The bundle with a release, and other items, golden vectors, members or entries of the manifest."""
        manifest = self.changed.manifest | entries | ({} if release is None else {"release": release})
        changed: dict[str, bytes | None] = {"edgerec.json": json.dumps(manifest).encode(), **(members or {})}
        if items is not None:
            changed["items.txt"] = "".join(f"{item}\n" for item in items).encode()
        if golden is not None:
            changed["golden.json"] = json.dumps({"cases": golden}).encode()
        return self.changed.remade(changed, hashed=True)

    @property
    def golden(self) -> list[dict[str, Any]]:
        cases: list[dict[str, Any]] = json.loads(self.changed.members["golden.json"])["cases"]
        return cases

    def case(self, name: str, *steps: Step, key: Ed25519PrivateKey | None = None) -> None:
        """Adds a case; what ``device_runner`` does must be what the steps say."""
        arguments: dict[str, Any] = {"ask": self.ask, "steps": [step for step, _ in (*steps, REOPEN)]}
        if key:
            signed_first = signature(content_of(self.first), key)
            arguments |= {"public_key": raw(key), "signature": signed_first}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.tflite"
            path.write_bytes(content_of(self.first))
            outcome = replaced(path, arguments)
        wanted = [accepted for _, accepted in (*steps, REOPEN)]
        assert outcome["accepted"] == wanted, (name, outcome["accepted"], wanted)
        case = {"name": name, "call": "replace", "file": self.first, "arguments": arguments, "expected": outcome}
        self.cases.append(case)


def accepted(file: Recipe, signature: str | None = None) -> Step:
    return {"do": "replace", "file": file, "signature": signature}, True


def refused(file: Recipe, signature: str | None = None) -> Step:
    return {"do": "replace", "file": file, "signature": signature}, False


def raw(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes_raw().hex()


def line(content: bytes, key: Ed25519PrivateKey = OWN) -> str:
    key_id = hashlib.sha256(key.public_key().public_bytes_raw()).hexdigest()[:16]
    return f"ed25519 {key_id} {base64.b64encode(key.sign(content)).decode()}"


def text(lines: Iterable[str], end: str = "\n") -> str:
    return end.join([HEADING, *lines]) + end


def signature(content: bytes, key: Ed25519PrivateKey = OWN) -> str:
    return text([line(content, key)])


def replacements() -> list[dict[str, Any]]:
    """The cases, with what ``device_runner`` answers."""
    return [*retrieval(), *signed(), *ranking()]


def retrieval_service() -> tuple[Service, list[str], list[str]]:
    """A service of release 2, its items, and the same items in another order, so that a new model answers otherwise."""
    service = Service("plain", RECOMMEND, 2)
    items = service.changed.members["items.txt"].decode().splitlines()
    return service, items, [*items[20:], *items[:20]]


def retrieval() -> list[dict[str, Any]]:
    service, items, moved = retrieval_service()
    released, golden, sound = service.released, service.golden, service.changed
    three, four = released(3, moved), released(4, items[::-1])
    service.case(
        "a newer model takes over; rollback exchanges the two", accepted(three), REOPEN, ROLLBACK, REOPEN, ROLLBACK
    )
    service.case(
        "two newer models: rollback knows the last one only", accepted(three), accepted(four), ROLLBACK, ROLLBACK
    )
    service.case("without a model before, there is no rollback", NOTHING_TO_GO_BACK_TO)
    service.case("the model that is in service: nothing changes", accepted(service.first), NOTHING_TO_GO_BACK_TO)
    service.case("the same new model twice: the first one is still there", accepted(three), accepted(three), ROLLBACK)
    service.case("a refusal leaves what rollback goes back to", accepted(three), refused(released(2)), ROLLBACK)
    service.case("an older release", refused(released(1, moved)))
    service.case("a model without a release is of release 0", refused(released(None, moved)))
    service.case("another model of the same release", accepted(released(2, moved)), ROLLBACK)
    whole = content_of(three)
    start = sound.start
    for keep in (0, start, start + 100, len(whole) - 22, len(whole) - 1):
        service.case(f"a model that is cut off after {keep} bytes", refused(cut(three, keep)))
    flipped = bytes([whole[start // 2] ^ 0xFF])
    service.case("a model of which a byte is damaged", refused(three | {"patches": [[start // 2, flipped.hex()]]}))
    altered = {**sound.members, "items.txt": "".join(f"{item}\n" for item in moved).encode()}
    service.case("items that do not have the hash of the manifest", refused(sound.remade(altered)))
    service.case("a byte behind the end", refused(tailed(three, b"\0")))
    service.case("a model that no runtime can read", refused(sound.with_model(b"\x1c\0\0\0TFL3" + bytes(256))))
    longer = sound.manifest["contract"] | {"items": 41}
    titles = sound.members["titles.txt"] + b"x\n"
    service.case("a model that has a row less than its items",
                 refused(released(3, [*items, "i41"], members={"titles.txt": titles}, contract=longer)))  # fmt: skip
    service.case("no golden vectors", refused(released(3, moved, members={"golden.json": None})))
    service.case("an empty list of golden vectors", refused(released(3, moved, golden=[])))
    service.case("golden vectors that are no JSON", refused(released(3, moved, members={"golden.json": b"{"})))
    other_scores = [*golden[:2], {**golden[2], "scores": [9.0, *golden[2]["scores"][1:]]}]
    service.case("one of three golden vectors fails by a score", refused(released(3, moved, golden=other_scores)))
    first = golden[0]
    absent = next(row for row in range(1, 41) if row not in first["ids"] and row not in first["history"])
    other_items = [{**first, "ids": [absent, *first["ids"][1:]]}]
    service.case("a golden vector fails by an item", refused(released(3, moved, golden=other_items)))
    shorter = [{**first, "ids": first["ids"][:4]}]
    service.case("a golden vector with fewer items than scores", refused(released(3, moved, golden=shorter)))
    foreign = [f"x{item}" for item in items]
    service.case("no item in common", refused(released(3, foreign)))
    service.case("one item in common", accepted(released(3, [*foreign[:39], "i1"])))
    service.case("a ranking model", refused(Service("ranking", {}, 3).first))
    service.case("after many refusals a sound model takes over", refused(released(1)), refused(cut(three, start)),
                 refused(released(3, foreign)), refused(released(3, golden=[])), accepted(three), ROLLBACK)  # fmt: skip
    return service.cases


def cut(recipe: Recipe, keep: int) -> Recipe:
    content = content_of(recipe)[:keep]
    return without_tail(recipe) | rest(content, recipe["keep"])


def tailed(recipe: Recipe, tail: bytes) -> Recipe:
    return without_tail(recipe) | rest(content_of(recipe) + tail, recipe["keep"])


def without_tail(recipe: Recipe) -> Recipe:
    return {key: value for key, value in recipe.items() if key != "tail"}


def rest(content: bytes, keep: int) -> Recipe:
    """``keep`` and ``tail`` of a file that begins as its base does."""
    kept = min(keep, len(content))
    return {"keep": kept, **({"tail": base64.b64encode(content[kept:]).decode()} if content[kept:] else {})}


def signed() -> list[dict[str, Any]]:
    service, _, moved = retrieval_service()
    three, four = service.released(3, moved), service.released(4)
    new, newest = content_of(three), content_of(four)
    own = line(new)
    takes_over = accepted(three, signature(new))

    def case(name: str, *steps: Step) -> None:
        service.case(name, *steps, key=OWN)

    case("signed by the app's key; rollback", takes_over, REOPEN, ROLLBACK, ROLLBACK)
    case("not signed", refused(three))
    case("signed by another key", refused(three, signature(new, FOREIGN)))
    foreign = line(new, FOREIGN).split()
    case(
        "signed by another key under the name of the app's key",
        refused(three, text([" ".join(["ed25519", own.split()[1], foreign[2]])])),
    )
    case("the signature of another file", refused(three, signature(newest)))
    padded = tailed(three, b"\0")
    case("altered after it was signed", refused(padded, signature(new)))
    case("signed, but older", refused(service.released(1), signature(content_of(service.released(1)))))
    wrong = service.released(3, moved, golden=[])
    case("signed, but without golden vectors", refused(wrong, signature(content_of(wrong))))
    case("signed, but damaged", refused(padded, signature(content_of(padded))))
    case("signatures of several keys and algorithms",
         accepted(three, text([line(new, FOREIGN), f"ed448 {own.split()[1]} AAAA", own])))  # fmt: skip
    case("two signatures of the key, of which one is of another file", accepted(three, text([line(newest), own])))
    case("lines that end with CRLF", accepted(three, text([own], "\r\n")))
    for what, malformed in (
        ("is empty", ""), ("has no heading", own + "\n"),
        ("has another version", signature(new).replace(" 1\n", " 2\n")),
        ("has a line of two fields", text([own, "ed25519 0123456789abcdef"])),
        ("has a line of four fields", text([own + " x"])),
        ("has two blanks between fields", text([own.replace(" ", "  ")])),
        ("has a signature of 63 bytes", text([own[:-88] + base64.b64encode(bytes(63)).decode()])),
        ("has a malformed line of another key", text([own, "ed25519 0123456789abcdef AAAA"])),
        ("has a signature that is no base64", text([own[:-3] + "!=="])), ("has a blank line", text(["", own])),
        ("has 17 lines", text([own] * 17)), ("has more than 4096 bytes", text([own, "other x " + "A" * 4096])),
        ("is in Unicode", text([own, "ed25519\u00a0x y z"])),
    ):  # fmt: skip
        case(f"a signature file that {what}", refused(three, malformed))
    case(
        "after refusals a signed model takes over",
        refused(three),
        refused(three, signature(newest)),
        takes_over,
        ROLLBACK,
    )
    return service.cases


def ranking() -> list[dict[str, Any]]:
    service = Service("ranking", {"user": {"age": 31}, "candidates": ["i1", "i2", "i4"], "context": {"hour": "18"}}, 2)
    released, golden = service.released, service.golden
    values = json.loads(service.changed.members["item_values.json"])
    values["price"][3] += 1.5  # of i4, which no golden vector scores
    dearer = {"item_values.json": json.dumps(values).encode()}
    service.case(
        "a newer ranking model takes over; rollback", accepted(released(3, members=dearer)), REOPEN, ROLLBACK, ROLLBACK
    )
    service.case("an older ranking model", refused(released(1, members=dearer)))
    service.case(
        "a ranking model without golden vectors", refused(released(3, members={**dearer, "golden.json": None}))
    )
    wrong = [golden[0], {**golden[1], "scores": [9.0, *golden[1]["scores"][1:]]}]
    service.case("a ranking model whose golden vectors fail", refused(released(3, golden=wrong, members=dearer)))
    service.case("a ranking model that is cut off", refused(cut(released(3, members=dearer), 7000)))
    renamed = json.loads(json.dumps(golden).replace('"i1"', '"x1"').replace('"i2"', '"x2"'))
    strangers = [f"x{row}" for row in range(1, 7)]
    service.case("a ranking model with no item in common", accepted(released(3, strangers, golden=renamed)))
    service.case("a retrieval model for a ranking model", refused(Service("plain", {}, 3).first))
    return service.cases
