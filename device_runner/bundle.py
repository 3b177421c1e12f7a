"""The bundle: a TFLite flatbuffer with a ZIP appended, read and checked before any model is loaded.

Layout::

    [flatbuffer][zip: edgerec.json, items.txt or items.bin, titles.txt?, golden.json?, MODEL_CARD.md?,
                      attributes.json?, features.json?, item_values.json?]

``edgerec.json`` holds the contract and the sha256 of the flatbuffer and of every other member. A ranking bundle may
lack the items. ``items.bin`` (from format version 2 on) holds ids that are numbers. From version 3 on,
``attributes.json`` says what a list can be kept diverse by, and ``features.json`` and ``item_values.json`` what a
ranking model reads.
"""

import codecs
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from device_runner.attributes import Attribute, attributes_from_json
from device_runner.compact import COMPACT_FROM, IndexedLines, IndexedTexts, Lines, Numbers
from device_runner.contract import Ranking, Retrieval, contract_from_json
from device_runner.errors import BundleError
from device_runner.lines import unescape_line
from device_runner.numbers import unpack_numbers
from device_runner.user_features import UserFeature, rows_of

FORMAT_VERSION = 3
MANIFEST = "edgerec.json"
ITEMS = "items.txt"
NUMBERS = "items.bin"
TITLES = "titles.txt"
GOLDEN = "golden.json"
CARD = "MODEL_CARD.md"
ATTRIBUTES = "attributes.json"
FEATURES = "features.json"
ITEM_VALUES = "item_values.json"
# Of format version 3.
NEWEST_MEMBERS = frozenset({ATTRIBUTES, FEATURES, ITEM_VALUES})
MEMBERS = frozenset({MANIFEST, ITEMS, NUMBERS, TITLES, GOLDEN, CARD}) | NEWEST_MEMBERS
# Far above any real catalogue (10 M ids of 20 bytes); stops a zip bomb before it is unpacked.
MAX_MEMBER_BYTES = 256 * 1024 * 1024
# Read at once where the whole would only take memory.
CHUNK = 1 << 20
# The TFLite file identifier stands at byte 4 of the flatbuffer.
TFLITE_IDENTIFIER = b"TFL3"


KindOfContract = TypeVar("KindOfContract", bound=Retrieval | Ranking)
Parsed = TypeVar("Parsed")
# What messages call a bundle that was given as bytes.
IN_MEMORY = Path("bundle in memory")


