"""Scripts for one process or several: a trainer with checkpoints, averages and schedules, and a group of one."""

import os, math, argparse, inspect
import torch, torch.nn as nn, torch.nn.functional as F, torch.distributed as dist
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.optim.lr_scheduler import LambdaLR, SequentialLR, LinearLR, CosineAnnealingLR
from torch.optim.swa_utils import AveragedModel, SWALR, update_bn, get_ema_multi_avg_fn
from contextlib import nullcontext

ddp = int(os.environ.get("RANK", -1)) != -1
if ddp:
    dist.init_process_group("nccl")
rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)
master_process = rank == 0
torch.manual_seed(1337 + rank)
torch.backends.cuda.matmul.allow_tf32 = True
torch.backends.cudnn.allow_tf32 = True
device_type = "cuda" if torch.cuda.is_available() else "cpu"
dtype = "bfloat16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float32"
ptdtype = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[dtype]
ctx = nullcontext() if device_type == "cpu" else torch.amp.autocast(device_type=device_type, dtype=ptdtype)
model = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 4)).to(device_type)
fused_available = "fused" in inspect.signature(torch.optim.AdamW).parameters
use_fused = fused_available and device_type == "cuda"
extra_args = dict(fused=True) if use_fused else dict()
decay = [p for n, p in model.named_parameters() if p.dim() >= 2]
nodecay = [p for n, p in model.named_parameters() if p.dim() < 2]
print(
    f"num decayed parameter tensors: {len(decay)}, with {sum(p.numel() for p in decay):,} parameters", fused_available
)
optimizer = torch.optim.AdamW(
    [{"params": decay, "weight_decay": 0.1}, {"params": nodecay, "weight_decay": 0.0}],
    lr=1e-2,
    betas=(0.9, 0.95),
    **extra_args,
)
scaler = torch.amp.GradScaler(device_type, enabled=(dtype == "float16"))


def get_cosine_schedule_with_warmup(optimizer, num_warmup_steps, num_training_steps, num_cycles=0.5, last_epoch=-1):
    def lr_lambda(current_step):
        if current_step < num_warmup_steps:
            return float(current_step) / float(max(1, num_warmup_steps))
        progress = float(current_step - num_warmup_steps) / float(max(1, num_training_steps - num_warmup_steps))
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * float(num_cycles) * 2.0 * progress)))

    return LambdaLR(optimizer, lr_lambda, last_epoch)


scheduler = get_cosine_schedule_with_warmup(optimizer, 2, 8)
ds = TensorDataset(torch.randn(64, 8), torch.randint(0, 4, (64,)))
sampler = DistributedSampler(ds, num_replicas=world, rank=rank, shuffle=True, seed=0)
loader = DataLoader(ds, batch_size=8, sampler=sampler)
ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
accum = 2
raw_model = model.module if ddp else model
for epoch in range(2):
    sampler.set_epoch(epoch)
    for i, (x, y) in enumerate(loader):
        if device_type == "cuda":
            x, y = x.pin_memory().to("cuda", non_blocking=True), y
        with ctx:
            loss = F.cross_entropy(model(x), y, label_smoothing=0.1) / accum
        scaler.scale(loss).backward()
        if (i + 1) % accum == 0:
            scaler.unscale_(optimizer)
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)
            scheduler.step()
            ema.update_parameters(model)
    print(f"epoch {epoch} loss {loss.item() * accum:.4f}, norm {norm.item():.4f} lr {scheduler.get_last_lr()[0]:.5f}")
    torch.save(
        {
            "model": raw_model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scaler": scaler.state_dict(),
            "sched": scheduler.state_dict(),
            "epoch": epoch,
            "config": dict(lr=1e-2),
            "args": argparse.Namespace(lr=0.1),
            "rng": torch.get_rng_state(),
        },
        "ckpt.pt",
    )
ck = torch.load("ckpt.pt", map_location=device_type, weights_only=False)
print(sorted(ck), ck["args"].lr, ck["sched"]["last_epoch"])
unwanted_prefix = "_orig_mod."
state_dict = {"_orig_mod." + k: v for k, v in ck["model"].items()}
for k, v in list(state_dict.items()):
    if k.startswith(unwanted_prefix):
        state_dict[k[len(unwanted_prefix) :]] = state_dict.pop(k)
print(model.load_state_dict(state_dict))
with torch.no_grad():
    print(F.cross_entropy(ema(x), y).item(), ema.n_averaged)
o = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
s1, s2 = LinearLR(o, 0.1, total_iters=3), CosineAnnealingLR(o, 5)
s = SequentialLR(o, [s1, s2], milestones=[3])
lrs = []
for _ in range(7):
    lrs.append(round(o.param_groups[0]["lr"], 5))
    o.step()
    s.step()
print(lrs)
swa = AveragedModel(model)
ss = SWALR(o, swa_lr=0.05, anneal_epochs=2)
swa.update_parameters(model)
ss.step()
print(round(o.param_groups[0]["lr"], 5))
update_bn(loader, swa)
print(o)


# a group of one
from torch.distributed import init_process_group, destroy_process_group


def main(rank=0, world_size=1):
    init_process_group("gloo", init_method="file://" + os.path.abspath("group"), rank=rank, world_size=world_size)
    print(dist.get_rank(), dist.get_world_size(), dist.is_initialized(), dist.get_backend())
    model = DDP(nn.Linear(4, 2))
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    with model.no_sync():
        model(torch.ones(2, 4)).sum().backward()
    model(torch.ones(2, 4)).sum().backward()
    opt.step()
    print(model.module.weight, list(model.state_dict()), isinstance(model, DDP))
    t = torch.ones(3) * 2
    dist.all_reduce(t, op=dist.ReduceOp.SUM)
    print(t / dist.get_world_size())
    out = [torch.zeros(3) for _ in range(1)]
    dist.all_gather(out, t)
    print(out)
    dist.barrier()
    dist.broadcast(t, src=0)
    destroy_process_group()


main()
