"""Reductions, scans and order: what the operator database does not see. Edge values, empty and long operands, low precision, layouts."""

# The functions are called where they are made.
# ruff: noqa: B023

import math

import pytest
import torch

DEVICE = "anygpu"
INF, NAN = float("inf"), float("nan")


def both(f, *tensors, **tolerance):
    want, got = f(*tensors), f(*(t.to(DEVICE) for t in tensors))
    want, got = (want, got) if isinstance(want, tuple) else ((want,), (got,))
    for a, b in zip(want, got):
        assert a.dtype == b.dtype and a.shape == b.shape
        torch.testing.assert_close(b.cpu(), a, equal_nan=True, **tolerance)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3)])
def test_empty(shape):
    x = torch.zeros(shape)
    for f in (torch.sum, torch.prod, torch.mean, torch.any, torch.all, torch.nansum, torch.count_nonzero, torch.linalg.vector_norm):
        both(f, x)
        both(lambda t: f(t, dim=0), x)
    for f in (torch.max, torch.argmax, torch.amax):
        with pytest.raises((RuntimeError, IndexError)):
            f(x.to(DEVICE), **({"dim": shape.index(0)} if f is torch.amax else {}))
    both(lambda t: t.cumsum(-1), x)
    both(lambda t: t.sort(-1), x)


def test_nan_and_infinity():
    x = torch.tensor([[1.0, NAN, 3.0, -INF], [INF, 2.0, INF, 0.0], [NAN, NAN, NAN, NAN]])
    both(lambda t: tuple(t.max(1)), x)
    both(lambda t: tuple(t.min(1)), x)
    both(lambda t: (t.argmax(), t.argmin(1), t.amax(0), t.aminmax()[0]), x)
    both(lambda t: (t.nansum(1), t.nanmean(1), t.logsumexp(1)), x)
    both(lambda t: tuple(t.cummax(1)), x)
    both(lambda t: tuple(t.cummin(1)), x)
    both(lambda t: tuple(t.sort(1)), x)
    both(lambda t: tuple(t.sort(dim=1, descending=True, stable=True)), x)
    both(lambda t: tuple(t.median(1)), x)
    both(lambda t: t.nanmedian(1)[0], x)
    both(lambda t: (t.any(1), t.all(0), t.count_nonzero(1)), x)
    for p in (0, 1, 2, 3.5, -1.5, INF, -INF):
        both(lambda t: torch.linalg.vector_norm(t, p, 1), x)


def test_ties_go_to_the_first():
    x = torch.tensor([[1, 3, 3, 0], [2, 2, 2, 2]])
    for dtype in (torch.int64, torch.float32, torch.uint8):
        both(lambda t: (t.max(1)[1], t.min(1)[1], t.argmax(1), t.argmin()), x.to(dtype))
    both(lambda t: tuple(t.max(1)), x > 1)


def test_several_dimensions_and_layouts():
    x = torch.randn(3, 4, 5, 6)
    for view in (lambda t: t, lambda t: t.permute(2, 0, 3, 1), lambda t: t[:, ::2, 1:4], lambda t: t[:1].expand(3, 4, 5, 6)):
        both(lambda t: view(t).sum((0, 2)), x)
        both(lambda t: view(t).amax((1, 3), keepdim=True), x)
        both(lambda t: view(t).var((0, -1), correction=0), x)
        both(lambda t: tuple(torch.std_mean(view(t), (1, 2))), x)
        both(lambda t: view(t).argmax(), x)
        both(lambda t: view(t).cumsum(1), x)
        both(lambda t: tuple(view(t).topk(2, 1)), x)
    with pytest.raises(RuntimeError, match="multiple times"):
        x.to(DEVICE).sum((0, 0))
    with pytest.raises(IndexError):
        x.to(DEVICE).sum(4)


def test_long_sums_are_accurate():
    x = torch.rand(1_000_003)
    want = x.double()
    got = x.to(DEVICE)
    assert abs(got.sum().item() - want.sum().item()) < 1e-5 * want.sum().item()
    assert abs(got.var().item() - want.var().item()) < 1e-5
    assert abs(got.norm().item() - want.norm().item()) < 1e-4 * want.norm().item()
    assert abs((got + 1000).var().item() - want.var().item()) < 1e-3  # two passes: no cancellation


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_sums_in_single(dtype):
    x = torch.ones(5000, dtype=dtype)
    assert x.to(DEVICE).sum().item() == torch.tensor(5000.0).to(dtype).item()
    both(lambda t: (t.mean(), t.amax(), t.argmax(), t.norm()), torch.randn(77).to(dtype), rtol=2e-2, atol=2e-2)
    assert x.to(DEVICE).sum(dtype=torch.float32).item() == 5000


