"""Optimizers and learning-rate schedules."""

import importlib
from typing import Any

from rushlight.optim import lr_scheduler as lr_scheduler
from rushlight.optim.adafactor import Adafactor as Adafactor
from rushlight.optim.adaptive import Adadelta as Adadelta
from rushlight.optim.adaptive import Adagrad as Adagrad
from rushlight.optim.adaptive import Adam as Adam
from rushlight.optim.adaptive import Adamax as Adamax
from rushlight.optim.adaptive import AdamW as AdamW
from rushlight.optim.adaptive import NAdam as NAdam
from rushlight.optim.adaptive import RAdam as RAdam
from rushlight.optim.adaptive import RMSprop as RMSprop
from rushlight.optim.adaptive import SparseAdam as SparseAdam
from rushlight.optim.lbfgs import LBFGS as LBFGS
from rushlight.optim.muon import Muon as Muon
from rushlight.optim.optimizer import Optimizer as Optimizer
from rushlight.optim.rprop import Rprop as Rprop
from rushlight.optim.sgd import ASGD as ASGD
from rushlight.optim.sgd import SGD as SGD


def __getattr__(name: str) -> Any:
    if name in ("swa_utils",):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
