"""Indexing and scattering: what the operator database does not see. Bad indices, aliasing, masks, repeated indices, odd layouts."""

import pytest
import torch
import torch.nn.functional as F

import anygpu

DEVICE = "anygpu"


def both(f, *tensors):
    """f on the CPU and on the device, on copies that keep strides; results and arguments after the call must agree."""
    clone = lambda t: torch.empty_strided(t.size(), t.stride(), dtype=t.dtype).copy_(t)
    cpu, dev = (
        [clone(t) for t in tensors],
        [torch.empty_strided(t.size(), t.stride(), dtype=t.dtype, device=DEVICE).copy_(t) for t in tensors],
    )
    want, got = f(*cpu), f(*dev)
    want, got = (want, got) if isinstance(want, tuple) else ((want,), (got,))
    for a, b in zip((*want, *cpu), (*got, *dev)):
        torch.testing.assert_close(b.cpu(), a, equal_nan=True)


@pytest.mark.parametrize("index", [-8, 7, 1000, -(2**62)])
def test_index_out_of_range_is_an_index_error_and_the_device_goes_on(index):
    x = torch.randn(7, 3, device=DEVICE)
    i = torch.tensor([0, index], device=DEVICE)
    with pytest.raises(IndexError, match="out of range"):
        x[i].cpu()
    assert x.sum().isfinite().item()


@pytest.mark.parametrize("index", [-1, 7])
@pytest.mark.parametrize(
    "f",
    [
        lambda x, i: x.index_select(0, i),
        lambda x, i: F.embedding(i, x),
        lambda x, i: x.clone().index_add_(0, i, torch.ones(2, 3, device=DEVICE)),
        lambda x, i: x.clone().index_copy_(0, i, torch.ones(2, 3, device=DEVICE)),
    ],
)
def test_no_wrapping_where_pytorch_has_none(f, index):
    x = torch.randn(7, 3, device=DEVICE)
    with pytest.raises(IndexError):
        f(x, torch.tensor([0, index], device=DEVICE)).cpu()


@pytest.mark.parametrize("index", [-1, 7])
def test_gather_and_scatter_out_of_bounds(index):
    x, i = torch.randn(7, 3, device=DEVICE), torch.full((1, 3), index, device=DEVICE)
    with pytest.raises(RuntimeError, match="bounds"):
        x.gather(0, i).cpu()
    with pytest.raises(RuntimeError, match="bounds"):
        x.clone().scatter_(0, i, 1.0).cpu()
    with pytest.raises(RuntimeError, match="bounds"):
        x.clone().scatter_add_(0, i, x).cpu()
    torch.testing.assert_close((x + 0).cpu(), x.cpu())


def test_a_bad_write_spoils_its_target_alone():
    good, bad = torch.zeros(5, device=DEVICE), torch.zeros(5, device=DEVICE)
    good[torch.tensor([1], device=DEVICE)] = torch.ones(1, device=DEVICE)
    bad[torch.tensor([9], device=DEVICE)] = torch.ones(1, device=DEVICE)
    assert good.tolist() == [0, 1, 0, 0, 0]
    with pytest.raises(IndexError):
        bad.cpu()


def test_mask_of_the_wrong_shape():
    x = torch.randn(4, 5, device=DEVICE)
    with pytest.raises(IndexError):
        x[torch.ones(5, dtype=torch.bool, device=DEVICE)]
    with pytest.raises(IndexError):
        x[torch.zeros(1, dtype=torch.long, device=DEVICE), 0, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool])
def test_advanced_indexing(dtype):
    x = torch.randint(0, 2 if dtype == torch.bool else 100, (4, 5, 6)).to(dtype)
    i, j, m = torch.tensor([[0, -1], [2, 2]]), torch.tensor([1, 3]), torch.rand(5, 6) > 0.5
    both(lambda x, i, j: x[i, j], x, i, j)
    both(lambda x, i, j: x[i, :, j], x, i, j)
    both(lambda x, i: x[:, i], x, i)
    both(lambda x, j: x[..., j], x, j)
    both(lambda x, j: x[1:3, j, ::2], x, j)
    both(lambda x, i: x.transpose(0, 2)[i], x, i)
    both(lambda x, m: x[:, m], x, m)
    both(lambda x, m: x[2, m], x, m)
    both(lambda x, i: x[i.int()], x, i)
    both(lambda x, i: x[i[:0]], x, i)


def test_index_on_the_cpu_for_a_tensor_on_the_device():
    x = torch.arange(12.0).view(3, 4)
    torch.testing.assert_close(x.to(DEVICE)[torch.tensor([2, 0])].cpu(), x[torch.tensor([2, 0])])


