"""Writes bundles: a flatbuffer, a manifest and the vocabulary become one ``.tflite`` file."""

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from device_runner.bundle import (
    ATTRIBUTES,
    CARD,
    FEATURES,
    GOLDEN,
    ITEM_VALUES,
    ITEMS,
    MANIFEST,
    NEWEST_MEMBERS,
    NUMBERS,
    TITLES,
    Bundle,
)
from device_runner.contract import Ranking, Retrieval
from device_runner.lines import escape_line
from device_runner.numbers import pack_numbers

# A fixed time stamp: the same input gives the same bytes.
EPOCH = (1980, 1, 1, 0, 0, 0)


def bundle_bytes(
    flatbuffer: bytes,
    name: str,
    scheme: str,
    contract: Retrieval | Ranking,
    items: Sequence[str] = (),
    titles: Sequence[str] | None = None,
    golden: Sequence[dict[str, Any]] | None = None,
    card: str | None = None,
    facts: dict[str, Any] | None = None,
    attributes: dict[str, Any] | None = None,
    features: Sequence[dict[str, Any]] | None = None,
    item_values: dict[str, Any] | None = None,
) -> bytes:
    """A bundle in memory.

    Args:
        items: raw ids of rows 1..N; likewise ``titles``. A ranking bundle may have none.
        golden: cases ``{"history": rows, "exclude": rows, "ids": rows, "scores": floats}``.
        facts: further entries of the manifest (dataset, quality, runtimes).
        attributes: attributes of the items by name, ``{"values": [text, …], "rows": [[place, …], …]}`` each.
        features: the features of a ranking model, in the order of its inputs.
        item_values: the values of item features by name, one for each item.
    """
    members = _items(items, contract)
    if titles is not None:
        members[TITLES] = _lines(titles)
    if golden is not None:
        members[GOLDEN] = json.dumps({"cases": list(golden)}, separators=(",", ":")).encode()
    for member, document in ((ATTRIBUTES, attributes), (FEATURES, features), (ITEM_VALUES, item_values)):
        if document:
            text = json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
            members[member] = text.encode("utf-8")
    if card is not None:
        members[CARD] = card.encode()
    manifest = {
        "format": 3 if members.keys() & NEWEST_MEMBERS else 2 if NUMBERS in members else 1,
        "name": name,
        "scheme": scheme,
        "contract": contract.to_json(),
        "flatbuffer_bytes": len(flatbuffer),
        "flatbuffer_sha256": hashlib.sha256(flatbuffer).hexdigest(),
        "members": {member: hashlib.sha256(content).hexdigest() for member, content in members.items()},
        **(facts or {}),
    }
    file = io.BytesIO(flatbuffer)
    # Appending lets zipfile write offsets from the file's own start, as other zip tools expect.
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for member, content in {
            MANIFEST: json.dumps(manifest, indent=1, ensure_ascii=False).encode(),
            **members,
        }.items():
            archive.writestr(zipfile.ZipInfo(member, EPOCH), content, zipfile.ZIP_DEFLATED, 9)
    return file.getvalue()


def _items(items: Sequence[str], contract: Retrieval | Ranking) -> dict[str, bytes]:
    """The member that holds the ids, if there are any."""
    if not items:
        return {}
    if isinstance(contract, Retrieval) and len(items) == contract.items and (numbers := pack_numbers(items)):
        return {NUMBERS: numbers}
    return {ITEMS: _lines(items)}


def _lines(texts: Sequence[str]) -> bytes:
    return "".join(escape_line(text) + "\n" for text in texts).encode("utf-8")


def with_facts(path: Path, facts: dict[str, Any], card: str | None = None) -> bytes:
    """The bundle at ``path`` with ``facts`` added to its manifest; the rest is unchanged.

    Args:
        card: a new model card (Markdown) in place of the bundle's own, if it has one.

    Raises:
        BundleError: the file at ``path`` is not a sound bundle.
    """
    bundle = Bundle.read(path)
    fixed = {"format", "name", "scheme", "contract", "flatbuffer_bytes", "flatbuffer_sha256", "members"}
    kept = {key: value for key, value in bundle.manifest.items() if key not in fixed}
    return bundle_bytes(
        bundle.model,
        bundle.name,
        bundle.scheme,
        bundle.contract,
        bundle.items[1:],
        bundle.titles[1:] or None,
        bundle.golden() or None,
        bundle.card() if card is None else card,
        {**kept, **facts},
        {name: attribute.to_json() for name, attribute in bundle.attributes.items()} or None,
        bundle.features or None,
        dict(bundle.item_values) or None,
    )
