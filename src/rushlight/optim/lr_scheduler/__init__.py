"""Learning-rate schedules. Each changes `group["lr"]` of its optimizer at `scheduler.step()`, after the optimizer's.

The steps are written as PyTorch's are, from the present rate to the next, so that several schedulers can be chained
on one optimizer and the rates come out the same.
"""

from rushlight.optim.lr_scheduler.composed import ChainedScheduler as ChainedScheduler
from rushlight.optim.lr_scheduler.composed import SequentialLR as SequentialLR
from rushlight.optim.lr_scheduler.cyclic import CyclicLR as CyclicLR
from rushlight.optim.lr_scheduler.cyclic import OneCycleLR as OneCycleLR
from rushlight.optim.lr_scheduler.scheduler import LRScheduler as LRScheduler
from rushlight.optim.lr_scheduler.scheduler import _LRScheduler as _LRScheduler
from rushlight.optim.lr_scheduler.schedules import ConstantLR as ConstantLR
from rushlight.optim.lr_scheduler.schedules import CosineAnnealingLR as CosineAnnealingLR
from rushlight.optim.lr_scheduler.schedules import CosineAnnealingWarmRestarts as CosineAnnealingWarmRestarts
from rushlight.optim.lr_scheduler.schedules import ExponentialLR as ExponentialLR
from rushlight.optim.lr_scheduler.schedules import LambdaLR as LambdaLR
from rushlight.optim.lr_scheduler.schedules import LinearLR as LinearLR
from rushlight.optim.lr_scheduler.schedules import MultiplicativeLR as MultiplicativeLR
from rushlight.optim.lr_scheduler.schedules import MultiStepLR as MultiStepLR
from rushlight.optim.lr_scheduler.schedules import PolynomialLR as PolynomialLR
from rushlight.optim.lr_scheduler.schedules import ReduceLROnPlateau as ReduceLROnPlateau
from rushlight.optim.lr_scheduler.schedules import StepLR as StepLR
