"""Elementwise declarations as native programs: their meaning, run on symbolic expressions, writes the instructions.

The meaning of an elementwise operation uses operators and functions of the array namespace `xp`. Given `recorder` for
`xp` and Expressions for the arrays, the same text yields a list of instructions for the core's elementwise engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from rushlight import core

PREDICATES = frozenset(
    [
        "equal",
        "not_equal",
        "less",
        "less_equal",
        "greater",
        "greater_equal",
        "logical_and",
        "logical_or",
        "logical_xor",
        "logical_not",
        "isnan",
        "isinf",
        "isfinite",
    ]
)
OPCODES = PREDICATES | frozenset(
    [
        "add",
        "subtract",
        "multiply",
        "divide",
        "negative",
        "absolute",
        "sign",
        "square",
        "reciprocal",
        "sqrt",
        "exp",
        "exp2",
        "expm1",
        "log",
        "log2",
        "log10",
        "log1p",
        "sin",
        "cos",
        "tan",
        "sinh",
        "cosh",
        "tanh",
        "arcsin",
        "arccos",
        "arctan",
        "arctan2",
        "arcsinh",
        "arccosh",
        "arctanh",
        "power",
        "maximum",
        "minimum",
        "fmod",
        "remainder",
        "floor_divide",
        "floor",
        "ceil",
        "trunc",
        "rint",
        "bitwise_and",
        "bitwise_or",
        "bitwise_xor",
        "invert",
        "left_shift",
        "right_shift",
        "where",
        "copysign",
        "hypot",
        "erf",
        "erfc",
        "erfinv",
        "normal_cdf",
        "lgamma",
        "digamma",
        "sigmoid",
    ]
)


# What bits of truths are, also in programs of floats, whose truths are the numbers 0 and 1.
_OF_TRUTHS = {
    "bitwise_and": "logical_and",
    "bitwise_or": "logical_or",
    "bitwise_xor": "logical_xor",
    "invert": "logical_not",
}


class NotElementwise(Exception):
    """The recorded text does something that an elementwise program can't."""


class Builder:
    """The instructions of a program while it is being recorded; equal instructions are written once."""

    def __init__(self, inputs: int) -> None:
        self.inputs = [Expression(self, number, frozenset({number}), False) for number in range(inputs)]
        self.instructions: list[tuple[Any, ...]] = []
        self._known: dict[tuple[Any, ...], Expression] = {}

    def emit(self, opcode: str, *sources: Any) -> Expression:
        if opcode not in OPCODES:
            raise NotElementwise(opcode)
        reads: frozenset[int] = frozenset()
        numbered: list[Any] = []
        branches = []
        for source in sources:
            if isinstance(source, Expression):
                numbered.append(source.number)
                reads |= source.reads
                branches.append(source.boolean)
            elif isinstance(source, (bool, int, float)):
                numbered.append((source,))
                branches.append(isinstance(source, bool))
            else:
                raise NotElementwise(f"{opcode} of {type(source).__name__}")
        if all(branches):
            opcode = _OF_TRUTHS.get(opcode, opcode)
        boolean = _is_boolean(opcode, branches)
        # The type of a constant is part of its identity: 1, 1.0 and True are equal in Python.
        key = (opcode, *((n, type(n[0])) if isinstance(n, tuple) else n for n in numbered))
        if key not in self._known:
            number = len(self.inputs) + len(self.instructions)
            self.instructions.append((opcode, *numbered))
            self._known[key] = Expression(self, number, reads, boolean)
        return self._known[key]


