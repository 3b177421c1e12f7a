"""The bundle: a TFLite flatbuffer with a ZIP appended, read and checked before any model is loaded.

Layout::

    [flatbuffer][zip: edgerec.json, items.txt or items.bin, titles.txt?, golden.json?, MODEL_CARD.md?,
                 attributes.json?, features.json?, item_values.json?]

``edgerec.json`` holds the contract and the sha256 of the flatbuffer and of every other member. A ranking bundle may
lack the items. ``items.bin`` (from format version 2 on) holds ids that are numbers. From format version 3 on,
``attributes.json`` holds attributes of the items, ``features.json`` and ``item_values.json`` the features of a ranking
model and their values by item.

A file may come from anywhere, and its hashes are no signature: whoever alters it can make them fit again. So nothing
that the file says is believed before it is compared with something that it cannot lie about:

- its own size bounds how much is inflated (:mod:`device_runner.archive`), how many items it may have and how many
  values its JSON may hold, before anything is allocated for them;
- the contract bounds the number of lines, rows and golden vectors;
- the flatbuffer is checked by :mod:`device_runner.flatbuffer_check`, against the contract and in itself, before a
  runtime sees it (:meth:`Bundle.checked_model`), as the runtimes trust it and would crash the process.

The file is read once, into memory, and the runtime gets the very bytes that were hashed and checked. A mapped file
would end the process by a signal if it was truncated, and change the model if it was overwritten, while in use.
"""

import codecs
import hashlib
import json
import math
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from device_runner.archive import ArchiveError, NoArchiveError, read_members
from device_runner.attributes import Attribute, attributes_from_json
from device_runner.compact import COMPACT_FROM, IndexedLines, IndexedTexts, Lines, Numbers
from device_runner.contract import Ranking, Retrieval, contract_from_json
from device_runner.errors import BundleError, shown
from device_runner.flatbuffer import FlatbufferError
from device_runner.flatbuffer_check import check_flatbuffer
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
# The largest whole number that every platform\'s JSON keeps exactly.
MAX_RELEASE = (1 << 53) - 1
# What messages call a bundle that was given as bytes.
IN_MEMORY = Path("bundle in memory")
# Decoded at once where the whole would only take memory.
CHUNK = 1 << 20
# The TFLite file identifier stands at byte 4 of the flatbuffer.
TFLITE_IDENTIFIER = b"TFL3"
# Memory that the values of JSON may take as Python objects, which is up to thirty times that of the text: a floor, and
# a multiple of the file.
JSON_FLOOR, JSON_FACTOR = 8 << 20, 8
# At least so many bytes does an object or a list take, half a text, and what is behind a comma or a colon.
OBJECT_BYTES = {b"{": 64, b"[": 64, b'"': 30, b",": 32, b":": 32}
# Items of a ranking model, which may read none of them, beside those that its bytes may hold.
RANKED_ITEMS = 100_000


