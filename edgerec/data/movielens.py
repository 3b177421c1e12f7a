"""MovieLens folders as GroupLens publishes them: 100K, 1M, 10M, 20M, 25M, 32M and latest."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from edgerec.errors import DataError
from edgerec.recipe import Columns, Data, FeatureTable


@dataclass(frozen=True)
class Layout:
    """A file without a header: what is between its values, and what they are."""

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
# Interactions, items, users; the first interactions that are there tell which release it is.
RELEASES = [
    ("u.data", "u.item", "u.user"),
    ("ratings.dat", "movies.dat", "users.dat"),
    ("ratings.csv", "movies.csv", None),
]


def resolve_movielens(data: Data) -> Data:
    """Point ``source = "movielens"`` at the files of its folder; tables that the recipe names itself stay.

    Raises:
        DataError: the folder is absent or holds no ratings.
    """
    folder = Path(str(data.path))
    if not folder.is_dir():
        raise DataError(f'{folder}: no such folder; source = "movielens" takes the unpacked folder of a release')
    for ratings, movies, users in RELEASES:
        if (folder / ratings).is_file():
            return data.model_copy(
                update={
                    "path": str(folder / ratings),
                    "columns": Columns(user="userId", item="movieId", time="timestamp", value="rating"),
                    "items": data.items or _features(folder / movies, "movieId", "title"),
                    "users": data.users or (_features(folder / users, "userId", None) if users else None),
                }
            )
    raise DataError(f"{folder}: no MovieLens ratings here; looked for {', '.join(names[0] for names in RELEASES)}")


def _features(path: Path, key: str, title: str | None) -> FeatureTable | None:
    if not path.is_file():
        return None
    return FeatureTable(path=str(path), id=key, title=title, multi={"genres": "|"} if title else {})


def encoding_of(path: Path) -> str:
    """100K and 1M write titles as latin-1, 10M as UTF-8; accents in latin-1 are never valid UTF-8."""
    try:
        with path.open(encoding="utf-8") as file:
            for _ in file:
                pass
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def join_genres(items: pd.DataFrame) -> pd.DataFrame:
    """The columns of ``u.item``, its 0/1 columns of genres made one, ``genres`` (``"Action|Comedy"``), and of the date
    (``01-Jan-1995``) the year.
    """
    flags = items[GENRES].fillna("0").to_numpy(dtype=object) == "1"
    genres = ["|".join(name for name, on in zip(GENRES, line, strict=True) if on) or None for line in flags]
    kept = items.drop(columns=[*GENRES, "release_date", "video_release_date", "imdb_url"])
    return kept.assign(genres=pd.array(genres, dtype="string"), year=items["release_date"].str[-4:])
