"""The shape of a ranking model: what is saved with it, and what pruning changes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgerec.rankers.inputs import InputFeature, Inputs
from edgerec.recipe import Ranker


@dataclass(frozen=True)
class RankerArchitecture:
    """A ranking network. Independent of the recipe once the model is made: a model that was cut has widths that no
    recipe can say.

    Attributes:
        ranker: its name in ``edgerec.rankers.RANKERS``.
        label: kind of the task: ``rating``, ``binary`` or ``implicit``.
        dim: k, the width of the vectors of items, categories and numbers.
        hidden: widths of the dense layers before the last.
        crosses: pairs of inputs that have a vector for each pair of values.
        history: what is read of it, as ``model.history`` says.
    """

    ranker: str
    label: str
    items: int
    dim: int
    hidden: tuple[int, ...]
    dropout: float
    item_ids: bool
    inputs: Inputs
    crosses: tuple[tuple[str, str], ...]
    history: str
    cross_layers: int

    @classmethod
    def of_recipe(cls, model: Ranker, label: str, items: int, inputs: Inputs) -> "RankerArchitecture":
        """What ``[model]`` asks for."""
        named = {feature.name: feature.input for feature in inputs.features}
        crosses = tuple((named[first], named[second]) for first, second in model.crosses)
        layers = model.cross_layers if model.ranker == "dcn" else 0
        return cls(
            model.ranker, label, items, model.dim, tuple(model.hidden), model.dropout, model.item_ids, inputs, crosses,
            model.history, layers,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "RankerArchitecture":
        """What ``to_json`` gave.

        Raises:
            KeyError, TypeError: it is something else.
        """
        features, history = (
            tuple(InputFeature.from_json(entry) for entry in saved["inputs"][part]) for part in ("features", "history")
        )
        crosses = tuple((first, second) for first, second in saved["crosses"])
        parts = {"hidden": tuple(saved["hidden"]), "inputs": Inputs(features, history), "crosses": crosses}
        return cls(**{**saved, **parts})