@dataclass(frozen=True)
class Bundle:
    """A checked bundle.

    Attributes:
        path: the file; for a bundle that was given as bytes, what messages call it.
        manifest: the parsed ``edgerec.json``.
        contract: the signatures with their sizes.
        items: raw item id by row; ``items[0]`` is ``""`` (padding), rows 1..N by descending popularity. A list, or for
            a large catalogue a sequence that makes the texts when they are asked for.
        titles: likewise title by row (``""`` where unknown), or empty when the bundle has none.
        user_features: features of the user that the model can read; their rows stand behind those of all items.
        attributes: attributes of the items that a list can be kept diverse by, by name.
        model: the flatbuffer, whose hash was checked.
        features: the entries of ``features.json``; empty when the bundle has none.
        item_values: the entries of ``item_values.json``: by name, one value for each item; likewise.
    """

    path: Path
    manifest: dict[str, Any]
    contract: Retrieval | Ranking
    items: Sequence[str]
    titles: Sequence[str]
    user_features: list[UserFeature]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    model: bytes = field(default=b"", repr=False)
    features: Sequence[dict[str, Any]] = ()
    item_values: Mapping[str, Sequence[Any]] = field(default_factory=dict, repr=False)
    _texts: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        return str(self.manifest["name"])

    @property
    def scheme(self) -> str:
        return str(self.manifest["scheme"])

    @property
    def fingerprint(self) -> str:
        """sha256 of the model, in 64 hexadecimal digits: which model a stored state belongs to."""
        return str(self.manifest["flatbuffer_sha256"])

    @property
    def exclude_history(self) -> bool:
        """Whether items of the history are left out by default."""
        return bool(self.manifest.get("exclude_history", True))

    @property
    def runtimes(self) -> dict[str, Any]:
        """The measured agreement with the Keras model, by name of the runtime that the file was verified on."""
        return dict(self.manifest.get("runtimes", {}))

    @property
    def item_column(self) -> str | None:
        """Name of the item column in the tables of the data set, if the manifest has it."""
        name = self.manifest.get("dataset", {}).get("item_column")
        return name if isinstance(name, str) else None

    @classmethod
    def read(cls, source: str | Path | bytes) -> "Bundle":
        """Read and check a file, or its content.

        Raises:
            BundleError: the file is absent, not a bundle, truncated, altered, or of a newer format.
        """
        path = IN_MEMORY if isinstance(source, bytes) else Path(source)
        manifest, model, members = _read_members(path, source if isinstance(source, bytes) else None)
        try:
            contract = contract_from_json(manifest.get("contract"))
        except ValueError as error:
            raise BundleError(f"{path}: {MANIFEST} {error}") from None
        items = _items(members, contract, path)
        titles = _lines(members, TITLES, Lines, path) if TITLES in members else []
        if isinstance(contract, Retrieval):
            _check_vocabulary(items, titles, contract, path)
        attributes = _parsed(members, ATTRIBUTES, lambda document: attributes_from_json(document, len(items) - 1), path)
        user_features = _user_features(manifest, contract, path)
        return cls(
            path,
            manifest,
            contract,
            items,
            titles,
            user_features,
            attributes or {},
            model,
            _parsed(members, FEATURES, list, path) or (),
            _parsed(members, ITEM_VALUES, dict, path) or {},
            {name: members[name] for name in (GOLDEN, CARD) if name in members},
        )

    def checked_model(self) -> bytes:
        """The flatbuffer that a runtime may load."""
        return self.model

    def contract_of(self, kind: type[KindOfContract]) -> KindOfContract:
        """The contract, which must be of this kind.

        Raises:
            BundleError: the bundle is of another kind.
        """
        if not isinstance(self.contract, kind):
            raise BundleError(f"{self.path}: a {self.contract.kind} model, not a {kind.kind} model")
        return self.contract

    def golden(self) -> list[dict[str, Any]]:
        """The golden vectors (see ``converters``), such as histories of rows with the expected rows and scores; empty
        when the bundle has none.

        Raises:
            BundleError: they are malformed.
        """
        if GOLDEN not in self._texts:
            return []
        try:
            cases = json.loads(self._texts[GOLDEN])["cases"]
        except (ValueError, RecursionError, TypeError, KeyError):
            raise BundleError(f"{self.path}: {GOLDEN} has no list of cases") from None
        last = self.contract.items + rows_of(self.user_features) if isinstance(self.contract, Retrieval) else None
        if not isinstance(cases, list) or not all(_is_golden_case(case, last) for case in cases):
            raise BundleError(f"{self.path}: {GOLDEN} has a malformed case")
        return cases

    def card(self) -> str | None:
        """The model card (Markdown), if the bundle has one.

        Raises:
            BundleError: it is not UTF-8.
        """
        try:
            return self._texts[CARD].decode("utf-8") if CARD in self._texts else None
        except UnicodeDecodeError:
            raise BundleError(f"{self.path}: {CARD} is not UTF-8") from None


def _read_members(path: Path, in_memory: bytes | None) -> tuple[dict[str, Any], bytes, dict[str, bytes]]:
    if in_memory is None and not path.is_file():
        raise BundleError(f"{path}: {'a folder, not a bundle' if path.is_dir() else 'no such file'}")
    size = path.stat().st_size if in_memory is None else len(in_memory)
    with path.open("rb") if in_memory is None else io.BytesIO(in_memory) as file:
        head = file.read(8)
        if len(head) < 8 or head[4:8] != TFLITE_IDENTIFIER:
            raise BundleError(f"{path}: not a TFLite file")
        try:
            with zipfile.ZipFile(file) as archive:
                members = {info.filename: _member(archive, info, path) for info in archive.infolist()}
                # The ZIP begins with the header of its first member.
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
        _check_flatbuffer(file, zip_start, manifest, path)
        file.seek(0)
        model = file.read(zip_start)
    hashes = manifest.get("members")
    if not isinstance(hashes, dict) or set(hashes) != set(members):
        raise BundleError(f"{path}: its members are not those that {MANIFEST} lists; convert the model again")
    for name, content in members.items():
        if hashlib.sha256(content).hexdigest() != hashes[name]:
            raise BundleError(f"{path}: {name} was altered (its sha256 is not the one in {MANIFEST})")
    return manifest, model, members


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
    sections_are_objects = all(isinstance(manifest.get(key, {}), dict) for key in ("runtimes", "dataset", "quality"))
    if not sections_are_objects or not all(isinstance(r, dict) for r in manifest.get("runtimes", {}).values()):
        raise BundleError(f"{path}: {MANIFEST} has entries of the wrong kind")
    if not all(isinstance(manifest.get(key), str) for key in ("name", "scheme")):
        raise BundleError(f"{path}: {MANIFEST} lacks the name or the scheme")
    return manifest


