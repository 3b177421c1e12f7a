"""``rejected.csv``: the rows that cannot be used, with file, line, reason and text."""

import csv
from collections import Counter
from pathlib import Path
from types import TracebackType

from edgerec.data.sources.table import printable


class Rejected:
    """Writes rejected rows to disk as they come; none is kept in memory.

    Attributes:
        reasons: how many rows were rejected, by reason (without what it says in brackets).
        first: where and why the first one was: ``FILE: line N: REASON``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reasons: Counter[str] = Counter()
        self.first: str | None = None

    def __enter__(self) -> "Rejected":
        self._file = self.path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(("file", "line", "reason", "text"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def move(self, path: Path) -> None:
        """End the list, and move it to ``path``."""
        self._file.close()
        self.path.replace(path)

    @property
    def count(self) -> int:
        """Rows rejected so far."""
        return self.reasons.total()

    def add(self, file: str, line: int | None, reason: str, text: str) -> None:
        """Write one row. Control characters in ``text`` are escaped; ``line`` is ``None`` where it is not known."""
        self.reasons[reason.partition(" (")[0]] += 1
        if self.first is None:
            self.first = f"{file}: {reason}" if line is None else f"{file}: line {line}: {reason}"
        self._writer.writerow((file, "" if line is None else line, reason, printable(text)))
