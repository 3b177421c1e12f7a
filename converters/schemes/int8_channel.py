"""Dynamic-range quantization to int8 with a scale for each row of the table and each output channel.

``tflite-runtime`` would read one scale for all: the operator's version makes it refuse the file.
"""

from converters.schemes.float32 import configure
from converters.schemes.scheme import SCHEMES, Scheme
from converters.storage import Storage

SCHEMES.register(
    "int8-channel",
    Scheme(
        "int8-channel", "int8 dynamic range, per row and channel", __name__, configure,
        least={"overlap@10": 0.8, "kendall_tau": 0.9}, most={"score_error": 0.3},
        storage=Storage(table=8, kernels=8), runtimes=("litert",),
    ),
)  # fmt: skip
