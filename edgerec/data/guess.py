"""A first recipe for a table: every guess has a comment that says why."""

import csv
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from edgerec.data.guess_columns import (
    ITEM_WORDS,
    TITLE_WORDS,
    USER_WORDS,
    Guess,
    are_counts,
    are_recent,
    by_name,
    guess_ids,
    guess_time,
    guess_value,
    is_time,
    words_of,
)
from edgerec.data.sources.movielens import RELEASES, movielens_tables
from edgerec.data.sources.places import File
from edgerec.data.sources.table import Table, printable, shown_names
from edgerec.data.sources.tables import DELIMITERS, JSON_LINES, open_table
from edgerec.errors import DataError
from edgerec.recipe.data import MovieLensData

# Rows that are looked at: for names and values of columns, and for counts.
SAMPLE, COUNTED = 20_000, 1_000_000
# From so many rows on, the default training takes more than an hour on two cores.
LARGE = 300_000
MINUTES = 20
RATINGS_HEADER = "userId,movieId,rating,timestamp"
TABLES = (*DELIMITERS, *JSON_LINES, ".parquet", ".dat")
INTERACTIONS = (
    *("interactions", "ratings", "events", "transactions", "purchases", "orders", "sales", "reviews", "clicks"),
    *("plays", "views", "history", "log", "logs", "feedback", "behaviors", "train"),
)
ITEMS = (
    *("items", "products", "movies", "articles", "tracks", "songs", "books", "games", "catalog", "catalogue"),
    *("films", "videos", "item", "product", "movie", "metadata"),
)
USERS = ("users", "customers", "members", "households", "people", "demographics", "visitors", "accounts")


@dataclass(frozen=True)
class GuessedRecipe:
    """A recipe, and what was guessed for it.

    Attributes:
        toml: the recipe's text, with a comment at each guess.
        guesses: (what, why) of each, to show.
    """

    toml: str
    guesses: list[tuple[str, str]]


@dataclass(frozen=True)
class _Counts:
    """What the first ``COUNTED`` rows hold."""

    rows: int
    bad: int
    of_user: Counter[str]
    of_item: Counter[str]
    pairs: int
    ties: int
    least_value: float | None


@dataclass(frozen=True)
class _Section:
    """A section of the recipe in the making; what has a reason is also one of the ``guesses``."""

    name: str
    guesses: list[tuple[str, str]]
    lines: list[str] = field(default_factory=list)

    def add(self, key: str, value: object, why: str | None = None) -> None:
        text = f"{key} = {_toml(value)}"
        if why is not None:
            self.guesses.append((f"{self.name}.{text}", why))
        self.lines.append(f"{text}  # {printable(why)}" if why else text)

    def text(self) -> str:
        return "\n".join([f"[{self.name}]", *self.lines]) + "\n"


