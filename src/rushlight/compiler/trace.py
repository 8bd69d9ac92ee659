"""The tracing interpreter: records operations on tensors, backward passes and optimizer steps as one graph.

While a function is traced, its tensors hold memory without values (`tensor/unread.py`), and this module knows which
value of the graph stands in which memory. A write in place puts another value there, so that values themselves never
change. Memory that existed before is the program's state, found by identity.
"""

from __future__ import annotations

import functools
import gc
import math
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from rushlight import dtypes
from rushlight.autograd import eager
from rushlight.autograd.modes import mode
from rushlight.autograd.tape import OperationNode, next_sequence
from rushlight.compiler import layout
from rushlight.compiler.graph import Graph, Input, Node, Value
from rushlight.compiler.known import Known
from rushlight.compiler.text import short_line
from rushlight.compiler.updates import UpdateCalls
from rushlight.errors import TraceError
from rushlight.ops.declare import Operation, Spec, interpreted_by, routing
from rushlight.ops.movement import assign, view_scatter
from rushlight.ops.striding import as_strided
from rushlight.tensor.tensor import Tensor, wrap
from rushlight.tensor.unread import Unread, refuse, refuse_effect, user_line

Array = np.ndarray[Any, Any]


class NotNative(Exception):
    """Says why calls of a function whose results are to be differentiated run eagerly."""


class _Location:
    """Memory: the value that stands there now, and how often it was written to."""

    def __init__(self, array: Array, value: Value, given: Input | None = None) -> None:
        self.array = array
        self.given = given  # the input of the graph that it is, unless an operation has made it
        self.value = value
        self.version = 0


class _View:
    """A view of other memory: how it is taken, and its value as of a version of that memory."""

    def __init__(
        self, array: Array, source: Array, operation: Operation, options: dict[str, Any], root: _Location
    ) -> None:
        self.array = array
        self.source = source
        self.operation = operation
        self.options = options
        self.root = root
        self.value: Value | None = None
        self.version = -1


