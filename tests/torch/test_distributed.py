"""torch.distributed on anygpu: ranks are processes here, the oracle is the same call on CPU tensors, or training in one process."""

import os

import pytest
import ranks
import torch
import torch.distributed as dist
from ranks_training import assert_trained, batches, net, train, weights_of
from torch import nn

ANYGPU = "anygpu"


def same(f, **tolerances):
    """f(device) on both; compares all tensors that it returns."""
    wanted, found = f("cpu"), f(ANYGPU)
    for w, g in zip(wanted, found, strict=True):
        assert g.device.type == ANYGPU, g.device
        torch.testing.assert_close(g.cpu(), w, **(tolerances or {"rtol": 0, "atol": 0}), equal_nan=True)
    return found


def numbers(rank, device, *sizes, dtype=torch.float32):
    """Small whole numbers, other ones in each rank: every dtype has their sums."""
    g = torch.Generator().manual_seed(rank)
    return torch.randint(1, 4, sizes, generator=g).to(dtype).to(device)


# ---- collectives ----

REDUCED = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.int64, torch.uint8, torch.int8]
MOVED = [*REDUCED, torch.bool, torch.int16, torch.complex64, torch.complex128]


def _reductions(rank):
    n, R = dist.get_world_size(), dist.ReduceOp

    def all_reduce(op, dtype):
        def f(device):
            t = numbers(rank, device, 5, 3, dtype=dtype)
            dist.all_reduce(t, op)
            return [t]

        return f

    for dtype in REDUCED:
        ops = [R.SUM, R.PRODUCT, R.MIN, R.MAX] + ([] if dtype.is_floating_point else [R.BAND, R.BOR, R.BXOR])
        for op in ops:
            same(all_reduce(op, dtype))
    for op in (R.SUM, R.MAX):  # to one rank; what the others are left with is undefined

        def reduce(device, op=op):
            t = numbers(rank, device, 7)
            dist.reduce(t, n - 1, op)
            return [t] if rank == n - 1 else []

        same(reduce)
    t = torch.full((3,), float(rank), device=ANYGPU)
    dist.all_reduce(t, R.AVG)
    torch.testing.assert_close(t.cpu(), torch.full((3,), (n - 1) / 2))
    t = torch.full((3,), float(rank), device=ANYGPU)
    dist.all_reduce(t, dist._make_nccl_premul_sum(0.5))
    torch.testing.assert_close(t.cpu(), torch.full((3,), n * (n - 1) / 4))
    t = torch.full((2,), complex(rank, 1), device=ANYGPU)
    dist.all_reduce(t)
    assert t.cpu().tolist() == [complex(n * (n - 1) / 2, n)] * 2


def _moves(rank):
    n = dist.get_world_size()
    for dtype in MOVED:
        for sizes in ((), (4,), (2, 3)):
            x = lambda device: numbers(rank, device, *sizes, dtype=dtype)  # noqa: B023, E731
            outputs = lambda device: [torch.empty(sizes, dtype=dtype, device=device) for _ in range(n)]  # noqa: B023, E731

            def of_rank(r):
                return numbers(r, "cpu", *sizes, dtype=dtype)  # noqa: B023

            t = x(ANYGPU)
            dist.broadcast(t, n - 1)
            assert torch.equal(t.cpu(), of_rank(n - 1))
            out = outputs(ANYGPU)
            dist.all_gather(out, x(ANYGPU))
            assert all(torch.equal(out[r].cpu(), of_rank(r)) for r in range(n))
            out = outputs(ANYGPU) if rank == 0 else None
            dist.gather(x(ANYGPU), out, 0)
            assert rank or all(torch.equal(out[r].cpu(), of_rank(r)) for r in range(n))
            t = torch.empty(sizes, dtype=dtype, device=ANYGPU)
            dist.scatter(t, [of_rank(r).to(ANYGPU) for r in range(n)] if rank == 0 else None, 0)
            assert torch.equal(t.cpu(), of_rank(rank))
            out = outputs(ANYGPU)
            dist.all_to_all(out, [x(ANYGPU) for _ in range(n)])
            assert all(torch.equal(out[r].cpu(), of_rank(r)) for r in range(n))
    big = torch.empty(2 * n, 3, device=ANYGPU)
    dist.all_gather_into_tensor(big, numbers(rank, ANYGPU, 2, 3))
    assert torch.equal(big.cpu(), torch.cat([numbers(r, "cpu", 2, 3) for r in range(n)]))


