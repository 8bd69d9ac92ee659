"""The CTC loss against PyTorch's, with gradients of the logits."""

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

from layer_comparison import compare, same_errors  # noqa: E402

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.standard_normal((20, 4, 6))
TARGETS = RANDOM.integers(1, 6, (4, 8))
STEPS, LENGTHS = [20, 19, 18, 5], [8, 5, 3, 0]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("blank", [0, 5])
def test_values_and_gradients(reduction: str, rows: bool, blank: int) -> None:
    labels = TARGETS if blank == 0 else TARGETS - 1
    row = labels if rows else np.concatenate([labels[i, :n] for i, n in enumerate(LENGTHS)])

    def of(t):
        return lambda x: t.nn.CTCLoss(blank, reduction)(
            x.log_softmax(2), t.tensor(row), t.tensor(STEPS), t.tensor(LENGTHS)
        )

    compare(of(rushlight), of(torch), LOGITS)


def test_impossible_targets_and_single_sequences() -> None:
    def impossible(t):
        return lambda x: t.nn.functional.ctc_loss(
            x.log_softmax(2), t.tensor(TARGETS), (7, 7, 7, 7), (8, 8, 8, 3), reduction="none", zero_infinity=True
        )

    compare(impossible(rushlight), impossible(torch), LOGITS)

    def single(t):
        return lambda x: t.nn.functional.ctc_loss(x.log_softmax(1), t.tensor(TARGETS[0]), t.tensor(20), t.tensor(8))

    compare(single(rushlight), single(torch), np.ascontiguousarray(LOGITS[:, 0]))


@pytest.mark.parametrize("change", [{"blank": 6}, {"steps": [21, 1, 1, 1]}, {"lengths": [9, 1, 1, 1]}])
def test_errors(change: dict) -> None:
    def call(t):
        logits = t.tensor(LOGITS).log_softmax(2)
        steps, lengths = t.tensor(change.get("steps", STEPS)), t.tensor(change.get("lengths", LENGTHS))
        return t.nn.functional.ctc_loss(logits, t.tensor(TARGETS), steps, lengths, blank=change.get("blank", 0))

    same_errors(lambda: call(rushlight), lambda: call(torch))