class Form(Builder):
    """The same with the numbers left out: in their place stands ~i for the i-th of `numbers`."""

    def __init__(self, inputs: int) -> None:
        super().__init__(inputs)
        self.numbers: list[float] = []

    def emit(self, opcode: str, *sources: Any) -> Expression:
        instruction: list[Any] = [opcode]
        for source in sources:
            if isinstance(source, Expression):
                instruction.append(source.number)
            elif isinstance(source, (int, float)):
                instruction.append(~len(self.numbers))
                self.numbers.append(source)
            else:
                raise NotElementwise(f"{opcode} of {type(source).__name__}")
        self.instructions.append(tuple(instruction))
        return Expression(self, len(self.inputs) + len(self.instructions) - 1, frozenset(), False)

    def program(self, outputs: Sequence[int]) -> Any:
        """The native program of this form, whose operands are the inputs and then the numbers."""
        first, count = len(self.inputs), len(self.numbers)

        def place(source: int) -> int:
            return first + ~source if source < 0 else source if source < first else source + count

        steps = [(opcode, *map(place, sources)) for opcode, *sources in self.instructions]
        assert core.native is not None
        return core.native.Program(steps, first + count, [*map(place, outputs)], [False] * len(outputs))


class Expression:
    """A value of the program being recorded: an input or the result of an instruction."""

    __slots__ = ("boolean", "builder", "number", "reads")

    def __init__(self, builder: Builder, number: int, reads: frozenset[int], boolean: bool) -> None:
        self.builder = builder
        self.number = number
        self.reads = reads  # the inputs that it depends on
        self.boolean = boolean

    def __bool__(self) -> bool:
        raise NotElementwise("a decision on a value")

    __hash__ = None  # type: ignore[assignment]


class _Recorder:
    """Stands for the array namespace `xp` while a meaning is recorded."""

    def __getattr__(self, name: str) -> Callable[..., Expression]:
        if name == "abs":
            name = "absolute"
        if name == "pow":
            name = "power"
        if name not in OPCODES:
            raise NotElementwise(name)

        def function(*sources: Any) -> Expression:
            for source in sources:
                if isinstance(source, Expression):
                    return source.builder.emit(name, *sources)
            raise NotElementwise(f"{name} of constants")

        self.__dict__[name] = function
        return function


recorder = _Recorder()


def _operator(opcode: str) -> Callable[[Expression, Any], Expression]:
    return lambda self, other: self.builder.emit(opcode, self, other)


def _reflected(opcode: str) -> Callable[[Expression, Any], Expression]:
    return lambda self, other: self.builder.emit(opcode, other, self)


for _symbol, _opcode in {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "power", "mod": "remainder",
    "floordiv": "floor_divide", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
    "lshift": "left_shift", "rshift": "right_shift",
}.items():  # fmt: skip
    setattr(Expression, f"__{_symbol}__", _operator(_opcode))
    setattr(Expression, f"__r{_symbol}__", _reflected(_opcode))
for _symbol, _opcode in {
    "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal",
}.items():  # fmt: skip
    setattr(Expression, f"__{_symbol}__", _operator(_opcode))
for _symbol, _opcode in {"neg": "negative", "abs": "absolute", "invert": "invert"}.items():
    setattr(Expression, f"__{_symbol}__", lambda self, opcode=_opcode: self.builder.emit(opcode, self))


def _is_boolean(opcode: str, branches: Sequence[bool]) -> bool:
    """Whether an instruction's result is a bool, by whether its sources are."""
    if opcode == "where":
        return all(branches[1:])
    if opcode in ("bitwise_and", "bitwise_or", "bitwise_xor", "invert"):
        return all(branches)
    return opcode in PREDICATES


def booleans(instructions: Sequence[tuple[Any, ...]], inputs: Sequence[bool]) -> list[bool]:
    """For each value of a program, its inputs first, whether it is a bool."""
    found = list(inputs)
    for opcode, *sources in instructions:
        branches = [isinstance(s[0], bool) if isinstance(s, tuple) else found[s] for s in sources]
        found.append(_is_boolean(opcode, branches))
    return found


def interpret(
    instructions: Sequence[tuple[Any, ...]], outputs: Sequence[int], operands: Sequence[Any]
) -> tuple[Any, ...]:
    """The results of a program by NumPy."""
    from rushlight.ops.special import special

    values = list(operands)
    for opcode, *sources in instructions:
        given = [s[0] if isinstance(s, tuple) else values[s] for s in sources]
        function = getattr(np, opcode, None) or special(np, opcode)
        values.append(function(*given))
    return tuple([values[output] for output in outputs])


