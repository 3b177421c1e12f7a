"""Item table in 2 bits (-1, 0, 1) with a scale for each row, kernels in 4 bits. Without quantization-aware training a
table loses most of its quality by this (measured on MovieLens-1M: a quarter of NDCG@10).
"""

from converters.schemes.float32 import configure
from converters.schemes.scheme import SCHEMES, Scheme
from converters.storage import Storage

SCHEMES.register(
    "int2",
    Scheme(
        "int2", "int2 table per row, int4 kernels", __name__, configure,
        least={"overlap@10": 0.1, "kendall_tau": 0.3}, most={"score_error": 0.74},
        storage=Storage(table=2, kernels=4), runtimes=("litert",),
    ),
)  # fmt: skip
