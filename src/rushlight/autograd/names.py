"""The names that nodes print with, `grad_fn=<AddmmBackward0>`: PyTorch's, as far as an operation here has one there.

A function that PyTorch has an operation for, and that is composed of others here, says so with `shown_as`
(tensor/tensor.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rushlight.autograd.tape import OperationNode

_NAMES = {
    "absolute": "Abs", "adaptive_avg_pool": "AdaptiveAvgPool", "adaptive_max_pool": "AdaptiveMaxPool",
    "batch_norm": "NativeBatchNorm", "batch_norm_inference": "NativeBatchNorm", "cast": "ToCopy",
    "clamp": "ClampBackward1",
    "convolution_input_gradient": "Convolution", "det": "LinalgDet", "divide": "Div", "dropout": "Mul",
    "euclidean_distances": "Cdist", "euclidean_norm": "LinalgVectorNorm", "group_norm": "NativeGroupNorm",
    "image_to_columns": "Im2Col", "inv": "LinalgInvEx", "layer_norm": "NativeLayerNorm",
    "log1p": "Log1P", "lstm_output": "Mul", "lstm_state": "Add", "max_with_indices": "Max", "median_along": "Median",
    "min_with_indices": "Min", "mode_along": "Mode", "multiply": "Mul", "negative": "Neg", "permute": "Permute",
    "reshape": "View", "selu": "Elu", "slogdet": "LinalgSlogdet", "softsign": "Div", "square": "Pow",
    "squared_error": "MseLoss", "tanhshrink": "Sub", "view_scatter": "CopySlices",
}  # fmt: skip


def printed_name(node: OperationNode, result: int = 0) -> str:
    """The name of a node of a declared operation, such as `MulBackward0`, as one of its results prints it."""
    name = node.operation.name
    rule = _RULES.get(name)
    found = rule(node) if rule is not None else _NAMES.get(name)
    if name == "recurrent_layer":
        found = _last_step(node, result)
    if found is None:
        found = "".join(part.capitalize() for part in name.split("_"))
    return found if found == "CopySlices" or found[-9:-1] == "Backward" else f"{found}Backward0"


def _is_number(node: OperationNode, position: int) -> bool:
    kept: Any = node.kept
    return isinstance(kept, list) and type(kept[position]) in (int, float)


def _dims(node: OperationNode) -> int:
    """The number of dimensions of the result."""
    spec: Any = node.outputs[0]
    return 2 if spec is None else len(spec.shape)


def _along(name: str) -> Callable[[OperationNode], str]:
    return lambda node: f"{name}Backward" + ("1" if node.options.get("dim") is not None else "0")


def _subtract(node: OperationNode) -> str:
    return "RsubBackward1" if _is_number(node, 0) else "Sub"


def _divide(node: OperationNode) -> str:
    return "Mul" if _is_number(node, 0) else "Div"


def _power(node: OperationNode) -> str:
    return "PowBackward2" if _is_number(node, 0) else "Pow" if _is_number(node, 1) else "PowBackward1"


def _matmul(node: OperationNode) -> str:
    return ("Dot", "Mv", "Mm")[_dims(node)] if _dims(node) < 3 else "UnsafeView"


def _linear(node: OperationNode) -> str:
    biased = node.edges[2] is not None
    if _dims(node) == 2:
        return "Addmm" if biased else "Mm"
    return "View" if biased else "UnsafeView"


def _slice(node: OperationNode) -> str:
    for item in reversed(node.options["index"]):
        if item is None:
            return "Unsqueeze"
        if not isinstance(item, slice) and item is not Ellipsis:
            return "Select"
        if isinstance(item, slice) and item != slice(None):
            return "Slice"
    return "Slice" if any(isinstance(item, slice) for item in node.options["index"]) else "Alias"


def _pool(name: str, option: str) -> Callable[[OperationNode], str]:
    def rule(node: OperationNode) -> str:
        dims = len(node.options[option])
        return "SqueezeBackward1" if dims == 1 else name.format(dims)

    return rule


def _pad(node: OperationNode) -> str:
    mode = node.options.get("mode", "constant")
    names = {"reflect": "ReflectionPad", "replicate": "ReplicationPad"}
    return f"{names[mode]}{_dims(node) - 2}D" if mode in names else "ConstantPadNd"


def _cross_entropy(node: OperationNode) -> str:
    kept: Any = node.kept
    if not isinstance(kept, list) or type(kept[0]) is not tuple:
        return "NllLoss"
    shape = kept[0][0].shape if hasattr(kept[0][0], "shape") else kept[0][0]
    return "NllLoss2D" if len(shape) > 2 else "NllLoss"


def _last_step(node: OperationNode, result: int) -> str:
    """What a result of a cell is the last step of."""
    mode = node.options["mode"]
    names = {"RNN_TANH": "Tanh", "RNN_RELU": "Relu", "GRU": "Add"}
    return names.get(mode, "Add" if result == 2 else "Mul")


def _adaptive_average(node: OperationNode) -> str:
    if tuple(node.options["output_size"]) == (1, 1):
        return "MeanBackward1"
    return _pool("AdaptiveAvgPool{}D", "output_size")(node)


_RULES: dict[str, Callable[[OperationNode], str]] = {
    "adaptive_avg_pool": _adaptive_average,
    "adaptive_max_pool": _pool("AdaptiveMaxPool{}D", "output_size"),
    "adaptive_max_pool_with_indices": _pool("AdaptiveMaxPool{}D", "output_size"),
    "avg_pool": _pool("AvgPool{}D", "kernel_size"),
    "cross_entropy": _cross_entropy,
    "divide": _divide,
    "linear": _linear,
    "matmul": _matmul,
    "max_pool": _pool("MaxPool{}DWithIndices", "kernel_size"),
    "max_pool_with_indices": _pool("MaxPool{}DWithIndices", "kernel_size"),
    "mean": _along("Mean"),
    "pad": _pad,
    "power": _power,
    "prod": _along("Prod"),
    "slice": _slice,
    "subtract": _subtract,
    "sum": _along("Sum"),
}  # fmt: skip
