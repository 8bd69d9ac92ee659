"""Files: checkpoints in PyTorch's format and as safetensors."""

from rushlight.io.serialization import load as load
from rushlight.io.serialization import save as save
