"""The check of a flatbuffer before a runtime sees it: whoever crafts one could else crash the process or worse.

The runtimes trust a file. Their kernels write where its shapes say, follow its indexes, divide by its numbers and loop
as long as it says. So a model is loaded only if

- every offset, length and index in it is inside (:mod:`device_runner.flatbuffer`);
- every constant has the bytes that its shape and type take, and every scale is one that arithmetic can use;
- every operator is one that edgerec's converters write, reads tensors of the types and shapes that it is made for, and
  gives what the file says (:mod:`device_runner.operator_rules`);
- every tensor is written once, by one operator, before it is read, and no constant or input is written to;
- indexes of several axes, which kernels turn into one in 32 bits, stay far below 2^31
  (:mod:`device_runner.value_ranges`);
- every loop counts up to a bound;
- memory and work are within bounds that grow with the file;
- its signatures are those of the contract.

What remains is a file of the right form with other weights. It gives other recommendations, and only a signature of the
file by a key that one trusts defends against that.
"""

from collections.abc import Mapping

from device_runner.contract import Ranking, Retrieval
from device_runner.flatbuffer import BOOL, FLOAT32, INT32, INT64, FlatbufferError, Graph, Model, Tensor, read_model
from device_runner.operator_rules import OPERATORS, Call
from device_runner.value_ranges import Ranges

WHILE, LESS, ADD, GATHER, LOGICAL_AND, SCATTER_ND, GATHER_ND = 119, 58, 0, 36, 86, 122, 107
# Numbers of the first fields, by how many.
FIELDS = [frozenset(range(count)) for count in range(8)]
# Tensors that live at the same time, in bytes: a floor, and a multiple of the file.
MEMORY_FLOOR, MEMORY_FACTOR = 24 << 20, 32
# Steps of one signature, each about a nanosecond; likewise.
WORK_FLOOR, WORK_FACTOR = 500_000_000, 32
MAX_STEPS = 100_000
# Names of numpy's types, as a ranking contract says them.
DTYPES = {"float32": FLOAT32, "int32": INT32, "int64": INT64, "bool": BOOL}
# Types and shapes of a signature's inputs and outputs.
Shapes = Mapping[str, tuple[int, tuple[int, ...]]]


def check_flatbuffer(content: bytes, contract: Retrieval | Ranking) -> None:
    """Check that a flatbuffer is sound, and that its signatures are those of the contract.

    A signature that is absent is left to the runtime to tell.

    Raises:
        FlatbufferError: it is not; the message says what was found first.
    """
    model = read_model(content)
    _Graphs(model).check()
    found = {
        name: tuple(
            {key: model.graphs[signature.graph].tensors[place] for key, place in places.items()}
            for places in (signature.inputs, signature.outputs)
        )
        for name, signature in model.signatures.items()
    }
    if isinstance(contract, Retrieval):
        _check_retrieval(contract, found)
    else:
        _check_ranking(contract, found)