def guess_recipe(path: Path, relative_to: Path | None = None) -> GuessedRecipe:
    """Look at a table, and at item and user tables beside it, and write a recipe that prepares it.

    Args:
        path: text with any usual delimiter, JSON lines or Parquet; a folder of Parquet files, or one in which a table
            of interactions lies; a folder or file of a MovieLens release.
        relative_to: the folder of the recipe, to which its paths will be relative; default: they are absolute.

    Raises:
        DataError: there is no table, it has no header, or no columns that could be users and items.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file")
    if (folder := _movielens_folder(path)) is not None:
        return _of_movielens(folder, relative_to)
    place = _delimited(_table_in(path))
    return _of_table(place, relative_to)


def _of_movielens(folder: Path, relative_to: Path | None) -> GuessedRecipe:
    tables = movielens_tables(MovieLensData(source="movielens", path=str(folder)))
    counts = _count(open_table(tables.interactions), "userId", "movieId", "timestamp", None)
    guesses: list[tuple[str, str]] = []
    data = _Section("data", guesses)
    data.add("name", _name(folder))
    data.add("source", "movielens", "the files are those of a MovieLens release")
    data.add("path", _shown_path(folder, relative_to))
    _add_thresholds(data, counts)
    split = _split(counts, guesses, has_times=True, may_have_baskets=False)
    return _finished([data, split, *_time_limit(counts, guesses)], folder.name, guesses)


def _of_table(place: File, relative_to: Path | None) -> GuessedRecipe:
    table = open_table(place)
    _require_header(table)
    sample = _sampled(table)
    user, item, time, value = _mapped(table, sample)
    mapped = {"user": user, "item": item, "time": time if isinstance(time, Guess) else None, "value": value}
    names = {key: guess.column for key, guess in mapped.items() if guess is not None}
    counts = _count(table, user.column, item.column, names.get("time"), names.get("value"))
    guesses: list[tuple[str, str]] = []
    data, columns = _Section("data", guesses), _Section("data.columns", guesses)
    data.add("name", _name(place.path))
    data.add("path", _shown_path(place.path, relative_to))
    if place.delimiter is not None:
        data.add("delimiter", place.delimiter, "it cuts every line into equally many values")
    _add_thresholds(data, counts)
    if value and counts.least_value is not None and counts.least_value <= 0 and are_counts(value.column, sample):
        data.add("min_value", 1, f"{value.column} is also 0 or less, such as for returns")
    for key, guess in mapped.items():
        if guess is not None:
            columns.add(key, guess.column, guess.why)
    if mapped["time"] is None:
        guesses.append(("no data.columns.time", f"{time or 'no column holds times'}; the order of the file counts"))
    beside = (
        _feature_section(_Section("data.items", guesses), item, set(counts.of_item), place, relative_to),
        _feature_section(_Section("data.users", guesses), user, set(counts.of_user), place, relative_to),
    )
    has_times = "time" in names and are_recent(sample[names["time"]])
    split = _split(counts, guesses, has_times, may_have_baskets=True)
    sections = [data, columns, *filter(None, beside), split, *_time_limit(counts, guesses)]
    return _finished(sections, place.path.name, guesses)


def _time_limit(counts: _Counts, guesses: list[tuple[str, str]]) -> list[_Section]:
    """A limit for the first training on a large table, so that a first report is there within the hour."""
    if counts.rows < LARGE:
        return []
    train = _Section("train", guesses)
    train.add("max_minutes", MINUTES, "a first model within the hour; without it, more epochs may give a better one")
    return [train]


def _finished(sections: Sequence[_Section], name: str, guesses: list[tuple[str, str]]) -> GuessedRecipe:
    head = (
        f"# A first recipe for {printable(name)}: what the comments give a reason for is guessed. Please check it.\n\n"
    )
    return GuessedRecipe(head + "\n".join(section.text() for section in sections), guesses)


# Where the table is


def _movielens_folder(path: Path) -> Path | None:
    """The folder of a MovieLens release that ``path`` is or lies in."""
    folder = path if path.is_dir() else path.parent
    for ratings, movies, _ in RELEASES:
        is_this = path.is_dir() or path.name == ratings
        if not is_this or not (folder / ratings).is_file():
            continue
        if not ratings.endswith(".csv"):
            return folder
        header = _first_lines(folder / ratings, 1)
        if header[:1] == [RATINGS_HEADER] and (folder / movies).is_file():
            return folder
    return None


def _table_in(path: Path) -> Path:
    """The table of interactions: ``path``, or in a folder the file that is called so, or else the largest.

    Raises:
        DataError: the folder holds no table.
    """
    if not path.is_dir():
        return path
    files = [file for file in sorted(path.iterdir()) if file.is_file() and _suffix(file) in TABLES]
    named = [file for name in INTERACTIONS for file in files if _stem(file) == name]
    if named:
        return named[0]
    if all(_suffix(file) == ".parquet" for file in files) and any(path.rglob("*.parquet")):
        return path
    others = [file for file in files if _stem(file) not in (*ITEMS, *USERS)]
    if not others:
        raise DataError(f"{path}: no table here; looked for files that end with {', '.join(TABLES)}")
    return max(others, key=lambda file: file.stat().st_size)


def _delimited(path: Path) -> File:
    """The table at ``path``, with the delimiter if it is not the one of the suffix.

    Raises:
        DataError: a text whose lines no delimiter cuts into columns.
    """
    if path.is_dir() or _suffix(path) in (*JSON_LINES, ".parquet") or path.suffix == ".gz":
        return File(path)
    lines = _first_lines(path, 100)
    widths = {delimiter: _width(lines, delimiter) for delimiter in ("::", "\t", ";", ",", "|")}
    usual = DELIMITERS.get(_suffix(path))
    # The suffix decides where it can: names of columns and texts hold other delimiters.
    best = max(widths, key=lambda delimiter: (widths[delimiter], delimiter == usual))
    if widths[best] < 2:
        raise DataError(f"{path}: no delimiter cuts its lines into equally many values; name it with data.delimiter")
    return File(path, None if best == usual else best)


def _first_lines(path: Path, count: int) -> list[str]:
    """Lines that are not blank, without their ends.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return [line.rstrip("\n") for line in islice(file, count) if line.strip()]
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _width(lines: Sequence[str], delimiter: str) -> int:
    """Values a line, 0 unless it is the same for nearly all lines."""
    if len(delimiter) > 1:
        widths = Counter(line.count(delimiter) + 1 for line in lines)
    else:
        widths = Counter(len(values) for values in csv.reader(lines, delimiter=delimiter) if values)
    width, count = widths.most_common(1)[0] if widths else (0, 0)
    return width if count >= 0.9 * sum(widths.values()) else 0


