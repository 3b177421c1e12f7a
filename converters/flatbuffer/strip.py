"""Takes out of a flatbuffer what no runtime reads."""

from collections import Counter
from typing import Any

import numpy as np

from converters.flatbuffer import packing


def strip(content: bytes) -> bytes:
    """The same model without names of tensors and subgraphs, descriptions, metadata, ranges that were only recorded,
    options that are what a runtime takes without them, and unused or duplicate tensors, buffers and operator codes.

    Signatures keep their names, by which they are called.
    """
    model = packing.read(content)
    model.description = model.metadata = model.metadataBuffer = None
    for number, graph in enumerate(model.subgraphs):
        graph.name = None
        for operator in graph.operators:
            _strip_operator(operator)
        for tensor in graph.tensors:
            _strip_tensor(tensor)
        _keep_used_tensors(graph, [s for s in model.signatureDefs or [] if s.subgraphIndex == number])
    _share_buffers(model)
    _share_operator_codes(model)
    return packing.write(model)


def _strip_tensor(tensor: Any) -> None:
    tensor.name = None
    tensor.hasRank = False  # of a scalar as well: an empty shape is one
    if tensor.shapeSignature is not None and list(tensor.shapeSignature) == list(tensor.shape):
        tensor.shapeSignature = None
    if (quantization := tensor.quantization) is not None:
        quantization.min = quantization.max = None
        if quantization.scale is None and quantization.details is None:
            tensor.quantization = None


def _strip_operator(operator: Any) -> None:
    if operator.intermediates is not None and not len(operator.intermediates):
        operator.intermediates = None
    if operator.mutatingVariableInputs is not None and not any(operator.mutatingVariableInputs):
        operator.mutatingVariableInputs = None
    options = operator.builtinOptions
    if options is not None and not vars(options):
        operator.builtinOptions, operator.builtinOptionsType = None, 0


def _keep_used_tensors(graph: Any, signatures: list[Any]) -> None:
    used = {*graph.inputs, *graph.outputs}
    for operator in graph.operators:
        used |= {*operator.inputs, *operator.outputs, *(operator.intermediates or [])}
    blocks = [q.details for tensor in graph.tensors if (q := tensor.quantization) is not None and q.details is not None]
    used |= {place for block in blocks for place in (block.scales, block.zeroPoints)}
    kept = sorted(int(tensor) for tensor in used if tensor >= 0)
    place = {-1: -1, **{old: new for new, old in enumerate(kept)}}
    graph.tensors = [graph.tensors[old] for old in kept]
    for owner, names in [(graph, ("inputs", "outputs"))] + [
        (operator, ("inputs", "outputs", "intermediates")) for operator in graph.operators
    ]:
        for name in names:
            if (tensors := getattr(owner, name)) is not None:
                setattr(owner, name, [place[int(old)] for old in tensors])
    for block in blocks:
        block.scales, block.zeroPoints = place[block.scales], place[block.zeroPoints]
    for signature in signatures:
        for entry in [*signature.inputs, *signature.outputs]:
            entry.tensorIndex = place[entry.tensorIndex]


def _share_buffers(model: Any) -> None:
    buffers, place = [type(model.buffers[0])()], {b"": 0}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            key = b"" if data is None else np.asarray(data, np.uint8).tobytes()
            if key not in place:
                place[key] = len(buffers)
                buffers.append(model.buffers[tensor.buffer])
            tensor.buffer = place[key]
    model.buffers = buffers


def _share_operator_codes(model: Any) -> None:
    """The most frequent code comes first: number 0 takes no space."""
    operators = [operator for graph in model.subgraphs for operator in graph.operators]
    keys = [_code_key(model.operatorCodes[operator.opcodeIndex]) for operator in operators]
    place = {key: number for number, (key, _) in enumerate(Counter(keys).most_common())}
    codes = {_code_key(code): code for code in model.operatorCodes}
    model.operatorCodes = [codes[key] for key in place]
    for operator, key in zip(operators, keys, strict=True):
        operator.opcodeIndex = place[key]


def _code_key(code: Any) -> tuple[int, int, Any]:
    return code.builtinCode, code.version, code.customCode
