"""The textual form of a graph: printed for people, and read back for the tests of the passes.

    argument %0: f32[64,784] "x"
    state %1: f32[512,784] "0.weight"
    state %2: f32[512] "0.bias"
    number %3: f64[] "lr"
    # train.py:12  loss = net(x).relu().square().sum()
    %4: f32[64,512] = linear(%0, %1, %2)  # 0.weight, 0.bias
    %5: f32[64,512] = fused(%4) { b = maximum(a, 0.0); return b }
    %6: f32[64,512], %7: f32[] = fused(%5) { b = multiply(a, a); return b, sum(b) }
    return %5
    write %1 <- %9  # 0.weight

The inputs of an elementwise program are called a, b, c ..., and so are, going on, the results of its instructions.
Comments are for people: the user's lines, and the names of the state that is read and written.
"""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rushlight import dtypes
from rushlight.compiler.graph import Elementwise, Graph, Input, Node, Value
from rushlight.errors import InputError
from rushlight.ops.declare import OPERATIONS, Operation

SHORT = {
    "bool": "bool", "uint8": "u8", "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64",
    "float16": "f16", "bfloat16": "bf16", "float32": "f32", "float64": "f64",
}  # fmt: skip
_LONG = {short: dtypes._named[name] for name, short in SHORT.items()}
_SHOWN_CONSTANT = 16  # elements of a constant that are printed


def show(graph: Graph, labels: Mapping[Input, str] | None = None) -> str:
    """The graph as text. labels: names for its inputs, with which it is written for people, with comments."""
    names: dict[Value, str] = {}

    def name(value: Value) -> str:
        return names.setdefault(value, f"%{len(names)}")

    lines = [] if labels is None else [_LEGEND]
    for given in graph.inputs:
        label = given.name if labels is None else labels.get(given, given.name)
        label = f' "{label}"' if label else ""
        data = ""
        if given.kind == "constant" and given.array is not None and given.array.size <= _SHOWN_CONSTANT:
            data = f" = {_literal(given.array.tolist(), name)}"
        lines.append(f"{given.kind} {name(given)}: {_type(given)}{label}{data}")
    written = {value: target for target, value in graph.writes}
    place = ""
    for node in graph.nodes:
        if labels is not None and node.line != place:
            place = node.line
            lines.append(f"# {short_line(place)}  {_source(place)}".rstrip())
        inputs = ", ".join([_literal(item, name) for item in node.inputs])
        options = {k: v for k, v in node.options.items() if k != "program"}
        settings = "".join([f", {key}={_literal(item, name)}" for key, item in options.items()])
        call = f"{node.operation}({inputs}{settings if inputs else settings[2:]})"
        if "program" in node.options:
            call += " { " + _show_program(node.options["program"], len(node.inputs)) + " }"
        results = ", ".join([f"{name(value)}: {_type(value)}" for value in node.outputs])
        lines.append(f"{results} = {call}{_comment(touched(node, labels, written))}")
    if graph.outputs:
        lines.append("return " + ", ".join([name(value) for value in graph.outputs]))
    for target, value in graph.writes:
        lines.append(f"write {name(target)} <- {name(value)}{_comment([(labels or {}).get(target, '')])}")
    return "\n".join(lines)


_LEGEND = """\
# argument: what the function is called with; state: memory that lives on (parameters, gradients, ...); number: a Python
# number of each call. Then what is computed, in order, as result: dtype[shape] = operation(inputs). "fused" is a chain
# of elementwise operations in one pass over memory, whose inputs are a, b, c, ... At last, what is written to state."""
_MOST_NAMED = 4  # names in a comment


def touched(node: Node, labels: Mapping[Input, str] | None, written: Mapping[Value, Input]) -> list[str]:
    """The names of the state that a node reads, and with an arrow of that which takes its results."""
    if not labels:
        return []
    read = [
        labels[v] for v in dict.fromkeys(node.values()) if isinstance(v, Input) and v.kind == "state" and v in labels
    ]
    to = [labels[written[v]] for v in node.outputs if v in written and written[v] in labels]
    return read + [f"-> {label}" for label in to if label not in read]


