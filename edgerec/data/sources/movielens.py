"""MovieLens folders as GroupLens publishes them: 100K, 1M, 10M, 20M, 25M, 32M and latest."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from edgerec.data.sources.delimited_text import DelimitedText
from edgerec.data.sources.places import FeatureSource, File, Tables, feature_source
from edgerec.errors import DataError
from edgerec.recipe.data import Columns, FeatureTable, MovieLensData


@dataclass(frozen=True)
class Layout:
    """A file without a header: its delimiter and the names of its columns."""

    delimiter: str
    columns: list[str]


GENRES = [
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
]
LAYOUTS = {
    "u.data": Layout("\t", ["userId", "movieId", "rating", "timestamp"]),
    "u.item": Layout("|", ["movieId", "title", "release_date", "video_release_date", "imdb_url", *GENRES]),
    "u.user": Layout("|", ["userId", "age", "gender", "occupation", "zip_code"]),
    "ratings.dat": Layout("::", ["userId", "movieId", "rating", "timestamp"]),
    "movies.dat": Layout("::", ["movieId", "title", "genres"]),
    "users.dat": Layout("::", ["userId", "gender", "age", "occupation", "zip_code"]),
}
# Interactions, items and users of each form of release; the first interactions that are found decide.
RELEASES = [
    ("u.data", "u.item", "u.user"),
    ("ratings.dat", "movies.dat", "users.dat"),
    ("ratings.csv", "movies.csv", None),
]


def movielens_tables(data: MovieLensData) -> Tables:
    """The files of a release's folder; item and user tables that the recipe names come in place of its own.

    Raises:
        DataError: the folder is absent or holds no ratings.
    """
    folder = Path(data.path)
    if not folder.is_dir():
        raise DataError(f'{folder}: no such folder; source = "movielens" takes the unpacked folder of a release')
    for ratings, movies, users in RELEASES:
        if (folder / ratings).is_file():
            return Tables(
                File(folder / ratings),
                Columns(user="userId", item="movieId", time="timestamp", value="rating"),
                feature_source(data.items) or _features(folder / movies, "movieId", "title"),
                feature_source(data.users) or (_features(folder / users, "userId", None) if users else None),
            )
    raise DataError(f"{folder}: no MovieLens ratings here; looked for {', '.join(names[0] for names in RELEASES)}")


def _features(path: Path, key: str, title: str | None) -> FeatureSource | None:
    if not path.is_file():
        return None
    table = FeatureTable(path=str(path), id=key, title=title, multi={"genres": "|"} if title else {})
    return FeatureSource(File(path), table)


def open_movielens_file(path: Path) -> DelimitedText | None:
    """A file of a release, which has no header; ``None`` for any other file."""
    layout = LAYOUTS.get(path.name)
    if layout is None:
        return None
    return DelimitedText(path, layout.columns, layout.delimiter, quoted=False, header=False, encoding=encoding_of(path))


def encoding_of(path: Path) -> str:
    """UTF-8 (10M) if the whole file is valid UTF-8, else latin-1 (100K and 1M): its accents never are."""
    try:
        with path.open(encoding="utf-8") as file:
            for _ in file:
                pass
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def tidied(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """``u.item`` with its 0/1 columns of genres made one, ``genres`` (``"Action|Comedy"``), and the date
    (``01-Jan-1995``) made a year; any other table as it is.
    """
    if path.name != "u.item":
        return table
    flags = table[GENRES].fillna("0").to_numpy(dtype=object) == "1"
    genres = ["|".join(name for name, on in zip(GENRES, line, strict=True) if on) or None for line in flags]
    kept = table.drop(columns=[*GENRES, "release_date", "video_release_date", "imdb_url"])
    return kept.assign(genres=pd.array(genres, dtype="string"), year=table["release_date"].str[-4:])
