"""Versions, where PyTorch's programs look for them."""

from rushlight.submodules import __version__ as __version__

cuda = None
hip = None
git_version = "unknown"
debug = False
