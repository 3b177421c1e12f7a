"""Item table in 4 bits with one scale for all rows, kernels in 8 bits: a byte a row less than ``int4-table``, and three
operators less. One scale fits few rows well, so that it asks for quantization-aware training.
"""

from converters.schemes.float32 import configure
from converters.schemes.scheme import SCHEMES, Scheme
from converters.storage import Storage

SCHEMES.register(
    "int4-tensor",
    Scheme(
        "int4-tensor", "int4 table with one scale, int8 kernels", __name__, configure,
        least={"overlap@10": 0.3, "kendall_tau": 0.6}, most={"score_error": 0.7},
        storage=Storage(table=4, kernels=8, by_row=False), runtimes=("litert",),
    ),
)  # fmt: skip