def _check_flatbuffer(file: BinaryIO, size: int, manifest: dict[str, Any], path: Path) -> None:
    if size != manifest.get("flatbuffer_bytes"):
        raise BundleError(
            f"{path}: the model has {size:,} bytes, {MANIFEST} says {manifest.get('flatbuffer_bytes')}; "
            "the file is truncated or altered"
        )
    digest = hashlib.sha256()
    file.seek(0)
    for start in range(0, size, CHUNK):
        digest.update(file.read(min(CHUNK, size - start)))
    if digest.hexdigest() != manifest.get("flatbuffer_sha256"):
        raise BundleError(f"{path}: the model was altered (its sha256 is not the one in {MANIFEST})")


def _check_vocabulary(items: Sequence[str], titles: Sequence[str], contract: Retrieval, path: Path) -> None:
    if len(items) != contract.items + 1:
        raise BundleError(
            f"{path}: {ITEMS} names {len(items) - 1} items, the model scores {contract.items}; convert the model again"
        )
    if not (items.unique if isinstance(items, IndexedTexts) else len(set(items)) == len(items)):
        raise BundleError(f"{path}: an item is named twice; convert the model again")
    if titles and len(titles) != len(items):
        raise BundleError(f"{path}: {TITLES} has {len(titles) - 1} lines for {contract.items} items")


def _user_features(manifest: dict[str, Any], contract: Retrieval | Ranking, path: Path) -> list[UserFeature]:
    if not isinstance(contract, Retrieval):
        return []
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


def _parsed(members: Mapping[str, bytes], name: str, parse: Callable[[Any], Parsed], path: Path) -> Parsed | None:
    """What ``parse`` makes of a member that is JSON; ``None`` without the member."""
    if name not in members:
        return None
    try:
        return parse(json.loads(members[name]))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: {name} {error}; convert the model again") from None


def _is_golden_case(case: object, last: int | None) -> bool:
    """Whether it is a golden vector: of retrieval if ``last``, the last row, is given."""
    if not isinstance(case, dict):
        return False
    if last is None:
        return True
    rows = [case.get(name) for name in ("history", "exclude", "ids")]
    scores = case.get("scores")
    return (
        all(isinstance(part, list) and all(type(row) is int and 0 < row <= last for row in part) for part in rows)
        and isinstance(scores, list)
        and all(isinstance(score, int | float) for score in scores)
    )


def _items(members: dict[str, bytes], contract: Retrieval | Ranking, path: Path) -> Sequence[str]:
    """Raw ids by row, that of padding being ``""``."""
    if NUMBERS not in members:
        return _lines(members, ITEMS, IndexedLines, path) if ITEMS in members else [""]
    if ITEMS in members or not isinstance(contract, Retrieval):
        raise BundleError(f"{path}: {NUMBERS} is not for this bundle; convert the model again")
    try:
        numbers = unpack_numbers(members[NUMBERS], contract.items)
    except ValueError as error:
        raise BundleError(f"{path}: {NUMBERS} {error}; convert the model again") from None
    return Numbers(numbers) if contract.items >= COMPACT_FROM else ["", *map(str, numbers.tolist())]


def _lines(members: dict[str, bytes], name: str, compact: type[Lines], path: Path) -> Sequence[str]:
    """Texts by row, that of padding being ``""``; ``compact`` if there are many."""
    content = members[name]
    try:
        if content.count(b"\n") >= COMPACT_FROM:
            _check_utf8(content)
            texts: Sequence[str] = compact(content)
        else:
            texts = ["", *map(unescape_line, content.decode("utf-8").split("\n")[:-1])]
    except UnicodeDecodeError:
        raise BundleError(f"{path}: {name} is not UTF-8") from None
    except ValueError:
        raise BundleError(f"{path}: {name} has an illegal escape") from None
    if content and not content.endswith(b"\n"):
        raise BundleError(f"{path}: {name} does not end with a line feed")
    return texts


def _check_utf8(content: bytes) -> None:
    """Raises UnicodeDecodeError; decodes by parts, as a whole text would take as much memory again."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(content), CHUNK):
        decoder.decode(content[start : start + CHUNK])
    decoder.decode(b"", final=True)