def _scattered_sums(rank):
    n = dist.get_world_size()
    whole = sum(numbers(r, "cpu", 2 * n, 3) for r in range(n))
    for op, wanted in ((dist.ReduceOp.SUM, whole), (dist.ReduceOp.AVG, whole / n)):
        source = numbers(rank, ANYGPU, 2 * n, 3)
        t = torch.empty(2, 3, device=ANYGPU)
        dist.reduce_scatter_tensor(t, source, op)
        torch.testing.assert_close(t.cpu(), wanted[2 * rank : 2 * rank + 2])
        assert torch.equal(source.cpu(), numbers(rank, "cpu", 2 * n, 3)), "the source stays"
        dist.reduce_scatter(t, list(source.chunk(n)), op)
        torch.testing.assert_close(t.cpu(), wanted[2 * rank : 2 * rank + 2])


def _exchanges(rank):
    n = dist.get_world_size()
    sends = [(rank + r) % 3 for r in range(n)]  # how many rows go to rank r; some send none
    gets = [(r + rank) % 3 for r in range(n)]

    def f(device):
        t = torch.empty(sum(gets), 2, device=device)
        dist.all_to_all_single(t, numbers(rank, device, sum(sends), 2), gets, sends)
        return [t]

    same(f)


def _layouts(rank):
    """Views, gaps, transposed ones, and none at all: as they lie in memory, and nothing beside them changes."""
    n = dist.get_world_size()
    base = torch.arange(24.0, device=ANYGPU).reshape(4, 6)
    dist.all_reduce(base[:, 1:3])
    dist.all_reduce(base.t()[4:])
    wanted = torch.arange(24.0).reshape(4, 6)
    wanted[:, 1:3] *= n
    wanted[:, 4:] *= n
    assert torch.equal(base.cpu(), wanted)
    parts = torch.zeros(n, 3, device=ANYGPU)
    dist.all_gather(list(parts), torch.full((3,), float(rank), device=ANYGPU))
    assert torch.equal(parts.cpu(), torch.arange(float(n))[:, None].expand(n, 3))
    columns = torch.zeros(3, n, device=ANYGPU)
    dist.all_gather(list(columns.unbind(1)), torch.full((3,), float(rank), device=ANYGPU))
    assert torch.equal(columns.cpu(), torch.arange(float(n)).expand(3, n))
    nothing = torch.empty(0, 3, device=ANYGPU)
    dist.all_reduce(nothing)
    assert nothing.shape == (0, 3)


def _peers(rank):
    n = dist.get_world_size()
    right, left = (rank + 1) % n, (rank - 1) % n
    got = torch.empty(3, dtype=torch.bfloat16, device=ANYGPU)
    works = [dist.irecv(got, left), dist.isend(torch.full((3,), float(rank), dtype=torch.bfloat16, device=ANYGPU), right)]
    [w.wait() for w in works]
    assert got.tolist() == [float(left)] * 3
    if rank == 0:
        dist.send(torch.arange(4, device=ANYGPU), 1, tag=7)
    elif rank == 1:
        got = torch.empty(4, dtype=torch.int64, device=ANYGPU)
        assert dist.recv(got, tag=7) == 0  # from whoever sends
        assert got.tolist() == [0, 1, 2, 3]
    sent, got = torch.full((2, 2), rank, device=ANYGPU), torch.empty(2, 2, dtype=torch.int64, device=ANYGPU)
    ops = [dist.P2POp(dist.isend, sent, right), dist.P2POp(dist.irecv, got.t(), left)]
    [w.wait() for w in dist.batch_isend_irecv(ops)]
    assert got.tolist() == [[left] * 2] * 2
    # Received in another order than asked for.
    a, b = torch.empty(1, device=ANYGPU), torch.empty(1, device=ANYGPU)
    wa, wb = dist.irecv(a, left, tag=1), dist.irecv(b, left, tag=2)
    dist.isend(torch.tensor([2.0], device=ANYGPU), right, tag=2)
    wb.wait()
    dist.isend(torch.tensor([1.0], device=ANYGPU), right, tag=1)
    wa.wait()
    assert (a.item(), b.item()) == (1.0, 2.0)


