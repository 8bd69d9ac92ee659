"""The loader: batches of a data set, in the order of a sampler, from this process or from worker processes."""

from __future__ import annotations

import itertools
import multiprocessing
import queue
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rushlight.tensor.generator import Generator
from rushlight.utils.data.collate import default_collate, default_convert
from rushlight.utils.data.dataset import Dataset, IterableDataset
from rushlight.utils.data.sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, draw_seed
from rushlight.utils.data.worker import End, Failure, Resume, fetcher, work


class DataLoader:
    """Iterates over a data set in batches.

    Args:
        dataset: with `__getitem__` and `__len__`, or an IterableDataset.
        batch_size: samples of a batch; None yields single samples, uncollated.
        shuffle: visits the samples in a new random order in each epoch; PyTorch's order for the same seed.
        sampler, batch_sampler: the order, instead of `shuffle`.
        num_workers: processes that load; 0 loads in this one. Their exceptions are raised here.
        collate_fn: makes a batch of a list of samples, by default `default_collate`.
        drop_last: leaves out a last, smaller batch.
        timeout: seconds to wait for a worker's batch, 0 for no limit.
        worker_init_fn: called with the worker's number in each worker.
        generator: of the random order and of the workers' seeds.
        prefetch_factor: batches that each worker loads ahead, 2 by default.
        persistent_workers: keeps the workers between epochs.
        pin_memory, pin_memory_device: taken for compatibility; there is no device memory to pin for.
        in_order: whether batches come in the sampler's order even if a later one is ready earlier.

    Raises ValueError for options that don't go together.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[list[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        if num_workers < 0:
            raise ValueError(f"num_workers option should be non-negative, but got {num_workers}; 0 means no workers")
        if timeout < 0:
            raise ValueError(f"timeout option should be non-negative, but got {timeout}")
        if num_workers == 0 and prefetch_factor is not None:
            raise ValueError("prefetch_factor option could only be specified in multiprocessing: set num_workers > 0")
        if prefetch_factor is not None and prefetch_factor < 1:
            raise ValueError(f"prefetch_factor option should be positive, but got {prefetch_factor}")
        if persistent_workers and num_workers == 0:
            raise ValueError("persistent_workers option needs num_workers > 0")
        self.dataset = dataset
        self._iterable = isinstance(dataset, IterableDataset)
        if self._iterable:
            if shuffle not in (None, False):
                raise ValueError(f"DataLoader with IterableDataset: expected unspecified shuffle, but got {shuffle}")
            if sampler is not None or batch_sampler is not None:
                raise ValueError("DataLoader with IterableDataset takes neither sampler nor batch_sampler")
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
                )
            batch_size = None
        elif batch_size is None:
            if drop_last:
                raise ValueError("batch_size=None yields single samples: drop_last has nothing to drop")
        elif not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size <= 0:
            raise ValueError(f"batch_size should be a positive integer value, but got batch_size={batch_size}")
        order: Any = sampler
        if order is None:
            if self._iterable:
                order = _Endless()
            elif shuffle:
                order = RandomSampler(dataset, generator=generator)
            else:
                order = SequentialSampler(dataset)
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(order, batch_size, drop_last)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler: Iterable[Any] = order
        self.batch_sampler = batch_sampler
        self.generator = generator
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.persistent_workers = persistent_workers
        self.in_order = in_order
        self.collate_fn: Callable[..., Any] = (
            collate_fn if collate_fn is not None else default_convert if batch_sampler is None else default_collate
        )
        self._kept: _Workers | None = None

    @property
    def _auto_collate(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _indices(self) -> Iterable[Any]:
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def __iter__(self) -> Iterator[Any]:
        # The order of the draws is PyTorch's: the workers' seed first, the sampler's when it is first asked.
        if self.num_workers == 0:
            order = iter(self._indices)
            draw_seed(self.generator)
            return self._load(order)
        if self._kept is not None and not self._kept.closed:
            workers = self._kept
            order = iter(self._indices)
        else:
            order = iter(self._indices)
            workers = _Workers(self, draw_seed(self.generator))
            if self.persistent_workers:
                self._kept = workers
        return _WorkerIterator(self, workers, order)

    def _load(self, order: Iterator[Any]) -> Iterator[Any]:
        fetch = fetcher(self.dataset, self._iterable, self._auto_collate, self.collate_fn, self.drop_last)
        for index in order:
            try:
                batch = fetch(index)
            except StopIteration:
                if self._iterable:
                    return
                raise RuntimeError(f"{type(self.dataset).__name__}.__getitem__ raised StopIteration") from None
            yield batch

    def __len__(self) -> int:
        if not self._iterable:
            return len(self._indices)  # type: ignore[arg-type]
        length = len(self.dataset)
        if self.batch_size is None:
            return length
        return length // self.batch_size if self.drop_last else -(-length // self.batch_size)


class _Endless(Sampler[None]):
    """The sampler of an iterable data set: no indices, for ever."""

    def __iter__(self) -> Iterator[None]:
        return itertools.repeat(None)


class _Workers:
    """The worker processes of a loader, with their queues; ended when closed, collected, or at interpreter exit."""

    def __init__(self, loader: DataLoader, base_seed: int) -> None:
        context = loader.multiprocessing_context
        if context is None or isinstance(context, str):
            context = multiprocessing.get_context(context)
        self.results = context.Queue()
        self.stop = context.Event()
        self.tasks = [context.Queue() for _ in range(loader.num_workers)]
        self.processes = []
        for worker, tasks in enumerate(self.tasks):
            tasks.cancel_join_thread()
            process = context.Process(
                target=work,
                args=(
                    loader.dataset,
                    loader._iterable,
                    loader._auto_collate,
                    loader.collate_fn,
                    loader.drop_last,
                    tasks,
                    self.results,
                    self.stop,
                    loader.worker_init_fn,
                    worker,
                    loader.num_workers,
                    base_seed,
                ),
                daemon=True,
            )
            process.start()
            self.processes.append(process)
        self.fresh = True
        self.close = weakref.finalize(self, _end, self.processes, self.tasks, self.results, self.stop)

    @property
    def closed(self) -> bool:
        return not self.close.alive

    def receive(self, timeout: float) -> tuple[int, Any]:
        """The next result; raises RuntimeError where a worker died, or none came within `timeout` seconds."""
        deadline = time.monotonic() + timeout if timeout > 0 else None
        while True:
            wait = 1.0 if deadline is None else max(0.0, min(1.0, deadline - time.monotonic()))
            try:
                return self.results.get(timeout=wait)  # type: ignore[no-any-return]
            except queue.Empty:
                pass
            dead = [p for p in self.processes if not p.is_alive()]
            if dead:
                listing = ", ".join(f"pid {p.pid} with exit code {p.exitcode}" for p in dead)
                self.close()
                raise RuntimeError(
                    f"DataLoader worker exited unexpectedly ({listing}). A worker killed from outside often ran out of "
                    "memory; with num_workers=0 the error shows in this process"
                )
            if deadline is not None and time.monotonic() >= deadline:
                self.close()
                raise RuntimeError(f"DataLoader timed out after {timeout} seconds")


def _end(processes: list[Any], tasks: list[Any], results: Any, stop: Any) -> None:
    stop.set()
    for task_queue in tasks:
        task_queue.put(None)
    for process in processes:
        process.join(timeout=5.0)
        if process.is_alive():
            process.terminate()
            process.join(timeout=5.0)
    for task_queue in tasks:
        task_queue.close()
    results.cancel_join_thread()
    results.close()


class _WorkerIterator:
    """One epoch of batches from the workers."""

    def __init__(self, loader: DataLoader, workers: _Workers, order: Iterator[Any]) -> None:
        self.workers = workers
        self.order = order
        self.timeout = loader.timeout
        self.in_order = loader.in_order
        self.persistent = loader.persistent_workers
        self.sent = 0  # tasks given out, and so the number of the next
        self.yielded = 0
        self.active = [True] * loader.num_workers
        self.turn = itertools.cycle(range(loader.num_workers))
        self.outstanding: dict[int, int] = {}  # the number of a task -> its worker
        self.arrived: dict[int, Any] = {}
        if not workers.fresh:
            for tasks in workers.tasks:
                tasks.put(Resume())
        workers.fresh = False
        for _ in range((loader.prefetch_factor or 2) * loader.num_workers):
            self._send()

    def _send(self) -> None:
        worker = next((w for w in itertools.islice(self.turn, len(self.active)) if self.active[w]), None)
        if worker is None:
            return
        try:
            indices = next(self.order)
        except StopIteration:
            return
        self.workers.tasks[worker].put((self.sent, indices))
        self.outstanding[self.sent] = worker
        self.sent += 1

    def __iter__(self) -> _WorkerIterator:
        return self

    def __next__(self) -> Any:
        while True:
            while self.in_order and self.yielded < self.sent and self.arrived.get(self.yielded) is _skipped:
                del self.arrived[self.yielded]
                self.yielded += 1
            number = self.yielded if self.in_order else next(iter(self.arrived), None)
            if number is not None and number in self.arrived:
                batch = self.arrived.pop(number)
                if self.in_order:
                    self.yielded += 1
                if batch is _skipped:
                    continue
                if isinstance(batch, Failure):
                    self._finish()
                    batch.raise_again()
                return batch
            if not self.outstanding:
                self._finish()
                raise StopIteration
            try:
                number, batch = self.workers.receive(self.timeout)
            except KeyboardInterrupt:
                self.workers.close()
                raise
            worker = self.outstanding.pop(number)
            if isinstance(batch, End):
                self.active[worker] = False
                batch = _skipped
            self.arrived[number] = batch
            self._send()

    def _finish(self) -> None:
        if not self.persistent:
            self.workers.close()
            return
        while self.outstanding:  # an epoch that ended with an exception leaves none of its batches to the next
            number, _ = self.workers.receive(self.timeout)
            self.outstanding.pop(number)

    def __del__(self) -> None:
        if self.workers.closed:
            return
        if not self.persistent or self.outstanding:
            self.workers.close()


_skipped = object()

__all__ = ["DataLoader", "Dataset"]
