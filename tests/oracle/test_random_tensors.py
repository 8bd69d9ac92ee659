"""Random tensors: the functions and methods give PyTorch's numbers from the same seed."""

import pytest

import rushlight

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

EXPRESSIONS = [
    "torch.rand(3, 4)",
    "torch.rand((3, 4), dtype=torch.float64)",
    "torch.rand([])",
    "torch.rand(size=(2, 3))",
    "torch.randn(5, 7)",
    "torch.randn(3)",
    "torch.randn(100, dtype=torch.float16)",
    "torch.randn(100, dtype=torch.bfloat16)",
    "torch.randint(10, (3, 4))",
    "torch.randint(3, 10, (20,))",
    "torch.randint(3, 10, size=(20,), dtype=torch.float32)",
    "torch.randint(low=3, high=10, size=(20,))",
    "torch.randint(0, high=10, size=(20,))",
    "torch.randint(high=10, size=[4])",
    "torch.randint(0, 2**40, (20,))",
    "torch.randint(0, 2, (20,), dtype=torch.bool)",
    "torch.randperm(20)",
    "torch.randperm(20, dtype=torch.int32)",
    "torch.normal(0.0, 1.0, (3, 4))",
    "torch.normal(2, 3, size=(30,))",
    "torch.normal(torch.arange(1.0, 11.0), torch.arange(1.0, 0.0, -0.1))",
    "torch.normal(mean=0.5, std=torch.arange(1.0, 6.0))",
    "torch.normal(torch.arange(1.0, 6.0))",
    "torch.normal(torch.arange(1.0, 21.0), 0.5)",
    "torch.normal(torch.zeros(4, 1), torch.ones(5))",
    "torch.bernoulli(torch.full((3, 4), 0.3))",
    "torch.bernoulli(torch.full((30,), 0.3, dtype=torch.float64))",
    "torch.bernoulli(torch.zeros(30), 0.5)",
    "torch.multinomial(torch.tensor([0.0, 10.0, 3.0, 0.0]), 2)",
    "torch.multinomial(torch.tensor([0.0, 10.0, 3.0, 0.0]), 4, replacement=True)",
    "torch.multinomial(torch.ones(3, 5), 2)",
    "torch.poisson(torch.full((20,), 3.0))",
    "torch.rand_like(torch.zeros(3, 4))",
    "torch.randn_like(torch.zeros(3, 4).t())",
    "torch.randn_like(torch.zeros(30, dtype=torch.float64))",
    "torch.randn_like(torch.zeros(30), dtype=torch.float64)",
    "torch.randint_like(torch.zeros(3, 4), 10)",
    "torch.randint_like(torch.zeros(3, 4, dtype=torch.int64), 5, 10)",
    "torch.empty(3, 5).normal_()",
    "torch.empty(3, 5).normal_(1.0, std=0.1)",
    "torch.empty(30, 5).t().normal_(mean=1.0)",
    "torch.empty(3, 5).uniform_(-1, 1)",
    "torch.empty(3, 5).uniform_(to=3)",
    "torch.empty(3, 5).uniform_(**{'from': -2, 'to': 3})",
    "torch.empty(5, dtype=torch.int64).random_()",
    "torch.empty(5, dtype=torch.int64).random_(10)",
    "torch.empty(5, dtype=torch.int64).random_(5, 10)",
    "torch.empty(5, dtype=torch.int64).random_(5, to=10)",
    "torch.empty(3, 5).bernoulli_()",
    "torch.empty(3, 5).bernoulli_(0.2)",
    "torch.empty(3, 5).bernoulli_(torch.full((5,), 0.2))",
    "torch.empty(3, 5).bernoulli_(torch.tensor(0.2))",
    "torch.empty(3, 5).exponential_()",
    "torch.empty(3, 5).exponential_(lambd=2.0)",
    "torch.empty(3, 5).log_normal_(0.1, 0.2)",
    "torch.empty(3, 5).geometric_(0.2)",
    "torch.empty(3, 5).cauchy_(sigma=0.1)",
    "torch.ones(3).multinomial(2)",
    "torch.rand(3, generator=torch.Generator().manual_seed(4))",
    "torch.randperm(9, generator=torch.Generator().manual_seed(4))",
    "torch.zeros(4, 4)[1:3].normal_()",
    "torch.rand(2, 3, requires_grad=True)",
    "torch.randn(4, out=torch.empty(4))",
    "torch.get_rng_state()",
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_same_numbers(expression):
    results, after = [], []
    for library in (rushlight, torch):
        library.manual_seed(123)
        results.append(eval(expression, {"torch": library}))
        after.append(library.rand(1, dtype=library.float64).item())
    ours, theirs = results
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert repr(ours.dtype) == repr(theirs.dtype)
    assert ours.requires_grad == theirs.requires_grad
    assert ours.stride() == theirs.stride()
    for a, b in zip(ours.double().flatten().tolist(), theirs.double().flatten().tolist(), strict=True):
        assert a == pytest.approx(b, rel=2e-2 if "bfloat16" in expression else 1e-5, abs=1e-6)
    assert after[0] == after[1]


def test_states_go_between_the_libraries():
    rushlight.manual_seed(5)
    rushlight.randn(3)
    torch.set_rng_state(torch.from_numpy(rushlight.get_rng_state().numpy()))
    expected = torch.randn(30)
    state = rushlight.get_rng_state()
    assert rushlight.randn(30).tolist() == pytest.approx(expected.tolist(), abs=1e-6)
    rushlight.set_rng_state(state)
    assert rushlight.randn(30).tolist() == pytest.approx(expected.tolist(), abs=1e-6)
