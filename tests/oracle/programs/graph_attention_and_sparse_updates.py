import torch
from torch import nn, optim
import torch.nn.functional as F

torch.manual_seed(0)

# softmax over the edges that arrive at a node
index = torch.tensor([0, 0, 1, 2, 2, 2])
scores = torch.randn(6, 2, requires_grad=True)
largest = torch.full((4, 2), float("-inf")).scatter_reduce(0, index[:, None].expand_as(scores), scores, "amax")
e = (scores - largest[index]).exp()
weights = e / torch.zeros(4, 2).index_add(0, index, e)[index]
weights[:, 0].pow(2).sum().backward()
print(largest.detach(), scores.grad[:, 0])
print(torch.histogram(torch.arange(10.0), density=True).hist.sum())

# embeddings, and an optimizer that moves only what was looked up
for index in ([-1, 2], [0, 5]):
    for layer in (nn.Embedding(5, 3), nn.EmbeddingBag(5, 3)):
        try:
            layer(torch.tensor([index]))
        except IndexError as error:
            print("refused")
        except RuntimeError as error:  # what PyTorch's EmbeddingBag raises
            print("refused")
embedding = nn.Embedding(6, 3, sparse=True)
optimizer = optim.SparseAdam(embedding.parameters(), lr=0.1)
for i in range(4):
    optimizer.zero_grad()
    loss = F.mse_loss(embedding(torch.tensor([[0, 1 + i % 3], [1, 1]])), torch.ones(2, 2, 3))
    loss.backward()
    optimizer.step()
    print(loss.item())
print(embedding.weight)

# hooks of optimizers
model = nn.Linear(2, 1)
optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
optimizer.register_step_pre_hook(lambda o, args, kwargs: print("before", len(args), kwargs))
optimizer.register_step_post_hook(lambda o, args, kwargs: print("after", len(args), kwargs))
model(torch.ones(1, 2)).sum().backward()
optimizer.step()
optimizer.register_state_dict_pre_hook(lambda o: print("saving"))
optimizer.register_state_dict_post_hook(lambda o, state: {**state, "mine": 1})
optimizer.register_state_dict_post_hook(lambda o, state: print("first"), prepend=True)
state = optimizer.state_dict()
print(sorted(state))
optimizer.register_load_state_dict_pre_hook(lambda o, state: {k: v for k, v in state.items() if k != "mine"})
optimizer.register_load_state_dict_post_hook(lambda o: print("loaded"))
optimizer.load_state_dict(state)
cyclic = optim.lr_scheduler.CyclicLR(
    optimizer, 0.01, 0.1, 3, mode="triangular2", base_momentum=[0.7], max_momentum=[0.8]
)
for _ in range(7):
    optimizer.step()
    cyclic.step()
print(optimizer.param_groups[0]["momentum"], sorted(k for k in cyclic.state_dict() if k[0] != "_"))
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

state = {f"module.{k}": v for k, v in model.state_dict().items()}
consume_prefix_in_state_dict_if_present(state, "module.")
print(model.load_state_dict(state), torch.cuda.get_rng_state_all())
output = nn.MSELoss()(model(torch.ones(1, 2)), torch.ones(1, 1))
print(output.grad_fn.name(), output.grad_fn.next_functions[0][0].name())
