"""The Mersenne twister that PyTorch's CPU generator runs on, its state, and the same engine in NumPy.

The algorithm is mt19937 (Matsumoto and Nishimura, "Mersenne Twister", 1998), seeded with the low 32 bits of the seed.
What is drawn from it stands in `distributions.py`.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rushlight.core import native
from rushlight.tensor import rejection
from rushlight.tensor.device import check_device, cpu, device

if TYPE_CHECKING:
    from rushlight.tensor.tensor import Tensor

DEFAULT_SEED = 67280421310721

# The bytes of a state, as PyTorch lays them out, so that a state saved by either library is understood by the other.
_STATE = np.dtype(
    {
        "names": ["seed", "left", "seeded", "next", "words", "normal", "normal_cached"],
        "formats": ["<u8", "<i4", "<i4", "<u8", ("<u8", 624), "<f8", "<i4"],
        "offsets": [0, 8, 12, 16, 24, 5024, 5040],
        "itemsize": 5056,
    }
)


class Engine(Protocol):
    """What `Generator` needs of a Mersenne twister: the native one and `NumpyEngine` have the same numbers."""

    def start(self, seed: int) -> None:
        """Starts the sequence of `seed`, an integer below 2**32."""

    def save(self) -> tuple[NDArray[np.int32], int]:
        """The 624 words of state and the position of the next word; at 624 the state is advanced first."""

    def restore(self, words: NDArray[np.int32], position: int) -> None:
        """Takes up what `save` returned."""

    def draw(self, count: int) -> NDArray[np.int32]:
        """The next `count` words: 32 random bits each, to be viewed as uint32."""

    def uniform(self, out: NDArray[Any], low: float, high: float) -> None:
        """Fills `out` (float32 or float64, contiguous) from [low, high)."""

    def normal(self, out: NDArray[Any], mean: float, deviation: float) -> None:
        """Fills `out` (float32 or float64, contiguous, 16 or more) with normal numbers in blocks of 16."""

    def normal_pairs(self, out: NDArray[np.float64]) -> None:
        """Fills `out` (contiguous, of even size) with standard normal numbers, by pairs of two uniform numbers."""

    def permutation(self, count: int) -> NDArray[np.int64]:
        """The integers below `count` in random order."""

    def gamma(self, shapes: NDArray[np.float64], waiting: float | None) -> float | None:
        """Overwrites `shapes` with gamma numbers. `waiting` is half of a pair of normal numbers; so is the result."""

    def poisson(self, rates: NDArray[np.float64]) -> None:
        """Overwrites `rates` with counts of Poisson's distribution."""

    def binomial(self, counts: NDArray[Any], probabilities: NDArray[Any]) -> None:
        """Overwrites `counts` (float32 or float64, as `probabilities`) with the numbers of successes."""