def test_index_put():
    x, v = torch.zeros(4, 5), torch.randn(3)
    i = torch.tensor([1, 1, 3])
    both(lambda x, i: x.index_put_((i,), torch.ones((), device=x.device), accumulate=True), x, i)
    both(lambda x, i, v: x.index_put_((i, i), v, accumulate=True), x, i, v)
    both(lambda x, i, v: x.index_put_((i, i), v), x, i, v)  # the last of equals stays
    both(lambda x, i, v: x.t().index_put_((i,), v.unsqueeze(1)), x, i, v)
    both(lambda x, i: x[:, ::2].index_put_((i,), torch.ones(3, 3, device=x.device)), x, i)
    both(lambda x: x.__setitem__(x >= 0, 7.0) or x, x)
    both(lambda x, m, v: x.__setitem__(m, v) or x, x, torch.arange(20).view(4, 5) % 7 == 2, v)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        torch.zeros(4, 5, device=DEVICE)[torch.tensor([0, 1], device=DEVICE)] = torch.zeros(3, 5, device=DEVICE)
    with pytest.raises(RuntimeError, match="dtypes match"):
        torch.zeros(4, device=DEVICE)[torch.tensor([0, 1], device=DEVICE)] = torch.zeros(2, dtype=torch.int64, device=DEVICE)


def test_reading_what_is_being_written():
    """Views of one storage on both sides."""
    x = torch.arange(10.0)
    both(lambda x: x[5:].index_copy_(0, torch.tensor([0, 1], device=x.device), x[:2]), x)
    both(lambda x: (x[:5].scatter_add_(0, torch.tensor([0, 0, 1], device=x.device), x[7:]), x + 1)[1], x)
    both(lambda x: torch.cat([x[5:], x[:5]]), x)
    both(lambda x: x.copy_(x.flip(0)), x)


@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bfloat16])
def test_scatter_reduce_of_repeated_indices(reduce, include_self, dtype):
    x, src = torch.randint(1, 5, (3, 8)).to(dtype), torch.randint(1, 5, (3, 16)).to(dtype)
    i = torch.randint(0, 4, (3, 16))
    both(lambda x, i, s: x.scatter_reduce(1, i, s, reduce, include_self=include_self), x, i, src)
    if reduce != "sum":
        both(lambda x, i, s: x.index_reduce(1, i[0], s, reduce, include_self=include_self), x, i, src)


def test_scatter_adds_every_row_once():
    """Many floats into one place: as on the CPU where no order rounds. Where orders round, the same each time on the cpu backend; Vulkan
    adds as they come (docs/guide/workflow.md), so there the last digits may differ."""
    src, i = torch.randn(5000), torch.randint(0, 3, (5000,))
    both(lambda s, i: torch.zeros(3, device=s.device).scatter_add_(0, i, s), (src * 8).round() / 8, i)
    runs = [torch.zeros(3, device=DEVICE).index_add_(0, i.to(DEVICE), src.to(DEVICE)).cpu() for _ in range(3)]
    allowed = 0 if anygpu.devices()[0]["backend"] == "cpu" else 1e-4
    for run in runs[1:]:
        torch.testing.assert_close(run, runs[0], rtol=0, atol=allowed)


def test_deterministic_algorithms_scatter_in_order():
    """Sums and the last write into one place, the same each time on every backend: in the order of the indices, which is the CPU's too."""
    src, i = torch.randn(5000), torch.randint(0, 3, (5000,))
    weight, ids = torch.randn(7, 33), torch.randint(0, 7, (400,))
    g, x, grid = torch.randn(400, 33), torch.randn(1, 2, 5, 5), torch.rand(1, 40, 40, 2) * 2 - 1

    def embedding(device):
        w = weight.detach().to(device).requires_grad_()
        F.embedding(ids.to(device), w).backward(g.to(device))
        return w.grad

    def sampled(device):
        y = x.detach().to(device).requires_grad_()
        F.grid_sample(y, grid.to(device), align_corners=False).sum().backward()
        return y.grad

    calls = [
        lambda d: torch.zeros(3, device=d).index_add_(0, i.to(d), src.to(d)),
        lambda d: torch.zeros(3, device=d).scatter_add_(0, i.to(d), src.to(d)),
        lambda d: torch.zeros(3, device=d).index_put_((i.to(d),), src.to(d), accumulate=True),
        lambda d: torch.zeros(3, device=d).index_put_((i.to(d),), src.to(d)),
        lambda d: torch.zeros(3, device=d).scatter_(0, i.to(d), src.to(d)),
        embedding,
        sampled,
    ]
    torch.use_deterministic_algorithms(True)
    try:
        for call in calls:
            runs = [call(DEVICE).cpu() for _ in range(4)]
            assert all(torch.equal(runs[0], r) for r in runs[1:])
            torch.testing.assert_close(runs[0], call("cpu"), rtol=1e-4, atol=1e-4)
        places, values = torch.zeros(1, 1, 4, dtype=torch.int64, device=DEVICE), torch.arange(4.0, device=DEVICE).view(1, 1, 4)
        assert F.max_unpool1d(values, places, 2).flatten().tolist() == [3.0] + [0.0] * 7  # PyTorch refuses this one on its CPU
    finally:
        torch.use_deterministic_algorithms(False)


