"""The bundle: a TFLite flatbuffer with a ZIP appended, read and checked before any model is loaded.

Layout (format version 1)::

    [flatbuffer][zip: edgerec.json, items.txt, titles.txt?, golden.json, MODEL_CARD.md?]

``edgerec.json`` holds the contract and the sha256 of the flatbuffer and of every other member.
"""

import hashlib
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_runner.errors import BundleError
from device_runner.user_features import UserFeature

FORMAT_VERSION = 1
MANIFEST = "edgerec.json"
ITEMS = "items.txt"
TITLES = "titles.txt"
GOLDEN = "golden.json"
CARD = "MODEL_CARD.md"
MEMBERS = frozenset({MANIFEST, ITEMS, TITLES, GOLDEN, CARD})
# Far above any real catalogue (10 M ids of 20 bytes); stops a zip bomb before it is unpacked.
MAX_MEMBER_BYTES = 256 * 1024 * 1024
# The TFLite file identifier stands at byte 4 of the flatbuffer.
TFLITE_IDENTIFIER = b"TFL3"


@dataclass(frozen=True)
class Contract:
    """Sizes of the signature ``recommend``: ``history [1, max_history]``, ``exclude [1, max_exclude]``,
    ``ids`` and ``scores [1, top_k]``, ``item_scores [1, items + 1]``; of ``advance`` and ``recommend_from_state``:
    ``state [1, state]``, absent where ``state`` is 0.
    """

    max_history: int
    max_exclude: int
    top_k: int
    items: int
    state: int = 0

    @property
    def signatures(self) -> tuple[str, ...]:
        """Names of the model's signatures."""
        return ("recommend", "advance", "recommend_from_state") if self.state else ("recommend",)


@dataclass(frozen=True)
class Bundle:
    """A checked bundle.

    Attributes:
        path: the file.
        manifest: the parsed ``edgerec.json``.
        contract: sizes of the signature.
        items: raw item id by row; ``items[0]`` is ``""`` (padding), rows 1..N by descending popularity.
        titles: title by row (``""`` where unknown), or empty when the bundle has none.
        user_features: what the model may be told of the user; their rows stand behind those of all items.
    """

    path: Path
    manifest: dict[str, Any]
    contract: Contract
    items: list[str]
    titles: list[str]
    user_features: list[UserFeature]

    @property
    def name(self) -> str:
        return str(self.manifest["name"])

    @property
    def scheme(self) -> str:
        return str(self.manifest["scheme"])

    @property
    def fingerprint(self) -> str:
        """sha256 of the model: what a kept state belongs to."""
        return str(self.manifest["flatbuffer_sha256"])

    @property
    def exclude_history(self) -> bool:
        """Whether items of the history are left out by default."""
        return bool(self.manifest.get("exclude_history", True))

    @property
    def runtimes(self) -> dict[str, Any]:
        """What was measured on each runtime the file was verified on, by runtime name."""
        return dict(self.manifest.get("runtimes", {}))

    @classmethod
    def read(cls, path: str | Path) -> "Bundle":
        """Read and check ``path``.

        Raises:
            BundleError: the file is absent, no bundle, truncated, altered, or of a newer format.
        """
        path = Path(path)
        manifest, members = _read_members(path)
        contract = _contract(manifest, path)
        items = ["", *_lines(members, ITEMS, path)]
        if len(items) != contract.items + 1:
            raise BundleError(
                f"{path}: {ITEMS} names {len(items) - 1} items, the model scores {contract.items}; "
                "convert the model again"
            )
        if len(set(items)) != len(items):
            raise BundleError(f"{path}: {ITEMS} names an item twice; convert the model again")
        titles = ["", *_lines(members, TITLES, path)] if TITLES in members else []
        if titles and len(titles) != len(items):
            raise BundleError(f"{path}: {TITLES} has {len(titles) - 1} lines for {contract.items} items")
        return cls(path, manifest, contract, items, titles, _user_features(manifest, contract, path))

    def golden(self) -> list[dict[str, Any]]:
        """The golden vectors: histories with their expected rows and scores (see ``converters``)."""
        _, members = _read_members(self.path)
        return list(json.loads(members[GOLDEN])["cases"]) if GOLDEN in members else []


