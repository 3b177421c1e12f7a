"""Candidates and values of features for a ranking model, as people write them on the command line."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from device_runner.errors import HistoryError
from device_runner.features import ITEM, Feature
from device_runner.history import csv_records, item_names, read_json, read_text
from device_runner.ranker import Candidate, Ranker

# Between the categories of one cell or option.
SEPARATOR = "|"
CONTEXT = click.option(
    "--context",
    multiple=True,
    metavar="NAME=VALUE",
    help="What is known of the moment, for a ranking model (inspect lists it); may be repeated.",
)


def features_of(ranker: Ranker, *kinds: str) -> dict[str, Feature]:
    """The features of a ranking model that belong to the user, the context, an item or the retrieval, by name."""
    return {feature.name: feature for feature in ranker.features if feature.of in kinds and feature.input != ITEM}


def read_candidates(path: Path, features: Mapping[str, Feature], item_column: str | None) -> list[Candidate]:
    """Candidates of a file. CSV: a column ``item_id`` (or ``item``), and columns of item features whose values replace
    those in the bundle where a cell is not empty; several categories of a cell stand between ``|``. JSON: a list of
    item ids, or of objects with ``item_id`` (or ``item``) and values.

    Args:
        features: of items, by name.
        item_column: another name for ``item_id``: the one of the bundle's data set.

    Raises:
        HistoryError: the file cannot be read, or is not of this form; names the file and the line.
    """
    text, names = read_text(path), item_names(item_column)
    if path.suffix.lower() == ".json":
        return _from_json(text, names, path)
    return _from_csv(text, names, features, path)


def value_of(feature: Feature, text: str) -> object:
    """The value that a text stands for, by the feature's type; ``None`` for an empty text.

    Raises:
        ValueError: it is not a number where one is expected.
    """
    text = text.strip()
    if not text:
        return None
    if feature.type != "number":
        return [part.strip() for part in text.split(SEPARATOR)] if feature.size else text
    try:
        number: float = int(text) if text.isdecimal() else float(text)
    except ValueError:
        number = math.inf
    if not isinstance(number, int) and math.isinf(number):
        raise ValueError(f"{feature.name}={text[:60]}: give a number")
    return number


def values_of(options: Mapping[str, str], features: Mapping[str, Feature], option_name: str) -> dict[str, object]:
    """Options NAME=VALUE as values of the model's features; a category that it does not know gets a warning."""
    found = {}
    for name, text in options.items():
        if name not in features:
            known = ", ".join(features) or "none"
            raise click.BadParameter(f"the model has no feature {name!r}; it has: {known}", param_hint=option_name)
        feature = features[name]
        try:
            found[name] = value_of(feature, text)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint=option_name) from None
        parts = text.split(SEPARATOR) if feature.size else [text]
        for part in map(str.strip, parts):
            if feature.type != "number" and part and part not in feature.values:
                click.echo(f"{name}={part} is not known to the model; it knows {feature.describe()}.", err=True)
    return found


def _from_json(text: str, names: Sequence[str], path: Path) -> list[Candidate]:
    document = read_json(text, path)
    if not isinstance(document, list) or not all(
        isinstance(entry, str | int | dict) and not isinstance(entry, bool) for entry in document
    ):
        raise HistoryError(f"{path}: give a list of item ids, or of objects with {' or '.join(names)}")
    found: list[Candidate] = []
    for entry in document:
        if not isinstance(entry, dict):
            found.append(str(entry))
            continue
        own = next((name for name in names if name in entry), None)
        item = {} if own is None or entry[own] is None else {ITEM: str(entry[own])}
        found.append({**item, **{name: value for name, value in entry.items() if name not in names}})
    return found


def _from_csv(text: str, names: Sequence[str], features: Mapping[str, Feature], path: Path) -> list[Candidate]:
    records = [record for _, record in csv_records(text, path)]
    if not records:
        return []
    header = [name.strip() for name in records[0]]
    own = next((name for name in names if name in header), None)
    if own is None:
        raise HistoryError(f"{path}: line 1: no column {' or '.join(names)} among {', '.join(header)}")
    if strange := [name for name in header if name != own and name not in features]:
        known = ", ".join(features) or "none"
        raise HistoryError(f"{path}: line 1: the model has no item feature {', '.join(strange)}; it has: {known}")
    found: list[Candidate] = []
    for line, record in enumerate(records[1:], 2):
        if len(record) != len(header):
            raise HistoryError(f"{path}: record {line}: {len(record)} cells, the header has {len(header)}")
        cells = dict(zip(header, record, strict=True))
        item = cells.pop(own)
        try:
            values = {name: value_of(features[name], cell) for name, cell in cells.items() if cell.strip()}
        except ValueError as error:
            raise HistoryError(f"{path}: record {line}: {error}") from None
        found.append({ITEM: item, **values} if values else item)
    return found