def _require_header(table: Table) -> None:
    numbers = [name for name in table.columns if re.match(r"^[+-]?[0-9.]+$", name)]
    if 2 * len(numbers) > len(table.columns):
        raise DataError(
            f"{table.name}: its first line holds values ({shown_names(table.columns)}), not names of columns: add a "
            "line such as user_id,item_id,time before it"
        )


# What the columns are


def _sampled(table: Table) -> dict[str, list[str | None]]:
    """The first values of each column."""
    rows = [values for _, values, problem in islice(_records(table, table.columns), SAMPLE) if problem is None]
    return {name: [row[place] for row in rows] for place, name in enumerate(table.columns)}


def _records(table: Table, names: Sequence[str]) -> Iterator[tuple[int, Sequence[str | None], object]]:
    return table.records(names, lambda text: None)


def _mapped(table: Table, sample: dict[str, list[str | None]]) -> tuple[Guess, Guess, Guess | str | None, Guess | None]:
    """The columns user, item, time (or why the one that is called so cannot be used) and value.

    Raises:
        DataError: no column could be that of users, or of items.
    """
    named = [by_name(table.columns, words) for words in (USER_WORDS, ITEM_WORDS)]
    taken = [name for name in named if name is not None]
    time = guess_time(dict(sample), taken)
    others = [time.column] if isinstance(time, Guess) else []
    value = guess_value(dict(sample), [*taken, *others])
    others += [value.column] if value else []
    user, item = guess_ids(dict(sample), others)
    if user is None or item is None:
        raise DataError(
            f"{table.name}: no column could be that of {'users' if user is None else 'items'}; it has "
            f"{shown_names(table.columns)}. Write a recipe with data.columns by hand"
        )
    return user, item, time, value


def _count(table: Table, user: str, item: str, time: str | None, value: str | None) -> _Counts:
    names = [user, item, *filter(None, (time, value))]
    rows = bad = 0
    of_user: Counter[str] = Counter()
    of_item: Counter[str] = Counter()
    pairs: set[tuple[str, str]] = set()
    moments: Counter[tuple[str, str]] = Counter()
    least: float | None = None
    for _, values, problem in islice(_records(table, names), COUNTED):
        rows += 1
        who, what = values[0], values[1]
        when = values[2] if time else ""
        if problem is not None or not (who and who.strip() and what and what.strip()) or (time and not is_time(when)):
            bad += 1
            continue
        of_user[str(who)] += 1
        of_item[str(what)] += 1
        pairs.add((str(who), str(what)))
        if time:
            moments[str(who), str(when)] += 1
        if value:
            try:
                number = float(values[-1] or "nan")
            except ValueError:
                continue
            least = number if least is None or number < least else least
    ties = sum(moments.values()) - len(moments)
    return _Counts(rows, bad, of_user, of_item, len(pairs), ties, least)


def _add_thresholds(data: _Section, counts: _Counts) -> None:
    """``min_user_events``, ``min_item_users``, ``max_rejected`` and ``repeats``."""
    good = counts.rows - counts.bad
    users = _threshold(counts.of_user, (5, 3), 0.9)
    items = _threshold(counts.of_item, (5, 3, 2), 0.95) if len(counts.of_item) > 500 else 1
    for key, least, counter, what in (
        ("min_user_events", users, counts.of_user, "users"),
        ("min_item_users", items, counts.of_item, "items"),
    ):
        kept = sum(count for count in counter.values() if count >= least)
        data.add(key, least, f"{what} with at least so many have {kept / max(1, good):.1%} of {good:,} rows")
    share = counts.bad / max(1, counts.rows)
    if share > 0.005:
        why = f"{share:.1%} of {counts.rows:,} rows cannot be used: look at rejected.csv"
        data.add("max_rejected", min(1.0, round(2 * share + 0.01, 2)), why)
    repeated = 1 - counts.pairs / max(1, good)
    if repeated > 0.2:
        why = f'{repeated:.0%} of events repeat an item of the same user; "all" keeps them and recommends items again'
        data.add("repeats", "first", why)


