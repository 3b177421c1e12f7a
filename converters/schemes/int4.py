"""Item table and kernels in 4 bits, with a scale for each row and each output channel."""

from converters.schemes.float32 import configure
from converters.schemes.scheme import SCHEMES, Scheme
from converters.storage import Storage

SCHEMES.register(
    "int4",
    Scheme(
        "int4", "int4, per row and channel", __name__, configure,
        least={"overlap@10": 0.3, "kendall_tau": 0.6}, most={"score_error": 0.7},
        storage=Storage(table=4, kernels=4), runtimes=("litert",),
    ),
)  # fmt: skip
