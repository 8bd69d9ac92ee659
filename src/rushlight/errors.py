"""The errors that users see. Each is also the built-in type that PyTorch raises, so `except RuntimeError` works on."""

import pickle

import numpy as np


class InputError(RuntimeError):
    """Something given to an operation or a layer doesn't fit it.

    While it leaves the modules' calls, `nn.Module` adds which module was called with what; see `nn/modules/module.py`.
    """


class ShapeError(InputError, ValueError):
    """A shape, a size or an option that doesn't fit the shapes."""


class DimensionError(ShapeError, IndexError):
    """A dimension or an index out of range."""


class DtypeError(InputError, TypeError, NotImplementedError):
    """A dtype that an operation doesn't take, or dtypes that don't go together."""


class AssertedError(ShapeError, AssertionError):
    """A shape that doesn't fit, where PyTorch asserts that it does."""


class UnsupportedError(InputError, NotImplementedError):
    """A mode that isn't known, or not for such an input."""


class LinAlgError(InputError, np.linalg.LinAlgError):
    """A matrix that has no inverse, or no such decomposition."""


class OutOfMemoryError(InputError, MemoryError):
    """A tensor larger than the memory of this machine."""


class DeviceError(InputError, AssertionError):
    """A device that isn't there."""


class TraceError(InputError):
    """Something that a function can't do while `rushlight.compile` records it."""


class LoadError(RuntimeError, pickle.UnpicklingError):
    """A file that isn't what `load` reads: damaged, cut short, hostile, or holding more than data."""


class SaveError(RuntimeError, pickle.PicklingError):
    """An object that `save` can't write as data."""


class DownloadError(RuntimeError, OSError):
    """A file that can't be had from its address, or that isn't the known one; it says where to put it by hand."""
