"""The process's Spark session. Needs the extra ``spark`` and Java."""

from typing import TYPE_CHECKING

from edgerec.data.sources.table import printable
from edgerec.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def spark_session(master: str | None) -> "SparkSession":
    """The session there is, or a new one.

    Args:
        master: such as ``local[2]``; default: Spark's own configuration (``spark-submit``, ``SPARK_CONF_DIR``).

    Raises:
        MissingExtraError: pyspark is not installed.
        DataError: Spark does not start.
    """
    try:
        from pyspark.sql import SparkSession
    except ModuleNotFoundError as error:
        raise MissingExtraError('[data] engine = "spark"', "spark", error.name) from None
    builder = SparkSession.builder.appName("edgerec").config("spark.sql.session.timeZone", "UTC")
    builder = builder.config("spark.ui.enabled", "false").config("spark.log.level", "ERROR")
    # A record with too many values is broken even if none of its first ones is.
    builder = builder.config("spark.sql.csv.parser.columnPruning.enabled", "false")
    if master is not None:
        builder = builder.master(master)
        if master.startswith("local"):
            # By default Spark picks an outer address, and hangs where that is firewalled.
            for address in ("spark.driver.host", "spark.driver.bindAddress"):
                builder = builder.config(address, "127.0.0.1")
    try:
        return builder.getOrCreate()
    except Exception as error:  # py4j wraps what Java says
        raise DataError(f"Spark does not start: {spark_says(error)}; is Java installed?") from None


def spark_says(error: Exception) -> str:
    """An error of Spark in one line."""
    return printable((str(error).strip().splitlines() or [type(error).__name__])[0])