class Trace:
    """What is recorded of one call. `arguments` are the arrays that the function is called with."""

    def __init__(self, arguments: Sequence[Array]) -> None:
        self.graph = Graph()
        self.first = next_sequence()  # the tape's nodes from here on are the function's
        self.updates: list[UpdateCalls] = []  # steps of optimizers, in order
        self.draws: list[tuple[Array, Callable[[Array], None]]] = []  # random numbers, in order
        self.tensors: dict[int, tuple[weakref.ref[Tensor], Array, bool]] = {}  # those that hold state
        self._histories: dict[int, tuple[Any, int, bool, int]] = {}  # where in the graph these were
        self.requiring: list[tuple[Tensor, bool]] = []  # tensors whose requires_grad was set, with what it was
        self._generators: list[tuple[Any, Any]] = []  # those drawn from, with their state before
        self.gradients: dict[int, tuple[Tensor, Any]] = {}  # leaves, with the `.grad` that was read at first
        self.stand_ins: set[int] = set()  # leaves that stand for arguments which are results of operations
        self.walked = False  # whether a backward pass has run
        self.known = Known()
        self.left_behind = False  # whether memory that it made and wrote to is kept by something outside
        self._gradients_before: dict[int, Tensor | None] = {}
        self._locations: dict[int, _Location] = {}
        self._views: dict[int, _View] = {}
        self._unread: list[tuple[weakref.ref[Array], str]] = []
        for position, array in enumerate(arguments):
            self._place_input(array, self._input("argument", array, str(position)))

    # Memory and values

    def _input(self, kind: str, array: Array, name: str = "") -> Input:
        value = Input(kind, array.shape, array.dtype, array, name)
        self.graph.inputs.append(value)
        return value

    def _place(self, array: Array, value: Value, given: Input | None = None) -> _Location:
        location = self._locations[id(array)] = _Location(array, value, given)
        return location

    def _place_input(self, array: Array, given: Input) -> _Location:
        return self._place(array, given, given)

    def _memory(self, value: Value) -> Array:
        """New memory that holds `value`."""
        array = np.empty(value.shape, value.dtype).view(Unread)
        self._unread.append((weakref.ref(array), value.node.line if value.node is not None else user_line()))
        self._place(array, value)
        return array

    def _location(self, array: Array) -> _Location | _View:
        """What is known of `array`, which may be memory that the trace meets for the first time."""
        known = self._views.get(id(array)) or self._locations.get(id(array))
        if known is not None:
            return known
        root = array
        while isinstance(root.base, np.ndarray):
            root = root.base
            if id(root) in self._locations:
                break
        location = self._locations.get(id(root))
        if location is None:
            if isinstance(array, Unread):
                raise AssertionError("memory without values that no operation has made")
            if root is not array and not root.flags.writeable:
                root = array  # memory that nobody writes to
            location = self._place_input(root, self._input("state", root))
        if root is array:
            return location
        offset = array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
        item = array.itemsize
        if root.dtype != array.dtype or not root.flags.c_contiguous:
            raise TraceError("a view of memory in another dtype or order is written to or read while compiling")
        options = {
            "size": array.shape,
            "stride": tuple([s // item for s in array.strides]),
            "storage_offset": offset // item,
        }
        return self._view(array, root, as_strided, options)

    def _view(self, array: Array, source: Array, operation: Operation, options: dict[str, Any]) -> _View:
        known = self._location(source)
        root = known.root if isinstance(known, _View) else known
        view = self._views[id(array)] = _View(array, source, operation, options, root)
        return view

    def read(self, array: Array) -> Value:
        """The value that stands in `array` now."""
        known = self._location(array)
        if isinstance(known, _Location):
            return known.value
        if known.value is None or known.version != known.root.version:
            spec = (known.array.shape, known.array.dtype)
            known.value = self.emit(known.operation.name, [self.read(known.source)], known.options, [spec])[0]
            known.version = known.root.version
        return known.value

    def write(self, array: Array, value: Value) -> None:
        """Puts `value` in the place of what stands in `array`."""
        known = self._location(array)
        if isinstance(known, _Location):
            known.value = value
            known.version += 1
            return
        root = known.root
        chain: list[tuple[Operation, dict[str, Any]]] = []
        step: _Location | _View = known
        while isinstance(step, _View):
            chain.insert(0, (step.operation, step.options))
            step = self._location(step.source)
        options = {"views": tuple(chain)}
        spec = (root.array.shape, root.array.dtype)
        root.value = self.emit(view_scatter.name, [root.value, value], options, [spec])[0]
        root.version += 1
        known.value, known.version = value, root.version

    def emit(
        self, operation: str, inputs: Sequence[Any], options: dict[str, Any], specs: Sequence[tuple[Any, Any]]
    ) -> tuple[Value, ...]:
        """A new node at the end of the graph; its results."""
        node = Node(operation, inputs, options, specs, user_line())
        self.graph.nodes.append(node)
        return node.outputs

    def argument(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Array, Input]:
        """A further argument that the graph gets: memory that holds it."""
        given = Input("argument", shape, dtype)
        self.graph.inputs.append(given)
        return self._memory(given), given

    # Operations: the interpreter

    def evaluate(self, operation: Operation, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Records an operation on tensors, and on the tape where an input requires a gradient, as eager calls do."""
        if options.get("out") is not None:
            for argument in args:
                self.meet(argument)
            return eager.evaluate_into(operation, args, options, self._compute_into, self._copy)
        if "out" in options:
            options = {name: value for name, value in options.items() if name != "out"}
        needs = 0
        arrays: list[Any] = []
        for position, argument in enumerate(args):
            self.meet(argument)
            if isinstance(argument, Tensor):
                eager.refresh(argument)
                if argument._requires_grad:
                    needs |= 1 << position
                arrays.append(argument.array)
            else:
                arrays.append(argument)
        if not mode.grad_enabled:
            needs = 0
        given = [array for array in arrays if isinstance(array, np.ndarray)]
        if operation.elementwise and not given:
            return operation.meaning(np, *arrays).item()  # in a gradient rule, of numbers alone: one, exactly
        if not needs and not operation.is_view and given and all(map(self.is_constant, given)):
            return self._evaluate_constant(operation, args, options)
        if operation.is_view and not (operation.name == "reshape" and _must_copy(arrays[0], options["shape"])):
            return self._evaluate_view(operation, args, arrays, options, needs)
        values = self._values(operation, arrays, options)
        results = tuple([self._memory(value) for value in values])
        several = type(values) is tuple
        if needs and operation.gradient_rule is None:
            return eager.without_gradient(operation, args, results if several else results[0])
        outputs = tuple([wrap(array) for array in results])
        if needs:
            eager.record(OperationNode(operation, args, options, needs, results), outputs)
        return outputs if several else outputs[0]

    def _evaluate_constant(self, operation: Operation, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """What comes of constants is one too: it is computed once, now."""
        with interpreted_by(eager.evaluate):
            result = eager.evaluate(operation, args, options)
        for output in result if type(result) is tuple else (result,):
            self.constant(output.array)
        return result

    def _evaluate_view(
        self, operation: Operation, args: tuple[Any, ...], arrays: list[Any], options: dict[str, Any], needs: int
    ) -> Tensor:
        output = eager.evaluate_view(operation, args, arrays, options, needs)
        if output._base is None:  # a copy
            spec = (output.array.shape, output.array.dtype)
            output.array = self._memory(self.emit(operation.name, [self.read(arrays[0])], options, [spec])[0])
            return output
        if type(arrays[0]) is Unread and type(output.array) is not Unread:
            output.array = output.array.view(Unread)
        self._view(output.array, arrays[0], operation, options)
        return output

    def meet(self, argument: Any) -> None:
        """Takes down tensors that hold state, since the program is right only as long as they hold it."""
        if not isinstance(argument, Tensor) or type(argument.array) is Unread:
            return
        met = self.tensors.get(id(argument))
        if met is not None and met[0]() is argument:
            return
        known = self._views.get(id(argument.array)) or self._locations.get(id(argument.array))
        root = known.root if isinstance(known, _View) else known
        if root is None or (root.given is not None and root.given.kind == "state"):
            before = next((was for tensor, was in self.requiring if tensor is argument), argument._requires_grad)
            self.tensors[id(argument)] = (weakref.ref(argument), argument.array, before)
            if argument._node is None or argument._node.sequence < self.first:
                place = (argument._node, argument._index, argument._requires_grad, argument._history)
                self._histories[id(argument)] = place

    def _values(self, operation: Operation, arrays: Sequence[Any], options: dict[str, Any]) -> Any:
        """The results as values: a list of one, or a tuple of several."""
        if operation.elementwise:
            self._check_operands(operation, arrays)
            kinds = [(a.shape, a.dtype) if isinstance(a, np.ndarray) else type(a) for a in arrays]
            spec, dtype = _elementwise(operation, tuple(kinds), dtypes.get_default_dtype())
            if spec is None:
                spec = operation.spec(*self._described(arrays))
            return list(self.emit(operation.name, self._promoted(operation, arrays, dtype), options, [spec]))
        values = [self.read(a) if isinstance(a, np.ndarray) else a for a in arrays]
        if operation.name == "clone":
            return values  # values never change: a copy is the value itself
        if not operation.traceable:
            refuse(f"{operation.name} has a result whose shape depends on values: it can't be used")
        spec = operation.spec(*self._described(arrays), **options)
        if isinstance(spec, Spec):
            return list(self.emit(operation.name, values, options, [spec]))
        return self.emit(operation.name, values, options, spec)

    def _described(self, arrays: Sequence[Any]) -> list[Any]:
        """What shape rules see: the values of constants, of others their shapes and dtypes."""
        return [Spec(a.shape, a.dtype) if isinstance(a, np.ndarray) and not self.is_constant(a) else a for a in arrays]

    def is_constant(self, array: Array) -> bool:
        """Whether the values are known to be the same in every call."""
        known = self._views.get(id(array)) or self._locations.get(id(array))
        if known is None:
            return False
        value = known.root.value if isinstance(known, _View) else known.value
        return isinstance(value, Input) and value.kind == "constant"

    @staticmethod
    def _check_operands(operation: Operation, arrays: Sequence[Any]) -> None:
        for position, array in enumerate(arrays):
            if not isinstance(array, (np.ndarray, int, float)):
                raise TypeError(
                    f"{operation.name}(): argument {position + 1} must be Tensor or number, not {type(array).__name__}"
                )

    def _promoted(self, operation: Operation, arrays: Sequence[Any], dtype: np.dtype[Any]) -> list[Any]:
        """The operands in the dtype that the operation computes in."""
        condition = operation.promotion == "where"
        values: list[Any] = []
        for position, array in enumerate(arrays):
            wanted = dtypes.bool_.numpy if condition and position == 0 else dtype
            values.append(self._cast(self.read(array), wanted) if isinstance(array, np.ndarray) else array)
        return values

    def _cast(self, value: Value, dtype: np.dtype[Any]) -> Value:
        if value.dtype == dtype:
            return value
        return self.emit("cast", [value], {"dtype": dtypes.of_numpy(dtype)}, [(value.shape, dtype)])[0]

    def _compute_into(
        self, operation: Operation, arrays: list[Any], options: dict[str, Any], out: Tensor, inplace: bool
    ) -> None:
        results = self._values(operation, arrays, options)
        value = results[0]
        eager.fit_out(out, value.shape, value.dtype, inplace)
        if type(out.array) is not Unread and id(out.array) not in self._locations and value.shape == out.array.shape:
            self.meet(out)
        self.write(out.array, self._cast(value, out.array.dtype))

    def _copy(self, array: Array) -> Array:
        return self._memory(self.read(array))

    # What else happens in a step

    def constant(self, array: Array) -> None:
        """Takes a tensor made in the function for one that has the same values in every call."""
        if type(array) is not Unread and id(array) not in self._locations and id(array) not in self._views:
            self._place_input(array, self._input("constant", array.copy()))

    def changes_leaf(self, leaf: Tensor) -> None:
        """A leaf that requires a gradient is about to be changed in place, which isn't allowed."""
        if id(leaf) in self.stand_ins:
            raise NotNative("it changes a tensor from outside in place, and with it where its gradient goes")

    def drawing(self, generator: Any) -> None:
        """Takes down that random numbers are about to be drawn from `generator`."""
        if not any(known is generator for known, _ in self._generators):
            self._generators.append((generator, generator.state_bytes()))

    def drawn(self, array: Array, fill: Callable[[Array], None]) -> None:
        """Takes down random numbers: `fill` draws those of the next call into the same memory."""
        self._place_input(array, self._input("drawn", array, f"random numbers of {short_line(user_line())}"))
        self.draws.append((array, fill))

    def replaces_memory(self, tensor: Tensor, value: Tensor) -> None:
        """`tensor.data = value`: a program writes into the memory that the tensor has."""
        if value.array is tensor.array:
            return
        same = value.array.shape == tensor.array.shape and value.array.dtype == tensor.array.dtype
        if type(value.array) is not Unread or not same:
            refuse_effect("setting .data replaces a tensor's memory")
        target = tensor.detach()
        assign(target, value.detach(), out=target)

    def requires(self, tensor: Tensor) -> None:
        """Takes down that `requires_grad` of a tensor is about to be set."""
        if not any(known is tensor for known, _ in self.requiring):
            self.requiring.append((tensor, tensor._requires_grad))

    def values(self, array: Array, what: str) -> Array:
        """The values in `array`; raises TraceError, unless they are the same in every call.

        What is computed of a few integers from outside (lengths, masks) may be read, too: the program is then right
        for these integers.
        """
        if self.is_constant(array):
            return array
        found = self.known.values(self.read(array))
        if found is None:
            refuse(f"{what if ' ' in what else f'{what}()'} reads a tensor's values")
        return found

    def reads_gradient(self, leaf: Tensor) -> None:
        """The function depends on what `leaf.grad` is when it is called."""
        if id(leaf) not in self.gradients and leaf._node is None:
            self.gradients[id(leaf)] = (leaf, leaf._grad)
            self._gradients_before[id(leaf)] = leaf._grad

    def replaces_gradient(self, leaf: Tensor) -> None:
        """The function sets `leaf.grad`, whatever it was."""
        if id(leaf) not in self.gradients and leaf._node is None:
            self.gradients[id(leaf)] = (leaf, REPLACED)
            self._gradients_before[id(leaf)] = leaf._grad

    def updating(self, optimizer: Any) -> Callable[[dict[str, Any], list[Tensor]], None]:
        """What an optimizer's step does instead of moving the parameters of a group."""

        def update(group: dict[str, Any], parameters: list[Tensor]) -> None:
            calls = UpdateCalls(optimizer, group, parameters)
            self.updates.append(calls)
            for call in calls.recorded:
                self._update(call)

        return update

    def _update(self, call: Any) -> None:
        lists = [None if tensors is None else [t.array for t in tensors] for tensors in call.lists]
        for tensors in call.lists:
            for tensor in tensors or ():
                self.meet(tensor)
        numbers = {}
        for name, value in call.options.items():
            if isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool)) or name == "first":
                number = Input("number", (), np.dtype(np.float64), None, name)
                self.graph.inputs.append(number)
                call.numbers[name] = number
                numbers[name] = number
        options = {**call.options, **numbers}
        inputs = [None if arrays is None else tuple([self.read(a) for a in arrays]) for arrays in lists]
        changed = [arrays for position, arrays in enumerate(lists) if arrays is not None and position != 1]
        specs = [(a.shape, a.dtype) for arrays in changed for a in arrays]
        results = iter(self.emit(call.update.name, inputs, options, specs))
        for arrays in changed:
            for array in arrays:
                self.write(array, next(results))
        call.lists[1] = None  # the gradients: made anew in each call

    # The end

    def finish(self, outputs: Sequence[Array]) -> None:
        """Completes the graph: what the function returns, and what its memory holds at the end."""
        self.graph.outputs = tuple([self.read(array) for array in outputs])
        for location in self._locations.values():
            given = location.given
            if given is not None and given.kind in ("argument", "state") and location.value is not given:
                self.graph.writes.append((given, location.value))

    def leaves(self) -> list[tuple[Tensor, Tensor | None]]:
        """The leaves whose `.grad` the function reads or sets, with what it was before."""
        return [
            (leaf, self._gradients_before[number])
            for number, (leaf, _) in self.gradients.items()
            if not self.is_made_here(leaf.array)
        ]

    def is_made_here(self, array: Array) -> bool:
        """Whether the memory is neither an argument's nor state."""
        known = self._locations.get(id(array))
        given = None if known is None else known.given
        return type(array) is Unread or (given is not None and given.kind in ("constant", "drawn"))

    def is_computed(self, array: Array) -> bool:
        """Whether what stands in the memory comes of the function's operations; also in what it made as a constant."""
        known = self._locations.get(id(array))
        given = None if known is None else known.given
        return type(array) is Unread or (
            known is not None and given is not None and given.kind == "constant" and known.value is not given
        )

    def keep(self, array: Array) -> Input:
        """Has each run leave what stands in `array` in memory of the program."""
        target = Input("state", array.shape, array.dtype, None, "gradient")
        self.graph.inputs.append(target)
        self.graph.writes.append((target, self.read(array)))
        return target

    def forget(self) -> list[str]:
        """Forgets all memory; lines of code that made tensors which somebody still holds.

        What the trace took for state and nobody holds now was made by the function itself: the same in every call.
        """
        outside = {id(leaf) for leaf, _ in self.leaves()}
        self.gradients = {key: entry for key, entry in self.gradients.items() if key in outside}
        written = [
            place.array
            for place in self._locations.values()
            if place.given is not None and place.given.kind == "constant" and place.value is not place.given
        ]
        self._locations.clear()
        self._views.clear()
        requiring = [(weakref.ref(tensor), before) for tensor, before in self.requiring]
        self.requiring = []  # those that the function made itself are gone now
        found = [(reference(), before) for reference, before in requiring]
        self.requiring = [(t, before) for t, before in found if t is not None and type(t.array) is not Unread]
        del found
        self.tensors = {key: entry for key, entry in self.tensors.items() if entry[0]() is not None}
        self.left_behind = any(sys.getrefcount(written[place]) > _SOLE for place in range(len(written)))
        escaped = self._held()
        if escaped:
            gc.collect()  # tensors that hold themselves
            escaped = self._held()
        held = {id(array) for _, array, _ in self.tensors.values()}
        for value in self.graph.inputs:
            if value.kind == "state" and id(value.array) not in held and sys.getrefcount(value.array) == _SOLE:
                value.kind = "constant"
        self.graph.writes = [(target, value) for target, value in self.graph.writes if target.kind != "constant"]
        return escaped

    def _held(self) -> list[str]:
        return [line for reference, line in self._unread if reference() is not None]

    def met(self) -> list[tuple[Tensor, Array, bool]]:
        """The tensors that hold state, with what they held and whether they required a gradient."""
        found = [(reference(), array, requires_grad) for reference, array, requires_grad in self.tensors.values()]
        return [(tensor, array, requires_grad) for tensor, array, requires_grad in found if tensor is not None]

    def written_tensors(self) -> list[weakref.ref[Tensor]]:
        """The tensors of state whose memory the function changes."""
        changed = {id(target.array) for target, _ in self.graph.writes}
        return [entry[0] for entry in self.tensors.values() if id(entry[1]) in changed]

    def undo(self) -> None:
        """Puts back what the traced call has changed outside the graph."""
        for number, (leaf, _) in self.gradients.items():
            leaf._grad = self._gradients_before[number]
        for tensor, before in self.requiring:
            tensor._requires_grad = before
        for tensor, array, _ in self.met():
            tensor.array = array
        self.undo_histories()
        for calls in reversed(self.updates):
            calls.step_back()
        for generator, state in self._generators:
            generator.restore_bytes(state)

    def undo_histories(self) -> None:
        """Puts tensors from outside back to where they were in the graph."""
        for tensor, _, _ in self.met():
            place = self._histories.get(id(tensor))
            if place is not None and tensor._node is not place[0]:
                tensor._node, tensor._index, tensor._requires_grad, tensor._history = place


REPLACED = object()


@functools.lru_cache(4096)
def _elementwise(
    operation: Operation, kinds: tuple[Any, ...], default: dtypes.dtype
) -> tuple[Spec | None, np.dtype[Any]]:
    """What an elementwise operation gives (None: its own rule says, which looks at values), and computes in.

    kinds: of each operand, its shape and dtype, or the type of a number. default: the default dtype.
    """
    operands = [Spec(*kind) if isinstance(kind, tuple) else kind(0) for kind in kinds]
    condition = operation.promotion == "where"
    dtype = dtypes.result_type(*operands[1:]) if condition else operation.computation_dtype(operands)
    return (operation.spec(*operands) if operation.shape_rule is None else None), dtype


def _references_of_sole(value: Input) -> int:
    return sys.getrefcount(value.array)


_SOLE = _references_of_sole(Input("state", (), np.dtype(np.float64), np.zeros(())))


def _must_copy(array: Array, shape: tuple[int, ...]) -> bool:
    """Whether memory that lies like `array` can't be seen in that shape: found out without the copy."""
    if type(array) is not Unread or math.prod(shape) != array.size:
        return False
    return layout.reshaped(array.shape, array.strides, tuple(shape)) is None


@contextmanager
def tracing(trace: Trace) -> Iterator[None]:
    """Records what is done within, in this thread."""
    if routing.tracing is not None:
        raise AssertionError("a trace within a trace")
    routing.tracing = trace
    try:
        with interpreted_by(trace.evaluate):
            yield
    finally:
        routing.tracing = None