def test_integers_promote():
    x = torch.randint(0, 100, (6, 7), dtype=torch.uint8)
    both(lambda t: (t.sum(), t.prod(1), t.cumsum(0), (t > 50).sum(1), t.sum(dtype=torch.int32), t.float().mean()), x)
    with pytest.raises(RuntimeError):
        x.to(DEVICE).mean()


def test_out_arguments():
    x = torch.randn(4, 5)
    y = x.to(DEVICE)
    out = torch.empty(4, device=DEVICE)
    assert torch.sum(y, 1, out=out) is out
    torch.testing.assert_close(out.cpu(), x.sum(1))
    strided = torch.empty(8, device=DEVICE)[::2]
    torch.amax(y, 1, out=strided)
    torch.testing.assert_close(strided.cpu(), x.amax(1))
    with pytest.raises(RuntimeError, match="dtype"):
        torch.amax(y, 1, out=torch.empty(4, dtype=torch.int64, device=DEVICE))


def test_degrees_of_freedom():
    x = torch.randn(1, 3)
    with pytest.warns(UserWarning, match="degrees of freedom"):
        assert x.to(DEVICE).var(0).isnan().all().item()


@pytest.mark.parametrize("n", [1, 2, 3, 63, 64, 1000])
@pytest.mark.parametrize("right", [False, True])
def test_searchsorted(n, right):
    bounds, x = torch.randn(n).round(decimals=1).sort()[0], torch.randn(50).round(decimals=1)
    both(lambda b, v: torch.searchsorted(b, v, right=right), bounds, x)
    both(lambda b, v: torch.bucketize(v, b, right=right, out_int32=True), bounds, x)
    both(lambda b, v: torch.searchsorted(b, v, right=right, sorter=b.argsort()), bounds.flip(0), x)
    both(lambda b, v: torch.searchsorted(b, 0.25, right=right), bounds, x)


def test_sort_is_stable_and_whole():
    x = torch.randint(0, 5, (3, 1000))
    for dtype in (torch.int64, torch.float32, torch.bfloat16, torch.uint8, torch.bool):
        both(lambda t: tuple(t.sort(dim=1, stable=True)), x.to(dtype))
        both(lambda t: tuple(t.sort(dim=1, stable=True, descending=True)), x.to(dtype))
    values, indices = x.float().to(DEVICE).topk(7, 1)
    torch.testing.assert_close(values.cpu(), x.float().topk(7, 1)[0])
    torch.testing.assert_close(x.float().to(DEVICE).gather(1, indices).cpu(), values.cpu())


ORDERED = [
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.bool,
]


@pytest.mark.parametrize("dtype", ORDERED)
@pytest.mark.parametrize("n", [1, 17, 300, 8000])
def test_equal_elements_keep_their_order(dtype, n):
    x = torch.randint(0, 2 if dtype is torch.bool else 9, (3, n)).to(dtype)
    if dtype.is_floating_point:
        for i, v in enumerate([0.0, -0.0, NAN, INF, -INF]):
            x[x == i + 1] = v
        x = torch.where(torch.arange(n) % 3 == 0, -x, x)  # NaNs of both signs
    for t in (x, x.t()):
        for dim in (0, 1):
            for descending in (False, True):
                values, indices = t.sort(dim=dim, descending=descending, stable=True)
                d = t.to(DEVICE)
                for got in (d.sort(dim=dim, descending=descending), d.sort(dim=dim, descending=descending, stable=False)):
                    torch.testing.assert_close(got[0].cpu(), values, equal_nan=True)
                    assert torch.equal(got[1].cpu(), indices)
                assert torch.equal(d.argsort(dim=dim, descending=descending).cpu(), indices)


