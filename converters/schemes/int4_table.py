"""Item table in 4 bits with a scale for each row, kernels in 8 bits: most bytes are the table's, and the kernels of a
recurrence lose more by few bits.
"""

from converters.schemes.float32 import configure
from converters.schemes.scheme import SCHEMES, Scheme
from converters.storage import Storage

SCHEMES.register(
    "int4-table",
    Scheme(
        "int4-table", "int4 table per row, int8 kernels", __name__, configure,
        least={"overlap@10": 0.3, "kendall_tau": 0.6}, most={"score_error": 0.7},
        storage=Storage(table=4, kernels=8), runtimes=("litert",),
    ),
)  # fmt: skip
