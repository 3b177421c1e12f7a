"""Item table and kernels in 4 bits, with a float16 scale for each 32 weights of a row, in one buffer for the lookup and
the scores: finer than ``int4``, for half a bit more a weight.
"""

from converters.schemes.float32 import configure
from converters.schemes.scheme import SCHEMES, Scheme
from converters.storage import BLOCK, Storage

SCHEMES.register(
    "int4-block",
    Scheme(
        "int4-block", "int4, per block of 32", __name__, configure,
        least={"overlap@10": 0.3, "kendall_tau": 0.6}, most={"score_error": 0.7},
        storage=Storage(table=4, kernels=4, block=BLOCK), runtimes=("litert",),
    ),
)  # fmt: skip
