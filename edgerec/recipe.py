"""The recipe: one TOML file, every field with a default, checked whole before any work starts."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import tomllib
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, model_validator

from edgerec.errors import RecipeError

Scheme = Literal["float32", "float16", "int8"]

# A password that is written out; ${NAME} stands for one and is none.
_PASSWORD = re.compile(r"(://[^:/@]*:)(?!\$\{\w+\}@)(.+)@")
_SECRET = re.compile(r"([?&][^=&]*(?:pass|pwd|secret|token)[^=&]*=)(?!\$\{\w+\}(?:&|$))[^&]*", re.IGNORECASE)


def mask_url(url: str) -> str:
    """A database URL as it may be shown and stored: without passwords."""
    return _SECRET.sub(r"\1***", _PASSWORD.sub(r"\1***@", url))


# However a recipe is written out, passwords are not.
DatabaseUrl = Annotated[str, PlainSerializer(mask_url)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Columns(Section):
    """Names of the columns of the interaction table."""

    user: str = "user_id"
    item: str = "item_id"
    time: str | None = Field(None, description="sortable; absent: the file's order")
    value: str | None = Field(None, description="rating or quantity, for min_value")


class FeatureTable(Section):
    """An item or user table: its file, or table or query of a database, and columns; the remaining columns are kept as
    features.
    """

    path: str | None = Field(None, description="file, or folder of Parquet files")
    url: DatabaseUrl | None = Field(None, description="database of table or query; absent: [data] url", repr=False)
    table: str | None = None
    query: str | None = None
    id: str
    title: str | None = None
    multi: dict[str, str] = Field({}, description='multi-valued columns and their separator, { genres = "|" }')
    numeric: list[str] | None = Field(None, description="numeric columns; absent: guessed from the values")
    ignore: list[str] = Field([], description="columns that are no features")

    @model_validator(mode="after")
    def _one_place(self) -> "FeatureTable":
        if sum(place is not None for place in (self.path, self.table, self.query)) != 1:
            raise ValueError("say where the table is with one of path, table and query")
        if self.path is not None and self.url is not None:
            raise ValueError("a url goes with table or query, not with path")
        return self


class Data(Section):
    # It becomes part of file names.
    name: str = Field("dataset", pattern=r"^\w[\w .-]*$", description="name of the data set in reports")
    source: Literal["table", "sql", "movielens", "grocery"] = "table"
    path: str | None = Field(
        None,
        description="interaction table: .csv, .tsv, .jsonl (also .gz), .parquet or a folder of .parquet; for movielens "
        "the folder of a release",
    )
    url: DatabaseUrl | None = Field(
        None, description="of the database, for SQLAlchemy; ${NAME} is read from the environment", repr=False
    )
    table: str | None = Field(None, description="sql: read this table, by its primary key if it has one")
    query: str | None = Field(None, description="sql: read this query's result, in its order")
    columns: Columns = Columns()
    items: FeatureTable | None = None
    users: FeatureTable | None = None
    min_value: float | None = Field(None, description="keep interactions with at least this value")
    repeats: Literal["first", "last", "all"] = Field("first", description="which of a user's repeats are kept")
    min_user_events: int = Field(3, ge=1, description="iterative k-core, users")
    min_item_users: int = Field(1, ge=1, description="iterative k-core, items (interactions kept)")
    engine: Literal["duckdb", "spark"] = Field("duckdb", description="spark: for tables that outgrow one machine")
    spark_master: str | None = Field(None, description="such as local[2]; absent: what the surroundings configure")
    max_rejected: float = Field(0.01, ge=0, le=1, description="stop above this share of rejected rows")

    @model_validator(mode="after")
    def _source_is_complete(self) -> "Data":
        if self.source == "table" and not self.path:
            raise ValueError('source = "table" needs a path: set [data] path, or --set data.path=FILE')
        if self.source == "movielens" and not self.path:
            raise ValueError('source = "movielens" needs a path: the unpacked folder of a release')
        if self.source == "sql":
            if self.path is not None:
                raise ValueError('source = "sql" has no path; a file goes with source = "table"')
            if not self.url:
                raise ValueError('source = "sql" needs a url, such as "postgresql://user:${DB_PASSWORD}@host/database"')
            if (self.table is None) == (self.query is None):
                raise ValueError('source = "sql" needs either a table or a query')
        elif self.table is not None or self.query is not None:
            raise ValueError('table and query go with source = "sql"')
        for key, features in (("items", self.items), ("users", self.users)):
            if features is not None and features.path is None and not (features.url or self.url):
                raise ValueError(f"{key} is read from a database and needs a url, there or in [data]")
        return self


class Split(Section):
    kind: Literal["leave-one-out", "temporal"] = "leave-one-out"
    validation: float = Field(0.1, gt=0, lt=1, description="temporal: share of interactions, before the test's")
    test: float = Field(0.1, gt=0, lt=1, description="temporal: share of interactions, the newest")

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> "Split":
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together leave nothing to train on")
        return self


class Model(Section):
    encoder: Literal["mean", "cnn", "gru", "sasrec", "lru"] = "sasrec"
    dim: int = Field(64, ge=4, le=1024, description="width of item vectors")
    blocks: int = Field(2, ge=1, le=12)
    expansion: int = Field(4, ge=1, le=16, description="width of the feed-forward layers, in multiples of dim")
    hidden: int | None = Field(
        None, ge=1, le=4096, description="width of the state: gru (default dim), lru (channels; default 2 dim)"
    )
    heads: int = Field(1, ge=1, le=16)
    dropout: float = Field(0.1, ge=0, lt=1)
    max_history: int = Field(100, ge=1, le=4096, description="L, events that the model reads")
    item_features: list[str] = Field([], description="columns of the item table that are part of an item's vector")
    user_features: list[str] = Field(
        [], description="columns of the user table that the model may be told: categorical or numeric, all optional"
    )

    @model_validator(mode="after")
    def _parts_fit(self) -> "Model":
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is not a multiple of heads {self.heads}")
        if len(self.user_features) >= self.max_history:
            raise ValueError(f"{len(self.user_features)} user features leave no place in max_history")
        for names in (self.item_features, self.user_features):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"a feature is named twice: {', '.join(twice)}")
        return self


class Train(Section):
    seed: int = Field(1, ge=0)
    epochs: int = Field(50, ge=1, description="at most; early stopping ends sooner")
    patience: int = Field(5, ge=1, description="epochs without a better validation NDCG@10")
    batch: int = Field(32, ge=1)
    learning_rate: float = Field(1e-3, gt=0, description="peak; reached in 200 steps, and linear to zero at the end")
    steady: float = Field(0.5, ge=0, le=1, description="share of the epochs before the learning rate falls")
    average: float = Field(
        0.999, ge=0, lt=1, description="decay of the moving average of the weights that is kept; 0: none is taken"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of the item scores in the loss; auto: bfloat16 where the CPU multiplies it"
    )
    loss: Literal["auto", "cross-entropy", "sampled-softmax"] = Field(
        "auto", description="auto: cross-entropy up to 20,000 items"
    )
    negatives: int = Field(512, ge=1, description="shared negatives of sampled-softmax")
    max_minutes: float | None = Field(None, gt=0, description="stop after the epoch in which this is reached")
    strategy: Literal["single", "multiworker"] = Field(
        "single", description="multiworker: each batch is shared by the workers of TF_CONFIG, with the same result"
    )


class Prune(Section):
    enabled: bool = True
    sparsity: float = Field(0.5, ge=0, lt=1, description="final share of zeros in the pruned kernels")
    target: Literal["network", "item_table", "all"] = "network"
    epochs: int = Field(4, ge=1, description="fine-tuning epochs; the schedule ends after the first half")
    learning_rate: float = Field(3e-4, gt=0)


class Convert(Section):
    schemes: list[Scheme] = ["float32", "float16", "int8"]
    top_k: int = Field(50, ge=1, description="K, items returned by the graph")
    max_exclude: int | None = Field(None, ge=1, description="E, exclusions in the graph; default: 4 max_history")
    new_items: str | None = Field(
        None,
        description="table in the form of [data] items: items that came after training get a vector by their "
        "model.item_features, and a place behind the others",
    )

    @model_validator(mode="after")
    def _schemes_once(self) -> "Convert":
        if not self.schemes or len(set(self.schemes)) != len(self.schemes):
            raise ValueError("schemes must name at least one scheme, each once")
        return self


class Gate(Section):
    """Limits for the last scheme of ``convert.schemes`` (the file that ships); none by default."""

    max_ndcg_drop: float | None = Field(None, description="relative to the trained Keras model, 0.02 = 2 %")
    min_overlap: float | None = Field(None, ge=0, le=1, description="mean top-10 overlap with the Keras model")
    max_bytes: int | None = Field(None, gt=0)
    max_p95_ms: float | None = Field(None, gt=0)


class Report(Section):
    histories: int = Field(500, ge=1, description="real histories for latency and for comparing runtimes")
    examples: int = Field(1, ge=0, description="users whose recommendations are shown")


class Recipe(Section):
    data: Data
    split: Split = Split()
    model: Model = Model()
    train: Train = Train()
    prune: Prune = Prune()
    convert: Convert = Convert()
    gate: Gate = Gate()
    report: Report = Report()

    @model_validator(mode="after")
    def _features_have_tables(self) -> "Recipe":
        if self.data.source in ("table", "sql"):  # the others have them
            for name, table in (("item", self.data.items), ("user", self.data.users)):
                if getattr(self.model, f"{name}_features") and table is None:
                    raise ValueError(f"model.{name}_features are columns of [data] {name}s, which the recipe lacks")
        if self.convert.new_items is not None and not self.model.item_features:
            raise ValueError("convert.new_items needs model.item_features: new items are known by these alone")
        return self


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read, override and check a recipe.

    Relative paths in the recipe are relative to the recipe's folder; paths in ``overrides``
    (``"section.key=value"``) to the current one.

    Raises:
        RecipeError: absent file, no TOML, unknown key, wrong type or combination; names file and key.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read ({error})") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not TOML: {error}") from None
    _anchor_paths(document, path.parent)
    for override in overrides:
        _override(document, override)
    try:
        return Recipe.model_validate(document)
    except pydantic.ValidationError as error:
        raise RecipeError("\n".join(_explain(e, path) for e in error.errors())) from None


def dump_recipe(recipe: Recipe) -> str:
    """The resolved recipe as JSON text, stable for fingerprints."""
    return recipe.model_dump_json(indent=2)


def _anchor_paths(document: dict[str, Any], folder: Path) -> None:
    data = document.get("data")
    tables = (data, data.get("items"), data.get("users")) if isinstance(data, dict) else ()
    places = [*((table, "path") for table in tables), (document.get("convert"), "new_items")]
    for table, key in places:
        if isinstance(table, dict) and isinstance(table.get(key), str):
            table[key] = str(folder / table[key])


def _override(document: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or len(parts) < 2 or not all(parts):
        raise RecipeError(f"--set {mask_url(override)}: write it as section.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word or path
    table = document
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise RecipeError(f"--set {mask_url(override)}: {part} is not a section")
    table[parts[-1]] = value


def _explain(error: Any, path: Path) -> str:
    location = [str(part) for part in error["loc"]]
    key = ".".join(location)
    where = f"{path}{_line_of(path, location)}: {key}" if key else str(path)
    if error["type"] == "extra_forbidden":
        names = _names_at(location[:-1])
        close = difflib.get_close_matches(location[-1], names, 1, 0.5)
        hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(names)}"
        return f"{where}: unknown key; {hint}"
    message = error["msg"].removeprefix("Value error, ")
    given = error.get("input")
    given = mask_url(given) if isinstance(given, str) else given
    shown = f", not {given!r}" if isinstance(given, str | int | float | bool) else ""
    return f"{where}: {message}{shown}"


def _names_at(location: list[str]) -> list[str]:
    section: Any = Recipe
    for part in location:
        annotation = section.model_fields[part].annotation
        candidates = getattr(annotation, "__args__", (annotation,))
        section = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return list(section.model_fields)


def _line_of(path: Path, location: list[str]) -> str:
    """``":LINE"`` of the key in the file, or ``""`` when it came from --set or a default."""
    section = ""
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if header := re.match(r"\s*\[([\w.\-]+)\]", line):
            section = header[1]
            if section == ".".join(location):
                return f":{number}"
        elif (assignment := re.match(r"\s*([\w.\-]+)\s*=", line)) and (
            ".".join(filter(None, (section, assignment[1]))) == ".".join(location)
        ):
            return f":{number}"
    return ""
