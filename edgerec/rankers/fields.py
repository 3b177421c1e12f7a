"""The vectors of everything that a ranking model reads, from which each ranker makes a score."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras as keras

from edgerec.rankers.architecture import RankerArchitecture
from edgerec.rankers.inputs import ITEM, InputFeature
from edgerec.rankers.layers import (
    AsColumn,
    Columns,
    Cross,
    History,
    LikeCandidate,
    Lookup,
    NumberVector,
    PerCandidate,
    Ranges,
    Standardised,
)


@dataclass(frozen=True)
class Fields:
    """What a ranker combines, for C candidates.

    Attributes:
        inputs: of the network, in the order of ``architecture.inputs.names``.
        vectors: [C, k] each: the item, categories, crosses, cut numbers, the history.
        numbers: [C, 1 or more] each: standardised numbers, the summary of the history, what is like the candidate.
        weights: [C, 1] each, a weight of the item, category and so on; only for rankers that are ``linear``.
    """

    inputs: list[keras.layers.Layer]
    vectors: list[tf.Tensor]
    numbers: list[tf.Tensor]
    weights: list[tf.Tensor]


def fields(shape: RankerArchitecture, usual: np.ndarray | None, linear: bool) -> Fields:
    """The inputs of a network and the vectors made of them.

    Args:
        usual: see :class:`edgerec.rankers.layers.History`.
        linear: whether each code also has a weight, and each number a vector.
    """
    return _Reader(shape, usual, linear).fields


class _Reader:
    def __init__(self, shape: RankerArchitecture, usual: np.ndarray | None, linear: bool) -> None:
        self.shape, self.usual, self.linear = shape, usual, linear
        types = shape.inputs.dtypes()
        sizes = {feature.input: feature.size for feature in shape.inputs.all}
        self.given = {
            name: keras.Input((sizes[name],) if sizes.get(name) else (), name=name, dtype=types[name])
            for name in shape.inputs.names
        }
        self.item = self.given[ITEM]
        self.codes: dict[str, tuple[tf.Tensor, int]] = {}
        self.fields = Fields(list(self.given.values()), [], [], [])
        if shape.item_ids:
            self._lookup(self.item, shape.items + 1, "item_table", each=True)
        for feature in shape.inputs.features:
            if feature.of != "retrieval":  # added to what the network makes of all others
                self._feature(feature)
        for first, second in shape.crosses:
            self._cross(first, second)
        if shape.inputs.history:
            self._history()

    def _feature(self, feature: InputFeature) -> None:
        given, name, each = self.given[feature.input], feature.input, feature.of == "item"
        if feature.type != "number":
            self.codes[name] = self._each_code(given, each), len(feature.values) + 1
            self._lookup(given, len(feature.values) + 1, f"{name}_table", each)
            return
        scaled = Standardised(feature.mean, feature.std, feature.missing > 0, name=f"{name}_standardised")(given)
        self.fields.numbers.append(self._each(scaled, each))
        if feature.edges:
            code = Ranges(feature.edges, feature.mean, name=f"{name}_range")(given)
            self.codes[name] = self._each_code(code, each), len(feature.edges) + 2
            self._lookup(code, len(feature.edges) + 2, f"{name}_table", each)
        elif self.linear:
            vector = NumberVector(feature.mean, feature.std, self.shape.dim, True, name=f"{name}_vector")
            self._add(vector(given), each)

    def _cross(self, first: str, second: str) -> None:
        (a, a_codes), (b, b_codes) = self.codes[first], self.codes[second]
        code = Cross(b_codes - 1, name=f"{first}_x_{second}")([a, b])
        self._lookup(code, (a_codes - 1) * (b_codes - 1) + 1, f"{first}_x_{second}_table", each=True)

    def _history(self) -> None:
        shape, given = self.shape, [self.given[feature.input] for feature in self.shape.inputs.history]
        vectors = shape.history in ("mean", "attention")
        usual = self.usual if shape.inputs.reads_values else None
        summary, vector, differences, real = History(shape.items, shape.dim, usual, vectors)(given)
        self.fields.numbers.append(self._each(summary, False))
        if vectors:
            self.fields.vectors.append(self._each(vector, False))
        if shape.history == "attention":
            alike = LikeCandidate(shape.items, shape.dim, usual is not None)
            self.fields.numbers.append(alike([self.item, given[0], differences, real]))

    def _lookup(self, codes: tf.Tensor, rows: int, name: str, each: bool) -> None:
        self._add(Lookup(rows, self.shape.dim, self.linear, name)(codes), each)

    def _add(self, found: tf.Tensor, each: bool) -> None:
        """Add a vector, and the weight behind it; ``each`` says that candidates have one each, not requests."""
        dim = self.shape.dim
        if self.linear:
            self.fields.weights.append(self._each(Columns(dim, dim + 1)(found), each))
            found = Columns(0, dim)(found)
        self.fields.vectors.append(self._each(found, each))

    def _each(self, found: tf.Tensor, each: bool) -> tf.Tensor:
        return found if each else PerCandidate()([found, self.item])

    def _each_code(self, codes: tf.Tensor, each: bool) -> tf.Tensor:
        """Codes for each candidate; [C, 1] where each request has one."""
        if each:
            return codes
        return PerCandidate()([codes if len(codes.shape) == 2 else AsColumn()(codes), self.item])
