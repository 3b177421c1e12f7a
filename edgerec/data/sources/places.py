"""Where the tables of a recipe are, whatever its ``[data] source``."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from edgerec.data.sources.sql import Relation
from edgerec.errors import DataError
from edgerec.recipe.data import Columns, FeatureTable, mask_url

# Bytes at each end of a file that its fingerprint looks at.
_SAMPLE = 1 << 16


@dataclass(frozen=True)
class File:
    """A file, or a folder of Parquet files; ``delimiter`` of a text file, if it is not that of its suffix."""

    path: Path
    delimiter: str | None = None

    def fingerprint(self) -> list[Any]:
        """What tells that a file changed: where it is, size, time of change, and a hash of its first and last 64 kB.

        Raises:
            DataError: there is no such file.
        """
        if not self.path.exists():
            raise DataError(f"{self.path}: no such file")
        files = sorted(p for p in self.path.rglob("*") if p.is_file()) if self.path.is_dir() else [self.path]
        return [[str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns, _sampled(p)] for p in files]

    def described(self) -> dict[str, str | None]:
        """Which table it is, for ``dataset.json``."""
        return {"path": str(self.path.resolve())}


@dataclass(frozen=True)
class Uri:
    """What Spark reads itself; ``master`` as in :func:`edgerec.data.spark_session.spark_session`."""

    uri: str
    delimiter: str | None
    master: str | None

    def fingerprint(self) -> list[Any]:
        """Of ``file://`` that of the file. Elsewhere only where it is: a change there is not noticed (remove the run's
        folder then).
        """
        if self.uri.startswith("file://"):
            return File(Path(url2pathname(urlsplit(self.uri).path))).fingerprint()
        return [mask_url(self.uri)]

    def described(self) -> dict[str, str | None]:
        """Which table it is, for ``dataset.json``."""
        return {"path": mask_url(self.uri)}


Place = File | Uri | Relation


@dataclass(frozen=True)
class FeatureSource:
    """An item or user table: where it is, and what the recipe says of its columns."""

    place: Place
    settings: FeatureTable


@dataclass(frozen=True)
class Tables:
    """The tables that a ``[data]`` section means.

    Attributes:
        columns: which columns of the interactions are user, item, time and value.
    """

    interactions: Place
    columns: Columns
    items: FeatureSource | None = None
    users: FeatureSource | None = None

    def places(self) -> dict[str, Place]:
        """Each table that there is: ``interactions``, ``items``, ``users``."""
        tables = {"items": self.items, "users": self.users}
        return {"interactions": self.interactions, **{name: t.place for name, t in tables.items() if t is not None}}


def feature_source(table: FeatureTable | None, url: str | None = None) -> FeatureSource | None:
    """The item or user table of a recipe; ``url`` is the database of one that does not name its own."""
    if table is None:
        return None
    if table.path is not None:
        return FeatureSource(File(Path(table.path), table.delimiter), table)
    return FeatureSource(Relation(table.url or str(url), table.table, table.query), table)


def _sampled(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(_SAMPLE)
        file.seek(max(0, path.stat().st_size - _SAMPLE))
        return hashlib.sha256(head + file.read(_SAMPLE)).hexdigest()[:16]