def _objects(rank):
    n = dist.get_world_size()
    out = [None] * n
    dist.all_gather_object(out, {"rank": rank, "t": torch.ones(2)})
    assert [o["rank"] for o in out] == list(range(n))
    given = [("a", rank)] if rank == 0 else [None]
    dist.broadcast_object_list(given, 0)
    assert given == [("a", 0)]
    dist.broadcast_object_list(given, 0, device=torch.device(ANYGPU))
    assert given == [("a", 0)]
    mine = [None]
    dist.scatter_object_list(mine, [f"for {r}" for r in range(n)] if rank == 0 else None, 0)
    assert mine == [f"for {rank}"]


def _works(rank):
    n = dist.get_world_size()
    x = torch.full((1000,), 1.0, device=ANYGPU)
    work = dist.all_reduce(x, async_op=True)
    y = torch.ones(10, device=ANYGPU) * 3  # the device goes on meanwhile
    assert work.wait() and work.is_completed() and work.is_success() and y.sum().item() == 30
    assert x[0].item() == n
    doubled = dist.all_reduce(x, async_op=True).get_future().then(lambda f: f.value()[0] * 2)
    assert doubled.wait()[5].item() == 2 * n * n
    assert torch.equal(x.cpu(), torch.full((1000,), float(n * n)))
    # Who reads without waiting is made to wait: there is no moment at which half of the result is seen.
    for _ in range(10):
        z = torch.full((50000,), 1.0, device=ANYGPU)
        work = dist.all_reduce(z, async_op=True)
        total = (z + 1).sum()
        assert total.item() == 50000.0 * (n + 1)
        work.wait()
    with dist._coalescing_manager(device=torch.device(ANYGPU), async_ops=True) as together:
        parts = [torch.full((i + 1,), float(rank), device=ANYGPU) for i in range(3)]
        [dist.all_reduce(p) for p in parts]
    together.wait()
    assert [p[-1].item() for p in parts] == [n * (n - 1) / 2] * 3
    dist.barrier()
    dist.barrier(device_ids=[0])


def _functional(rank):
    import torch.distributed._functional_collectives as fc

    n, group = dist.get_world_size(), dist.group.WORLD
    x = torch.full((n, 2), float(rank + 1), device=ANYGPU)
    total = n * (n + 1) / 2
    assert fc.all_reduce(x, "sum", group).cpu().eq(total).all()
    assert fc.all_reduce(x, "avg", group).cpu().eq(total / n).all()
    assert fc.all_gather_tensor(x, 0, group)[::n, 0].tolist() == [r + 1.0 for r in range(n)]
    assert fc.all_gather_tensor(x, 1, group)[0, ::2].tolist() == [r + 1.0 for r in range(n)]
    assert fc.reduce_scatter_tensor(x, "sum", 0, group).tolist() == [[total] * 2]
    assert fc.broadcast(x, n - 1, group).cpu().eq(n).all()
    assert fc.all_to_all_single(x, None, None, group)[:, 0].tolist() == [r + 1.0 for r in range(n)]
    assert [t.cpu().unique().item() for t in fc.all_reduce_coalesced([x, 2 * x], "sum", group)] == [total, 2 * total]
    a, b = fc.all_gather_into_tensor_coalesced([x, x[:1]], group)
    assert a.shape == (n * n, 2) and b[:, 1].tolist() == [r + 1.0 for r in range(n)]
    assert fc.reduce_scatter_tensor_coalesced([x, x], "sum", [0, 0], group)[1].tolist() == [[total] * 2]
    y = x.clone().requires_grad_()
    fc.all_reduce(y, "sum", group)


def _groups(rank):
    n = dist.get_world_size()
    for r in range(n):
        g = dist.new_group([r, (r + 1) % n])
        if rank in (r, (r + 1) % n):
            t = torch.ones(3, device=ANYGPU)
            dist.all_reduce(t, group=g)
            assert t.tolist() == [2.0] * 3
            dist.all_reduce(t.cpu(), group=g)
    assert dist.get_default_backend_for_device(ANYGPU) == "anygpu"