def _comment(found: list[str]) -> str:
    known = [label for label in found if label]
    more = ", ..." if len(known) > _MOST_NAMED else ""
    return f"  # {', '.join(known[:_MOST_NAMED])}{more}" if known else ""


def short_line(place: str) -> str:
    """ "file:line" without the file's folder."""
    path, _, line = place.rpartition(":")
    return f"{Path(path).name}:{line}" if path else place


def _source(place: str) -> str:
    """What stands in that line."""
    path, _, line = place.rpartition(":")
    return linecache.getline(path, int(line)).strip() if line.isdigit() else ""


def _type(value: Value) -> str:
    short = SHORT[dtypes.of_numpy(value.dtype).name]
    return f"{short}[{','.join(map(str, value.shape))}]"


def _literal(item: Any, name: Any) -> str:
    if isinstance(item, Value):
        return str(name(item))
    if isinstance(item, Operation):
        return f"op.{item.name}"
    if isinstance(item, dtypes.dtype):
        return SHORT[item.name]
    if isinstance(item, np.dtype):
        return SHORT[dtypes.of_numpy(item).name]
    if type(item) is tuple and any(isinstance(entry, slice) for entry in item):
        inner = ", ".join([_slice(entry) if isinstance(entry, slice) else _literal(entry, name) for entry in item])
        return f"at[{inner}]" if len(item) > 1 else f"at[{inner},]"
    if isinstance(item, (tuple, list)):
        inner = ", ".join([_literal(entry, name) for entry in item])
        if isinstance(item, list):
            return f"[{inner}]"
        return f"({inner},)" if len(item) == 1 else f"({inner})"
    if isinstance(item, dict):
        return "{" + ", ".join([f"{key!r}: {_literal(entry, name)}" for key, entry in item.items()]) + "}"
    if isinstance(item, slice):
        return f"slice({item.start}, {item.stop}, {item.step})"
    if isinstance(item, np.generic):
        item = item.item()
    if item is Ellipsis:
        return "..."
    return repr(item)


def _slice(item: slice) -> str:
    start, stop, step = ["" if bound is None else str(bound) for bound in (item.start, item.stop, item.step)]
    return f"{start}:{stop}:{step}" if step else f"{start}:{stop}"


def _letters() -> Iterator[str]:
    count = 0
    while True:
        text, rest = "", count
        while True:
            text = chr(ord("a") + rest % 26) + text
            rest = rest // 26 - 1
            if rest < 0:
                break
        yield text
        count += 1


def _show_program(program: Elementwise, inputs: int) -> str:
    letters = _letters()
    names = [next(letters) for _ in range(inputs)]
    steps = []
    for opcode, *sources in program.instructions:
        given = ", ".join([repr(s[0]) if isinstance(s, tuple) else names[s] for s in sources])
        names.append(next(letters))
        steps.append(f"{names[-1]} = {opcode}({given})")
    reduced = program.reduced or [""] * len(program.outputs)
    returned = [f"{how}({names[o]})" if how else names[o] for o, how in zip(program.outputs, reduced, strict=True)]
    steps.append("return " + ", ".join(returned))
    return "; ".join(steps)


# Reading

_RESULT = re.compile(r"(%\d+): (\w+)\[([\d,]*)\]")
_INPUT = re.compile(r'(argument|state|constant|drawn|number) (%\d+): (\w+)\[([\d,]*)\](?: "([^"]*)")?(?: = (.*))?$')
_NODE = re.compile(r"(.*?) = (\w+)\((.*?)\)(?: \{ (.*) \})?$")


def parse(text: str) -> Graph:
    """The graph that a text says; raises InputError with the line that can't be read."""
    graph = Graph()
    values: dict[str, Value] = {}
    for line in text.strip().splitlines():
        line = re.sub(r"(^|  )# .*", "", line.strip())
        if not line:
            continue
        try:
            _read(graph, line, values)
        except (KeyError, ValueError, SyntaxError, AttributeError, IndexError) as error:
            raise InputError(f"not a line of a graph: {line!r} ({type(error).__name__}: {error})") from error
    return graph


