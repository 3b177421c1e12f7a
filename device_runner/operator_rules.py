"""What each operator of TFLite may read and gives: the types and shapes that its kernels rely on without a look.

The operators are those that edgerec's converters write, and the usual ones of the same kinds. Each has a rule that
computes the shape of the result from the inputs, as the runtime will, and compares it with the shape that the file
says. So a graph that passes is one that the kernels were made for. Constants that give a shape, an axis or a number
must be in the file: a shape that is computed cannot be checked.
"""

from collections.abc import Callable, Sequence
from math import isfinite

from device_runner.flatbuffer import (
    BOOL,
    FLOAT16,
    FLOAT32,
    INT2,
    INT4,
    INT8,
    INT16,
    INT32,
    INT64,
    UINT8,
    FlatbufferError,
    Graph,
    Model,
    Operator,
    Quantization,
    Tensor,
)

Shape = tuple[int, ...]
NUMBERS = frozenset({FLOAT32, INT32, INT64})
# What may be copied from place to place; the last three are quantized or packed, and are read by few kernels.
COPIED = frozenset({FLOAT32, INT32, INT64, BOOL, INT16, UINT8, INT8})
WEIGHTS = frozenset({FLOAT32, INT8, INT4, INT2})
# None, relu, relu_n1_to_1 and relu6.
ACTIVATIONS = frozenset({0, 1, 2, 3})
# Of a product's step to a result's, where both are integers: the runtimes' fixed-point arithmetic takes no more.
MAX_MULTIPLIER = 256.0
# Kernels that broadcast unroll so many axes.
BROADCAST_RANK = 4


class Call:
    """An operator with its tensors; ``None`` for an input that is left out."""

    __slots__ = ("graph", "inputs", "model", "operator", "outputs")

    def __init__(self, model: Model, graph: Graph, operator: Operator) -> None:
        tensors = graph.tensors
        self.model, self.graph, self.operator = model, graph, operator
        self.inputs = [tensors[place] if place >= 0 else None for place in operator.inputs]
        self.outputs = [tensors[place] for place in operator.outputs]

    def input(self, number: int, types: frozenset[int] = NUMBERS) -> Tensor:
        """An input, which must be there and be of one of the types."""
        tensor = self.inputs[number] if number < len(self.inputs) else None
        if tensor is None or tensor.type not in types or tensor.sparse:
            raise FlatbufferError("an input is absent or of another type")
        return tensor

    def count(self, inputs: int, outputs: int = 1) -> None:
        if len(self.inputs) != inputs or len(self.outputs) != outputs:
            raise FlatbufferError(f"{len(self.inputs)} inputs and {len(self.outputs)} outputs")

    def gives(self, shape: Sequence[int], kind: int, number: int = 0) -> None:
        """Compare an output with what the operator gives."""
        output = self.outputs[number]
        if output.shape != tuple(shape) or output.type != kind:
            raise FlatbufferError(f"its result is {list(output.shape)}, and it gives {list(shape)}")

    def constant(self, number: int) -> tuple[int, ...]:
        """The values of a constant input of whole numbers."""
        values = self.model.integers(self.input(number, frozenset({INT32, INT64})))
        if values is None:
            raise FlatbufferError("a shape, axis or number that is not a constant")
        return values

    def int32s(self, number: int) -> tuple[int, ...]:
        """Likewise of an int32 input, of at most one axis."""
        tensor = self.input(number, frozenset({INT32}))
        if len(tensor.shape) > 1:
            raise FlatbufferError("a shape, axis or number of several axes")
        return self.constant(number)

    def scalar(self, number: int) -> int:
        """The value of a constant int32 input that has one."""
        values = self.int32s(number)
        if len(values) != 1:
            raise FlatbufferError("an axis or number that is not one number")
        return values[0]

    def integer(self, number: int, default: int = 0) -> int:
        """An option that is an int32."""
        options = self.operator.options
        return default if options is None else options.int32(number, default)

    def flag(self, number: int) -> int:
        """An option that is a byte."""
        options = self.operator.options
        return 0 if options is None else options.byte(number)

    def activation(self, number: int) -> None:
        if self.flag(number) not in ACTIVATIONS:
            raise FlatbufferError("an unknown activation function")


Rule = Callable[[Call], int]


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise FlatbufferError(f"the axis {axis} of {rank}")
    return axis % rank