class NumpyEngine:
    """`Engine` on NumPy's own mt19937, for where the native core is off: slower, and the same numbers."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.MT19937()
        self.start(seed)

    def start(self, seed: int) -> None:
        self._bits._legacy_seeding(seed)

    def save(self) -> tuple[NDArray[np.int32], int]:
        state: Any = self._bits.state["state"]
        return state["key"].astype(np.uint32).view(np.int32), int(state["pos"])

    def restore(self, words: NDArray[np.int32], position: int) -> None:
        state: Any = {"key": words.view(np.uint32), "pos": position}
        self._bits.state = {"bit_generator": "MT19937", "state": state}

    def draw(self, count: int) -> NDArray[np.int32]:
        return self._bits.random_raw(count).astype(np.uint32).view(np.int32)

    def uniform(self, out: NDArray[Any], low: float, high: float) -> None:
        if out.dtype == np.float32:
            low, high = float(np.float32(low)), float(np.float32(high))
            scale = float(np.float32(high - low)) * 2.0**-24
            values = ((self.draw(out.size) & 0xFFFFFF) * scale + low).astype(np.float32)
        else:
            values = (wide_words(self, out.size) & np.uint64(2**53 - 1)) * ((high - low) * 2.0**-53) + low
        out.reshape(-1)[:] = np.where(values == high, low, values)

    def normal(self, out: NDArray[Any], mean: float, deviation: float) -> None:
        flat = out.reshape(-1)
        self.uniform(flat, 0.0, 1.0)
        whole = flat[: flat.size // 16 * 16].reshape(-1, 16)
        _box_muller(whole, mean, deviation)
        if flat.size % 16:  # the last 16 are drawn anew
            tail = flat[-16:]
            self.uniform(tail, 0.0, 1.0)
            _box_muller(tail.reshape(1, 16), mean, deviation)

    def normal_pairs(self, out: NDArray[np.float64]) -> None:
        self.uniform(out, 0.0, 1.0)
        radius = np.sqrt(-2.0 * np.log1p(-out[1::2]))
        angle = 2.0 * math.pi * out[0::2]
        out[0::2] = radius * np.cos(angle)
        out[1::2] = radius * np.sin(angle)

    def permutation(self, count: int) -> NDArray[np.int64]:
        if count < 2:
            return np.arange(count)
        wide = count >= (2**32 - 1) // 20  # there 32 bits would no longer be even enough
        words = wide_words(self, count - 1) if wide else self.draw(count - 1).view(np.uint32)
        offsets = (words % np.arange(count, 1, -1).astype(words.dtype)).tolist()
        order = list(range(count))
        for i, offset in enumerate(offsets):
            order[i], order[i + offset] = order[i + offset], order[i]
        return np.array(order)

    def _uniform(self) -> float:
        number = np.empty(1)
        self.uniform(number, 0.0, 1.0)
        return float(number[0])

    def gamma(self, shapes: NDArray[np.float64], waiting: float | None) -> float | None:
        normal = rejection.NormalPairs(self._uniform, waiting)
        shapes.flat[:] = [rejection.gamma(shape, normal) for shape in shapes.ravel().tolist()]
        return normal.waiting

    def poisson(self, rates: NDArray[np.float64]) -> None:
        rates.flat[:] = [rejection.poisson(rate, self._uniform) for rate in rates.ravel().tolist()]

    def binomial(self, counts: NDArray[Any], probabilities: NDArray[Any]) -> None:
        pairs = zip(counts.ravel(), probabilities.ravel(), strict=True)
        counts.flat[:] = [rejection.binomial(n, p, self._uniform) for n, p in pairs]


def wide_words(engine: Engine, count: int) -> NDArray[np.uint64]:
    """`count` numbers of 64 random bits, of two words each, the first the higher."""
    pairs = engine.draw(2 * count).view(np.uint32).reshape(count, 2).astype(np.uint64)
    return (pairs[:, 0] << np.uint64(32)) | pairs[:, 1]


def _box_muller(blocks: NDArray[Any], mean: float, deviation: float) -> None:
    """The transform of Box and Muller (1958) in place, on rows of 8 radii and 8 angles."""
    real = blocks.dtype.type
    radius = np.sqrt(real(-2) * np.log(real(1) - blocks[:, :8]))
    angle = real(2 * math.pi) * blocks[:, 8:]
    blocks[:, :8] = radius * np.cos(angle) * real(deviation) + real(mean)
    blocks[:, 8:] = radius * np.sin(angle) * real(deviation) + real(mean)


class Generator:
    """A source of random numbers, the same as PyTorch's on a CPU.

    Args:
        device: the CPU, the only device there is.

    Example:
        >>> generator = rushlight.Generator().manual_seed(0)
        >>> rushlight.rand(2, generator=generator)
        tensor([0.4963, 0.7682])
    """

    def __init__(self, device: Any = "cpu") -> None:
        check_device(device)
        self._seed = DEFAULT_SEED
        self.engine: Engine = _new_engine(DEFAULT_SEED & 0xFFFFFFFF)
        self.next_normal: float | None = None  # the second number of a pair, kept for the next draw

    def manual_seed(self, seed: int) -> Generator:
        """Starts the sequence of `seed`, from -2**63 to 2**64 - 1; returns the generator itself."""
        seed = int(seed)
        if not -(2**63) <= seed < 2**64:
            raise ValueError(f"manual_seed: the seed must be from -2**63 to 2**64 - 1, not {seed}")
        self._seed = seed % 2**64
        self.engine.start(self._seed & 0xFFFFFFFF)
        self.next_normal = None
        return self

    def seed(self) -> int:
        """Starts a sequence that can't be foretold; returns its seed."""
        self.manual_seed(int.from_bytes(os.urandom(8), "little") >> 11)
        return self._seed

    def initial_seed(self) -> int:
        """The seed that the sequence started from."""
        return self._seed

    @property
    def device(self) -> device:
        """Where the numbers are made: on the CPU."""
        return cpu

    def get_state(self) -> Tensor:
        """The state, a tensor of 5056 bytes in PyTorch's layout."""
        from rushlight.tensor.tensor import wrap

        return wrap(self.state_bytes())

    def set_state(self, new_state: Tensor) -> None:
        """Takes up a state that `get_state`, here or in PyTorch, returned; raises RuntimeError for other bytes."""
        array = getattr(new_state, "array", None)
        if not isinstance(array, np.ndarray):
            raise TypeError(f"set_state: a generator's state is a tensor of uint8, not a {type(new_state).__name__}")
        self.restore_bytes(array)

    def state_bytes(self) -> NDArray[np.uint8]:
        """The state as an array of 5056 bytes, in PyTorch's layout."""
        words, position = self.engine.save()
        fresh = position == 624 and int(words.view(np.uint32)[0]) == self._seed & 0xFFFFFFFF
        state = np.zeros(1, _STATE)
        state["seed"] = self._seed
        state["left"] = 625 - position
        state["seeded"] = 1
        state["next"] = 0 if fresh else position
        state["words"] = words.view(np.uint32)
        if self.next_normal is not None:
            state["normal"] = self.next_normal
            state["normal_cached"] = 1
        return state.view(np.uint8)

    def restore_bytes(self, data: NDArray[np.uint8]) -> None:
        """Takes up a state that `state_bytes`, or PyTorch, returned.

        Raises:
            TypeError: where `data` isn't of bytes (uint8).
            RuntimeError: where it has another length, or is no state.
        """
        if data.dtype != np.uint8:
            raise TypeError(f"set_state: a generator's state is a tensor of uint8, not of {data.dtype}")
        if data.shape != (_STATE.itemsize,):
            raise RuntimeError(f"set_state: a generator's state has shape ({_STATE.itemsize},), not {data.shape}")
        state = np.ascontiguousarray(data).view(_STATE)[0]
        left, position = int(state["left"]), int(state["next"])
        if not state["seeded"] or not 0 < left <= 624 or position > 624 or state["words"].max() >= 2**32:
            raise RuntimeError("set_state: these bytes are not the state of a generator")
        self._seed = int(state["seed"])
        self.engine.restore(state["words"].astype(np.uint32).view(np.int32), 624 if left == 1 else position)
        self.next_normal = float(state["normal"]) if state["normal_cached"] else None

    def clone_state(self) -> Generator:
        """A new generator that will give the same numbers as this one."""
        twin = Generator()
        twin.restore_bytes(self.state_bytes())
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        return _generator_of, (self.state_bytes(),)

    def __repr__(self) -> str:
        return f"Generator(device='cpu', initial_seed={self._seed})"


def _new_engine(seed: int) -> Engine:
    if native is None:
        return NumpyEngine(seed)
    engine: Engine = native.MersenneTwister(seed)
    return engine


def _generator_of(state: NDArray[np.uint8]) -> Generator:
    generator = Generator()
    generator.restore_bytes(state)
    return generator
