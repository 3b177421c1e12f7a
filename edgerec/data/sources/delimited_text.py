"""Delimited text (CSV, TSV, the ``::`` of MovieLens), plain or gzipped: one streaming reader for every such table."""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from edgerec.data.sources.table import Problem, Record, Say, printable, require_distinct
from edgerec.errors import DataError

if TYPE_CHECKING:
    import _csv

# Characters of the longest value. What goes on for longer is a quote that is never closed.
LONGEST_VALUE = 16_000_000
# A quoted value may hold line breaks; one that goes on for more lines than this is worth a warning.
MANY_LINES = 100
_BLOCK = 1 << 18


@dataclass(frozen=True)
class DelimitedText:
    """A text file with one record a line; quoted values may go on over several lines.

    Attributes:
        delimiter: between values; only one of a single character goes with quotes.
        quoted: whether ``"`` quotes values that hold the delimiter or a line break.
        header: whether the first record names the columns.
    """

    path: Path
    columns: list[str] = field(repr=False)
    delimiter: str = ","
    quoted: bool = True
    header: bool = True
    encoding: str = "utf-8"

    @classmethod
    def with_header(cls, path: Path, delimiter: str) -> "DelimitedText":
        """The table whose first record names its columns.

        Raises:
            DataError: the file cannot be read, is empty, or its first line does not name columns.
        """
        with _opened(path, "utf-8") as file:
            lines = _Lines(file)
            try:
                columns = next(_header(lines, delimiter), [])
            except csv.Error as error:
                raise DataError(f"{path}: line 1: its header cannot be read: {_explained(error)}") from None
        if not columns:
            raise DataError(f"{path}: the file is empty, or its first line is; the first line must name the columns")
        if problem := _unreadable(columns):
            raise DataError(f"{path}: line 1: its header cannot be read: {problem}")
        require_distinct(columns, f"{path}: line 1")
        return cls(path, columns, delimiter, quoted=len(delimiter) == 1)

    @property
    def name(self) -> str:
        return str(self.path)

    def place(self, line: int) -> tuple[str, int | None]:
        return self.name, line

    def records(self, names: Sequence[str], say: Say) -> Iterator[Record]:
        """See :meth:`edgerec.data.sources.table.Table.records`. Blank lines are no records.

        Raises:
            DataError: the file is damaged, or a quote is never closed.
        """
        with _opened(self.path, self.encoding) as file:
            lines = _Lines(file)
            records = self._quoted(lines, say) if self.quoted else self._unquoted(lines)
            if self.header:
                next(records, None)
            picked = _picker([self.columns.index(name) for name in names])
            for line, values, problem in records:
                yield line, picked(values), problem

    def _unquoted(self, lines: "_Lines") -> Iterator[Record]:
        for number, line in enumerate(lines.from_number(1), 1):
            lines.needed_from = number
            if content := line.rstrip("\r\n"):
                yield self._checked(lines, number, number, content.split(self.delimiter))

    def _quoted(self, lines: "_Lines", say: Say) -> Iterator[Record]:
        width, empty = len(self.columns), [""] * len(self.columns)
        number, before = 1, 0
        reader = self._reader(lines, 1)
        while True:
            try:
                for values in reader:
                    last = before + reader.line_num
                    if last > number + MANY_LINES:
                        if len(values) != width:  # two quotes that do not belong together
                            problem = Problem("a quote is not closed on its line", lines.text(number, number))
                            yield number, empty, problem
                            break
                        say(f"{self.path}: lines {number:,} to {last:,} are one record: is a quote not closed?")
                    if len(values) == width and lines.plain:
                        yield number, values, None
                    elif values:
                        yield self._checked(lines, number, last, values)
                    number = lines.needed_from = last + 1
                else:
                    return
            except csv.Error as error:
                last = before + reader.line_num
                self._refuse_open_quote(error, lines, number, last)
                yield number, empty, Problem(_explained(error), lines.text(number, number))
            # A quote may have swallowed good records: only its own line is lost.
            number = lines.needed_from = number + 1
            if last >= number:
                reader, before = self._reader(lines, number), number - 1

    def _reader(self, lines: "_Lines", number: int) -> "_csv.Reader":
        return csv.reader(lines.from_number(number), delimiter=self.delimiter, strict=True)

    def _checked(self, lines: "_Lines", number: int, last: int, values: list[str]) -> Record:
        problem = None
        if len(values) != len(self.columns):
            problem = f"{'fewer' if len(values) < len(self.columns) else 'more'} values than columns"
        elif not lines.plain:
            problem = _unreadable(values)
        if problem is None:
            return number, values, None
        if last > number:
            problem += f" (the record goes on to line {last})"
        return number, [""] * len(self.columns), Problem(problem, lines.text(number, last))

    def _refuse_open_quote(self, error: csv.Error, lines: "_Lines", number: int, last: int) -> None:
        at_end = "unexpected end" in str(error)
        if at_end or ("field larger" in str(error) and last > number):
            opens = lines.number_of_open_quote(number, last)
            where = "the end of the file" if at_end else f"{LONGEST_VALUE:,} characters"
            raise DataError(
                f"{self.path}: line {opens}: the quote that opens here is not closed before {where} "
                f'(line {last}); close it, or write a quote inside a value as ""'
            )


