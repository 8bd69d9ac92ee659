"""The base of the learning-rate schedules."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from rushlight.ops.declare import routing
from rushlight.optim.optimizer import Optimizer
from rushlight.tensor.unread import refuse_effect


def each(value: float | Sequence[float], optimizer: Optimizer) -> list[float]:
    """A setting given for all groups, or one for each, as a list of one for each."""
    count = len(optimizer.param_groups)
    if not isinstance(value, Sequence):
        return [value] * count
    if len(value) != count:
        raise ValueError(f"expected {count} values, one for each parameter group, got {len(value)}")
    return list(value)


def refuse_tracing() -> None:
    if routing.tracing is not None:
        refuse_effect("scheduler.step() sets learning rates, which are Python numbers,")


class LRScheduler:
    """Base of the schedules: subclasses define `get_lr()`, the rate of each group at epoch `self.last_epoch`.

    Args:
        optimizer: the Optimizer whose rates change.
        last_epoch: the epoch to resume after; -1 starts.

    Raises TypeError where `optimizer` is none, KeyError where it is resumed without "initial_lr" in its groups.
    """

    _not_in_state: tuple[str, ...] = ("optimizer", "_optimizer_stepped")

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        for position, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{position}] when resuming a scheduler; load "
                    "the optimizer's state_dict before you make the scheduler, or start with last_epoch=-1"
                )
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._optimizer_stepped = False
        optimizer.register_step_post_hook(self._note_step)
        self._step_count = 0
        self.step()

    def _note_step(self, *_: Any) -> None:
        self._optimizer_stepped = True

    def get_lr(self) -> list[float]:
        """The rate of each group at the present epoch."""
        raise NotImplementedError

    def get_last_lr(self) -> list[float]:
        """The rates that the last `step()` set."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Goes to the next epoch and sets the rates. Call it after the optimizer's step."""
        refuse_tracing()
        if self._step_count == 1 and not self._optimizer_stepped:
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`: call the optimizer's first, or the "
                "first value of the learning rate schedule is skipped",
                UserWarning,
                stacklevel=2,
            )
        self._step_count += 1
        if epoch is None:
            self.last_epoch += 1
            rates = self.get_lr()
        else:
            self.last_epoch = epoch
            closed_form = getattr(self, "_get_closed_form_lr", self.get_lr)
            rates = closed_form()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = self._rates

    @property
    def _rates(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer, as data."""
        return {name: value for name, value in self.__dict__.items() if name not in self._not_in_state}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over a state that `state_dict()` gave."""
        self.__dict__.update(state_dict)


_LRScheduler = LRScheduler  # its older name, which schedulers of one's own derive from


def attributes_of(function: Any) -> dict[str, Any] | None:
    """What a state dict holds of a callable object; None for plain functions, which are code."""
    return None if function is None or hasattr(function, "__code__") else dict(function.__dict__)