def _broadcast(*shapes: Shape) -> Shape:
    rank = max(map(len, shapes))
    if all(shape == shapes[0] for shape in shapes):
        return shapes[0]
    if rank > BROADCAST_RANK:
        raise FlatbufferError(f"shapes of {rank} axes are broadcast")
    found = [1] * rank
    for shape in shapes:
        for place, length in enumerate(shape, rank - len(shape)):
            if length != 1:
                if found[place] not in (1, length):
                    raise FlatbufferError(f"shapes {', '.join(map(str, map(list, shapes)))} do not go together")
                found[place] = length
    return tuple(found)


def _unary(call: Call) -> int:
    call.count(1)
    tensor = call.input(0, frozenset({FLOAT32}))
    call.gives(tensor.shape, FLOAT32)
    return 8 * tensor.size


def _unary_number(call: Call) -> int:
    call.count(1)
    tensor = call.input(0, frozenset({FLOAT32, INT32}))
    call.gives(tensor.shape, tensor.type)
    return tensor.size


def _not(call: Call) -> int:
    call.count(1)
    tensor = call.input(0, frozenset({BOOL}))
    call.gives(tensor.shape, BOOL)
    return tensor.size


def _softmax(call: Call) -> int:
    work = _unary(call)
    options = call.operator.options
    if len(call.outputs[0].shape) not in range(1, 5) or (options and not isfinite(options.float32(0))):
        raise FlatbufferError("a softmax of an unknown form")
    return work


def _leaky(call: Call) -> int:
    if call.operator.options and not isfinite(call.operator.options.float32(0)):
        raise FlatbufferError("a slope that is not finite")
    return _unary(call)


def _pair(call: Call, types: frozenset[int]) -> tuple[Tensor, Tensor]:
    call.count(2)
    first, second = call.input(0, types), call.input(1, types)
    if first.type != second.type:
        raise FlatbufferError("its inputs are of different types")
    return first, second


def _binary(call: Call) -> int:
    first, second = _pair(call, NUMBERS)
    call.activation(0)
    call.gives(_broadcast(first.shape, second.shape), first.type)
    return 2 * call.outputs[0].size


def _binary_float(call: Call) -> int:
    call.input(0, frozenset({FLOAT32}))
    return 8 * _binary(call)


def _without_activation(call: Call) -> int:
    first, second = _pair(call, NUMBERS)
    call.gives(_broadcast(first.shape, second.shape), first.type)
    return 2 * call.outputs[0].size


def _power(call: Call) -> int:
    call.input(0, frozenset({FLOAT32}))
    return 16 * _without_activation(call)


def _whole_division(call: Call) -> int:
    """Of whole numbers, only by a constant above 0: the processor stops a program that divides by 0, or -2^31 by -1."""
    if call.input(0).type != FLOAT32 and not all(divisor > 0 for divisor in call.constant(1)):
        raise FlatbufferError("a division by a number that is not above 0")
    return 4 * _without_activation(call)


def _compare(call: Call) -> int:
    first, second = _pair(call, NUMBERS)
    call.gives(_broadcast(first.shape, second.shape), BOOL)
    return 2 * call.outputs[0].size


def _equal(call: Call) -> int:
    first, second = _pair(call, NUMBERS | {BOOL})
    call.gives(_broadcast(first.shape, second.shape), BOOL)
    return 2 * call.outputs[0].size


def _logical(call: Call) -> int:
    first, second = _pair(call, frozenset({BOOL}))
    call.gives(_broadcast(first.shape, second.shape), BOOL)
    return 2 * call.outputs[0].size


def _select(call: Call) -> int:
    call.count(3)
    condition, first, second = call.input(0, frozenset({BOOL})), call.input(1), call.input(2)
    if not condition.shape == first.shape == second.shape or first.type != second.type:
        raise FlatbufferError("its inputs are of different shapes or types")
    call.gives(first.shape, first.type)
    return first.size


def _select_v2(call: Call) -> int:
    call.count(3)
    condition, first, second = call.input(0, frozenset({BOOL})), call.input(1), call.input(2)
    if first.type != second.type:
        raise FlatbufferError("its inputs are of different types")
    call.gives(_broadcast(condition.shape, first.shape, second.shape), first.type)
    return 2 * call.outputs[0].size


