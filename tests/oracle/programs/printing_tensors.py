import torch

torch.manual_seed(3)
print(torch.randn(3))
print(torch.randn(2, 3) * 1000)
print(torch.randn(2, 2, 2) * 1e-5)
print(torch.arange(10))
print(torch.arange(10.0))
print(torch.arange(0, 1, 0.1))
print(torch.tensor(3))
print(torch.tensor(3.5))
print(torch.tensor([]))
print(torch.tensor([True, False]))
print(torch.tensor([1e10, 1.0]))
print(torch.tensor([1e-10, 1.0]))
print(torch.tensor([float("nan"), float("inf"), -float("inf"), 1.5]))
print(torch.randn(1001))
print(torch.zeros(100, 100))
print(torch.arange(2000).reshape(20, 100))
print(torch.randn(3, dtype=torch.float64))
print(torch.ones(2, dtype=torch.float16))
print(torch.ones(2, dtype=torch.bfloat16))
print(torch.tensor([1, 2], dtype=torch.int32), torch.tensor([1, 2], dtype=torch.uint8))
x = torch.randn(2, requires_grad=True)
print(x)
print(x * 2)
print((x * 2).sum())
print(x.detach())
print(torch.nn.Parameter(torch.ones(2, 2)))
print(torch.Size([1, 2]), torch.float32, torch.device("cpu"), repr(torch.device("cpu")))
torch.set_printoptions(precision=2)
print(torch.tensor([1.23456, 2.5]))
torch.set_printoptions(profile="default")
torch.set_printoptions(sci_mode=False)
print(torch.tensor([1e-6, 1e6]))
torch.set_printoptions(sci_mode=None)
torch.set_printoptions(threshold=5, edgeitems=2, linewidth=60)
print(torch.arange(50.0).reshape(5, 10))
torch.set_printoptions(profile="default")
print(torch.empty(0, 3))
print(torch.empty(2, 0))
print(torch.zeros(()))
print([torch.tensor(1.0), torch.tensor(2)])
print({"a": torch.ones(1)})
print(f"{torch.tensor(3.14159):.2f}")
print(torch.max(torch.tensor([[1, 5], [7, 2]]), dim=1))
print(torch.sort(torch.tensor([3, 1, 2])))
print(torch.topk(torch.tensor([3.0, 1.0, 2.0]), 2))
print(torch.tensor([[1.0, 2.5], [100000.0, 3]]))
print(torch.tensor([1.0, 2.0, 3.0]))
print(torch.tensor([0.1, 0.22, 0.333]))
print(-torch.arange(5))
print(torch.tensor([-1.5, 2]))
print(torch.linspace(0, 1, 5))
print(torch.logspace(0, 3, 4))
print(torch.eye(3))
print(torch.full((2, 3), 7))
print(torch.full((2,), 1.5))
print(torch.tensor(2.0**40))
print(torch.tensor(1e-20))
print(torch.randint(0, 10, (3, 4)))
print(torch.randperm(8))
print(torch.rand(4) > 0.5)
print(torch.tensor("a") if False else "")
print(str(torch.tensor([1.0])), repr(torch.tensor([1.0])), format(torch.tensor(1.5)), format(torch.tensor([1.5])))
print(torch.tensor(5).item(), torch.tensor([1.5]).tolist(), torch.tensor([[1, 2]]).tolist(), torch.tensor(1.5).tolist())
print(torch.tensor([123456789.0]))
print(torch.tensor([16777217]))
print(torch.tensor([0.00001, 123.0]))
print(torch.tensor([1000.5, 2000.25]))
print(torch.tensor([[[1.0]]]))
print(torch.randn(1, 1, 3, 3))
print(torch.randn(2, 1, 2))
print(torch.zeros(5, dtype=torch.long))
print(torch.tensor([99999.0]), torch.tensor([999999.5]))
print(
    x.grad_fn,
    x.is_leaf,
    x.shape,
    x.size(),
    x.dim(),
    x.ndim,
    x.numel(),
    x.nelement(),
    x.type(),
    x.dtype,
    x.layout,
    x.device,
    x.stride(),
    x.storage_offset(),
    x.is_contiguous(),
    x.element_size(),
    len(x),
)
print(x.size(0), x.new_zeros(2), x.new_tensor([1, 2]), x.new_ones(1), x.new_full((1,), 2.0), x.new_empty(0))
print(torch.finfo(torch.float32))
print(torch.iinfo(torch.int64))
print(torch.finfo(torch.float32).eps, torch.finfo(torch.float16).max)
