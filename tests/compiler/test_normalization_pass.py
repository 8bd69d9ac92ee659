"""Batch normalisation in graphs: text in, text out, and the same values before and after."""

import numpy as np
import pytest
from graph_checks import check

import rushlight as torch
from rushlight import nn
from rushlight.compiler.passes.normalization import fold_normalization, rectify_normalization


def test_rectified():
    check(
        rectify_normalization,
        """
        argument %0: f32[3,2,4]
        state %1: f32[2]
        state %2: f32[2]
        %3: f32[3,2,4], %4: f32[2], %5: f32[2] = batch_norm(%0, %1, %2, eps=0.1)
        %6: f32[2] = multiply(%4, 0.5)
        %7: f32[3,2,4] = relu(%3)
        return %7, %6, %5
        """,
        """
        argument %0: f32[3,2,4]
        state %1: f32[2]
        state %2: f32[2]
        %3: f32[3,2,4], %4: f32[2], %5: f32[2] = batch_norm_relu(%0, %1, %2, None, eps=0.1)
        %6: f32[2] = multiply(%4, 0.5)
        return %3, %6, %5
        """,
        exact=False,
    )


@pytest.mark.parametrize("sum_of", ["%3, %1", "%1, %3"])
def test_rectified_with_residual(sum_of):
    check(
        rectify_normalization,
        f"""
        argument %0: f32[3,2,4]
        argument %1: f32[3,2,4]
        %3: f32[3,2,4], %4: f32[2], %5: f32[2] = batch_norm(%0, None, None, eps=0.1)
        %6: f32[3,2,4] = add({sum_of})
        %7: f32[3,2,4] = relu(%6)
        return %7
        """,
        """
        argument %0: f32[3,2,4]
        argument %1: f32[3,2,4]
        %3: f32[3,2,4], %4: f32[2], %5: f32[2] = batch_norm_relu(%0, None, None, %1, eps=0.1)
        return %3
        """,
        exact=False,
    )


def test_of_two_normalised_terms_the_later_takes_the_other():
    check(
        rectify_normalization,
        """
        argument %0: f32[3,2,4]
        argument %1: f32[3,2,4]
        %2: f32[3,2,4], %3: f32[2], %4: f32[2] = batch_norm(%0, None, None, eps=0.1)
        %5: f32[3,2,4], %6: f32[2], %7: f32[2] = batch_norm(%1, None, None, eps=0.1)
        %8: f32[3,2,4] = add(%2, %5)
        %9: f32[3,2,4] = relu(%8)
        return %9, %3
        """,
        """
        argument %0: f32[3,2,4]
        argument %1: f32[3,2,4]
        %2: f32[3,2,4], %3: f32[2], %4: f32[2] = batch_norm(%0, None, None, eps=0.1)
        %5: f32[3,2,4], %6: f32[2], %7: f32[2] = batch_norm_relu(%1, None, None, %2, eps=0.1)
        return %5, %3
        """,
        exact=False,
    )


UNTOUCHED = {
    "what is normalised is returned too": """
        argument %0: f32[3,2,4]
        %1: f32[3,2,4], %2: f32[2], %3: f32[2] = batch_norm(%0, None, None, eps=0.1)
        %4: f32[3,2,4] = relu(%1)
        return %1, %4
        """,
    "what is normalised is read twice": """
        argument %0: f32[3,2,4]
        %1: f32[3,2,4], %2: f32[2], %3: f32[2] = batch_norm(%0, None, None, eps=0.1)
        %4: f32[3,2,4] = relu(%1)
        %5: f32[3,2,4] = exp(%1)
        return %4, %5
        """,
    "twice the same": """
        argument %0: f32[3,2,4]
        %1: f32[3,2,4], %2: f32[2], %3: f32[2] = batch_norm(%0, None, None, eps=0.1)
        %4: f32[3,2,4] = add(%1, %1)
        %5: f32[3,2,4] = relu(%4)
        return %5
        """,
    "the other term is broadcast": """
        argument %0: f32[3,2,4]
        argument %1: f32[2,4]
        %2: f32[3,2,4], %3: f32[2], %4: f32[2] = batch_norm(%0, None, None, eps=0.1)
        %5: f32[3,2,4] = add(%2, %1)
        %6: f32[3,2,4] = relu(%5)
        return %6
        """,
    "the other term comes later": """
        argument %0: f32[3,2,4]
        %1: f32[3,2,4], %2: f32[2], %3: f32[2] = batch_norm(%0, None, None, eps=0.1)
        %4: f32[3,2,4] = exp(%0)
        %5: f32[3,2,4] = add(%1, %4)
        %6: f32[3,2,4] = relu(%5)
        return %6
        """,
    "another bound": """
        argument %0: f32[3,2,4]
        argument %1: f32[3,2,4]
        %2: bool[3,2,4] = less_equal(%1, 1.0)
        %3: f32[3,2,4] = where(%2, 0.0, %0)
        %4: f32[3,2,4], %5: f32[2], %6: f32[2] = batch_norm_gradient(%3, %1, None, eps=0.1)
        return %4
        """,
}