CHECKS = [_reductions, _moves, _scattered_sums, _exchanges, _layouts, _peers, _objects, _works, _functional, _groups]


def _all(rank, backend):
    for check in CHECKS:
        check(rank)
    x = torch.ones(2)
    dist.all_reduce(x)  # CPU tensors of the same group
    assert x.tolist() == [float(dist.get_world_size())] * 2
    dist.all_reduce(torch.ones(2, device=ANYGPU))
    assert torch.device("cpu") in dist.group.WORLD._device_types
    if backend == "gloo":
        dist.monitored_barrier()


@pytest.mark.parametrize("n, backend", [(2, None), (4, "gloo")])
def test_every_collective(n, backend, tmp_path):
    ranks.run(_all, n, tmp_path, backend, backend=backend)


def _few(rank):
    t = torch.full((2,), 1.0, device=ANYGPU)
    dist.all_reduce(t)
    c = torch.ones(2)
    dist.all_reduce(c)
    dist.barrier()
    return t.tolist() + c.tolist()


@pytest.mark.parametrize("backend", ["anygpu", "cpu:gloo,anygpu:anygpu"])
def test_ways_to_name_the_backend(backend, tmp_path):
    assert ranks.run(_few, 2, tmp_path, backend=backend) == [[2.0] * 4] * 2


# ---- data parallel: after some steps the weights are those of one process that saw all data ----

DDP = {
    "plain": {},
    "buckets": {"bucket_cap_mb": 0.0005},
    "views": {"gradient_as_bucket_view": True, "bucket_cap_mb": 0.0005},
    "static": {"static_graph": True},
    "unused": {"find_unused_parameters": True},
}


def _ddp(rank, skip, kwargs):
    model = nn.parallel.DistributedDataParallel(net().to(ANYGPU), **kwargs)
    losses = train(model, batches(rank, dist.get_world_size(), ANYGPU), skip=skip)
    return losses, weights_of(model)


def _every_ddp(rank):
    return {name: _ddp(rank, name == "unused", kwargs) for name, kwargs in DDP.items()}


@pytest.mark.parametrize("n, env", [(2, {}), (4, {"ANYGPU_DEVICES": "cpu,cpu"})])
def test_ddp(n, env, tmp_path):
    answers = ranks.run(_every_ddp, n, tmp_path, env=env)
    for name in DDP:
        assert_trained([a[name] for a in answers], skip=name == "unused", rtol=1e-4, atol=1e-5)


def _no_sync(rank):
    model = nn.parallel.DistributedDataParallel(net().to(ANYGPU))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    (x1, y1), (x2, y2), *_ = batches(rank, 2, ANYGPU)
    with model.no_sync():
        nn.functional.mse_loss(model(x1), y1).backward()
    before = model.module.a.weight.grad.clone()
    dist.all_reduce(before, dist.ReduceOp.MAX)
    apart = not torch.equal(before.cpu(), model.module.a.weight.grad.cpu())
    nn.functional.mse_loss(model(x2), y2).backward()
    optimizer.step()
    everyone = [None] * 2
    dist.all_gather_object(everyone, apart)
    return any(everyone), weights_of(model)


def test_ddp_no_sync(tmp_path):
    answers = ranks.run(_no_sync, 2, tmp_path)
    model = net()
    for x, y in list(batches())[:2]:
        nn.functional.mse_loss(model(x), y).backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    for apart, weights in answers:
        assert apart, "gradients were summed within no_sync"
        torch.testing.assert_close(weights, [p.detach() for p in model.parameters()], rtol=1e-4, atol=1e-5)


def _join(rank):
    """Rank 1 has fewer batches; the one that goes on is not kept waiting."""
    model = nn.parallel.DistributedDataParallel(net().to(ANYGPU))
    data = list(batches(rank, 2, ANYGPU))
    with model.join():
        train(model, data if rank == 0 else data[:2])
    return weights_of(model)


def test_ddp_join(tmp_path):
    one, other = ranks.run(_join, 2, tmp_path)
    torch.testing.assert_close(one, other)


