"""Integers alone in the dense layers of a ranking model: ``int8``, with 8-bit activations whose ranges were measured on
training rows, instead of anew for each request. Raw values still come in, and scores go out, as float32.
"""

from converters.schemes.int8 import configure
from converters.schemes.scheme import SCHEMES, Scheme
from converters.servable import Servable
from converters.weights import ITEM_TABLE


def refuse_others(servable: Servable) -> str | None:
    """Refuses models that bring no inputs to measure on, and those without a dense layer of several units."""
    if servable.contract.kind != "ranking":
        return 'only ranking models (kind = "ranking") are converted with a sample of their training rows'
    if not any(kernel.shape[1] > 1 for name, kernel in servable.kernels.items() if name != ITEM_TABLE):
        return "it has no dense layer of several units; give model.hidden some"
    return None


SCHEMES.register(
    "int8-full",
    Scheme(
        "int8-full", "int8 weights and activations", __name__, configure,
        least={"overlap@10": 0.8, "kendall_tau": 0.9}, most={"score_error": 0.5}, stored_bits=8, calibrated=True,
        refusal=refuse_others,
    ),
)  # fmt: skip