def test_nonzero_masks_and_sizes_that_depend_on_data():
    x = torch.tensor([[0.0, 1.0, float("nan")], [-0.0, 0.0, 3.0]])
    both(lambda x: x.nonzero(), x)
    both(lambda x: x.t().nonzero(), x)
    both(lambda x: x[0, 0].nonzero(), x)
    both(lambda x: torch.nonzero_static(x, size=5, fill_value=-7), x)
    both(lambda x: torch.nonzero_static(x, size=2), x)
    both(lambda x: x.masked_select(x > 0.5), x)
    both(lambda x: x.masked_select(torch.tensor([True, False, True], device=x.device)), x)
    both(lambda x: x.masked_scatter(x > 0.5, torch.arange(6.0, device=x.device)), x)
    both(lambda x: x[:0].nonzero(), x)
    with pytest.raises(RuntimeError):
        x.to(DEVICE).masked_scatter(x.to(DEVICE) >= 0, torch.ones(1, device=DEVICE)).cpu()


def test_empty_and_scalar_operands():
    e, s = torch.zeros(0, 3), torch.tensor(2.5)
    i0, i1 = torch.zeros(0, dtype=torch.long), torch.zeros(1, dtype=torch.long)
    both(lambda e, i: e.index_select(0, i), e, i0)
    both(lambda s, i: s.index_select(0, i), s, i1)
    both(lambda s, i: s.gather(0, i[0]), s, i1)
    both(lambda s, i: s.scatter(0, i[0], 4.0), s, i1)
    both(lambda s, i: s.index_add(0, i, torch.ones((), device=s.device)), s, i1)
    both(lambda s, i: s.index_fill(0, i, 9.0), s, i1)
    both(lambda s, i: s.take(i), s, i1)
    both(lambda e, i: torch.cat([e, e, torch.ones(1, 3, device=e.device)]), e, i0)
    both(lambda e, i: torch.zeros(4, 3, device=e.device).index_add(0, i, e), e, i0)
    with pytest.raises(IndexError):
        e.to(DEVICE).index_select(0, i1.to(DEVICE))


def test_take_and_put_of_a_transposed_tensor():
    x, i = torch.arange(12.0).view(3, 4).t(), torch.tensor([[0, 5], [-1, 5]])
    both(lambda x, i: x.take(i), x, i)
    both(lambda x, i: x.put_(i, torch.ones(2, 2, device=x.device), accumulate=True), x, i)


def test_embedding_gradients():
    i = torch.tensor([[1, 2, 2], [0, 2, 4]])
    for kwargs in ({}, {"padding_idx": 2}, {"scale_grad_by_freq": True}):
        grads = []
        for device in ("cpu", DEVICE):
            w = torch.arange(15.0).view(5, 3).to(device).requires_grad_()
            F.embedding(i.to(device), w, **kwargs).pow(2).sum().backward()
            grads.append(w.grad.cpu())
        torch.testing.assert_close(grads[1], grads[0])
    w = torch.randn(5, 3)
    both(lambda w, i: F.embedding(i, w, max_norm=0.5), w, i)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding_idx", [None, 2])
def test_embedding_bag(mode, padding_idx):
    i, o = torch.tensor([1, 2, 2, 0, 2, 4]), torch.tensor([0, 2, 2, 5])
    results = []
    for device in ("cpu", DEVICE):
        w = torch.randn(5, 3, generator=torch.Generator().manual_seed(1)).to(device).requires_grad_()
        y = F.embedding_bag(i.to(device), w, o.to(device), mode=mode, padding_idx=padding_idx)
        y.pow(2).sum().backward()
        results.append((y.detach().cpu(), w.grad.cpu()))
    torch.testing.assert_close(results[1], results[0])


def test_roll_and_flip():
    x = torch.arange(24).view(2, 3, 4)
    both(lambda x: x.roll((1, -2), (0, 2)), x)
    both(lambda x: x.roll(5), x)
    both(lambda x: x.roll((1, 1), (2, 2)), x)
    both(lambda x: x.permute(2, 0, 1).flip(0, 2), x)
    both(lambda x: x[:, 1:2].flip(1), x)
    with pytest.raises(RuntimeError):
        x.to(DEVICE).flip(0, 0)


def test_cat_and_stack_of_any_number():
    x = torch.arange(2 * 65_536).reshape(65_536, 2)
    rows = x.to(DEVICE).unbind()
    assert torch.equal(torch.cat(rows).cpu(), x.flatten())
    assert torch.equal(torch.stack(rows[1:], 1).cpu(), x[1:].t())


def test_cat_promotes_and_checks():
    both(lambda a: torch.cat([a, a.half(), a.int()], 1), torch.randn(2, 3))
    both(lambda a: torch.cat([torch.empty(0, device=a.device), a]), torch.randn(2, 3))
    with pytest.raises(RuntimeError):
        torch.cat([torch.zeros(2, 3, device=DEVICE), torch.zeros(3, 2, device=DEVICE)])
    x = torch.zeros(4, 3, device=DEVICE)
    with pytest.raises(RuntimeError, match="unsupported operation"):
        torch.cat([x[:1], x[1:2]], out=x[:2])
