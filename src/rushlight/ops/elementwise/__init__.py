"""Elementwise operations: each meaning is also the text of its native program (ops/program.py).

A new one is a function here with a gradient below it: no shape rule, no kernel, no samples to write.
"""

from rushlight.ops.elementwise.activations import *  # noqa: F403
from rushlight.ops.elementwise.arithmetic import *  # noqa: F403
from rushlight.ops.elementwise.comparison import *  # noqa: F403
from rushlight.ops.elementwise.functions import *  # noqa: F403