def _same_values(call: Call, tensor: Tensor) -> int:
    """The values as they are, in another shape."""
    output = call.outputs[0]
    if output.type != tensor.type or output.size != tensor.size:
        raise FlatbufferError(f"{list(tensor.shape)} becomes {list(output.shape)}")
    return tensor.size


def _reshape(call: Call) -> int:
    tensor, options = call.input(0, COPIED), call.operator.options
    if len(call.inputs) == 2:
        shape = call.int32s(1)
        if len(call.input(1, frozenset({INT32})).shape) != 1:
            raise FlatbufferError("a shape that is not a list")
    elif options is not None:
        shape = options.integers(0, 8)
    else:
        raise FlatbufferError("no shape")
    call.count(len(call.inputs))
    output = call.outputs[0].shape
    if len(shape) != len(output) or shape.count(-1) > 1 or len(call.inputs) > 2:
        raise FlatbufferError(f"the shape {list(shape)}")
    if any(asked not in (-1, given) for asked, given in zip(shape, output, strict=True)):
        raise FlatbufferError(f"the shape {list(shape)} for a result of {list(output)}")
    return _same_values(call, tensor)


def _squeeze(call: Call) -> int:
    call.count(1)
    tensor, options = call.input(0, COPIED), call.operator.options
    rank = len(tensor.shape)
    axes = {_axis(axis, rank) for axis in (options.integers(0, rank) if options else ())}
    axes = axes or {axis for axis, length in enumerate(tensor.shape) if length == 1}
    if any(tensor.shape[axis] != 1 for axis in axes):
        raise FlatbufferError("an axis that is longer than 1 is left out")
    call.gives([length for axis, length in enumerate(tensor.shape) if axis not in axes], tensor.type)
    return tensor.size


def _expand(call: Call) -> int:
    call.count(2)
    tensor = call.input(0, COPIED)
    axis = _axis(call.scalar(1), len(tensor.shape) + 1)
    call.gives([*tensor.shape[:axis], 1, *tensor.shape[axis:]], tensor.type)
    return tensor.size


def _cast(call: Call) -> int:
    call.count(1)
    tensor = call.input(0, COPIED)
    if call.outputs[0].type not in (FLOAT32, INT32, INT64, BOOL):
        raise FlatbufferError("a type that nothing else reads")
    call.gives(tensor.shape, call.outputs[0].type)
    return 2 * tensor.size


def _dequantize(call: Call) -> int:
    call.count(1)
    tensor = call.input(0, frozenset({FLOAT16, INT8, UINT8}))
    quantization = tensor.quantization
    if tensor.type != FLOAT16:
        if quantization is None or quantization.blocks:
            raise FlatbufferError("no scale")
        if quantization.scales > 1 and (tensor.type != INT8 or not tensor.data):
            raise FlatbufferError("several scales")
    call.gives(tensor.shape, FLOAT32)
    return tensor.size


def _one_scale(tensor: Tensor) -> Quantization:
    """The scale of a tensor of int8 that has one for all its values."""
    quantization = tensor.quantization
    if tensor.type != INT8 or quantization is None or quantization.blocks or quantization.scales != 1:
        raise FlatbufferError("integers without a scale, or with several")
    return quantization


def _quantize(call: Call) -> int:
    call.count(1)
    tensor = call.input(0, frozenset({FLOAT32}))
    _one_scale(call.outputs[0])
    call.gives(tensor.shape, INT8)
    return 2 * tensor.size


def _densify(call: Call) -> int:
    call.count(1)
    tensor = call.inputs[0]
    if tensor is None or not tensor.sparse:
        raise FlatbufferError("an input that is not sparse")
    if tensor.type == INT8 and tensor.quantization != call.outputs[0].quantization:
        raise FlatbufferError("other scales than those of its input")
    call.gives(tensor.shape, tensor.type)
    return 4 * tensor.size


def _concatenation(call: Call) -> int:
    if not call.inputs or len(call.outputs) != 1 or call.flag(1):
        raise FlatbufferError("no inputs, or an activation function")
    first = call.input(0, NUMBERS | {INT8})
    rank = len(first.shape)
    axis, length = _axis(call.integer(0), rank), 0
    for number in range(len(call.inputs)):
        tensor = call.input(number, frozenset({first.type}))
        if len(tensor.shape) != rank or any(
            a != b for place, (a, b) in enumerate(zip(tensor.shape, first.shape, strict=True)) if place != axis
        ):
            raise FlatbufferError("its inputs do not go together")
        length += tensor.shape[axis]
    call.gives([*first.shape[:axis], length, *first.shape[axis + 1 :]], first.type)
    return call.outputs[0].size


