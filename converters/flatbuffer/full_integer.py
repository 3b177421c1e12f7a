"""Dense layers are computed with integers alone: 8-bit weights, and 8-bit activations whose ranges were measured
(Jacob et al., CVPR 2018).

What is before the dense layers (lookups, standardised numbers, sums over the history) stays as it is, with QUANTIZE at
the border. So does a layer of one unit, the score itself: 256 levels would tie candidates.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from converters.flatbuffer import packing
from converters.flatbuffer.graph import (
    BUILTIN,
    TYPES,
    builtin,
    constant,
    new_buffer,
    new_operator,
    new_tensor,
    operator_code,
)
from converters.grids import nearest_grid

# The first versions of the operators that compute with int8; both runtimes have them.
VERSIONS = {
    BUILTIN.FULLY_CONNECTED: 4, BUILTIN.QUANTIZE: 1, BUILTIN.DEQUANTIZE: 2, BUILTIN.CONCATENATION: 2,
    BUILTIN.SLICE: 2, BUILTIN.STRIDED_SLICE: 2,
}  # fmt: skip
# They move values between dense layers, whatever their type.
MOVES = (BUILTIN.CONCATENATION, BUILTIN.SLICE, BUILTIN.STRIDED_SLICE)
LEVELS, LOWEST = 255, -128
# A range that is never narrower: a scale of zero cannot be computed with.
NARROWEST = 1e-6
# A step of the products' grid is never more than so many of the result's; XNNPACK takes less than 256.
MOST_STEPS = 128

Range = tuple[float, float]


def full_integer(content: bytes, cases: Mapping[str, np.ndarray]) -> bytes:
    """The same model, of one graph and one signature, with its dense layers computed with integers.

    Args:
        cases: inputs of the signature by name, [n, …], on which the ranges of activations are measured.

    Raises:
        ValueError: there is no dense layer of several units.
    """
    model = packing.read(content)
    graph = model.subgraphs[0]
    layers = [operator for operator in graph.operators if _is_wide(model, graph, operator)]
    if not layers:
        raise ValueError("the model has no dense layer of several units to compute with integers")
    _Rewriting(model, graph, layers, measured_ranges(content, model, cases)).run()
    return packing.write(model)


def measured_ranges(content: bytes, model: Any, cases: Mapping[str, np.ndarray]) -> dict[int, Range]:
    """The least and the largest value of each float tensor over the cases, by its place; with zero in between."""
    interpreter = Interpreter(
        model_content=content,
        num_threads=1,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    places = {entry.name.decode(): entry.tensorIndex for entry in model.signatureDefs[0].inputs}
    given = model.subgraphs[0]
    computed = {int(place) for operator in given.operators for place in operator.outputs}
    floats = [place for place in computed if given.tensors[place].type == TYPES.FLOAT32]
    ranges = dict.fromkeys(floats, (0.0, 0.0))
    for number in range(len(next(iter(cases.values())))):
        for name, place in places.items():
            interpreter.set_tensor(place, cases[name][number])
        interpreter.invoke()
        for place in floats:
            values, (low, high) = interpreter.get_tensor(place), ranges[place]
            ranges[place] = min(low, float(values.min())), max(high, float(values.max()))
    return ranges


@dataclass(frozen=True)
class _Grid:
    """The codes -128 … 127 of values: ``(code - zero) * scale``."""

    scale: float
    zero: int

    @classmethod
    def of_range(cls, found: Range) -> "_Grid":
        low, high = found
        scale = np.float32(max(high - low, NARROWEST) / LEVELS)
        return cls(float(scale), int(np.clip(np.rint(LOWEST - low / scale), LOWEST, LOWEST + LEVELS)))


class _Rewriting:
    """The graph, operator by operator.

    Attributes:
        integers: by the place of a float tensor that of the integers that stand for it.
    """

    def __init__(self, model: Any, graph: Any, layers: list[Any], ranges: dict[int, Range]) -> None:
        self.model, self.graph, self.ranges = model, graph, ranges
        self.layers = {id(layer) for layer in layers}
        self.integers: dict[int, int] = {}
        self.grids: dict[int, _Grid] = {}
        self.operators: list[Any] = []
        self.widened: set[int] = set()
        self.readers: dict[int, list[Any]] = {}
        for operator in graph.operators:
            for place in operator.inputs:
                self.readers.setdefault(int(place), []).append(operator)

    def run(self) -> None:
        for operator in list(self.graph.operators):
            if id(operator) in self.layers:
                self._compute(operator)
            elif self._moves_integers(operator):
                self._move(operator)
            else:
                for place in operator.inputs:
                    self._widen(int(place))
                self.operators.append(operator)
        for place in self.graph.outputs:
            self._widen(int(place))
        self.graph.operators = self.operators

    def _compute(self, layer: Any) -> None:
        given, kernel, *rest = (int(place) for place in layer.inputs)
        source = self._narrow(given)
        weights, scale = self._kernel(kernel)
        bias = rest[0] if rest else -1
        product = np.float32(self.grids[source].scale * scale)
        layer.inputs = [source, weights, self._bias(bias, product) if bias >= 0 else -1]
        self._give_integers(layer, self._grid_of_result(int(layer.outputs[0]), product))
        layer.builtinOptions.asymmetricQuantizeInputs = False
        self._append(layer, BUILTIN.FULLY_CONNECTED)

    def _moves_integers(self, operator: Any) -> bool:
        kind = builtin(self.model, operator)
        first = int(operator.inputs[0])
        if kind == BUILTIN.CONCATENATION:  # its kernel reads integers of one grid
            grids = {self.grids.get(self.integers.get(int(place), -1)) for place in operator.inputs}
            return len(grids) == 1 and None not in grids
        return kind in MOVES and (first in self.integers or self._is_read_by_layers(int(operator.outputs[0])))

    def _is_read_by_layers(self, place: int) -> bool:
        """Whether nothing but dense layers reads the tensor, itself or side by side with others."""
        if place in self.graph.outputs or self.graph.tensors[place].type != TYPES.FLOAT32:
            return False
        return all(
            id(reader) in self.layers
            or (builtin(self.model, reader) == BUILTIN.CONCATENATION and self._is_read_by_layers(reader.outputs[0]))
            for reader in self.readers.get(place, [])
        )

    def _move(self, operator: Any) -> None:
        kind = builtin(self.model, operator)
        count = len(operator.inputs) if kind == BUILTIN.CONCATENATION else 1
        operator.inputs = [*(self._narrow(int(p)) for p in operator.inputs[:count]), *operator.inputs[count:]]
        self._give_integers(operator, self.grids[operator.inputs[0]])
        self._append(operator, kind)

    def _narrow(self, place: int) -> int:
        """The place of the integers that stand for a float tensor; QUANTIZE makes them if need be."""
        if place not in self.integers:
            operator = new_operator(0, [place], [place])
            self._give_integers(operator, _Grid.of_range(self.ranges[place]))
            self._append(operator, BUILTIN.QUANTIZE)
        return self.integers[place]

    def _widen(self, place: int) -> None:
        """Make the floats of integers that something else reads."""
        if place in self.integers and place not in self.widened and self.graph.tensors[place].buffer == 0:
            if not self._is_computed(place):
                self._append(new_operator(0, [self.integers[place]], [place]), BUILTIN.DEQUANTIZE)
            self.widened.add(place)

    def _is_computed(self, place: int) -> bool:
        """Whether the float tensor is there, as it was before it was quantized."""
        return any(place in operator.outputs for operator in self.operators) or place in self.graph.inputs

    def _grid_of_result(self, place: int, product: np.float32) -> _Grid:
        """That of the tensor; of parts that are put together the common one, as CONCATENATION asks for.

        Args:
            product: the scale of products, of which the result's may not be too small a part.
        """
        for reader in self.readers.get(place, []):
            if builtin(self.model, reader) == BUILTIN.CONCATENATION:
                return self._grid_of_result(int(reader.outputs[0]), product)
        low, high = self.ranges[place]
        return _Grid.of_range((low, max(high, low + LEVELS * float(product) / MOST_STEPS)))

    def _give_integers(self, operator: Any, grid: _Grid) -> None:
        """Let the operator give integers in place of its result."""
        place = int(operator.outputs[0])
        made = new_tensor(self.graph, self.graph.tensors[place].shape, TYPES.INT8)
        self.graph.tensors[made].quantization = _quantization(grid.scale, grid.zero)
        operator.outputs = [made]
        self.integers[place], self.grids[made] = made, grid

    def _kernel(self, place: int) -> tuple[int, float]:
        """The place of the 8-bit weights, and their scale."""
        tensor = self.graph.tensors[place]
        if tensor.type == TYPES.INT8:
            return place, float(tensor.quantization.scale[0])
        codes, scales = nearest_grid(self._floats(tensor), 8, by_row=False)
        scale = float(scales[0]) if codes.any() else NARROWEST
        made = new_tensor(self.graph, tensor.shape, TYPES.INT8, new_buffer(self.model, codes))
        self.graph.tensors[made].quantization = _quantization(scale, 0)
        return made, scale

    def _bias(self, place: int, scale: np.float32) -> int:
        tensor = self.graph.tensors[place]
        limits = np.iinfo(np.int32)
        codes = np.clip(np.rint(self._floats(tensor) / np.float64(scale)), limits.min, limits.max)
        made = new_tensor(self.graph, tensor.shape, TYPES.INT32, new_buffer(self.model, codes.astype(np.int32)))
        self.graph.tensors[made].quantization = _quantization(float(scale), 0)
        return made

    def _floats(self, tensor: Any) -> np.ndarray:
        values = constant(self.model, tensor)
        assert values is not None, "the converter makes kernels and biases constants"
        return values

    def _append(self, operator: Any, kind: int) -> None:
        operator.opcodeIndex = operator_code(self.model, kind, VERSIONS[kind])
        self.operators.append(operator)


def _is_wide(model: Any, graph: Any, operator: Any) -> bool:
    """Whether it is a dense layer of several units with constant weights."""
    if builtin(model, operator) != BUILTIN.FULLY_CONNECTED:
        return False
    kernel = graph.tensors[operator.inputs[1]]
    data = model.buffers[kernel.buffer].data
    stored = data is not None and len(data) > 0 and kernel.sparsity is None
    return bool(stored and kernel.type in (TYPES.FLOAT32, TYPES.INT8) and kernel.shape[0] > 1)


def _quantization(scale: float, zero: int) -> Any:
    made = schema.QuantizationParametersT()
    made.scale, made.zeroPoint = np.array([scale], np.float32), np.array([zero], np.int64)
    return made
