"""Handles of registered hooks, under PyTorch's name."""

from rushlight.autograd.hooks import RemovableHandle as RemovableHandle