def _sum_of_all(call: Call) -> int:
    first = call.input(0, frozenset({FLOAT32, INT32}))
    if any(call.input(number, frozenset({first.type})).shape != first.shape for number in range(len(call.inputs))):
        raise FlatbufferError("its inputs do not go together")
    call.count(len(call.inputs))
    call.gives(first.shape, first.type)
    return len(call.inputs) * first.size


def _pack(call: Call) -> int:
    first, count = call.input(0), len(call.inputs)
    if call.integer(0) != count or len(call.outputs) != 1:
        raise FlatbufferError("another number of inputs than it says")
    axis = _axis(call.integer(1), len(first.shape) + 1)
    if any(call.input(number, frozenset({first.type})).shape != first.shape for number in range(count)):
        raise FlatbufferError("its inputs do not go together")
    call.gives([*first.shape[:axis], count, *first.shape[axis:]], first.type)
    return call.outputs[0].size


def _unpack(call: Call) -> int:
    tensor = call.input(0)
    axis = _axis(call.integer(1), len(tensor.shape))
    if call.integer(0) != len(call.outputs) or tensor.shape[axis] != len(call.outputs):
        raise FlatbufferError("another number of results than it says")
    call.count(1, len(call.outputs))
    for number in range(len(call.outputs)):
        call.gives([*tensor.shape[:axis], *tensor.shape[axis + 1 :]], tensor.type, number)
    return tensor.size


def _divided(call: Call, tensor: Tensor, axis: int, lengths: Sequence[int]) -> int:
    if call.integer(0) != len(call.outputs) or len(lengths) != len(call.outputs):
        raise FlatbufferError("another number of results than it says")
    if any(length < 1 for length in lengths) or sum(lengths) != tensor.shape[axis]:
        raise FlatbufferError("its parts are not the whole")
    for number, length in enumerate(lengths):
        call.gives([*tensor.shape[:axis], length, *tensor.shape[axis + 1 :]], tensor.type, number)
    return tensor.size