def _read(graph: Graph, line: str, values: dict[str, Value]) -> None:
    if line.startswith("return "):
        graph.outputs = tuple([values[name] for name in re.findall(r"%\d+", line)])
    elif line.startswith("write "):
        target, value = re.findall(r"%\d+", line)
        given = values[target]
        if not isinstance(given, Input):
            raise ValueError("only an input can be written to")
        graph.writes.append((given, values[value]))
    elif (found := _INPUT.match(line)) is not None:
        kind, name, dtype, shape, label, data = found.groups()
        made = Input(kind, _shape(shape), _LONG[dtype].numpy, None, label or "")
        if data is not None:
            made.array = np.array(_evaluate(ast.parse(data, mode="eval").body, values), made.dtype).reshape(made.shape)
        values[name] = made
        graph.inputs.append(made)
    else:
        found = _NODE.match(line)
        if found is None:
            raise ValueError("neither input, node, return nor write")
        results, operation, arguments, program = found.groups()
        named = re.sub(r"%([0-9]+)", r"v__\1", arguments)
        call = ast.parse(f"f({named})", mode="eval").body
        assert isinstance(call, ast.Call)
        inputs = [_evaluate(argument, values) for argument in call.args]
        options = {str(k.arg): _evaluate(k.value, values) for k in call.keywords}
        if program is not None:
            options["program"] = _parse_program(program, len(inputs))
        specs = [(n, (_shape(shape), _LONG[dtype].numpy)) for n, dtype, shape in _RESULT.findall(results)]
        node = Node(operation, inputs, options, [spec for _, spec in specs])
        graph.nodes.append(node)
        values.update(zip([n for n, _ in specs], node.outputs, strict=True))


def _shape(text: str) -> tuple[int, ...]:
    return tuple([int(extent) for extent in text.split(",") if extent])


def _evaluate(tree: ast.expr, values: dict[str, Value]) -> Any:
    if isinstance(tree, ast.Name):
        if tree.id.startswith("v__"):
            return values["%" + tree.id[3:]]
        if tree.id in _LONG:
            return _LONG[tree.id]
        return float(tree.id)  # inf, nan
    if isinstance(tree, ast.Constant):
        return tree.value
    if isinstance(tree, ast.UnaryOp):
        return -_evaluate(tree.operand, values)
    if isinstance(tree, ast.Tuple):
        return tuple(_all(tree.elts, values))
    if isinstance(tree, ast.List):
        return _all(tree.elts, values)
    if isinstance(tree, ast.Dict):
        keys = [_evaluate(key, values) for key in tree.keys if key is not None]
        return dict(zip(keys, _all(tree.values, values), strict=True))
    if isinstance(tree, ast.Subscript):  # at[1:, 0]
        return _evaluate(tree.slice, values)
    if isinstance(tree, ast.Slice):
        bounds = (tree.lower, tree.upper, tree.step)
        return slice(*[None if bound is None else _evaluate(bound, values) for bound in bounds])
    if isinstance(tree, ast.Attribute):
        return OPERATIONS[tree.attr]
    if isinstance(tree, ast.Call):
        return slice(*_all(tree.args, values))
    raise ValueError(ast.dump(tree))


def _all(trees: Iterable[ast.expr], values: dict[str, Value]) -> list[Any]:
    return [_evaluate(tree, values) for tree in trees]


def _parse_program(text: str, inputs: int) -> Elementwise:
    letters = _letters()
    numbers = {next(letters): number for number in range(inputs)}
    instructions: list[tuple[Any, ...]] = []
    *steps, last = text.split("; ")

    def source(tree: ast.expr) -> Any:
        if isinstance(tree, ast.Name) and tree.id in numbers:
            return numbers[tree.id]
        return (_evaluate(tree, {}),)

    for step in steps:
        name, call_text = step.split(" = ")
        call = ast.parse(call_text, mode="eval").body
        assert isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
        instructions.append((call.func.id, *[source(argument) for argument in call.args]))
        numbers[name] = inputs + len(instructions) - 1
    returned = re.findall(r"(?:(sum|mean)\()?(\w+)\)?", last.removeprefix("return "))
    reduced = tuple([how for how, _ in returned]) if any(how for how, _ in returned) else ()
    return Elementwise(tuple(instructions), tuple([numbers[name] for _, name in returned]), reduced)