class _Lines:
    """The lines of an open file, of which those that are still needed can be looked at, and read, again.

    Attributes:
        needed_from: number of the first line that may be asked for again.
        plain: whether everything held is ASCII without NUL.
    """

    def __init__(self, file: io.TextIOWrapper) -> None:
        self._file = file
        self._held: list[str] = []
        self._first = 1
        self.needed_from = 1
        self.plain = True

    def from_number(self, number: int) -> Iterator[str]:
        """All lines from ``number`` on: those that are held, and then those of the file."""
        return chain(self._held[number - self._first :], chain.from_iterable(self._blocks()))

    def text(self, first: int, last: int) -> str:
        """What is written on some lines, without the end of the last one."""
        return "".join(self._held[first - self._first : last + 1 - self._first]).rstrip("\r\n")

    def number_of_open_quote(self, first: int, last: int) -> int:
        """Of lines that end within a quoted value, the one on which that value begins."""
        opens, inside = first, False
        for number, line in enumerate(self._held[first - self._first : last + 1 - self._first], first):
            if line.count('"') % 2:
                inside = not inside
                opens = number if inside else opens
        return opens

    def _blocks(self) -> Iterator[list[str]]:
        while block := self._file.readlines(_BLOCK):
            done = self.needed_from - self._first
            del self._held[:done]
            self._first += done
            self._held += block
            self.plain = all(map(str.isascii, self._held)) and "\0" not in "".join(self._held)
            yield block


@contextmanager
def _opened(path: Path, encoding: str) -> Iterator[io.TextIOWrapper]:
    """The text of a file, lines split at ``\\n`` alone; bytes that are not in its encoding become surrogates.

    Raises:
        DataError: the file cannot be read, or a ``.gz`` is damaged.
    """
    csv.field_size_limit(LONGEST_VALUE)
    encoding = "utf-8-sig" if encoding == "utf-8" else encoding
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as raw:
            yield io.TextIOWrapper(raw, encoding, errors="surrogateescape", newline="\n")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {printable(str(error))}") from None


def _header(lines: _Lines, delimiter: str) -> Iterator[list[str]]:
    if len(delimiter) == 1:
        return csv.reader(lines.from_number(1), delimiter=delimiter, strict=True)
    return (line.rstrip("\r\n").split(delimiter) for line in lines.from_number(1))


def _picker(places: list[int]) -> Callable[[Sequence[str | None]], Sequence[str | None]]:
    if len(places) > 1:
        return itemgetter(*places)
    return lambda values: [values[place] for place in places]


def _unreadable(values: Sequence[str]) -> str | None:
    """Why a record's values are no text."""
    joined = "".join(values)
    if "\0" in joined:
        return "a NUL character"
    try:
        joined.encode("utf-8")
    except UnicodeEncodeError:
        return "not UTF-8"
    return None


def _explained(error: csv.Error) -> str:
    said = str(error)
    if "new-line character" in said:
        return "a carriage return inside the line"
    if "field larger" in said:
        return f"a value longer than {LONGEST_VALUE:,} characters"
    if "NUL" in said:
        return "a NUL character"
    if "unexpected end" in said:
        return "a quote is not closed"
    return "a quote inside a value is not closed or not doubled"
