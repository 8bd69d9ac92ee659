"""`torch.utils`: data sets and loaders."""

from functools import partial

from rushlight.submodules import part_of

__getattr__ = partial(part_of, __name__)
