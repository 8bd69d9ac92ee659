"""What gives something else each time it is asked, beside rushlight's own generators: a program wouldn't ask again.

Iterators are refused at sight. The random numbers of Python and NumPy are compared: whether a function has drawn some.
Clocks are refused when they are read.
"""

from __future__ import annotations

import datetime
import io
import os
import pickle
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from rushlight.errors import TraceError
from rushlight.tensor.unread import refuse_effect


def refuse_iterator(value: Any) -> None:
    """Raises TraceError where a function to be compiled can see an iterator that isn't a file."""
    if isinstance(value, Iterator) and not isinstance(value, io.IOBase):
        raise TraceError(
            f"a function that is to be compiled reads from an iterator, a {type(value).__name__}: its program would "
            "have the same item in each call. Call next() outside, and give the function what comes of it"
        )


_CLOCKS = {
    time.time, time.time_ns, time.perf_counter, time.perf_counter_ns, time.monotonic, time.monotonic_ns,
    time.process_time, datetime.datetime.now, datetime.datetime.today, datetime.date.today, os.urandom,
}  # fmt: skip
NAMES_OF_CLOCKS = {clock.__name__ for clock in _CLOCKS} | {"uuid1", "uuid4", "token_hex", "token_bytes", "SystemRandom"}
_OTHERS = ("logging", "threading", "queue")  # which read clocks for themselves


@contextmanager
def refusing_clocks() -> Iterator[None]:
    """Raises TraceError where this thread reads a clock, or numbers of the system, within.

    Costs time in each call of any function, so it is for code in which names of clocks occur.
    """

    def look(frame: Any, event: str, called: Any) -> None:
        if event != "c_call" or called.__name__ not in NAMES_OF_CLOCKS or called not in _CLOCKS:
            return
        if frame.f_globals.get("__name__", "").partition(".")[0] not in _OTHERS:
            refuse_effect(f"{called.__name__}() gives something else each time, and is called")

    if sys.getprofile() is not None:  # somebody measures
        yield
        return
    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(None)


class Randomness:
    """The states of random generators that aren't rushlight's: those that all code shares, and those added."""

    def __init__(self) -> None:
        self._known: list[tuple[str, Callable[[], Any], Callable[[Any], Any], Any]] = []
        self._take_down("the random numbers of Python", random.getstate, random.setstate)
        if "numpy.random" in sys.modules:  # NumPy loads it when it is first used
            self._take_down("the random numbers of NumPy", np.random.get_state, np.random.set_state)

    def add(self, value: Any) -> None:
        """Takes down the state of `value`, where it is a generator."""
        if isinstance(value, random.Random):
            self._take_down("the random numbers of a random.Random", value.getstate, value.setstate)
        elif "numpy.random" in sys.modules and isinstance(value, (np.random.Generator, np.random.RandomState)):
            bits = value.bit_generator if isinstance(value, np.random.Generator) else value._bit_generator

            def put(state: Any) -> None:
                bits.state = state

            self._take_down(f"the random numbers of a {type(value).__name__}", lambda: bits.state, put)

    def _take_down(self, name: str, get: Callable[[], Any], put: Callable[[Any], Any]) -> None:
        self._known.append((name, get, put, pickle.dumps(get())))

    def changes(self) -> list[str]:
        """What has been drawn from."""
        return [name for name, get, _, before in self._known if pickle.dumps(get()) != before]

    def put_back(self) -> None:
        """Makes the states what they were."""
        for _, _, put, before in self._known:
            put(pickle.loads(before))
