"""`torchvision.ops`: boxes (left, top, right, bottom)."""

from __future__ import annotations

from typing import Any

import numpy as np

import rushlight as torch
from rushlight import Tensor
from rushlight.vision.naming import missing


def box_area(boxes: Tensor) -> Tensor:
    """Areas (N,) of boxes (N, 4)."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Intersection over union (N, M) of each box of (N, 4) with each of (M, 4)."""
    low = torch.maximum(boxes1[..., :, None, :2], boxes2[..., None, :, :2])
    high = torch.minimum(boxes1[..., :, None, 2:], boxes2[..., None, :, 2:])
    inner = (high - low).clamp(min=0).prod(-1)
    return inner / (box_area(boxes1)[..., :, None] + box_area(boxes2)[..., None, :] - inner)


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Which boxes (N, 4) stay, best scores first: one that overlaps a better one by more than the threshold goes."""
    if boxes.ndim != 2 or boxes.shape[1] != 4 or tuple(scores.shape) != (len(boxes),):
        raise ValueError(
            f"nms: boxes (N, 4) and scores (N,) are expected, not {tuple(boxes.shape)} and {tuple(scores.shape)}"
        )
    order = torch.argsort(scores.detach(), descending=True, stable=True).numpy()
    overlaps = box_iou(boxes.detach(), boxes.detach()).numpy() > iou_threshold
    alive = np.ones(len(order), bool)
    kept = []
    for index in order:
        if alive[index]:
            kept.append(index)
            alive &= ~overlaps[index]
    return torch.tensor(kept, dtype=torch.int64)


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """`nms` of each class `idxs` (N,) by itself."""
    if not len(boxes):
        return torch.zeros(0, dtype=torch.int64)
    apart = idxs.to(boxes.dtype) * (boxes.max() + 1)
    return nms(boxes + apart[:, None], scores, iou_threshold)


def box_convert(boxes: Tensor, in_fmt: str, out_fmt: str) -> Tensor:
    """Boxes (N, 4) in another format: "xyxy", "xywh" (from the top left corner), "cxcywh" (from the middle)."""
    if {in_fmt, out_fmt} - {"xyxy", "xywh", "cxcywh"}:
        raise ValueError(f"formats of boxes are xyxy, xywh and cxcywh, not {in_fmt} and {out_fmt}")
    a, b = boxes[..., :2], boxes[..., 2:]
    low, high = {"xyxy": (a, b), "xywh": (a, a + b), "cxcywh": (a - 0.5 * b, a + 0.5 * b)}[in_fmt]
    size = high - low
    return torch.cat({"xyxy": [low, high], "xywh": [low, size], "cxcywh": [low + 0.5 * size, size]}[out_fmt], -1)


def clip_boxes_to_image(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes (N, 4) cut off at the edges of an image of (height, width)."""
    height, width = size
    return torch.minimum(boxes.clamp(min=0), torch.tensor([width, height] * 2, dtype=boxes.dtype))


def __getattr__(name: str) -> Any:
    from rushlight.vision.models.layers import LAYERS

    if name in LAYERS:
        return LAYERS[name]
    names = [*LAYERS, "batched_nms", "box_area", "box_convert", "box_iou", "clip_boxes_to_image", "nms"]
    raise missing(__name__, name, names)
