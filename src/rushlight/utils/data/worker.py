"""The processes that load batches for a DataLoader."""

from __future__ import annotations

import multiprocessing
import os
import queue
import random
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rushlight.utils.data.collate import default_collate
from rushlight.utils.data.dataset import TensorDataset


@dataclass(frozen=True)
class WorkerInfo:
    """What a worker process knows of itself: its number, their count, its seed, and its copy of the data set."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_worker_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """In a DataLoader's worker process its WorkerInfo, elsewhere None."""
    return _worker_info


class Failure:
    """An exception of a worker, on its way to the main process with its traceback as text."""

    def __init__(self, error: BaseException, worker: int) -> None:
        self.type = type(error)
        self.text = "".join(traceback.format_exception(error))
        self.worker = worker

    def raise_again(self) -> None:
        """Raises the exception, of its own type where that can be made from a message."""
        message = f"Caught {self.type.__name__} in DataLoader worker process {self.worker}.\nOriginal {self.text}"
        if self.type is KeyError:
            message = _Verbatim(message)
        try:
            error = self.type(message)
        except Exception:  # its constructor wants something else
            error = RuntimeError(message)
        raise error


class _Verbatim(str):
    """KeyError shows its argument's repr; this one's is the text itself."""

    def __repr__(self) -> str:
        return str(self)


@dataclass
class End:
    """A worker's word that its part of an iterable data set is exhausted."""

    worker: int


@dataclass
class Resume:
    """The main process's word that a new epoch begins (persistent workers)."""


def fetcher(dataset: Any, iterable: bool, auto_collate: bool, collate: Callable[..., Any], drop_last: bool) -> Any:
    """A function from what the sampler yields to a batch; raises StopIteration at an iterable data set's end."""
    if not iterable:
        if not auto_collate:
            return lambda index: collate(dataset[index])
        if type(dataset) is TensorDataset and collate is default_collate:
            return lambda indices: list(dataset[indices])  # stacking rows is one gather
        fetch_many = getattr(dataset, "__getitems__", None)
        if fetch_many is not None:
            return lambda indices: collate(fetch_many(indices))
        return lambda indices: collate([dataset[i] for i in indices])
    stream = iter(dataset)
    if not auto_collate:
        return lambda _: collate(next(stream))

    def fetch(indices: list[Any]) -> Any:
        samples = []
        for _ in indices:
            try:
                samples.append(next(stream))
            except StopIteration:
                break
        if not samples or (drop_last and len(samples) < len(indices)):
            raise StopIteration
        return collate(samples)

    return fetch


def work(
    dataset: Any,
    iterable: bool,
    auto_collate: bool,
    collate: Callable[..., Any],
    drop_last: bool,
    tasks: Any,
    results: Any,
    stop: Any,
    init: Callable[[int], None] | None,
    worker: int,
    workers: int,
    base_seed: int,
) -> None:
    """The life of a worker: takes (number, indices) from `tasks`, puts (number, batch or Failure or End)."""
    global _worker_info
    import rushlight

    rushlight.set_num_threads(1)  # the processes are the parallelism here
    seed = base_seed + worker
    random.seed(seed)
    rushlight.manual_seed(seed)
    np.random.seed(np.random.SeedSequence([base_seed, worker]).generate_state(4))
    _worker_info = WorkerInfo(worker, workers, seed, dataset)
    parent = multiprocessing.parent_process()
    fetch: Any = None
    failure: Failure | None = None
    try:
        if init is not None:
            init(worker)
        fetch = fetcher(dataset, iterable, auto_collate, collate, drop_last)
    except Exception as error:
        failure = Failure(error, worker)
    exhausted = False
    try:
        while not stop.is_set():
            try:
                task = tasks.get(timeout=5.0)
            except queue.Empty:
                if parent is not None and not parent.is_alive():
                    return
                continue
            if task is None:
                return
            if isinstance(task, Resume):
                exhausted = False
                try:
                    fetch = fetcher(dataset, iterable, auto_collate, collate, drop_last)
                    failure = None
                except Exception as error:
                    failure = Failure(error, worker)
                continue
            number, indices = task
            if exhausted:
                results.put((number, End(worker)))
                continue
            if failure is not None:
                results.put((number, failure))
                failure = None
                continue
            try:
                results.put((number, fetch(indices)))
            except StopIteration as error:
                if iterable:
                    exhausted = True
                    results.put((number, End(worker)))
                else:
                    results.put((number, Failure(error, worker)))
            except Exception as error:
                results.put((number, Failure(error, worker)))
    except KeyboardInterrupt:
        pass  # Ctrl-C reaches the whole group; the main process tells the user
    finally:
        if stop.is_set():
            results.cancel_join_thread()
        results.close()
        if stop.is_set():
            os._exit(0)  # nobody reads any more; don't wait for unsent batches
