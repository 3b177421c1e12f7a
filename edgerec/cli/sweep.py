"""``edgerec sweep``."""

import re
from typing import TYPE_CHECKING, Any

import click

from device_runner.command import print_json
from edgerec.cli.options import recipe_options

if TYPE_CHECKING:
    from edgerec.pipeline import Run

UNITS = {"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "KIB": 1024, "MIB": 1024**2}


class Size(click.ParamType):
    """A number of bytes, such as ``100kB``, ``1.5MB``, ``96KiB`` or ``98304``."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", str(value).strip())
        if found is None or found[2].upper() not in UNITS:
            self.fail(f"{value!r} is not a size; write it as 100kB, 1.5MB, 96KiB or 98304", param, ctx)
        size = round(float(found[1]) * UNITS[found[2].upper()])
        if size < 1:
            self.fail(f"{value!r} is less than a byte", param, ctx)
        return size


class Share(click.ParamType):
    """A share, such as ``1%`` or ``0.01``."""

    name = "SHARE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", str(value).strip())
        if found is None:
            self.fail(f"{value!r} is not a share; write it as 1% or 0.01", param, ctx)
        share = float(found[1]) / (100 if found[2] else 1)
        if share > 1:
            self.fail(f"{value!r} is more than everything; did you mean {found[1]}%?", param, ctx)
        return share


@click.command(short_help="Search the best file within a size.")
@click.option("--max-bytes", type=Size(), required=True, help="Size that the model may have, such as 100kB.")
@click.option("--max-ms", type=click.FloatRange(min=0, min_open=True), help="p50 of a recommend() on this machine.")
@click.option(
    "--max-ndcg-drop", type=Share(), help="Loss of NDCG@10 against the trained float model, such as 1%, on validation."
)
@click.option(
    "--trials", type=click.IntRange(min=1), default=30, show_default=True, help="Points to try, with earlier runs'."
)
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Begin no trial after that time.")
@recipe_options
def sweep(
    run: "Run",
    as_json: bool,
    max_bytes: int,
    max_ms: float | None,
    max_ndcg_drop: float | None,
    trials: int,
    minutes: float | None,
) -> None:
    """Search the pruning, scheme and transitions that rank best within a size, and write their recipe.

    Data set and trained model are those of OUT, made first if need be. Everything is chosen on validation targets.
    Interrupted or with more --trials, the same command goes on. Writes OUT/sweep/best.toml, for edgerec run, with
    pareto.svg and sweep.json; the exit code is 3 if no file keeps the limits.

    Example: edgerec sweep models/grocery/recipe.toml --max-bytes 100kB --max-ndcg-drop 1%
    """
    from edgerec.errors import MissingExtraError

    try:
        from edgerec.sweep.search import Search
    except ModuleNotFoundError as error:
        raise MissingExtraError("edgerec sweep", "sweep", error.name) from None
    from edgerec.errors import RecipeError
    from edgerec.pipeline import RankingStages
    from edgerec.recipe import RankingRecipe
    from edgerec.sweep.outcome import outcome, print_outcome, require_chosen, write_outcome, write_recipe
    from edgerec.sweep.points import Limits
    from edgerec.sweep.space import choices, plain
    from edgerec.sweep.trials import Trials

    if isinstance(run.stages, RankingStages) or isinstance(run.recipe, RankingRecipe):
        raise RecipeError(
            'kind: edgerec sweep searches recipes of kind = "retrieval"; for a ranking recipe run several with --set '
            "and other --out, and see edgerec compare"
        )
    limits = Limits(max_bytes, max_ms, max_ndcg_drop)
    made = Trials(run.stages, timed=max_ms is not None)
    folder = run.folder / "sweep"
    with made.workspace.locked():
        reference = float(made.reference.ndcg(10).mean())
        search = Search(
            choices(run.recipe), made.measure, limits, folder / "study.db", made.name, plain(run.recipe), run.progress,
            run.recipe.train.seed,
        )  # fmt: skip
        points = search.run(trials, minutes)
        found = outcome(points, limits, reference)
        write_outcome(found, folder)
        chosen = next((point for point in points if point.number == found["chosen"]), None)
        if chosen is not None:
            entry = next(entry for entry in found["points"] if entry["number"] == chosen.number)
            remark = (
                f"Chosen by edgerec sweep --max-bytes {max_bytes}: {entry['words']};\n"
                f"{chosen.measured.bytes:,} bytes, NDCG@10 {chosen.measured.ndcg:.4f} on validation."
            )
            write_recipe(made.recipe_of(chosen.drawn, chosen.effort), folder / "best.toml", remark)
    if as_json:
        print_json(found)
    else:
        print_outcome(found)
        if chosen is not None:
            click.echo(f"\nplot    {folder / 'pareto.svg'}\nrecipe  {folder / 'best.toml'}")
    require_chosen(found)