@pytest.mark.filterwarnings("ignore:unique")
@pytest.mark.parametrize("n", [4, 8, 16, 17, 40, 300])
def test_unique_rows_with_nan(n):
    rows = torch.tensor([[NAN, 1.0], [0.0, NAN], [2.0, 1.0], [0.0, 1.0], [NAN, 1.0], [1.0, NAN], [0.0, 1.0], [1.0, 2.0]])
    x = rows.repeat((n + 7) // 8, 1)[:n]
    for t in (x, x.half(), x[:, :1], x[:, 0], x[:, 1]):
        both(lambda t: torch.unique(t, dim=0, return_inverse=True, return_counts=True), t)
    both(lambda t: torch.unique(t, dim=1, return_inverse=True), x.t())


@pytest.mark.parametrize("reduce", ["prod", "sum", "mean", "max", "min"])
@pytest.mark.parametrize("initial", [None, 2.0])
@pytest.mark.parametrize(
    "data",
    [[1, NAN, 3, 4, 0, 2], [0, NAN, 0, 4, NAN, 2], [NAN, NAN, 1, 0, 0, 5], [NAN, 0, 7, INF, 0, 2], [1.5, 2, 3, NAN, INF, -2]],
)
def test_segments_and_their_gradients_beside_nan(reduce, initial, data):
    def run(t):
        t = t.detach().requires_grad_()
        y = torch.segment_reduce(t, reduce, lengths=torch.tensor([3, 3], device=t.device), initial=initial)
        y.backward(torch.tensor([2.0, 3.0], device=t.device))  # PyTorch's CPU shares only positive gradients among equals
        return y.detach(), t.grad

    both(run, torch.tensor(data, dtype=torch.float32))


def test_unique_in_all_its_forms():
    x = torch.randint(0, 4, (6, 5))
    for kwargs in ({}, {"return_inverse": True}, {"return_counts": True, "return_inverse": True}):
        for dim in (None, 0, 1):
            kwargs["dim"] = dim
            both(lambda t, k=kwargs: torch.unique(t, **k), x)
            both(lambda t, k=kwargs: torch.unique_consecutive(t.sort(0)[0], **k), x)
    both(lambda t: torch.unique(t, return_inverse=True, return_counts=True), torch.tensor([]))


def test_equal_reads_the_answer():
    x = torch.randn(3, 4, device=DEVICE)
    y = x.clone()
    assert torch.equal(x, y)
    y[1, 2] += 1
    assert not torch.equal(x, y) and not torch.equal(x, y[:2])
    assert not torch.equal(torch.tensor([NAN], device=DEVICE), torch.tensor([NAN], device=DEVICE))


def test_mode_and_kthvalue():
    x = torch.tensor([[2, 1, 2, 1, 3], [5, 4, 4, 5, 5], [1, 2, 3, 4, 5]])
    both(lambda t: t.mode(1)[0], x)
    both(lambda t: t.kthvalue(2, 1)[0], x)
    values, at = x.to(DEVICE).mode(1)
    torch.testing.assert_close(x.gather(1, at.cpu().unsqueeze(1)).squeeze(1), values.cpu())
    with pytest.raises(RuntimeError):
        x.to(DEVICE).kthvalue(6, 1)


def test_histograms():
    x = torch.tensor([0.0, 0.1, 0.5, 1.0, 2.0, -1.0, 0.99])
    both(lambda t: torch.histc(t, 4, 0, 1), x)
    both(lambda t: torch.histc(t, 3), x)
    both(lambda t: tuple(torch.histogram(t, 4)), x)
    both(lambda t: torch.bincount(torch.tensor([0, 2, 2, 5], device=t.device), minlength=8), x)
    with pytest.raises(RuntimeError):
        torch.bincount(torch.tensor([-1], device=DEVICE))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64], ids=str)
def test_histc_of_integers(dtype):
    """As PyTorch's other devices have it; its CPU refuses integers. Experts of a mixture are counted so."""
    experts = torch.tensor([0, 1, 1, 2, 3, 3, 3, 7, 8, 100])
    x = experts.to(dtype).to(DEVICE)
    got = torch.histc(x, bins=8, min=0, max=7)
    assert got.dtype == dtype and got.tolist() == torch.histc(experts.float(), bins=8, min=0, max=7).tolist()
    assert torch.histc(x, bins=4).tolist() == torch.histc(experts.float(), bins=4).tolist()
    assert torch.histc(x, bins=3, min=0.5, max=3.9).tolist() == torch.histc(experts.float(), bins=3, min=0, max=3).tolist()
    assert torch.histc(x[:1], bins=2).tolist() == [0, 1]
    with pytest.raises(RuntimeError, match="bins must be > 0"):
        torch.histc(x, bins=0)


def test_gradients_of_extrema():
    for f in (
        lambda t: t.amax(1),
        lambda t: t.max(1)[0],
        lambda t: t.median(1)[0],
        lambda t: t.cummax(1)[0],
        lambda t: t.logcumsumexp(1),
        lambda t: t.norm(dim=1),
    ):
        grads = []
        for device in ("cpu", DEVICE):
            t = torch.tensor([[1.0, 3.0, 3.0, 0.5], [2.0, -1.0, 0.0, 4.0]]).to(device).requires_grad_()
            (f(t) * 2).sum().backward()
            grads.append(t.grad.cpu())
        torch.testing.assert_close(grads[1], grads[0])
    assert math.isfinite(grads[0].sum().item())