@pytest.mark.parametrize("reason", UNTOUCHED)
def test_not_rectified(reason):
    check(rectify_normalization, UNTOUCHED[reason], UNTOUCHED[reason])


def test_rectified_gradient():
    check(
        rectify_normalization,
        """
        argument %0: f32[3,2,4]
        argument %1: f32[3,2,4]
        argument %2: f32[3,2,4]
        %3: bool[3,2,4] = less_equal(%1, 0)
        %4: f32[3,2,4] = where(%3, 0.0, %0)
        %5: f32[3,2,4], %6: f32[2], %7: f32[2] = batch_norm_gradient(%4, %2, None, eps=0.1)
        return %5, %6, %7
        """,
        """
        argument %0: f32[3,2,4]
        argument %1: f32[3,2,4]
        argument %2: f32[3,2,4]
        %3: bool[3,2,4] = less_equal(%1, 0)
        %5: f32[3,2,4], %6: f32[2], %7: f32[2] = batch_norm_relu_gradient(%0, %1, %2, None, \
with_residual=False, eps=0.1)
        return %5, %6, %7
        """,
    )


def test_rectified_gradient_that_others_need():
    check(
        rectify_normalization,
        """
        argument %0: f32[3,2,4]
        argument %1: f32[3,2,4]
        argument %2: f32[3,2,4]
        %3: bool[3,2,4] = less_equal(%1, 0)
        %4: f32[3,2,4] = where(%3, 0.0, %0)
        %5: f32[3,2,4] = exp(%4)
        %6: f32[3,2,4], %7: f32[2], %8: f32[2] = batch_norm_gradient(%4, %2, None, eps=0.1)
        %9: f32[3,2,4], %10: f32[2], %11: f32[2] = batch_norm_gradient(%4, %1, None, eps=0.1)
        return %5, %6, %9
        """,
        """
        argument %0: f32[3,2,4]
        argument %1: f32[3,2,4]
        argument %2: f32[3,2,4]
        %3: bool[3,2,4] = less_equal(%1, 0)
        %6: f32[3,2,4], %7: f32[2], %8: f32[2], %4: f32[3,2,4] = batch_norm_relu_gradient(%0, %1, %2, None, \
with_residual=True, eps=0.1)
        %5: f32[3,2,4] = exp(%4)
        %9: f32[3,2,4], %10: f32[2], %11: f32[2] = batch_norm_gradient(%4, %1, None, eps=0.1)
        return %5, %6, %9
        """,
    )