def _threshold(counter: Counter[str], candidates: Sequence[int], share: float) -> int:
    """The first of the candidates that keeps a share of the events, or else 1."""
    total = sum(counter.values())
    return next((c for c in candidates if sum(n for n in counter.values() if n >= c) >= share * total), 1)


def _split(counts: _Counts, guesses: list[tuple[str, str]], has_times: bool, may_have_baskets: bool) -> _Section:
    ties = counts.ties / max(1, counts.rows - counts.bad)
    kind, why = "leave-one-out", "the last event of each user is held out"
    if may_have_baskets and ties > 0.2:
        kind, why = "last-basket", f"{ties:.0%} of events share user and time with another; the last basket is held out"
    elif has_times:
        why += '; "temporal" holds out the newest events of all'
    section = _Section("split", guesses)
    section.add("kind", kind, why)
    return section


# Tables beside it


def _feature_section(
    section: _Section, of: Guess, ids: set[str], place: File, relative_to: Path | None
) -> _Section | None:
    """The item or user table beside the interactions that holds their ``ids``, if there is one."""
    of_items = section.name == "data.items"
    names, id_words = (ITEMS, ITEM_WORDS) if of_items else (USERS, USER_WORDS)
    beside = sorted(file for file in place.path.parent.iterdir() if file.is_file() and file != place.path)
    for file in (file for name in names for file in beside if _stem(file) == name and _suffix(file) in TABLES):
        try:
            found = _delimited(file)
            table = open_table(found)
            _require_header(table)
        except DataError:
            continue
        found_ids = _ids_found(table, ids)
        column = _id_column(found_ids, of.column, id_words, len(ids))
        if column is None:
            continue
        known = len(found_ids[column])
        sample = _sampled(table)
        section.add("path", _shown_path(file, relative_to), f"lies beside it and has {known:,} of {len(ids):,} ids")
        if found.delimiter is not None:
            section.add("delimiter", found.delimiter)
        section.add("id", column)
        title = by_name(table.columns, TITLE_WORDS, [column])
        if title is not None and of_items:
            section.add("title", title, "by its name")
        if multi := {name: "|" for name, values in sample.items() if name != column and _is_multi(values)}:
            section.add("multi", multi, "values with | between them")
        return section
    return None


def _ids_found(table: Table, ids: set[str]) -> dict[str, set[str]]:
    """Which of ``ids`` each column of a table holds."""
    found: dict[str, set[str]] = {name: set() for name in table.columns}
    for _, values, _ in islice(_records(table, table.columns), COUNTED):
        for name, value in zip(table.columns, values, strict=True):
            if value in ids:
                found[name].add(str(value))
    return found


def _id_column(found: dict[str, set[str]], of: str, words: Sequence[str], ids: int) -> str | None:
    """The column that holds half of the ids or more: that of the same name, or else the one with most of them."""
    fitting = [name for name, held in found.items() if 2 * len(held) >= ids]
    for name in fitting:
        if words_of(name) == words_of(of):
            return name
    named = by_name(fitting, words) or by_name(fitting, ("id",))
    return named or max(fitting, key=lambda name: len(found[name]), default=None)


def _is_multi(values: Sequence[str | None]) -> bool:
    known = [value for value in values if value]
    return sum("|" in value for value in known) > 0.2 * max(1, len(known))


# TOML


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_toml_key(key)} = {_toml(v)}" for key, v in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml(key)


def _name(path: Path) -> str:
    """A name for the data set: that of the file, or of its folder where the file's says nothing."""
    stem = _stem(path) if not path.is_dir() else path.resolve().name
    stem = path.resolve().parent.name if stem in INTERACTIONS else stem
    return re.sub(r"[^\w .-]", "-", stem).lstrip(" .-") or "dataset"


def _shown_path(path: Path, relative_to: Path | None) -> str:
    return str(path.resolve()) if relative_to is None else os.path.relpath(path.resolve(), relative_to.resolve())


def _suffix(path: Path) -> str:
    return Path(path.stem).suffix if path.suffix == ".gz" else path.suffix


def _stem(path: Path) -> str:
    return path.name.partition(".")[0].lower()
