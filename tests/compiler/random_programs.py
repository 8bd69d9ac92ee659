"""Random programs over the declared operations: with views, writes in place, broadcasting, odd and empty sizes.

A program is drawn by running it: each step is tried on the tensors of one run, and kept if it is valid there. The list
of steps can then be run on other tensors of the same shapes, eager or compiled.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from operation_samples import Maker, declared, is_floating

import rushlight as rl
from rushlight.ops.declare import Operation
from rushlight.tensor.tensor import Tensor, wrap

EXTENTS = (1, 1, 2, 3, 4, 5, 8, 17)
DTYPES = (rl.float64, rl.float64, rl.float64, rl.float32)
Step = Callable[[list[Tensor]], list[Tensor]]

# Whose results jump, or depend on which of equal elements comes first: rounding decides there. What `parts` gives isn't
# for writing in place, and decompositions are ill-conditioned or free in their signs.
JUMPING = {
    "parts",
    "svd",
    "eigh",
    "qr",
    "cholesky",
    "fmod",
    "remainder",
    "floor_divide",
    "argsort",
    "sort",
    "topk",
    "kthvalue",
    "median",
    "mode",
    "searchsorted",
    "sign",
    "floor",
    "ceil",
    "round",
}


class Program:
    """A list of steps, each from all tensors so far to new ones, and what it is run on.

    seed: decides everything.
    """

    def __init__(self, seed: int, length: int = 8) -> None:
        self.random = np.random.default_rng(seed)
        self.steps: list[tuple[str, Step]] = []
        self.specs: list[tuple[tuple[int, ...], Any, bool]] = []
        dtype = DTYPES[self.random.integers(len(DTYPES))]
        for _ in range(self.random.integers(1, 4)):
            self.specs.append((self.shape(), dtype, self.random.random() < 0.7))
        self.state_spec = (self.shape(), dtype)
        arguments, state = self.arguments(0), self.state(0)
        tensors = [t * 1 for t in [*arguments, state]]
        with rl.no_grad():
            attempts = 0
            while len(self.steps) < length and attempts < 20 * length:
                attempts += 1
                self._try(tensors)

    # What it is run on

    def shape(self) -> tuple[int, ...]:
        if self.random.random() < 0.04:
            return (3, 0)
        return tuple(int(self.random.choice(EXTENTS)) for _ in range(self.random.integers(0, 4)))

    def arguments(self, number: int) -> list[Tensor]:
        random = np.random.default_rng((number, 77))
        made = []
        for shape, dtype, requires_grad in self.specs:
            array = np.asarray(random.uniform(-1.5, 1.5, shape)).astype(dtype.numpy)
            made.append(wrap(array).requires_grad_(requires_grad))
        return made

    def state(self, number: int) -> Tensor:
        shape, dtype = self.state_spec
        return wrap(np.asarray(np.random.default_rng((number, 5)).uniform(-1, 1, shape)).astype(dtype.numpy))

    # Drawing

    def _try(self, tensors: list[Tensor]) -> None:
        kinds = [self._operation, self._operation, self._elementwise, self._elementwise, self._view, self._in_place]
        drawn = kinds[self.random.integers(len(kinds))](tensors)
        if drawn is None:
            return
        name, step = drawn
        trial = [t.clone() for t in tensors]  # a step that fails half-way must not have changed anything
        try:
            with np.errstate(all="ignore"):
                step(trial)
                found = step(tensors)
        except (RuntimeError, ValueError, TypeError, IndexError):
            return
        if any(t.numel() > 4000 or not _tame(t) for t in [*found, *tensors]):
            self.steps.append((name, step))  # done is done, but nothing follows
            self.steps.extend([("end", lambda _: [])] * 100)
            return
        tensors.extend(found)
        self.steps.append((name, step))

    def _pick(self, tensors: list[Tensor]) -> int:
        recent = self.random.random() < 0.5
        return int(self.random.integers(max(0, len(tensors) - 3) if recent else 0, len(tensors)))

    def _elementwise(self, tensors: list[Tensor]) -> Any:
        names = [n for n, o in declared().items() if o.elementwise and n not in JUMPING and _is_smooth(o)]
        operation = declared()[names[self.random.integers(len(names))]]
        places = [self._pick(tensors) for _ in operation.parameters]
        number = float(np.round(self.random.uniform(0.2, 2), 2))
        use_number = len(places) > 1 and self.random.random() < 0.3
        low, high = operation.domain

        def step(known: list[Tensor]) -> list[Tensor]:
            args: list[Any] = [_within(known[p], low, high) for p in places]
            if operation.promotion == "where":
                args[0] = known[places[0]] > 0
            if use_number:
                args[-1] = number
            return [operation(*args)]

        return f"{operation.name}{places}", step

    def _operation(self, tensors: list[Tensor]) -> Any:
        """A structured operation by one of its samples, with the first floating argument drawn from the program."""
        names = [n for n, o in declared().items() if o.kind == "structured" and o.traceable and n not in JUMPING]
        operation = declared()[names[self.random.integers(len(names))]]
        candidates = list(operation.all_samples(Maker(tensors[0].dtype.name)))
        sample = candidates[self.random.integers(len(candidates))]
        floating = [i for i, a in enumerate(sample.args) if is_floating(a)]
        if not floating:
            return None
        place = floating[self.random.integers(len(floating))]
        shape, source = sample.args[place].shape, self._pick(tensors)

        def step(known: list[Tensor]) -> list[Tensor]:
            args = [wrap(np.array(a)) if isinstance(a, (np.ndarray, np.generic)) else a for a in sample.args]
            args[place] = _fitted(known[source], shape).to(args[place].dtype)
            result = operation(*args, **sample.options)
            return [r for r in (result if isinstance(result, tuple) else (result,)) if r.is_floating_point()]

        return f"{operation.name}[{source}]", step

    def _view(self, tensors: list[Tensor]) -> Any:
        place = self._pick(tensors)
        tensor = tensors[place]
        ndim = tensor.ndim
        dims = [int(d) for d in self.random.permutation(ndim)]
        choice = int(self.random.integers(8))
        if not ndim and choice not in (0, 5):
            return None
        dim = dims[0] if dims else 0
        extent = tensor.shape[dim] if ndim else 1
        start = int(self.random.integers(0, max(extent, 1)))
        step_ = int(self.random.integers(1, 3))
        views: list[tuple[str, Callable[[Tensor], Tensor]]] = [
            ("unsqueeze", lambda t: t.unsqueeze(dim)),
            ("permute", lambda t: t.permute(dims)),
            ("narrow", lambda t: t.narrow(dim, start, extent - start)),
            ("select", lambda t: t.select(dim, start)),
            ("flatten", lambda t: t.reshape(-1)),
            ("expand", lambda t: t.unsqueeze(0).expand(2, *t.shape)),
            ("slice", lambda t: t[(slice(None),) * dim + (slice(start, None, step_),)]),
            ("transpose", lambda t: t.transpose(dim, -1)),
        ]
        name, view = views[choice]
        return f"{name}[{place}]", lambda known: [view(known[place])]

    def _in_place(self, tensors: list[Tensor]) -> Any:
        place, other = self._pick(tensors), self._pick(tensors)
        number = float(np.round(self.random.uniform(-1, 1), 2))
        writes: list[tuple[str, Callable[[Tensor, Tensor], Any]]] = [
            ("add_", lambda t, o: t.add_(o)),
            ("mul_", lambda t, o: t.mul_(o)),
            ("copy_", lambda t, o: t.copy_(o)),
            ("fill_", lambda t, o: t.fill_(number)),
            ("tanh_", lambda t, o: t.tanh_()),
            ("sub number", lambda t, o: t.sub_(number)),
            ("set item", lambda t, o: t.__setitem__(0, number)),
            ("set slice", lambda t, o: t.__setitem__(slice(1, None), o)),
            ("masked_fill_", lambda t, o: t.masked_fill_(t > number, 0.5)),
            ("set mask", lambda t, o: t.__setitem__(t > number, 0.25)),
            ("lerp_", lambda t, o: t.lerp_(o, 0.3)),
        ]
        name, write = writes[self.random.integers(len(writes))]

        def step(known: list[Tensor]) -> list[Tensor]:
            write(known[place], known[other])
            return []

        return f"{name}[{place}, {other}]", step

    # Running

    def forward(self, arguments: list[Tensor], state: Tensor) -> list[Tensor]:
        """All tensors of a run, the arguments first. Writes into `state` as the steps say."""
        tensors = [t * 1 for t in arguments]
        tensors.append(state)
        for _, step in self.steps:
            tensors.extend(step(tensors))
        return tensors

    @staticmethod
    def backward(tensors: list[Tensor]) -> None:
        """Leaves gradients in the arguments that the tensors came from."""
        roots = [t for t in tensors if t.requires_grad]
        if roots:
            total = sum((t * t).sum() if t.numel() else t.sum() for t in roots)
            total.backward()  # type: ignore[union-attr]

    def run(self, arguments: list[Tensor], state: Tensor) -> list[Tensor]:
        """All tensors of a run but for the arguments, the gradients left in these."""
        tensors = self.forward(arguments, state)
        self.backward(tensors)
        return [t.detach() for t in tensors[len(arguments) :]]

    def __str__(self) -> str:
        return "; ".join(name for name, _ in self.steps if name != "end") + f" on {self.specs}, {self.state_spec}"


def _is_smooth(operation: Operation) -> bool:
    return operation.differentiable and operation.promotion != "boolean" and operation.gradient_rule is not None


def _within(tensor: Tensor, low: float, high: float) -> Tensor:
    """The tensor with its values moved into the interval that an operation is declared for, smoothly."""
    if (low, high) == (-3.0, 3.0):
        return tensor
    return rl.tanh(tensor) * (0.45 * (high - low)) + 0.5 * (low + high)


def _fitted(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The elements of `tensor`, repeated or cut, in another shape."""
    size = math.prod(shape)
    flat = tensor.reshape(-1)
    if not flat.numel():
        return rl.zeros(shape, dtype=tensor.dtype)
    repeated = flat.repeat(-(-size // flat.numel())) if size else flat
    return rl.tanh(repeated[:size].reshape(shape))


def _tame(tensor: Tensor) -> bool:
    array = tensor.array
    return bool(np.isfinite(array).all() and (not array.size or np.abs(array).max() < 1e3))