def _hooks(rank):
    from torch.distributed.algorithms.ddp_comm_hooks import default_hooks

    answers = []
    for hook in (default_hooks.allreduce_hook, default_hooks.fp16_compress_hook):  # PyTorch has bf16's for CUDA and XPU only
        model = nn.parallel.DistributedDataParallel(net().to(ANYGPU), bucket_cap_mb=0.0005)
        model.register_comm_hook(None, hook)
        answers.append((train(model, batches(rank, 2, ANYGPU)), weights_of(model)))
    return answers


def test_ddp_hooks(tmp_path):
    answers = ranks.run(_hooks, 2, tmp_path)
    for hook, tolerance in enumerate((1e-4, 1e-2)):
        assert_trained([a[hook] for a in answers], rtol=tolerance, atol=tolerance)


def _plans(rank):
    import anygpu

    model = nn.parallel.DistributedDataParallel(net().to(ANYGPU), bucket_cap_mb=0.0005)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    data = list(batches(rank, 2, ANYGPU))
    train(model, data, optimizer)
    train(model, data, optimizer)
    before = anygpu.stats()["plans_compiled"]
    train(model, data, optimizer)
    return anygpu.stats()["plans_compiled"] - before


def test_a_warm_ddp_step_plans_nothing(tmp_path):
    """However far the collectives have come: what is planned is a function of the program."""
    assert ranks.run(_plans, 2, tmp_path) == [0, 0]


# ---- what goes wrong ----


def _bereft(rank, how):
    """Rank 1 is killed; the other is told, by an exception, and its device goes on working."""
    x, kept = torch.ones(1000, device=ANYGPU), torch.ones(3, device=ANYGPU)
    dist.all_reduce(x)
    model = nn.parallel.DistributedDataParallel(net().to(ANYGPU))
    data = list(batches(rank, 2, ANYGPU))
    train(model, data)
    if rank == 1:
        if how == "waiting":
            dist.all_reduce(x, async_op=True)
        os.kill(os.getpid(), 9)
    if how == "peer":
        call = lambda: dist.recv(x, 1)  # noqa: E731
    elif how == "training":
        call = lambda: [train(model, data) for _ in range(100)]  # noqa: E731
    else:
        call = lambda: [dist.all_reduce(x) for _ in range(100)]  # noqa: E731
    with pytest.raises(RuntimeError):
        call()
    assert (kept + 1).tolist() == [2.0] * 3
    if how == "waiting":  # what should have been written is not read as if it had been
        with pytest.raises(RuntimeError):
            x.cpu()
        assert x.fill_(1).sum().item() == 1000
    return "told"


@pytest.mark.parametrize("how", ["waiting", "peer", "training"])
def test_a_killed_rank_is_reported(how, tmp_path):
    assert ranks.run(_bereft, 2, tmp_path, how, expected_to_die={1}) == ["told", None]


def _stuck(rank):
    from datetime import timedelta

    store = dist.distributed_c10d._get_default_store()
    dist.all_reduce(torch.ones(3, device=ANYGPU))
    if rank == 0:
        dist.distributed_c10d._set_pg_timeout(timedelta(seconds=1), dist.group.WORLD)
        with pytest.raises(RuntimeError, match="(?i)timed? ?out"):
            dist.all_reduce(torch.ones(3, device=ANYGPU))
        store.set("told", "yes")
    else:
        store.wait(["told"])
    return "told"


def test_a_rank_that_does_not_come_is_reported(tmp_path):
    assert ranks.run(_stuck, 2, tmp_path) == ["told"] * 2


def _refused(rank):
    x = torch.ones(4, device=ANYGPU)
    with pytest.raises(RuntimeError):
        dist.all_gather_into_tensor(torch.empty(5, device=ANYGPU), x)
    with pytest.raises(RuntimeError, match="anygpu"):
        dist.all_gather([torch.empty(4), torch.empty(4)], x)
    dist.all_reduce(x)
    spoiled = x[torch.tensor([0, 9], device=ANYGPU)]  # an index out of range: known when it has run
    if rank == 0:
        with pytest.raises(IndexError):
            dist.all_reduce(spoiled)
        with pytest.raises(RuntimeError, match="cannot go on"):  # else it would meet the other rank's first
            dist.all_reduce(x.clone())
    return x.tolist()


def test_what_is_refused(tmp_path):
    assert ranks.run(_refused, 2, tmp_path) == [[2.0] * 4] * 2