def _read_members(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    if not path.is_file():
        raise BundleError(f"{path}: {'a folder, not a bundle' if path.is_dir() else 'no such file'}")
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        if len(head) < 8 or head[4:8] != TFLITE_IDENTIFIER:
            raise BundleError(f"{path}: not a TFLite file")
        try:
            with zipfile.ZipFile(file) as archive:
                members = {info.filename: _member(archive, info, path) for info in archive.infolist()}
                # start_dir is where the central directory begins; the first member begins the ZIP.
                zip_start = min((info.header_offset for info in archive.infolist()), default=size)
        except zipfile.BadZipFile:
            raise BundleError(
                f"{path}: a TFLite file without the edgerec part (a plain model, or a truncated bundle); "
                "make one with: edgerec convert"
            ) from None
        except (zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError) as error:
            raise BundleError(f"{path}: damaged bundle ({error}); copy or convert it again") from None
        if MANIFEST not in members:
            raise BundleError(f"{path}: has no {MANIFEST}, so it is not an edgerec bundle")
        manifest = _manifest(members.pop(MANIFEST), path)
        file.seek(0)
        _check_flatbuffer(file.read(zip_start), manifest, path)
    hashes = manifest.get("members")
    if not isinstance(hashes, dict) or set(hashes) != set(members) or ITEMS not in members:
        raise BundleError(f"{path}: its members are not those that {MANIFEST} lists; convert the model again")
    for name, content in members.items():
        if hashlib.sha256(content).hexdigest() != hashes[name]:
            raise BundleError(f"{path}: {name} was altered (its sha256 is not the one in {MANIFEST})")
    return manifest, members


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> bytes:
    if info.filename not in MEMBERS:
        raise BundleError(f"{path}: unexpected member {info.filename!r}; refusing the file")
    if info.file_size > MAX_MEMBER_BYTES:
        raise BundleError(f"{path}: member {info.filename} claims {info.file_size:,} bytes; refusing the file")
    with archive.open(info) as member:
        content = member.read(MAX_MEMBER_BYTES + 1)
    if len(content) != info.file_size:
        raise BundleError(f"{path}: member {info.filename} is not as long as it claims")
    return content


def _manifest(content: bytes, path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: {MANIFEST} is not JSON ({error})") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
        raise BundleError(f"{path}: {MANIFEST} has no format version")
    if manifest["format"] > FORMAT_VERSION:
        raise BundleError(
            f"{path}: bundle format {manifest['format']}, this edgerec reads up to {FORMAT_VERSION}; "
            "upgrade with: pip install -U edgerec"
        )
    if not all(isinstance(manifest.get(key, {}), dict) for key in ("runtimes", "dataset", "quality")):
        raise BundleError(f"{path}: {MANIFEST} has entries of the wrong kind")
    if not all(isinstance(manifest.get(key), str) for key in ("name", "scheme")):
        raise BundleError(f"{path}: {MANIFEST} lacks the name or the scheme")
    return manifest


def _check_flatbuffer(content: bytes, manifest: dict[str, Any], path: Path) -> None:
    if len(content) != manifest.get("flatbuffer_bytes"):
        raise BundleError(
            f"{path}: the model has {len(content):,} bytes, {MANIFEST} says {manifest.get('flatbuffer_bytes')}; "
            "the file is truncated or altered"
        )
    if hashlib.sha256(content).hexdigest() != manifest.get("flatbuffer_sha256"):
        raise BundleError(f"{path}: the model was altered (its sha256 is not the one in {MANIFEST})")


def _contract(manifest: dict[str, Any], path: Path) -> Contract:
    sizes = manifest.get("contract")
    names = ("max_history", "max_exclude", "top_k", "items")
    if not isinstance(sizes, dict) or not all(isinstance(sizes.get(n), int) and sizes[n] > 0 for n in names):
        raise BundleError(f"{path}: {MANIFEST} lacks the sizes of the signature ({', '.join(names)})")
    state = sizes.get("state", 0)
    if not isinstance(state, int) or state < 0:
        raise BundleError(f"{path}: {MANIFEST} gives the state a size of {state!r}")
    from device_runner.contract import Retrieval
    return Retrieval(**{name: sizes[name] for name in names}, state=state)


def _user_features(manifest: dict[str, Any], contract: Contract, path: Path) -> list[UserFeature]:
    try:
        features = [UserFeature.from_json(entry) for entry in manifest.get("user_features", [])]
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{path}: {MANIFEST} has a malformed entry under user_features ({error})") from None
    first = contract.items + 1
    for feature in features:
        if feature.first != first:
            raise BundleError(f"{path}: the user feature {feature.name!r} begins at row {feature.first}, not {first}")
        first += feature.rows
    if features and len(features) >= contract.max_history:
        raise BundleError(f"{path}: {len(features)} user features leave no place for a history")
    return features


def _lines(members: dict[str, bytes], name: str, path: Path) -> list[str]:
    # Only "\n" ends a line: ids and titles may hold any other character (escaped by the writer).
    try:
        lines = members[name].decode("utf-8").split("\n")
    except UnicodeDecodeError:
        raise BundleError(f"{path}: {name} is not UTF-8") from None
    if lines.pop() != "":
        raise BundleError(f"{path}: {name} does not end with a line feed")
    try:
        return [_unescape(line) for line in lines]
    except ValueError:
        raise BundleError(f"{path}: {name} has an illegal escape") from None


def _unescape(line: str) -> str:
    return json.loads(f'"{line}"') if "\\" in line else line


def escape_line(text: str) -> str:
    """One line of ``items.txt`` or ``titles.txt``: a text with a backslash or line feed in it is written as JSON
    writes it, any other as it is.
    """
    if "\\" in text or "\n" in text:
        return json.dumps(text, ensure_ascii=False)[1:-1]
    return text