KindOfContract = TypeVar("KindOfContract", bound=Retrieval | Ranking)


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
        model: the flatbuffer, whose hash was checked.
        attributes: attributes of the items by name; empty when the bundle has none.
        features: the entries of ``features.json``, objects; empty when the bundle has none.
        item_values: the entries of ``item_values.json``: by name, one value for each item; likewise.
    """

    path: Path
    manifest: dict[str, Any]
    contract: Retrieval | Ranking
    items: Sequence[str]
    titles: Sequence[str]
    user_features: list[UserFeature]
    model: bytes = field(default=b"", repr=False)
    attributes: Mapping[str, Attribute] = field(default_factory=dict, repr=False)
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
    def release(self) -> int:
        """Which release of the model it is; 0 where nobody counts them. An update to a smaller one is refused."""
        return int(self.manifest.get("release", 0))

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
        """Read and check a file, or the bytes of one.

        The model is not checked beyond its hash: see :meth:`checked_model`.

        Raises:
            BundleError: the file is absent, not a bundle, truncated, altered, or of a newer format.
            TypeError: ``source`` is neither a path nor bytes.
        """
        if not isinstance(source, str | bytes | os.PathLike):
            raise TypeError(f"source is {shown(source)}; give the path of a bundle, or its content as bytes")
        if isinstance(source, bytes):
            return cls._read(BytesIO(source), len(source), IN_MEMORY)
        path = Path(source)
        try:
            # Looked at before it is opened: that would wait for whoever writes to a pipe.
            if path.exists() and not path.is_file() and not path.is_dir():
                raise BundleError(f"{path}: not a regular file")
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise BundleError(f"{path}: not a regular file")
                return cls._read(file, status.st_size, path)
        except (FileNotFoundError, NotADirectoryError):
            raise BundleError(f"{path}: no such file") from None
        except IsADirectoryError:
            raise BundleError(f"{path}: a folder, not a bundle") from None
        except (OSError, ValueError) as error:  # ValueError: a path with a null character
            raise BundleError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None

    @classmethod
    def _read(cls, file: BinaryIO, size: int, path: Path) -> "Bundle":
        manifest, model, members = _read_parts(file, size, path)
        try:
            contract = contract_from_json(manifest.get("contract"))
        except ValueError as error:
            raise BundleError(f"{path}: {MANIFEST} {error}") from None
        _check_items(contract, len(model), path)
        user_features = _user_features(manifest, contract, path)
        if isinstance(contract, Retrieval):
            lines = range(contract.items, contract.items + 1)
        else:
            lines = range(RANKED_ITEMS + len(model))
        items = _items(members, contract, lines, path)
        titles = _lines(members, TITLES, Lines, lines, path) if TITLES in members else []
        if titles and len(titles) != len(items):
            raise BundleError(f"{path}: {TITLES} has {len(titles) - 1} lines for {len(items) - 1} items")
        if isinstance(contract, Retrieval):
            _check_vocabulary(items, contract, path)
        return cls(
            path,
            manifest,
            contract,
            items,
            titles,
            user_features,
            model,
            _attributes(members, len(items) - 1, size, path),
            _features(members, size, path),
            _item_values(members, len(items) - 1, size, path),
            {name: members[name] for name in (GOLDEN, CARD) if name in members},
        )

    def checked_model(self) -> bytes:
        """The flatbuffer, after the check that it is sound and does what the contract says: what a runtime may load.

        Raises:
            BundleError: it is not.
        """
        try:
            check_flatbuffer(self.model, self.contract)
        except FlatbufferError as error:
            raise BundleError(f"{self.path}: the model is damaged or not one that edgerec writes: {error}") from None
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
        last = self.contract.items + rows_of(self.user_features) if isinstance(self.contract, Retrieval) else None
        try:
            cases = _json(self._texts[GOLDEN], JSON_FLOOR)["cases"]
        except (ValueError, TypeError, KeyError):
            raise BundleError(f"{self.path}: {GOLDEN} has no list of cases") from None
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


def _read_parts(file: BinaryIO, size: int, path: Path) -> tuple[dict[str, Any], bytes, dict[str, bytes]]:
    """The manifest, the flatbuffer and the other members, whose hashes fit."""
    head = file.read(8)
    if len(head) < 8 or head[4:8] != TFLITE_IDENTIFIER:
        raise BundleError(f"{path}: not a TFLite file")
    try:
        model_bytes, found = read_members(file, size, MEMBERS)
        if MANIFEST not in found:
            raise BundleError(f"{path}: has no {MANIFEST}, so it is not an edgerec bundle")
        manifest = _manifest(found.pop(MANIFEST).content(), path)
        file.seek(0)
        model = file.read(model_bytes)
        _check_model(model, manifest, path)
        hashes = manifest.get("members")
        if not isinstance(hashes, dict) or set(hashes) != set(found):
            raise BundleError(f"{path}: its members are not those that {MANIFEST} lists; convert the model again")
        members = {}
        for name, member in found.items():
            members[name] = member.content()
            if hashlib.sha256(members[name]).hexdigest() != hashes[name]:
                raise BundleError(f"{path}: {name} was altered (its sha256 is not the one in {MANIFEST})")
    except NoArchiveError:
        raise BundleError(
            f"{path}: a TFLite file without the edgerec part (a plain model, or a truncated bundle); "
            "make one with: edgerec convert"
        ) from None
    except ArchiveError as error:
        raise BundleError(f"{path}: damaged bundle ({error}); refusing the file: copy or convert it again") from None
    if members.keys() & NEWEST_MEMBERS and manifest["format"] < FORMAT_VERSION:
        raise BundleError(f"{path}: format {manifest['format']} does not have all of its members; convert it again")
    return manifest, model, members


def _manifest(content: bytes, path: Path) -> dict[str, Any]:
    try:
        manifest = _json(content, JSON_FLOOR, finite=False)
    except ValueError as error:
        raise BundleError(f"{path}: {MANIFEST} is not JSON ({error})") from None
    if not isinstance(manifest, dict) or type(manifest.get("format")) is not int or manifest["format"] < 1:
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
    release = manifest.get("release", 0)
    if type(release) is not int or not 0 <= release <= MAX_RELEASE:
        raise BundleError(f"{path}: {MANIFEST} has the release {str(release)[:40]!r}, not a whole number from 0 on")
    return manifest


def _json(content: bytes, most: int, finite: bool = True) -> Any:
    """The parsed JSON.

    Args:
        most: bytes that its values may take; they are estimated before they are made.
        finite: whether NaN and infinite numbers are refused.

    Raises:
        ValueError: it is not JSON, or holds too much.
    """
    if sum(size * content.count(sign) for sign, size in OBJECT_BYTES.items()) > most:
        raise ValueError(f"its values would take more than {most:,} bytes of memory")
    try:
        document = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant if finite else None)
        if b"\\u" in content:  # half of a surrogate pair cannot be printed
            json.dumps(document, ensure_ascii=False).encode("utf-8")
        return document
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"the number {name}")


def _check_items(contract: Retrieval | Ranking, model_bytes: int, path: Path) -> None:
    """Refuse more items than a model of so many bytes has, before anything is made for each of them.

    The other sizes are compared with the model itself.
    """
    if isinstance(contract, Retrieval) and contract.items > model_bytes:  # even a table of 2 bits has more than a byte
        said = f"{contract.items:,} items, more than the model has bytes ({model_bytes:,})"
        raise BundleError(f"{path}: {MANIFEST} says {said}")


def _check_model(model: bytes, manifest: dict[str, Any], path: Path) -> None:
    if len(model) != manifest.get("flatbuffer_bytes"):
        raise BundleError(
            f"{path}: the model has {len(model):,} bytes, {MANIFEST} says {manifest.get('flatbuffer_bytes')}; "
            "the file is truncated or altered"
        )
    if hashlib.sha256(model).hexdigest() != manifest.get("flatbuffer_sha256"):
        raise BundleError(f"{path}: the model was altered (its sha256 is not the one in {MANIFEST})")


def _check_vocabulary(items: Sequence[str], contract: Retrieval, path: Path) -> None:
    if len(items) != contract.items + 1:
        raise BundleError(
            f"{path}: {ITEMS} names {len(items) - 1} items, the model scores {contract.items}; convert the model again"
        )
    if not (items.unique if isinstance(items, IndexedTexts) else len(set(items)) == len(items)):
        raise BundleError(f"{path}: an item is named twice; convert the model again")


def _user_features(manifest: dict[str, Any], contract: Retrieval | Ranking, path: Path) -> list[UserFeature]:
    if not isinstance(contract, Retrieval):
        return []
    try:
        features = [UserFeature.from_json(entry) for entry in manifest.get("user_features", [])]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BundleError(f"{path}: {MANIFEST} has a malformed entry under user_features ({error})") from None
    first = contract.items + 1
    for feature in features:
        if feature.first != first:
            raise BundleError(f"{path}: the user feature {feature.name!r} begins at row {feature.first}, not {first}")
        first += feature.rows
    if features and len(features) >= contract.max_history:
        raise BundleError(f"{path}: {len(features)} user features leave no place for a history")
    return features


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
        and all(_is_number(score) for score in scores)
        and len(scores) == len(rows[2] or ())
        and _is_number(case.get("tolerance", 0))
    )


def _is_number(value: object) -> bool:
    """Whether it is a finite number that a float can hold."""
    if isinstance(value, float):
        return math.isfinite(value)
    return type(value) is int and abs(value) < 2**63


def _items(members: dict[str, bytes], contract: Retrieval | Ranking, lines: range, path: Path) -> Sequence[str]:
    """Raw ids by row, that of padding being ``""``."""
    if NUMBERS not in members:
        return _lines(members, ITEMS, IndexedLines, lines, path) if ITEMS in members else [""]
    if ITEMS in members or not isinstance(contract, Retrieval):
        raise BundleError(f"{path}: {NUMBERS} is not for this bundle; convert the model again")
    try:
        numbers = unpack_numbers(members[NUMBERS], contract.items)
    except ValueError as error:
        raise BundleError(f"{path}: {NUMBERS} {error}; convert the model again") from None
    return Numbers(numbers) if contract.items >= COMPACT_FROM else ["", *map(str, numbers.tolist())]


def _lines(members: dict[str, bytes], name: str, compact: type[Lines], lines: range, path: Path) -> Sequence[str]:
    """Texts by row, that of padding being ``""``; ``compact`` if there are many.

    Args:
        lines: how many there may be. They are counted before they are split.
    """
    content = members[name]
    count = content.count(b"\n")
    if content and not content.endswith(b"\n"):
        raise BundleError(f"{path}: {name} does not end with a line feed")
    if count not in lines:
        said = f"has {count} lines for {lines[-1]} items"
        if name == ITEMS:
            said = f"names {count} items, the model scores {lines[-1]}; convert the model again"
        if len(lines) > 1:
            said = f"has {count:,} lines, above the limit of {lines[-1]:,}"
        raise BundleError(f"{path}: {name} {said}")
    try:
        if count >= COMPACT_FROM:
            _check_utf8(content)
            texts: Sequence[str] = compact(content)
        else:
            texts = ["", *map(unescape_line, content.decode("utf-8").split("\n")[:-1])]
    except UnicodeDecodeError:
        raise BundleError(f"{path}: {name} is not UTF-8") from None
    except (ValueError, RecursionError):
        raise BundleError(f"{path}: {name} has an illegal escape") from None
    return texts


def _attributes(members: dict[str, bytes], items: int, size: int, path: Path) -> dict[str, Attribute]:
    if ATTRIBUTES not in members:
        return {}
    try:
        return attributes_from_json(_json(members[ATTRIBUTES], JSON_FLOOR + JSON_FACTOR * size), items)
    except ValueError as error:
        raise BundleError(f"{path}: {ATTRIBUTES} {error}; convert the model again") from None


def _features(members: dict[str, bytes], size: int, path: Path) -> list[dict[str, Any]]:
    """The entries of ``features.json``, each with a name, once."""
    if FEATURES not in members:
        return []
    try:
        entries = _json(members[FEATURES], JSON_FLOOR + JSON_FACTOR * size)
    except ValueError as error:
        raise BundleError(f"{path}: {FEATURES} {error}; convert the model again") from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise BundleError(f"{path}: {FEATURES} has no list of features; convert the model again")
    texts = [entry.get(key) for entry in entries for key in ("input", "name", "of", "type")]
    if not all(isinstance(text, str) for text in texts):
        raise BundleError(f"{path}: {FEATURES} has a malformed feature; convert the model again")
    return entries


def _item_values(members: dict[str, bytes], items: int, size: int, path: Path) -> dict[str, list[Any]]:
    """The values of ``item_values.json``: for each name and item a finite number, a list of such, or ``None``."""
    if ITEM_VALUES not in members:
        return {}
    try:
        columns = _json(members[ITEM_VALUES], JSON_FLOOR + JSON_FACTOR * size)
    except ValueError as error:
        raise BundleError(f"{path}: {ITEM_VALUES} {error}; convert the model again") from None
    if not isinstance(columns, dict):
        raise BundleError(f"{path}: {ITEM_VALUES} is not an object; convert the model again")
    for name, values in columns.items():
        if not isinstance(values, list) or len(values) != items:
            raise BundleError(f"{path}: {ITEM_VALUES} does not have one value of {name!r} for each of {items:,} items")
        for value in values:
            if not (value is None or all(map(_is_number, value if isinstance(value, list) else [value]))):
                raise BundleError(f"{path}: {ITEM_VALUES} has a malformed value of {name!r}")
    return columns


def _check_utf8(content: bytes) -> None:
    """Raises UnicodeDecodeError; decodes by parts, as a whole text would take as much memory again."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(content), CHUNK):
        decoder.decode(content[start : start + CHUNK])
    decoder.decode(b"", final=True)