def test_folded_into_a_convolution():
    options = "stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=1"
    check(
        fold_normalization,
        f"""
        argument %0: f32[2,3,5,5]
        state %1: f32[4,3,3,3]
        state %2: f32[4]
        state %3: f32[4]
        state %4: f32[4]
        state %5: f32[4]
        constant %6: f32[4] = [0.5, 1.0, 2.0, 3.0]
        %7: f32[2,4,5,5] = convolution(%0, %1, %2, {options})
        %8: f32[2,4,5,5] = batch_norm_inference(%7, %3, %4, %5, %6, eps=0.1)
        return %8
        """,
        f"""
        argument %0: f32[2,3,5,5]
        state %1: f32[4,3,3,3]
        state %2: f32[4]
        state %3: f32[4]
        state %4: f32[4]
        state %5: f32[4]
        constant %6: f32[4] = [0.5, 1.0, 2.0, 3.0]
        %9: f32[4] = add(%6, 0.1)
        %10: f32[4] = rsqrt(%9)
        %11: f32[4] = multiply(%10, %3)
        %12: f32[4] = multiply(%5, %11)
        %13: f32[4] = subtract(%4, %12)
        %14: f32[4] = multiply(%2, %11)
        %15: f32[4] = add(%13, %14)
        %16: f32[4,1,1,1] = reshape(%11, shape=(4, 1, 1, 1))
        %17: f32[4,3,3,3] = multiply(%1, %16)
        %18: f32[2,4,5,5] = convolution(%0, %17, %15, {options})
        return %18
        """,
        exact=False,
    )


def test_a_scale_and_shift_where_elementwise_operations_follow():
    check(
        fold_normalization,
        """
        argument %0: f32[2,3,5]
        state %1: f32[3]
        constant %2: f32[3] = [0.5, 1.0, 2.0]
        %3: f32[2,3,5] = batch_norm_inference(%0, None, None, %1, %2, eps=0.1)
        %4: f32[2,3,5] = relu(%3)
        return %4
        """,
        """
        argument %0: f32[2,3,5]
        state %1: f32[3]
        constant %2: f32[3] = [0.5, 1.0, 2.0]
        %5: f32[3] = add(%2, 0.1)
        %6: f32[3] = rsqrt(%5)
        %7: f32[3] = multiply(%1, %6)
        %8: f32[3] = negative(%7)
        %9: f32[3,1] = reshape(%6, shape=(3, 1))
        %10: f32[3,1] = reshape(%8, shape=(3, 1))
        %11: f32[2,3,5] = multiply(%0, %9)
        %12: f32[2,3,5] = add(%11, %10)
        %4: f32[2,3,5] = relu(%12)
        return %4
        """,
        exact=False,
    )


@pytest.mark.parametrize(
    "text",
    [
        """
        argument %0: f32[2,3,5]
        state %1: f32[3]
        constant %2: f32[3] = [0.5, 1.0, 2.0]
        %3: f32[2,3,5] = batch_norm_inference(%0, None, None, %1, %2, eps=0.1)
        return %3
        """,
        """
        argument %0: f16[2,3,5]
        state %1: f16[3]
        constant %2: f16[3] = [0.5, 1.0, 2.0]
        %3: f16[2,3,5] = batch_norm_inference(%0, None, None, %1, %2, eps=0.1)
        %4: f16[2,3,5] = relu(%3)
        return %4
        """,
    ],
)
def test_not_folded(text):
    check(fold_normalization, text, text)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))
        self.bn1, self.bn2, self.bn3 = (nn.BatchNorm2d(4) for _ in range(3))

    def forward(self, x):
        h = self.conv2(torch.relu(self.bn1(self.conv1(x))))
        x = torch.relu(self.bn2(h) + x)
        return torch.relu(self.bn3(x) + self.conv3(x))


@pytest.mark.parametrize("training", [True, False])
def test_compiled_steps_agree_with_eager_ones(training):
    torch.manual_seed(0)
    net = Block().train(training)
    x = torch.randn(3, 4, 6, 6)

    def step(x):
        for parameter in net.parameters():
            parameter.grad = None
        net(x).square().mean().backward()
        return [p.grad.clone() for p in net.parameters()]

    before = [b.clone() for b in net.buffers()]
    expected = step(x)
    statistics = [b.clone() for b in net.buffers()]
    for buffer, values in zip(net.buffers(), before, strict=True):
        buffer.copy_(values)
    compiled = torch.compile(step)
    for found, wanted in zip(compiled(x), expected, strict=True):
        np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-4, atol=1e-6)
    for found, wanted in zip(net.buffers(), statistics, strict=True):
        np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-5)
    assert ("batch_norm_relu" in compiled.graph()) is training
