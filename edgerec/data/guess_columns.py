"""Which columns of a table are user, item, time and value: guessed by their names, then by what they hold."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from edgerec.data.times import DECIMAL, ISO_8601, YEAR_1980, YEAR_2100

# Words of column names, the most telling first.
USER_WORDS = (
    *("user", "customer", "member", "visitor", "household", "reviewer", "client", "shopper", "buyer", "subscriber"),
    *("account", "player", "listener", "reader", "patron", "viewer", "consumer", "person", "people", "uid", "session"),
)
ITEM_WORDS = (
    *("item", "product", "movie", "sku", "stock", "asin", "track", "article", "song", "book", "isbn", "film", "game"),
    *("app", "video", "content", "news", "recipe", "anime", "show", "series", "artist", "album", "business", "venue"),
    *("place", "poi", "course", "listing", "offer", "good", "goods", "upc", "ean", "gtin", "page", "post", "iid"),
)
TIME_WORDS = (
    *("timestamp", "datetime", "time", "date", "ts", "created", "when", "at", "day", "moment", "epoch"),
    *("position", "sequence", "seq", "step"),
)
VALUE_WORDS = (
    "rating",
    "stars",
    "score",
    "overall",
    "quantity",
    "qty",
    "plays",
    "playcount",
    "count",
    "weight",
    "value",
)
COUNT_WORDS = {"quantity", "qty", "count", "plays", "playcount"}
TITLE_WORDS = ("title", "name", "description", "label", "caption")
# What names an id beside the word: CustomerID, stock_code.
_NUMBER, _DATE = re.compile(DECIMAL), re.compile(ISO_8601)
ID_WORDS = {"id", "ids", "key", "code", "no", "nr", "num", "number", "pk", "uuid"}


@dataclass(frozen=True)
class Guess:
    """A column, and why it is this one."""

    column: str
    why: str


def words_of(name: str) -> list[str]:
    """The words of a column name in lower case: ``unixReviewTime``, ``CustomerID`` and ``stock_code`` have several."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    words = re.findall(r"[a-z]+|[0-9]+", spaced.lower())
    parts: list[str] = []
    for word in words:  # userid, timestamp
        known = next((w for w in (*USER_WORDS, *ITEM_WORDS) if word == f"{w}id"), None)
        parts += [known, "id"] if known else [word]
    return parts


def by_name(columns: Sequence[str], words: Sequence[str], taken: Collection[str] = ()) -> str | None:
    """The column whose name has the most telling of ``words``; with an id (``user_id``) before without (``user``), and
    both before other company (``user_name``).
    """
    found: list[tuple[int, int, int, str]] = []
    for place, name in enumerate(columns):
        parts = words_of(name)
        ranks = [words.index(part) for part in parts if part in words]
        if name in taken or not ranks:
            continue
        others = [part for part in parts if part not in words and part not in ID_WORDS]
        company = 2 if others else int(len(parts) > 1 and not ID_WORDS & set(parts))
        found.append((company, min(ranks), place, name))
    return min(found)[3] if found else None


def guess_time(columns: dict[str, Sequence[str | None]], taken: Collection[str]) -> Guess | str | None:
    """The column of times; a text that says why a column with such a name cannot be used; or ``None``."""
    names = [name for name in columns if name not in taken and not {"id", "ids", "key", "code"} & set(words_of(name))]
    refused = None
    while (named := by_name(names, TIME_WORDS)) is not None:
        if are_times(columns[named]):
            return Guess(named, f"by its name, and it holds {'times' if are_recent(columns[named]) else 'numbers'}")
        example = next((value for value in columns[named] if value), "")
        refused = refused or f"column {named!r} holds neither numbers nor dates like 2020-12-31 (but {example!r})"
        names.remove(named)
    for name in names:
        if are_times(columns[name]) and are_recent(columns[name]):
            return Guess(name, "by its values, which are times between 1980 and 2100")
    return refused


def guess_value(columns: dict[str, Sequence[str | None]], taken: Collection[str]) -> Guess | None:
    """A column of ratings or quantities."""
    numeric = [name for name in columns if name not in taken and _share(columns[name], DECIMAL) > 0.9]
    named = by_name(numeric, VALUE_WORDS)
    return Guess(named, "by its name, and it holds numbers") if named else None


def guess_ids(columns: dict[str, Sequence[str | None]], taken: Collection[str]) -> tuple[Guess | None, Guess | None]:
    """The columns of users and items: by their names, otherwise the first ones whose values come again."""
    names = [name for name in columns if name not in taken]
    user = by_name(names, USER_WORDS)
    item = by_name(names, ITEM_WORDS, [user] if user else [])
    why = "by its name"
    found = [Guess(name, why) if name else None for name in (user, item)]
    left = [name for name in names if name not in (user, item) and _could_be_ids(columns[name])]
    for place, what in enumerate(("users", "items")):
        if found[place] is None and left:
            found[place] = Guess(left.pop(0), f"only by its place and that its values come again: are these {what}?")
    return found[0], found[1]


def are_counts(column: str, sample: dict[str, list[str | None]]) -> bool:
    """Whether a column is called a quantity, and holds whole numbers."""
    return bool(COUNT_WORDS.intersection(words_of(column))) and _share(sample[column], "^-?[0-9]+([.]0+)?$") > 0.99


def are_times(values: Sequence[str | None]) -> bool:
    """Whether nearly all values are numbers, or nearly all ISO 8601 dates."""
    return max(_share(values, DECIMAL), _share(values, ISO_8601)) > 0.9


def is_time(value: str | None) -> bool:
    """Whether a value is a number or an ISO 8601 date."""
    return value is not None and (_NUMBER.match(value) or _DATE.match(value)) is not None


def are_recent(values: Sequence[str | None]) -> bool:
    """Whether nearly all values are dates, or numbers that can be a time between 1980 and 2100."""
    if _share(values, ISO_8601) > 0.9:
        return True
    numbers = [float(value) for value in values if value and re.match(DECIMAL, value)]
    return any(
        sum(YEAR_1980 * many <= number < YEAR_2100 * many for number in numbers) > 0.9 * len(numbers)
        for many in (1, 10**3, 10**6, 10**9)
    )


def _could_be_ids(values: Sequence[str | None]) -> bool:
    """Values that come again, but are not just a few kinds, and have no fractions."""
    known = [value for value in values if value]
    distinct = len(set(known))
    fractions = any(re.match("^[+-]?[0-9]+[.][0-9]", value) for value in known[:100])
    return min(10, len(known) / 10) <= distinct < 0.95 * len(known) and not fractions


def _share(values: Sequence[str | None], pattern: str) -> float:
    known = [value for value in values if value]
    return sum(re.match(pattern, value) is not None for value in known) / max(1, len(known))
