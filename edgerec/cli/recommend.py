"""``edgerec recommend``: for every user of a table."""

from pathlib import Path

import click

from device_runner.command import json_option, print_json
from edgerec.cli.options import require_workstation


@click.command(short_help="Recommend items to every user of a table.")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--histories",
    type=click.Path(path_type=Path),
    required=True,
    help="Table of the users' events, in any form that [data] path takes.",
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="File to write, .csv or .parquet."
)
@click.option("--user", default="user_id", show_default=True, help="Column of the user.")
@click.option("--item", help="Column of the item. Default: as in the data set that the bundle was made from.")
@click.option("--time", help="Column of the time. Without it, the order of the file counts.")
@click.option("-k", type=click.IntRange(1), default=10, show_default=True, help="How many items a user.")
@json_option
def recommend(
    bundle: Path, histories: Path, out: Path, user: str, item: str | None, time: str | None, k: int, as_json: bool
) -> None:
    """Recommend items to every user of a table with BUNDLE, through the code that runs on the device.

    Example: edgerec recommend model.tflite --histories orders.csv --user customer --item sku --out recommended.csv
    """
    require_workstation("recommend")
    from device_runner import Bundle
    from edgerec.batch import recommend_all
    from edgerec.errors import DataError
    from edgerec.progress import Progress
    from edgerec.ranking_evaluation import is_ranking_model
    from edgerec.recipe import Columns

    if is_ranking_model(bundle):
        raise DataError(
            f"{bundle}: a ranking model, which scores given items: see edgerec-device score, or let it order what a "
            "retrieval model finds with edgerec-device recommend MODEL --ranker RANKER"
        )
    columns = Columns(user=user, item=item or Bundle.read(bundle).item_column or "item_id", time=time)
    users = recommend_all(bundle, histories, columns, k, out, Progress())
    if as_json:
        print_json({"users": users, "file": str(out)})
    else:
        click.echo(f"{out}: recommendations for {users:,} users")