class _Graphs:
    """Checks the graphs of a model, each once, those of loops before what calls them."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._work: dict[int, int] = {}
        self._open: set[int] = set()
        loops = [o.options for graph in model.graphs for o in graph.operators if o.code == WHILE and o.options]
        self._of_loops = {options.int32(place) for options in loops for place in (0, 1)}
        self._memory = 0

    def check(self) -> None:
        for number in range(len(self._model.graphs)):
            self._graph(number)
        size = len(self._model.content)
        if sum(work for work in self._work.values()) > WORK_FLOOR + WORK_FACTOR * size:
            raise FlatbufferError("it computes more than a file of its size may")

    def _graph(self, number: int) -> int:
        """Check a graph; how much work it is."""
        if number in self._work:
            return self._work[number]
        if number in self._open:
            raise FlatbufferError("a loop that contains itself")
        self._open.add(number)
        graph = self._model.graphs[number]
        tensors = graph.tensors
        known = bytearray(1 if tensor.data else 0 for tensor in tensors)
        for place in graph.inputs:
            if known[place]:
                raise FlatbufferError("an input that is a constant")
            known[place] = 1
        work = 0
        for operator in graph.operators:
            for place in operator.inputs:
                if place >= 0 and not known[place]:
                    raise FlatbufferError("a tensor is read before it is written")
            for place in operator.outputs:
                if known[place]:
                    raise FlatbufferError("a constant, an input or a result is written to")
                known[place] = 1
            call = Call(self._model, graph, operator)
            work += 100 + (self._loop(call, number) if operator.code == WHILE else _operator(call))
        if any(operator.code in (SCATTER_ND, GATHER_ND) for operator in graph.operators):
            self._check_places(number)
        if not all(known[place] for place in graph.outputs):
            raise FlatbufferError("an output that is never written")
        self._count_memory(graph)
        self._open.remove(number)
        self._work[number] = work
        return work

    def _check_places(self, number: int) -> None:
        """Check that indexes of several axes do not reach 2^31 when they are turned into one."""
        model = self._model
        graph, size = model.graphs[number], len(model.content)
        # Rows of items and features, of which there are fewer than bytes. A loop gives its graphs any numbers.
        ranges = Ranges(model, graph, None if number in self._of_loops else (0, size))
        for operator in graph.operators:
            if operator.code in (SCATTER_ND, GATHER_ND):
                places = operator.inputs[0 if operator.code == SCATTER_ND else 1]
                whole = graph.tensors[operator.outputs[0] if operator.code == SCATTER_ND else operator.inputs[0]]
                found = ranges.of(places)
                if found is None or max(-found[0], found[1]) * len(whole.shape) * _stride(whole) >= 2**31 - whole.size:
                    raise FlatbufferError(f"the operator {operator.code}: indexes that may be too large")

    def _count_memory(self, graph: Graph) -> None:
        """Add the most bytes that tensors of the graph take at the same time, if each lives from where it is written to
        where it is read last.
        """
        last = dict.fromkeys(graph.outputs, len(graph.operators))
        for step, operator in enumerate(graph.operators):
            for place in operator.inputs:
                last[place] = max(step, last.get(place, 0))
        ends: dict[int, int] = {}
        now = most = sum(graph.tensors[place].bytes for place in graph.inputs)
        for step, operator in enumerate(graph.operators):
            for place in operator.outputs:
                size = graph.tensors[place].bytes
                now += size
                end = last.get(place, step)
                ends[end] = ends.get(end, 0) + size
            most = max(most, now)
            now -= ends.pop(step, 0)
        self._memory += most
        if self._memory > MEMORY_FLOOR + MEMORY_FACTOR * len(self._model.content):
            raise FlatbufferError("it takes more memory than a file of its size may")

    def _loop(self, call: Call, number: int) -> int:
        """Check a loop; how much work it is.

        Its condition is that a counter is less than a constant, and its body adds to the counter. The counter begins
        with a constant, or else the body looks up a row by it, which ends the loop when there is no such row.
        """
        options, model = call.operator.options, self._model
        if call.operator.options_type != 93 or options is None or not options.only(FIELDS[2]):
            raise FlatbufferError("a loop of an unknown form")
        places = options.int32(0), options.int32(1)
        if not all(0 <= place < len(model.graphs) for place in places):
            raise FlatbufferError("a loop whose graphs do not exist")
        work = sum(self._graph(place) for place in places)
        condition, body = (model.graphs[place] for place in places)
        forms = [_form(tensor) for tensor in call.inputs]
        inner = [_forms(condition, condition.inputs), _forms(body, body.inputs), _forms(body, body.outputs)]
        if any(form != forms for form in (*inner, [_form(tensor) for tensor in call.outputs])):
            raise FlatbufferError("a loop whose values change their form")
        results = _forms(condition, condition.outputs)
        if len(results) != 1 or results[0] != (BOOL, (), False) or any(form is None or form[2] for form in forms):
            raise FlatbufferError("a loop without a condition")
        return _steps(call, condition, body) * (work + sum(tensor.size for tensor in call.outputs))


def _stride(tensor: Tensor) -> int:
    """How many values lie between two neighbours of the first axis."""
    return tensor.size // tensor.shape[0] if tensor.shape else 1


def _form(tensor: Tensor | None) -> tuple[int, tuple[int, ...], bool] | None:
    return None if tensor is None else (tensor.type, tensor.shape, tensor.quantization is not None)


def _forms(graph: Graph, places: tuple[int, ...]) -> list[tuple[int, tuple[int, ...], bool] | None]:
    return [_form(graph.tensors[place]) for place in places]


def _operator(call: Call) -> int:
    """Check an operator; how much work it is."""
    operator = call.operator
    if (known := OPERATORS.get(operator.code)) is None:
        raise FlatbufferError(f"the operator {operator.code} is not one of edgerec's")
    kind, fields, rule = known
    if operator.options is not None and (operator.options_type != kind or not operator.options.only(FIELDS[fields])):
        raise FlatbufferError(f"the operator {operator.code} has options of another one")
    try:
        return rule(call)
    except FlatbufferError as error:
        raise FlatbufferError(f"the operator {operator.code}: {error}") from None


def _steps(call: Call, condition: Graph, body: Graph) -> int:
    """The most steps of a loop."""
    model = call.model
    for compare in condition.operators:
        if compare.code != LESS or len(compare.inputs) != 2 or not _decides(condition, compare.outputs[0]):
            continue
        counter, bound = compare.inputs
        limit = model.integers(condition.tensors[bound], 1)
        if counter not in condition.inputs or limit is None or not 0 <= limit[0] <= MAX_STEPS:
            continue
        number = condition.inputs.index(counter)
        first, last = body.inputs[number], body.outputs[number]
        adds = any(
            o.code == ADD and o.outputs == (last,) and _adds(model, body, o.inputs, first) for o in body.operators
        )
        if not adds or body.tensors[first].type != INT32:
            continue
        given = call.inputs[number]
        start = model.integers(given, 1) if given is not None else None
        if start is not None and start[0] >= 0:
            return max(1, limit[0] - start[0])
        for operator in body.operators:
            if operator.code == GATHER and operator.inputs[1] == first:
                axis = operator.options.int32(0) if operator.options else 0
                return body.tensors[operator.inputs[0]].shape[axis] + 1
    raise FlatbufferError("a loop that may not end")


def _decides(condition: Graph, place: int) -> bool:
    """Whether the condition is false when this value is."""
    if place == condition.outputs[0]:
        return True
    return any(
        operator.code == LOGICAL_AND and place in operator.inputs and _decides(condition, operator.outputs[0])
        for operator in condition.operators
        if place not in operator.outputs
    )


def _adds(model: Model, body: Graph, inputs: tuple[int, ...], counter: int) -> bool:
    """Whether the inputs of an addition are the counter and a constant above 0."""
    if len(inputs) != 2 or counter not in inputs:
        return False
    step = model.integers(body.tensors[inputs[1 if inputs[0] == counter else 0]], 1)
    return step is not None and 0 < step[0] <= MAX_STEPS


Found = Mapping[str, tuple[Mapping[str, Tensor], ...]]


def _check_retrieval(contract: Retrieval, found: Found) -> None:
    whole, excluded = (INT32, (1, contract.max_history)), (INT32, (1, contract.max_exclude))
    state = (FLOAT32, (1, contract.state))
    best = {
        "ids": (INT32, (1, contract.top_k)),
        "scores": (FLOAT32, (1, contract.top_k)),
        "item_scores": (FLOAT32, (1, contract.items + 1)),
    }
    recent = {"recent": (INT32, (1, contract.recent))} if contract.recent else {}
    expected: dict[str, tuple[Shapes, Shapes]] = {"recommend": ({"history": whole, "exclude": excluded}, best)}
    if contract.state:
        expected["advance"] = {"state": state, "item": (INT32, (1,))}, {"state": state}
        expected["recommend_from_state"] = {"state": state, "exclude": excluded, **recent}, best
    if contract.neighbours:
        outputs = found["links"][1] if "links" in found else {}
        shape = outputs["items"].shape if "items" in outputs else ()
        events = shape[1] if len(shape) == 3 else 1
        if not 0 < events <= contract.max_history:
            raise FlatbufferError(f"links gives {events} events, the model reads up to {contract.max_history}")
        table = (1, events, contract.neighbours)
        expected["links"] = {"history": whole}, {"items": (INT32, table), "weights": (FLOAT32, table)}
    for name, (wanted, given) in expected.items():
        if name in found:
            _compare(name, found[name], wanted, given)


def _check_ranking(contract: Ranking, found: Found) -> None:
    if "score" not in found:
        return
    inputs, outputs = found["score"]
    types = {name: tensor.type for name, tensor in inputs.items()}
    expected = {name: DTYPES.get(dtype) for name, dtype in contract.inputs.items()}
    if types != expected:
        raise FlatbufferError("the inputs of score are not those that the manifest says")
    _compare("score", ({}, outputs), {}, {"scores": (FLOAT32, (contract.candidates,))})


def _compare(name: str, actual: tuple[Mapping[str, Tensor], ...], inputs: Shapes, outputs: Shapes) -> None:
    shapes = {key: tensor.shape for key, tensor in actual[0].items()}
    said = {key: shape for key, (_, shape) in inputs.items()}
    if shapes != said:
        raise FlatbufferError(f"the inputs of {name} are {shapes}, the manifest says {said}")
    for key, (_, shape) in outputs.items():
        found = actual[1][key].shape if key in actual[1] else "absent"
        if found != shape:
            raise FlatbufferError(f"output {key} is {found}, the manifest says {shape}")
    for tensors, expected in zip(actual, (inputs, outputs), strict=True):
        for key, (kind, _) in expected.items():
            if tensors[key].type != kind or tensors[key].quantization is not None or tensors[key].sparse:
                raise FlatbufferError(f"{key} of {name} is of another type than the contract says")