def _finish(builder: Builder, outputs: Sequence[Any]) -> Any:
    """The native program that computes `outputs`."""
    numbers, predicates = [], []
    for output in outputs:
        if not isinstance(output, Expression):
            output = builder.emit("where", False, builder.inputs[0], output)  # a number as an array
        numbers.append(output.number)
        predicates.append(output.boolean)
    assert core.native is not None
    return core.native.Program(builder.instructions, len(builder.inputs), numbers, predicates)


def compile_meaning(meaning: Callable[..., Any], inputs: int) -> Any:
    """The native program of an elementwise meaning, or None where its text is more than a program can say."""
    builder = Builder(inputs)
    try:
        result = meaning(recorder, *builder.inputs)
    except NotElementwise:
        return None
    return _finish(builder, result if isinstance(result, tuple) else (result,))


class CompiledGradient(NamedTuple):
    """A gradient as one native program; see `declare.GradientPlan`."""

    native: Any
    places: tuple[int | None, ...]
    reads_result: bool
    reads_inputs: tuple[bool, ...]


def compile_gradient(rule: Callable[..., Any], needed: Sequence[int], count: int) -> CompiledGradient | None:
    """The program of a gradient rule for those of `count` inputs that need one; None where it isn't elementwise.

    Without a native core there is no program to run, but what the rule reads is still found out.
    """
    builder = Builder(2 + count)
    gradient = builder.inputs[0]
    try:
        entries = rule(*builder.inputs)
        entries = entries if isinstance(entries, tuple) else (entries,)
        outputs = [e() if callable(e) else e for e in [entries[position] for position in needed]]
        if any(o is None for o in outputs):
            return None
        computed = [o for o in outputs if o is not gradient]
        # Entries that aren't lambdas are computed by the rule whether they are needed or not.
        reads = frozenset({0}).union(*[o.reads for o in (*computed, *entries) if isinstance(o, Expression)])
        native = _finish(*_over(builder, sorted(reads), computed)) if computed and core.native is not None else None
    except NotElementwise:
        return None
    numbers = iter(range(len(computed)))
    places = tuple([None if o is gradient else next(numbers) for o in outputs])
    return CompiledGradient(
        native,
        places if native is not None or not computed else (),
        1 in reads,
        tuple([2 + position in reads for position in range(count)]),
    )


def record_gradient(rule: Callable[..., Any], position: int, count: int) -> Any:
    """The gradient for one of `count` inputs as (instructions, number of the output, numbers of the inputs read).

    Of the inputs, 0 is the result's gradient, 1 the result. None where the rule says none, or isn't elementwise.
    """
    builder = Builder(2 + count)
    try:
        entries = rule(*builder.inputs)
        entry = (entries if isinstance(entries, tuple) else (entries,))[position]
        entry = entry() if callable(entry) else entry
        if not isinstance(entry, Expression):
            return None
        reads = sorted(entry.reads)
        compact, (output,) = _over(builder, reads, [entry])
    except NotElementwise:
        return None
    return tuple(compact.instructions), output.number, tuple(reads)


def _over(builder: Builder, inputs: Sequence[int], outputs: Sequence[Any]) -> tuple[Builder, list[Any]]:
    """The same computation of `outputs` over those inputs only, without instructions that no output depends on."""
    wanted = {o.number for o in outputs if isinstance(o, Expression)}
    first = len(builder.inputs)
    for position in range(len(builder.instructions) - 1, -1, -1):
        if first + position in wanted:
            wanted.update([s for s in builder.instructions[position][1:] if not isinstance(s, tuple)])
    compact = Builder(len(inputs))
    copies = dict(zip(inputs, compact.inputs, strict=True))
    for position, (opcode, *sources) in enumerate(builder.instructions):
        if first + position in wanted:
            copies[first + position] = compact.emit(
                opcode, *[s[0] if isinstance(s, tuple) else copies[s] for s in sources]
            )
    return compact, [copies[o.number] if isinstance(o, Expression) else o for o in outputs]