def _split(call: Call) -> int:
    call.count(2, len(call.outputs))
    tensor, parts = call.input(1), len(call.outputs)
    axis = _axis(call.scalar(0), len(tensor.shape))
    return _divided(call, tensor, axis, [tensor.shape[axis] // parts] * parts if parts else [])


def _split_v(call: Call) -> int:
    call.count(3, len(call.outputs))
    tensor = call.input(0)
    axis, lengths = _axis(call.scalar(2), len(tensor.shape)), list(call.int32s(1))
    if lengths.count(-1) == 1:
        lengths[lengths.index(-1)] = tensor.shape[axis] - sum(lengths) - 1
    return _divided(call, tensor, axis, lengths)


def _strided_slice(call: Call) -> int:
    call.count(4)
    tensor = call.input(0, COPIED)
    bounds = [call.int32s(number) for number in (1, 2, 3)]
    rank = len(tensor.shape)
    if rank > BROADCAST_RANK or any(len(bound) != rank for bound in bounds):
        raise FlatbufferError("its bounds are not those of each axis")
    begin_mask, end_mask, ellipsis, new_axis, shrink = (call.integer(number) for number in range(5))
    if ellipsis or new_axis or call.flag(5):
        raise FlatbufferError("of an unknown form")
    shape = []
    for axis, (length, begin, end, stride) in enumerate(zip(tensor.shape, *bounds, strict=True)):
        if stride == 0:
            raise FlatbufferError("a stride of 0")
        if shrink >> axis & 1:
            begin = 0 if begin_mask >> axis & 1 else begin
            if not -length <= begin < length or stride < 0:
                raise FlatbufferError(f"the place {begin} of {length}")
            continue
        found = slice(None if begin_mask >> axis & 1 else begin, None if end_mask >> axis & 1 else end, stride)
        shape.append(len(range(*found.indices(length))))
    call.gives(shape, tensor.type)
    return call.outputs[0].size


def _slice(call: Call) -> int:
    call.count(3)
    tensor, begins, sizes = call.input(0, COPIED), call.int32s(1), call.int32s(2)
    if not len(begins) == len(sizes) == len(tensor.shape) <= BROADCAST_RANK:
        raise FlatbufferError("its bounds are not those of each axis")
    shape = []
    for length, begin, size in zip(tensor.shape, begins, sizes, strict=True):
        size = length - begin if size == -1 else size
        if begin < 0 or size < 1 or begin + size > length:
            raise FlatbufferError(f"{size} from the place {begin} of {length}")
        shape.append(size)
    call.gives(shape, tensor.type)
    return call.outputs[0].size


def _gather(call: Call) -> int:
    call.count(2)
    table, ids = call.input(0, COPIED), call.input(1, frozenset({INT32, INT64}))
    axis, batch = _axis(call.integer(0), len(table.shape)), call.integer(1)
    if not 0 <= batch <= min(axis, len(ids.shape)) or table.shape[:batch] != ids.shape[:batch]:
        raise FlatbufferError("its first axes do not go together")
    if table.quantization and table.quantization.scales != 1:
        raise FlatbufferError("several scales")
    call.gives([*table.shape[:axis], *ids.shape[batch:], *table.shape[axis + 1 :]], table.type)
    return call.outputs[0].size


def _gather_nd(call: Call) -> int:
    call.count(2)
    table, ids = call.input(0), call.input(1, frozenset({INT32}))
    if not ids.shape or ids.shape[-1] > len(table.shape):
        raise FlatbufferError("more places than axes")
    call.gives([*ids.shape[:-1], *table.shape[ids.shape[-1] :]], table.type)
    return call.outputs[0].size


def _weights(call: Call, number: int) -> tuple[Tensor, int, int]:
    """A matrix of weights of any of the types, with its rows and columns: a scale for all, for each row, or for each
    block of a row.
    """
    weights = call.inputs[number] if number < len(call.inputs) else None
    if weights is None or weights.type not in WEIGHTS or len(weights.shape) != 2:
        raise FlatbufferError("weights of an unknown form")
    rows, columns = weights.shape
    quantization = weights.quantization
    if weights.type == FLOAT32:
        return weights, rows, columns
    if not weights.data or quantization is None:
        raise FlatbufferError("weights without their scales")
    if columns % {INT8: 1, INT4: 2, INT2: 4}[weights.type]:
        raise FlatbufferError("a row of weights that ends within a byte")
    if quantization.blocks:
        _check_blocks(call, weights)
    elif quantization.zero:
        raise FlatbufferError("weights with a zero point")
    elif quantization.scales != 1 and (quantization.scales != rows or quantization.axis != 0):
        raise FlatbufferError("scales that are not those of the rows")
    return weights, rows, columns


def _check_blocks(call: Call, weights: Tensor) -> None:
    assert weights.quantization and weights.quantization.blocks
    blocks, (rows, columns) = weights.quantization.blocks, weights.shape
    if weights.type != INT4 or blocks.size < 32 or blocks.size % 32 or columns % blocks.size:
        raise FlatbufferError(f"blocks of {blocks.size} for rows of {columns}")
    tensors = call.graph.tensors
    scales = tensors[blocks.scales] if 0 <= blocks.scales < len(tensors) else None
    if scales is None or not scales.data or scales.type != FLOAT16 or scales.sparse:
        raise FlatbufferError("scales of blocks of an unknown form")
    if scales.size != rows * (columns // blocks.size):
        raise FlatbufferError(f"{scales.size:,} scales for the blocks of {rows:,} rows")


def _embedding_lookup(call: Call) -> int:
    call.count(2)
    ids = call.input(0, frozenset({INT32}))
    table, _, columns = _weights(call, 1)
    if len(ids.shape) != 1 or not table.data or table.sparse:
        raise FlatbufferError("ids or a table of an unknown form")
    call.gives([ids.size, columns], FLOAT32)
    return 2 * call.outputs[0].size


def _fully_connected(call: Call) -> int:
    if len(call.inputs) not in (2, 3) or len(call.outputs) != 1:
        raise FlatbufferError("another number of inputs or outputs")
    given = call.input(0, frozenset({FLOAT32, INT8}))
    weights, rows, columns = _weights(call, 1)
    call.activation(0)
    if call.flag(1) or (call.operator.options is not None and call.operator.options.has(5)):
        raise FlatbufferError("weights in an unknown order")
    whole = given.type == INT8
    if whole:
        product = _one_scale(given).scale * _one_scale(weights).scale
        if weights.sparse or product / _one_scale(call.outputs[0]).scale >= MAX_MULTIPLIER:
            raise FlatbufferError("integers of another form than its weights")
    if len(call.inputs) == 3 and call.inputs[2] is not None:
        bias = call.input(2, frozenset({INT32 if whole else FLOAT32}))
        if bias.shape != (rows,):
            raise FlatbufferError(f"a bias of {list(bias.shape)} for {rows} rows")
    if not given.shape or given.size % columns or (call.flag(2) and given.shape[-1] != columns):
        raise FlatbufferError(f"{list(given.shape)} for rows of {columns}")
    kept = given.shape[:-1] if call.flag(2) else (given.size // columns,)
    call.gives([*kept, rows], INT8 if whole else FLOAT32)
    return given.size // columns * rows * columns // 4 + weights.size


def _batch_matmul(call: Call) -> int:
    call.count(2)
    first, second = call.input(0, frozenset({FLOAT32})), call.input(1, frozenset({FLOAT32}))
    if not 2 <= len(first.shape) <= BROADCAST_RANK or not 2 <= len(second.shape) <= BROADCAST_RANK:
        raise FlatbufferError("matrices of another number of axes")
    rows, inner = reversed(first.shape[-2:]) if call.flag(0) else first.shape[-2:]
    other, columns = reversed(second.shape[-2:]) if call.flag(1) else second.shape[-2:]
    if inner != other:
        raise FlatbufferError("matrices that do not go together")
    call.gives([*_broadcast(first.shape[:-2], second.shape[:-2]), rows, columns], FLOAT32)
    return call.outputs[0].size * inner // 2 + first.size + second.size


def _convolution(call: Call) -> int:
    if len(call.inputs) not in (2, 3) or len(call.outputs) != 1 or call.operator.options is None:
        raise FlatbufferError("another number of inputs or outputs")
    given, kernel = call.input(0, frozenset({FLOAT32})), call.input(1, frozenset({FLOAT32}))
    if len(given.shape) != 4 or len(kernel.shape) != 4 or kernel.shape[3] != given.shape[3]:
        raise FlatbufferError("a convolution of an unknown form")
    if len(call.inputs) == 3 and call.inputs[2] is not None and call.input(2).shape != kernel.shape[:1]:
        raise FlatbufferError("a bias of another length")
    call.activation(3)
    stride_w, stride_h = call.integer(1), call.integer(2)
    dilation_w, dilation_h = call.integer(4, 1), call.integer(5, 1)
    if min(stride_w, stride_h, dilation_w, dilation_h) < 1 or max(stride_w, stride_h, dilation_w, dilation_h) > 4096:
        raise FlatbufferError("a stride or dilation of an unknown size")
    lengths = []
    for length, size, stride, dilation in (
        (given.shape[1], kernel.shape[1], stride_h, dilation_h),
        (given.shape[2], kernel.shape[2], stride_w, dilation_w),
    ):
        reach = (size - 1) * dilation + 1
        lengths.append((length + stride - 1 if call.flag(0) == 0 else length - reach + stride) // stride)
    call.gives([given.shape[0], *lengths, kernel.shape[0]], FLOAT32)
    return call.outputs[0].size * kernel.size // kernel.shape[0]


def _scatter_nd(call: Call) -> int:
    call.count(3)
    ids, updates, shape = call.input(0, frozenset({INT32})), call.input(1), call.int32s(2)
    depth = ids.shape[-1] if ids.shape else 0
    if not 1 <= depth <= len(shape) or updates.shape != (*ids.shape[:-1], *shape[depth:]):
        raise FlatbufferError("its values do not fit its shape")
    call.gives(shape, updates.type)
    return call.outputs[0].size + 4 * updates.size


def _transpose(call: Call) -> int:
    call.count(2)
    tensor, order = call.input(0, COPIED), call.int32s(1)
    if sorted(order) != list(range(len(tensor.shape))):
        raise FlatbufferError(f"the order {list(order)} of {len(tensor.shape)} axes")
    call.gives([tensor.shape[axis] for axis in order], tensor.type)
    return 2 * tensor.size


def _reduced(call: Call, tensor: Tensor, kind: int) -> int:
    rank = len(tensor.shape)
    axes = {_axis(axis, rank) for axis in call.int32s(1)}
    if len(call.int32s(1)) > rank:
        raise FlatbufferError("more axes than there are")
    if call.flag(0):
        shape = [1 if axis in axes else length for axis, length in enumerate(tensor.shape)]
    else:
        shape = [length for axis, length in enumerate(tensor.shape) if axis not in axes]
    call.gives(shape, kind)
    return 2 * tensor.size


def _mean(call: Call) -> int:
    call.count(2)
    return _reduced(call, call.input(0, frozenset({FLOAT32})), FLOAT32)


def _reduce(call: Call) -> int:
    call.count(2)
    tensor = call.input(0, frozenset({FLOAT32, INT32}))
    return _reduced(call, tensor, tensor.type)


def _reduce_bool(call: Call) -> int:
    call.count(2)
    return _reduced(call, call.input(0, frozenset({BOOL})), BOOL)


def _best_place(call: Call) -> int:
    call.count(2)
    tensor = call.input(0, frozenset({FLOAT32, INT32}))
    axis, kind = _axis(call.scalar(1), len(tensor.shape)), call.outputs[0].type
    if kind not in (INT32, INT64) or (call.flag(0) and call.flag(0) != kind):
        raise FlatbufferError("a type that places do not have")
    call.gives([*tensor.shape[:axis], *tensor.shape[axis + 1 :]], kind)
    return 2 * tensor.size


def _top_k(call: Call) -> int:
    call.count(2, 2)
    tensor, count = call.input(0, frozenset({FLOAT32})), call.scalar(1)
    if not tensor.shape or not 1 <= count <= tensor.shape[-1]:
        raise FlatbufferError(f"the best {count} of {list(tensor.shape)}")
    call.gives([*tensor.shape[:-1], count], FLOAT32)
    call.gives([*tensor.shape[:-1], count], INT32, 1)
    return 8 * tensor.size


def _cumulative(call: Call) -> int:
    call.count(2)
    tensor = call.input(0, frozenset({FLOAT32, INT32}))
    _axis(call.scalar(1), len(tensor.shape))
    call.gives(tensor.shape, tensor.type)
    return 2 * tensor.size


def _one_hot(call: Call) -> int:
    call.count(4)
    ids, depth = call.input(0, frozenset({INT32, INT64})), call.scalar(1)
    on, off = call.input(2), call.input(3)
    if on.size != 1 or off.size != 1 or on.type != off.type or depth < 1:
        raise FlatbufferError("values of an unknown form")
    axis = call.integer(0)
    axis = len(ids.shape) if axis == -1 else _axis(axis, len(ids.shape) + 1)
    call.gives([*ids.shape[:axis], depth, *ids.shape[axis:]], on.type)
    return 2 * call.outputs[0].size


def _fill(call: Call) -> int:
    call.count(2)
    if call.input(1).size != 1:
        raise FlatbufferError("several values")
    call.gives(call.int32s(0), call.input(1).type)
    return call.outputs[0].size


def _tile(call: Call) -> int:
    call.count(2)
    tensor, times = call.input(0), call.int32s(1)
    if len(times) != len(tensor.shape):
        raise FlatbufferError("another number of axes")
    call.gives([length * count for length, count in zip(tensor.shape, times, strict=True)], tensor.type)
    return call.outputs[0].size


def _broadcast_to(call: Call) -> int:
    call.count(2)
    tensor, shape = call.input(0), call.int32s(1)
    if any(length < 1 for length in shape) or _broadcast(tensor.shape, shape) != shape:
        raise FlatbufferError(f"{list(tensor.shape)} becomes {list(shape)}")
    call.gives(shape, tensor.type)
    return call.outputs[0].size


def _pad(call: Call) -> int:
    tensor = call.input(0)
    margins, rank = call.input(1, frozenset({INT32})), len(tensor.shape)
    values = call.constant(1)
    if len(call.inputs) not in (2, 3) or len(call.outputs) != 1 or rank > BROADCAST_RANK or margins.shape != (rank, 2):
        raise FlatbufferError("margins of an unknown form")
    if len(call.inputs) == 3 and (call.input(2).size != 1 or call.input(2).type != tensor.type):
        raise FlatbufferError("a value of another type")
    if any(value < 0 for value in values):
        raise FlatbufferError("a margin below 0")
    call.gives([length + sum(values[2 * axis : 2 * axis + 2]) for axis, length in enumerate(tensor.shape)], tensor.type)
    return 2 * call.outputs[0].size


def _reverse(call: Call) -> int:
    call.count(2)
    tensor = call.input(0)
    _axis(call.scalar(1), len(tensor.shape))
    call.gives(tensor.shape, tensor.type)
    return 2 * tensor.size


# Builtin code -> the number of the type of its options, the fields that these may have, and the rule.
OPERATORS: dict[int, tuple[int, int, Rule]] = {
    0: (11, 2, _binary),  # ADD
    2: (10, 2, _concatenation),
    3: (1, 7, _convolution),
    6: (38, 0, _dequantize),
    7: (0, 0, _embedding_lookup),
    8: (0, 0, _unary),  # FLOOR
    9: (8, 6, _fully_connected),
    14: (0, 0, _unary),  # LOGISTIC
    18: (21, 1, _binary),  # MUL
    19: (0, 0, _unary),  # RELU
    20: (0, 0, _unary),  # RELU_N1_TO_1
    21: (0, 0, _unary),  # RELU6
    22: (17, 1, _reshape),
    25: (9, 1, _softmax),
    28: (0, 0, _unary),  # TANH
    34: (22, 0, _pad),
    36: (23, 2, _gather),
    39: (26, 0, _transpose),
    40: (27, 1, _mean),
    41: (28, 2, _binary),  # SUB
    42: (29, 1, _binary_float),  # DIV
    43: (30, 1, _squeeze),
    45: (32, 6, _strided_slice),
    47: (33, 0, _unary),  # EXP
    48: (34, 0, _top_k),
    49: (35, 1, _split),
    50: (36, 0, _softmax),  # LOG_SOFTMAX
    53: (37, 2, _cast),
    55: (39, 0, _without_activation),  # MAXIMUM
    56: (40, 1, _best_place),  # ARG_MAX
    57: (39, 0, _without_activation),  # MINIMUM
    58: (41, 0, _compare),  # LESS
    59: (42, 0, _unary_number),  # NEG
    60: (43, 0, _pad),  # PADV2
    61: (44, 0, _compare),  # GREATER
    62: (45, 0, _compare),  # GREATER_EQUAL
    63: (46, 0, _compare),  # LESS_EQUAL
    64: (47, 0, _select),
    65: (48, 0, _slice),
    66: (0, 0, _unary),  # SIN
    69: (51, 0, _tile),
    70: (52, 0, _expand),
    71: (53, 0, _equal),
    72: (54, 0, _equal),  # NOT_EQUAL
    73: (0, 0, _unary),  # LOG
    74: (27, 1, _reduce),  # SUM
    75: (0, 0, _unary),  # SQRT
    76: (0, 0, _unary),  # RSQRT
    78: (56, 0, _power),
    79: (57, 1, _best_place),  # ARG_MIN
    82: (27, 1, _reduce),  # REDUCE_MAX
    83: (59, 2, _pack),
    84: (60, 0, _logical),  # LOGICAL_OR
    85: (61, 1, _one_hot),
    86: (62, 0, _logical),  # LOGICAL_AND
    87: (63, 0, _not),
    88: (64, 2, _unpack),
    89: (27, 1, _reduce),  # REDUCE_MIN
    90: (65, 0, _whole_division),  # FLOOR_DIV
    91: (27, 1, _reduce_bool),  # REDUCE_ANY
    92: (66, 0, _unary),  # SQUARE
    94: (68, 0, _fill),
    95: (70, 0, _whole_division),  # FLOOR_MOD
    98: (75, 1, _leaky),
    99: (76, 0, _without_activation),  # SQUARED_DIFFERENCE
    101: (78, 0, _unary_number),  # ABS
    102: (79, 1, _split_v),
    104: (0, 0, _unary),  # CEIL
    105: (81, 0, _reverse),
    106: (82, 0, _sum_of_all),  # ADD_N
    107: (83, 0, _gather_nd),
    108: (84, 0, _unary),  # COS
    111: (0, 0, _unary),  # ELU
    114: (89, 0, _quantize),
    116: (0, 0, _unary),  # ROUND
    117: (91, 0, _unary),  # HARD_SWISH
    122: (97, 0, _scatter_nd),
    123: (98, 0, _select_v2),
    124: (99, 0, _densify),
    126: (101, 3, _batch_matmul),
    128: (102, 2, _cumulative),
    130: (109, 0, _broadcast_to),
    140: (27, 1, _reduce_bool),  # REDUCE_ALL
    150: (116, 1, _unary),  # GELU
}
