"""Models spread over ranks: FSDP, fully_shard, tensor parallelism, pipelines, checkpoints, torchrun. Losses are those of one process."""

import os
import subprocess
import sys
import textwrap

import pytest
import ranks
import torch
import torch.distributed as dist
from ranks_training import alone, assert_trained, batches, net, train, weights_of
from torch import nn

ANYGPU = "anygpu"
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def whole(model):
    """Weights of a model of DTensors."""
    return [p.full_tensor().detach().cpu() for p in model.parameters()]


def _mesh(*sizes, names=None):
    return dist.init_device_mesh(ANYGPU, sizes, mesh_dim_names=names)


# ---- fully sharded ----


def _fully_shard(rank, how):
    from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, fully_shard

    n = dist.get_world_size()
    options = {"mesh": _mesh(2, n // 2, names=("copy", "shard")) if how == "hybrid" else _mesh(n)}
    if how == "offload":
        options["offload_policy"] = CPUOffloadPolicy()
    if how == "bf16":
        options["mp_policy"] = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    model = net().to(ANYGPU)
    for layer in (model.a, model.b, model.odd):
        fully_shard(layer, **options)
    fully_shard(model, **options)
    losses = train(model, batches(rank, n, ANYGPU))
    assert model.a.weight.device.type == ("cpu" if how == "offload" else ANYGPU)
    assert model.a.weight.to_local().numel() < model.a.weight.numel()
    return losses, whole(model)


@pytest.mark.parametrize("n, how", [(2, "plain"), (4, "hybrid"), (2, "offload"), (2, "bf16")])
def test_fully_shard(n, how, tmp_path):
    env = {"ANYGPU_DEVICES": "cpu,cpu"} if n == 4 else {}
    answers = ranks.run(_fully_shard, n, tmp_path, how, env=env)
    assert_trained(answers, **({"rtol": 5e-2, "atol": 5e-2} if how == "bf16" else CLOSE))


def _fsdp1(rank, strategy):
    from torch.distributed.fsdp import FullyShardedDataParallel, ShardingStrategy
    from torch.distributed.fsdp.wrap import ModuleWrapPolicy

    model = FullyShardedDataParallel(
        net().to(ANYGPU),
        device_id=torch.device(ANYGPU, 0),
        sharding_strategy=getattr(ShardingStrategy, strategy),
        auto_wrap_policy=ModuleWrapPolicy({nn.Linear}),
        use_orig_params=True,
    )
    losses = train(model, batches(rank, dist.get_world_size(), ANYGPU))
    with FullyShardedDataParallel.summon_full_params(model):
        return losses, weights_of(model)


@pytest.mark.parametrize("strategy", ["FULL_SHARD", "SHARD_GRAD_OP", "NO_SHARD"])
def test_fsdp1(strategy, tmp_path):
    assert_trained(ranks.run(_fsdp1, 2, tmp_path, strategy), **CLOSE)


# ---- tensor parallel ----


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down, self.norm = nn.Linear(6, 16), nn.Linear(16, 3), nn.LayerNorm(6)
        self.tokens = nn.Embedding(10, 6)

    def forward(self, x):
        x = x + self.tokens((x.detach().sum(-1) > 0).long())
        return self.down(torch.relu(self.up(self.norm(x))))


def block():
    torch.manual_seed(5)
    return Block()


def _tensor_parallel(rank):
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    plan = {"up": ColwiseParallel(), "down": RowwiseParallel()}
    model = parallelize_module(block().to(ANYGPU), _mesh(dist.get_world_size()), plan)
    losses = train(model, batches(0, 1, ANYGPU))  # all ranks see the same rows
    return losses, [p.full_tensor().detach().cpu() if hasattr(p, "full_tensor") else p.detach().cpu() for p in model.parameters()]


def test_tensor_parallel(tmp_path):
    model = block()
    losses = train(model, batches())
    for found, weights in ranks.run(_tensor_parallel, 2, tmp_path):
        torch.testing.assert_close(found, losses, **CLOSE)
        torch.testing.assert_close(weights, [p.detach() for p in model.parameters()], **CLOSE)


def _dtensor(rank):
    from torch.distributed.tensor import Partial, Replicate, Shard, distribute_tensor

    n = dist.get_world_size()
    mesh, g = _mesh(n), torch.Generator().manual_seed(0)
    x, w = torch.randn(5, 6, generator=g), torch.randn(6, 4, generator=g)  # 5 rows: uneven shards
    a, b = distribute_tensor(x.to(ANYGPU), mesh, [Shard(0)]), distribute_tensor(w.to(ANYGPU), mesh, [Shard(1)])
    assert a.to_local().device.type == ANYGPU
    torch.testing.assert_close((a @ b.redistribute(mesh, [Replicate()])).full_tensor().cpu(), x @ w)
    torch.testing.assert_close(a.redistribute(mesh, [Shard(1)]).full_tensor().cpu(), x)
    torch.testing.assert_close(a.sum().full_tensor().cpu(), x.sum())
    torch.testing.assert_close(a.mean(0).full_tensor().cpu(), x.mean(0))
    torch.testing.assert_close(torch.softmax(a, 1).full_tensor().cpu(), torch.softmax(x, 1))
    c = distribute_tensor(x.to(ANYGPU), mesh, [Shard(1)]) @ distribute_tensor(w.to(ANYGPU), mesh, [Shard(0)])
    assert c.placements == (Partial(),)
    torch.testing.assert_close(c.redistribute(mesh, [Shard(0)]).full_tensor().cpu(), x @ w)
    two = _mesh(2, n // 2, names=("a", "b"))
    both = distribute_tensor(x.to(ANYGPU), two, [Shard(0), Shard(1)])
    torch.testing.assert_close(both.full_tensor().cpu(), x)
    torch.manual_seed(rank)
    r = torch.distributed.tensor.rand(4, 4, device_mesh=mesh, placements=[Replicate()])
    everyone = [torch.empty(4, 4, device=ANYGPU) for _ in range(n)]
    dist.all_gather(everyone, r.to_local())
    assert all(torch.equal(e.cpu(), everyone[0].cpu()) for e in everyone)


def test_dtensor(tmp_path):
    ranks.run(_dtensor, 4, tmp_path)


# ---- pipelines ----


def _pipeline(rank, schedule):
    from torch.distributed import pipelining

    n, whole = dist.get_world_size(), net()
    stages = [nn.Sequential(whole.a, nn.ReLU(), whole.norm), nn.Sequential(whole.b, nn.Tanh(), whole.odd, whole.c)]
    mine = stages[rank].to(ANYGPU)
    stage = pipelining.PipelineStage(mine, rank, n, torch.device(ANYGPU, 0))
    run = getattr(pipelining, schedule)(stage, n_microbatches=4, loss_fn=nn.functional.mse_loss)
    optimizer, losses = torch.optim.SGD(mine.parameters(), lr=0.1, momentum=0.9), []
    for x, y in batches(0, 1, ANYGPU):
        if rank == 0:
            run.step(x)
        else:
            parts = []
            run.step(target=y, losses=parts)
            losses.append(torch.stack(parts).mean().detach().cpu())
        optimizer.step()
        optimizer.zero_grad()
    return losses


@pytest.mark.parametrize("schedule", ["ScheduleGPipe", "Schedule1F1B"])
def test_pipeline(schedule, tmp_path):
    _, losses = ranks.run(_pipeline, 2, tmp_path, schedule)
    torch.testing.assert_close(torch.stack(losses), alone()[0], **CLOSE)


# ---- checkpoints ----


def _save(rank, folder):
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import get_state_dict
    from torch.distributed.fsdp import fully_shard

    model = fully_shard(net().to(ANYGPU), mesh=_mesh(dist.get_world_size()))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    train(model, batches(rank, dist.get_world_size(), ANYGPU), optimizer)
    weights, state = get_state_dict(model, optimizer)
    dcp.save({"model": weights, "optimizer": state}, checkpoint_id=folder)
    return train(model, batches(rank, dist.get_world_size(), ANYGPU), optimizer)


def _load(rank, folder):
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
    from torch.distributed.fsdp import fully_shard

    n = dist.get_world_size()
    model = net().to(ANYGPU) if n == 1 else fully_shard(net().to(ANYGPU), mesh=_mesh(n))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.5)
    weights, state = get_state_dict(model, optimizer)
    dcp.load({"model": weights, "optimizer": state}, checkpoint_id=folder)
    set_state_dict(model, optimizer, model_state_dict=weights, optim_state_dict=state)
    return train(model, batches(rank, n, ANYGPU), optimizer)


def test_checkpoints_are_read_by_another_number_of_ranks(tmp_path):
    folder = str(tmp_path / "saved")
    wanted = torch.stack(ranks.run(_save, 2, tmp_path, folder)).mean(0)
    for n in (1, 4):
        found = torch.stack(ranks.run(_load, n, tmp_path, folder)).mean(0)
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)


# ---- torchrun ----

SCRIPT = """
    import os, sys, torch, torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    start, rank, n = (os.environ[k] for k in ("TORCHELASTIC_RESTART_COUNT", "RANK", "WORLD_SIZE"))
    dist.init_process_group(init_method=f"file://{sys.argv[1]}/store{start}", rank=int(rank), world_size=int(n))
    rank = dist.get_rank()
    model = DistributedDataParallel(torch.nn.Linear(4, 2).to("anygpu"))
    for step in range(3):
        model(torch.ones(8, 4, device="anygpu") * rank).sum().backward()
        if step == 1 and rank == 1 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            os.kill(os.getpid(), 9)
    total = torch.ones(1, device="anygpu")
    dist.all_reduce(total)
    with open(f"{sys.argv[1]}/rank{rank}", "w") as f:
        f.write(f"{total.item()} {os.environ['TORCHELASTIC_RESTART_COUNT']}")
    dist.destroy_process_group()
"""


def test_torchrun_starts_again(tmp_path):
    """Each start has a store of its own: torchrun's keeps the addresses of those who died, and stock PyTorch's CPU starts again in three
    of six runs."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1"]
    env = dict(os.environ, OMP_NUM_THREADS="1")
    done = subprocess.run([*command, str(script), str(tmp_path)], capture_output=True, text=True, env=env, timeout=1800)
    assert done.returncode == 0, done.stderr[-4000:]
    told = [(tmp_path / f"rank{r}").read_text().split() for r in range(2)]
    assert [total for total, _ in told] == ["2.0"] * 2 and all(int(restarts) > 0 for _, restarts in told)
