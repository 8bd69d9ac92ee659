"""`torch.utils.tensorboard`: what a training writes for TensorBoard to show. Neither it nor TensorFlow is needed."""

from rushlight.utils.tensorboard.writer import SummaryWriter as SummaryWriter

__all__ = ["SummaryWriter"]
