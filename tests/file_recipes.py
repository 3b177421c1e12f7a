"""Recipes of files, as cases of the conformance suite have them: a bundle with changes (``file`` in section 12 of the
specification, ``converters/targets/README.md``)."""

import base64
import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SUITE = ROOT / "converters" / "targets" / "conformance"
BUNDLES = SUITE / "bundles"


def place_of(bundle: str) -> Path:
    return ROOT / bundle if "/" in bundle else BUNDLES / f"{bundle}.tflite"


def content_of(recipe: Mapping[str, Any]) -> bytes:
    """The bytes that a recipe makes."""
    content = bytearray(place_of(recipe["base"]).read_bytes()[: recipe["keep"]])
    for at, patch in recipe.get("patches", []):
        content[at : at + len(patch) // 2] = bytes.fromhex(patch)
    return bytes(content) + base64.b64decode(recipe.get("tail", ""))


class Changed:
    """Recipes that change one bundle of the suite.

    Attributes:
        content: of the bundle; its ZIP begins at ``start``.
        members: of the ZIP, by name; ``manifest`` is read from them.
    """

    def __init__(self, base: str) -> None:
        self.base = base
        self.content = place_of(base).read_bytes()
        with zipfile.ZipFile(io.BytesIO(self.content)) as archive:
            self.members = {name: archive.read(name) for name in archive.namelist()}
            self.start = min(info.header_offset for info in archive.infolist())
        self.manifest: dict[str, Any] = json.loads(self.members["edgerec.json"])

    def recipe(
        self, keep: int | None = None, patches: Sequence[tuple[int, bytes]] = (), tail: bytes = b""
    ) -> dict[str, Any]:
        """The first ``keep`` bytes (default: all), patched at offsets, and ``tail`` behind them."""
        recipe: dict[str, Any] = {"base": self.base, "keep": len(self.content) if keep is None else keep}
        if patches:
            recipe["patches"] = [[at, one.hex()] for at, one in patches]
        if tail:
            recipe["tail"] = base64.b64encode(tail).decode()
        return recipe

    def remade(self, changed: Mapping[str, bytes | None], hashed: bool = False) -> dict[str, Any]:
        """The bundle with other members, ``None`` for left out; ``hashed``: the manifest has their hashes."""
        merged = {**self.members, **changed}
        members = {member: content for member, content in merged.items() if content is not None}
        if hashed:
            manifest = json.loads(members["edgerec.json"])
            hashes = {n: hashlib.sha256(c).hexdigest() for n, c in members.items() if n != "edgerec.json"}
            members["edgerec.json"] = json.dumps(manifest | {"members": hashes}).encode()
        return self.recipe(self.start, tail=self.zipped(members.items()))

    def with_model(self, flatbuffer: bytes) -> dict[str, Any]:
        """The bundle with another model, and its hash."""
        digest = hashlib.sha256(flatbuffer).hexdigest()
        manifest = self.manifest | {"flatbuffer_bytes": len(flatbuffer), "flatbuffer_sha256": digest}
        members = {**self.members, "edgerec.json": json.dumps(manifest).encode()}
        return self.recipe(0, tail=flatbuffer + self.zipped(members.items(), behind=flatbuffer))

    def zipped(
        self,
        members: Iterable[tuple[str, bytes]],
        method: int = zipfile.ZIP_DEFLATED,
        behind: bytes | None = None,
    ) -> bytes:
        """A ZIP of the members, to stand behind the bundle's model or another one."""
        model = self.content[: self.start] if behind is None else behind
        file = io.BytesIO(model)
        with zipfile.ZipFile(file, "a", method) as archive:
            for name, content in members:
                archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, method)
        return file.getvalue()[len(model) :]
