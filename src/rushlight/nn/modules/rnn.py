"""Recurrent networks: RNN, LSTM, GRU over sequences, and their cells for single steps."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

from rushlight.autograd.modes import is_grad_enabled
from rushlight.errors import ShapeError
from rushlight.nn import functional as F
from rushlight.nn import init
from rushlight.nn.functional.dropout import check_probability
from rushlight.nn.modules.module import Module
from rushlight.nn.parameter import Parameter
from rushlight.nn.utils.rnn import PackedSequence
from rushlight.ops import recurrent
from rushlight.ops.linear import linear
from rushlight.ops.recurrent_layer import recurrent_layer
from rushlight.tensor.creation import empty, zeros
from rushlight.tensor.joining import cat, stack
from rushlight.tensor.tensor import Tensor

State = tuple[Tensor, ...]  # (h,) or, of an LSTM, (h, c)


def _layer(
    mode: str, data: Tensor, sizes: Sequence[int], state: State, weights: Sequence[Tensor | None], reverse: bool
) -> tuple[Tensor, State]:
    """All steps of one layer in one direction, and its final state; weights: weight_ih, weight_hh, bias_ih, bias_hh."""
    h, c = state if mode == "LSTM" else (*state, None)
    given = (data, h, c, *weights)
    keep = is_grad_enabled() and any(t is not None and t.requires_grad for t in given)
    output, *found = recurrent_layer(*given, mode=mode, sizes=tuple(sizes), reverse=reverse, keep=keep)
    return output, tuple(found[: len(state)])


def _projected_step(x: Tensor, state: State, weights: Sequence[Tensor | None]) -> State:
    """The state of an LSTM after a step; x is the projected input, weights are weight_hh, bias_hh, weight_hr."""
    gates = x + linear(state[0], weights[0], weights[1])
    i, f, g, o = recurrent.parts(gates, sizes=(gates.shape[-1] // 4,) * 4, dim=-1)
    c = recurrent.lstm_state(i, f, g, state[1])
    return linear(recurrent.lstm_output(o, c), weights[2], None), c


class RNNBase(Module):
    """What RNN, LSTM and GRU share: layers in one or both directions over packed or padded sequences."""

    _gate_count: ClassVar[dict[str, int]] = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if not isinstance(hidden_size, int):
            raise TypeError(f"hidden_size should be of type int, got: {type(hidden_size).__name__}")
        if hidden_size <= 0:
            raise ValueError("hidden_size must be greater than zero")
        if num_layers <= 0:
            raise ValueError("num_layers must be greater than zero")
        if not 0 <= proj_size < hidden_size:
            raise ValueError(f"proj_size must be from 0 to less than hidden_size, got {proj_size} of {hidden_size}")
        if proj_size and mode != "LSTM":
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        check_probability(dropout)
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
                f"num_layers greater than 1, but got dropout={dropout} and num_layers={num_layers}",
                stacklevel=3,
            )
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        directions = 2 if bidirectional else 1
        rows = self._gate_count[mode] * hidden_size
        out = proj_size or hidden_size
        for layer in range(num_layers):
            features = input_size if layer == 0 else out * directions
            for suffix in self._suffixes(layer):
                shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, features), "weight_hh": (rows, out)}
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                for name, shape in shapes.items():
                    setattr(self, name + suffix, Parameter(empty(shape, device=device, dtype=dtype)))
        self.reset_parameters()

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"] if self.bidirectional else [f"_l{layer}"]

    def reset_parameters(self) -> None:
        """Draws all weights anew from U(-k, k) with k = 1 / sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Does nothing: for GPUs in PyTorch."""

    @property
    def _flat_weights_names(self) -> list[str]:
        """The names of `_flat_weights`; initialisers look in them for "weight" and "bias"."""
        return list(self._parameters)

    @property
    def _flat_weights(self) -> list[Parameter]:
        """The weights of all layers and directions, one after the other."""
        return list(self.parameters())

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The weights of each layer and direction."""
        return [[self._parameters[name] for name in names] for names in self._all_names()]  # type: ignore[misc]

    def _all_names(self) -> list[list[str]]:
        names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"]
        suffixes = [suffix for layer in range(self.num_layers) for suffix in self._suffixes(layer)]
        return [[n + suffix for n in names if n + suffix in self._parameters] for suffix in suffixes]

    def _attributes_in_pytorch(self) -> dict[str, Any]:
        return {
            "_all_weights": self._all_names(),
            "_flat_weights_names": self._flat_weights_names,
            "_flat_weights": self._flat_weights,
        }

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.proj_size:
            text += f", proj_size={self.proj_size}"
        if self.num_layers != 1:
            text += f", num_layers={self.num_layers}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        if self.batch_first:
            text += f", batch_first={self.batch_first}"
        if self.dropout:
            text += f", dropout={self.dropout}"
        if self.bidirectional:
            text += f", bidirectional={self.bidirectional}"
        return text

    def forward(self, input: Any, hx: Any = None) -> Any:
        """The outputs of the last layer at all steps, and the final states; `hx` are the initial ones, 0 by default."""
        if isinstance(input, PackedSequence):
            sizes = input.batch_sizes.tolist()
            states = self._initial(hx, sizes[0], input.data, True, input.sorted_indices)
            data, final = self._run(input.data, sizes, states)
            output: Any = PackedSequence(data, input.batch_sizes, input.sorted_indices, input.unsorted_indices)
            if input.unsorted_indices is not None:
                final = tuple(s[:, input.unsorted_indices] for s in final)
            return output, self._given_out(final)
        if input.ndim not in (2, 3):
            raise ShapeError(f"{self._get_name()}: Expected input to be 2D or 3D, got {input.ndim}D instead")
        if input.shape[-1] != self.input_size:
            raise ShapeError(
                f"{self._get_name()}: input.size(-1) must be equal to input_size. Expected {self.input_size}, got "
                f"{input.shape[-1]}"
            )
        batched = input.ndim == 3
        if not batched:
            input = input.unsqueeze(1)
        elif self.batch_first:
            input = input.transpose(0, 1)
        steps, batch = input.shape[:2]
        if steps == 0:
            raise ShapeError(f"{self._get_name()}: Expected sequence length to be larger than 0")
        states = self._initial(hx, batch, input, batched, None)
        data, final = self._run(input.reshape((steps * batch, -1)), [batch] * steps, states)
        output = data.reshape((steps, batch, -1))
        if not batched:
            return output.squeeze(1), self._given_out(tuple(s.squeeze(1) for s in final))
        return (output.transpose(0, 1) if self.batch_first else output), self._given_out(final)

    def _given_out(self, final: State) -> Any:
        return final if self.mode == "LSTM" else final[0]

    def _initial(self, hx: Any, batch: int, like: Tensor, batched: bool, order: Tensor | None) -> State:
        """The initial states, each (layers * directions, batch, features)."""
        count = self.num_layers * (2 if self.bidirectional else 1)
        shapes = [(count, batch, self.proj_size or self.hidden_size)]
        if self.mode == "LSTM":
            shapes.append((count, batch, self.hidden_size))
        if hx is None:
            return tuple(zeros(shape, dtype=like.dtype) for shape in shapes)
        given = tuple(hx) if self.mode == "LSTM" else (hx,)
        if not batched:
            given = tuple(s.unsqueeze(1) for s in given)
        for index, (state, shape) in enumerate(zip(given, shapes, strict=True)):
            if tuple(state.shape) != shape:
                name = "hidden" if len(shapes) == 1 else f"hidden[{index}]"
                raise ShapeError(
                    f"{self._get_name()}: Expected {name} size {shape}, got {tuple(state.shape)}"
                    + ("" if batched else " (with the batch dimension that an unbatched input lacks)")
                )
        return given if order is None else tuple(s[:, order] for s in given)

    def _run(self, data: Tensor, sizes: list[int], states: State) -> tuple[Tensor, State]:
        """All layers over packed data (total, features): `sizes` rows at each step, which don't increase."""
        final: list[State] = []
        position = 0
        for layer in range(self.num_layers):
            if layer and self.dropout:
                data = F.dropout(data, self.dropout, self.training)
            outputs = []
            for suffix in self._suffixes(layer):
                initial = tuple(s[position] for s in states)
                output, last = self._direction(data, sizes, initial, suffix)
                outputs.append(output)
                final.append(last)
                position += 1
            data = outputs[0] if len(outputs) == 1 else cat(outputs, -1)
        return data, tuple(stack(s) for s in zip(*final, strict=True))

    def _direction(self, data: Tensor, sizes: list[int], state: State, suffix: str) -> tuple[Tensor, State]:
        """One layer in one direction."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weight_ih, weight_hh, bias_ih, bias_hh = (getattr(self, name + suffix, None) for name in names)
        reverse = suffix.endswith("reverse")
        if self.proj_size:
            projected = linear(data, weight_ih, bias_ih)
            weights = (weight_hh, bias_hh, getattr(self, "weight_hr" + suffix))
            return self._step_by_step(projected, sizes, state, weights, reverse)
        return _layer(self.mode, data, sizes, state, (weight_ih, weight_hh, bias_ih, bias_hh), reverse)

    def _step_by_step(
        self, projected: Tensor, sizes: list[int], state: State, weights: Sequence[Tensor | None], reverse: bool
    ) -> tuple[Tensor, State]:
        """The same where the hidden state is projected after every step."""
        steps = recurrent.parts(projected, sizes=tuple(sizes), dim=0)
        outputs: list[Tensor] = []
        if reverse:
            running = tuple(s[: sizes[-1]] for s in state)
            for step, size in zip(reversed(steps), reversed(sizes), strict=True):
                known = running[0].shape[0]
                if size > known:  # longer than those before, so that they begin here
                    running = tuple(cat([r, s[known:size]]) for r, s in zip(running, state, strict=True))
                running = _projected_step(step, running, weights)
                outputs.append(running[0])
            return cat(outputs[::-1]), running
        ended: list[State] = []
        running = state
        for step, size in zip(steps, sizes, strict=True):
            if size < running[0].shape[0]:
                ended.append(tuple(s[size:] for s in running))
                running = tuple(s[:size] for s in running)
            running = _projected_step(step, running, weights)
            outputs.append(running[0])
        if ended:
            running = tuple(cat(parts) for parts in zip(running, *ended[::-1], strict=True))
        return cat(outputs), running


class RNN(RNNBase):
    """Elman's network: h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh), or with ReLU.

    Args:
        input_size: features of the input.
        hidden_size: features of the hidden state.
        num_layers: layers, each on the outputs of the one before.
        nonlinearity: "tanh" or "relu".
        bias: whether there are bias_ih and bias_hh.
        batch_first: input and output are (N, L, features) instead of (L, N, features).
        dropout: probability of dropout between the layers.
        bidirectional: run in both directions, D = 2.

    Shape:
        Input (L, N, input_size), (L, input_size) or a PackedSequence; state (num_layers D, N, hidden_size).
        Output (L, N, D hidden_size), and the final state.

    Paper: Elman, Finding structure in time, 1990.

    Example:
        >>> output, state = nn.RNN(10, 20, num_layers=2)(torch.randn(5, 3, 10))
        >>> output.size(), state.size()
        (torch.Size([5, 3, 20]), torch.Size([2, 3, 20]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        mode = f"RNN_{nonlinearity.upper()}"
        super().__init__(
            mode, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype
        )
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory: i, f, g, o from x_t and h_(t-1); c_t = sigmoid(f) c_(t-1) + sigmoid(i) tanh(g);
    h_t = sigmoid(o) tanh(c_t).

    Args:
        input_size: features of the input.
        hidden_size: features of the states.
        num_layers: layers, each on the outputs of the one before.
        bias: whether there are bias_ih and bias_hh.
        batch_first: input and output are (N, L, features) instead of (L, N, features).
        dropout: probability of dropout between the layers.
        bidirectional: run in both directions, D = 2.
        proj_size: if positive, h_t is projected to this size.

    Shape:
        Input (L, N, input_size), (L, input_size) or a PackedSequence; states h and c (num_layers D, N, hidden_size).
        Output (L, N, D hidden_size), and the final states (h, c).

    Paper: Hochreiter and Schmidhuber, Long short-term memory, 1997; Gers et al., Learning to forget, 2000.

    Example:
        >>> output, (h, c) = nn.LSTM(10, 20, num_layers=2)(torch.randn(5, 3, 10))
        >>> output.size(), c.size()
        (torch.Size([5, 3, 20]), torch.Size([2, 3, 20]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            "LSTM",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            device,
            dtype,
        )


class GRU(RNNBase):
    """Gated recurrent units: r, z from x_t and h_(t-1); n = tanh(W x_t + b + sigmoid(r) (W' h_(t-1) + b'));
    h_t = (1 - sigmoid(z)) n + sigmoid(z) h_(t-1).

    Args:
        input_size: features of the input.
        hidden_size: features of the hidden state.
        num_layers: layers, each on the outputs of the one before.
        bias: whether there are bias_ih and bias_hh.
        batch_first: input and output are (N, L, features) instead of (L, N, features).
        dropout: probability of dropout between the layers.
        bidirectional: run in both directions, D = 2.

    Shape:
        Input (L, N, input_size), (L, input_size) or a PackedSequence; state (num_layers D, N, hidden_size).
        Output (L, N, D hidden_size), and the final state.

    Paper: Cho et al., Learning phrase representations using RNN encoder-decoder, 2014.

    Example:
        >>> output, state = nn.GRU(10, 20, batch_first=True)(torch.randn(3, 5, 10))
        >>> output.size(), state.size()
        (torch.Size([3, 5, 20]), torch.Size([1, 3, 20]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            "GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype
        )


# Cells


class RNNCellBase(Module):
    """What the cells share: weights, and a single step."""

    mode: str

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = num_chunks * hidden_size
        self.weight_ih = Parameter(empty((rows, input_size), device=device, dtype=dtype))
        self.weight_hh = Parameter(empty((rows, hidden_size), device=device, dtype=dtype))
        if bias:
            self.bias_ih = Parameter(empty(rows, device=device, dtype=dtype))
            self.bias_hh = Parameter(empty(rows, device=device, dtype=dtype))
        else:
            self.register_parameter("bias_ih", None)
            self.register_parameter("bias_hh", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws all weights anew from U(-k, k) with k = 1 / sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        nonlinearity = self.__dict__.get("nonlinearity", "tanh")
        return text if nonlinearity == "tanh" else f"{text}, nonlinearity={nonlinearity}"

    def _step(self, input: Tensor, states: State | None, count: int) -> State:
        name = self._get_name()
        if input.ndim not in (1, 2):
            raise ShapeError(f"{name}: Expected input to be 1D or 2D, got {input.ndim}D instead")
        shape = (*input.shape[:-1], self.hidden_size)
        if states is None:
            states = (zeros(shape, dtype=input.dtype),) * count
        for state in states:
            if tuple(state.shape) != shape:
                raise ShapeError(f"{name}: Expected hidden size {shape}, got {tuple(state.shape)}")
        if input.shape[-1] != self.input_size:
            raise ShapeError(f"{name}: Expected input size {self.input_size}, got {input.shape[-1]}")
        rows = input if input.ndim == 2 else input.unsqueeze(0)
        states = states if input.ndim == 2 else tuple(s.unsqueeze(0) for s in states)
        weights = self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh
        states = _layer(self.mode, rows, (rows.shape[0],), states, weights, False)[1]
        return states if input.ndim == 2 else tuple(s.squeeze(0) for s in states)


class RNNCell(RNNCellBase):
    """A step of Elman's network: h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or with ReLU.

    Args:
        input_size: features of the input.
        hidden_size: features of the hidden state.
        bias: whether there are b_ih and b_hh.
        nonlinearity: "tanh" or "relu".

    Shape:
        Input (N, input_size) or (input_size,), state and output (N, hidden_size) or (hidden_size,).

    Example:
        >>> nn.RNNCell(10, 20)(torch.randn(3, 10)).size()
        torch.Size([3, 20])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity: {nonlinearity}")
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    @property
    def mode(self) -> str:  # type: ignore[override]
        """The kind of its step."""
        return f"RNN_{self.nonlinearity.upper()}"

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step(input, None if hx is None else (hx,), 1)[0]


class LSTMCell(RNNCellBase):
    """A step of an LSTM; see `LSTM`.

    Args:
        input_size: features of the input.
        hidden_size: features of the states.
        bias: whether there are b_ih and b_hh.

    Shape:
        Input (N, input_size) or (input_size,), states and outputs (h, c), each (N, hidden_size) or (hidden_size,).

    Example:
        >>> h, c = nn.LSTMCell(10, 20)(torch.randn(3, 10))
        >>> h.size()
        torch.Size([3, 20])
    """

    mode = "LSTM"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        h, c = self._step(input, hx, 2)
        return h, c


class GRUCell(RNNCellBase):
    """A step of a GRU; see `GRU`.

    Args:
        input_size: features of the input.
        hidden_size: features of the hidden state.
        bias: whether there are b_ih and b_hh.

    Shape:
        Input (N, input_size) or (input_size,), state and output (N, hidden_size) or (hidden_size,).

    Example:
        >>> nn.GRUCell(10, 20)(torch.randn(3, 10)).size()
        torch.Size([3, 20])
    """

    mode = "GRU"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step(input, None if hx is None else (hx,), 1)[0]
