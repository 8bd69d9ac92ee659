"""Automatic differentiation: `backward`, `grad`, `Function`, the modes, and checks by finite differences."""

from functools import partial

from rushlight.autograd import eager as eager
from rushlight.autograd import functional as functional
from rushlight.autograd.function import Function as Function
from rushlight.autograd.gradcheck import GradcheckError as GradcheckError
from rushlight.autograd.gradcheck import gradcheck as gradcheck
from rushlight.autograd.gradcheck import gradgradcheck as gradgradcheck
from rushlight.autograd.gradients import Variable as Variable
from rushlight.autograd.gradients import backward as backward
from rushlight.autograd.gradients import detect_anomaly as detect_anomaly
from rushlight.autograd.gradients import grad as grad
from rushlight.autograd.gradients import set_detect_anomaly as set_detect_anomaly
from rushlight.autograd.modes import enable_grad as enable_grad
from rushlight.autograd.modes import inference_mode as inference_mode
from rushlight.autograd.modes import is_grad_enabled as is_grad_enabled
from rushlight.autograd.modes import is_inference_mode_enabled as is_inference_mode_enabled
from rushlight.autograd.modes import no_grad as no_grad
from rushlight.autograd.modes import set_grad_enabled as set_grad_enabled
from rushlight.submodules import part_of

__getattr__ = partial(part_of, __name__)
