"""Random operators: moments and Kolmogorov-Smirnov distances of 1e5 samples, seeds, generators, edge values."""

import math

import pytest
import torch

N = 100_000
DEV = "anygpu"


def ks(samples, cdf):
    """Greatest distance between the samples' distribution and `cdf`, times sqrt(n): above 1.95 with probability 1e-3."""
    x = samples.double().cpu().sort().values
    n = x.numel()
    f = cdf(x)
    i = torch.arange(n, dtype=torch.float64)
    return max((f - i / n).max().item(), ((i + 1) / n - f).max().item()) * math.sqrt(n)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(1234)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "fill,cdf",
    [
        (lambda t: t.uniform_(-1, 3), lambda x: (x + 1) / 4),
        (lambda t: t.normal_(1, 2), lambda x: torch.special.ndtr((x - 1) / 2)),
        (lambda t: t.exponential_(2.5), lambda x: 1 - torch.exp(-2.5 * x)),
        (lambda t: t.cauchy_(1, 2), lambda x: torch.atan((x - 1) / 2) / math.pi + 0.5),
        (lambda t: t.log_normal_(0.5, 0.75), lambda x: torch.special.ndtr((x.log() - 0.5) / 0.75)),
    ],
    ids=["uniform", "normal", "exponential", "cauchy", "log_normal"],
)
def test_continuous(fill, cdf, dtype):
    assert ks(fill(torch.empty(N, dtype=dtype, device=DEV)), cdf) < 1.95


def test_neighbours_are_independent():
    x = torch.randn(N, device=DEV).cpu()
    for lag in (1, 2, 3, 4, 128):
        assert abs((x[lag:] * x[:-lag]).mean()) < 5 / math.sqrt(N)
    y = torch.randn(N, device=DEV).cpu()
    assert abs((x * y).mean()) < 5 / math.sqrt(N)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.93, 1.0])
def test_bernoulli(p):
    x = torch.empty(N, device=DEV).bernoulli_(p).cpu()
    assert set(x.unique().tolist()) <= {0.0, 1.0}
    assert abs(x.mean() - p) <= 5 * math.sqrt(p * (1 - p) / N)
    y = torch.bernoulli(torch.full((N,), p, device=DEV)).cpu()
    assert abs(y.mean() - p) <= 5 * math.sqrt(p * (1 - p) / N)


def test_bernoulli_refuses_what_is_no_probability():
    with pytest.raises(RuntimeError):
        torch.bernoulli(torch.tensor([0.5, 1.5], device=DEV)).cpu()
    with pytest.raises(RuntimeError):
        torch.empty(3, device=DEV).bernoulli_(-0.1)
    for fill in ("bernoulli_", "normal_", "uniform_"):
        with pytest.raises(RuntimeError, match="unsupported operation"):  # several elements are one
            getattr(torch.empty(1, device=DEV).expand(6), fill)()


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_geometric(p):
    x = torch.empty(N, device=DEV).geometric_(p).cpu()
    assert x.min() == 1
    assert abs(x.mean() - 1 / p) < 5 * math.sqrt((1 - p) / p**2 / N)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32, torch.int64, torch.float32])
def test_integers(dtype):
    x = torch.empty(N, dtype=dtype, device=DEV).random_(3, 13).cpu()
    counts = torch.bincount(x.long(), minlength=13)[3:]
    assert x.min() == 3 and x.max() == 12
    assert ((counts - N / 10) ** 2 / (N / 10)).sum() < 33.7  # chi-square, 9 degrees of freedom, p = 1e-4


def test_integers_of_wide_ranges():
    x = torch.empty(N, dtype=torch.int64, device=DEV).random_(-(2**62), 2**61).cpu().double()
    assert abs(x.mean() / 2**60 + 1) < 0.05
    y = torch.empty(N, dtype=torch.int64, device=DEV).random_(-(2**63), None).cpu()
    assert abs((y < 0).double().mean() - 0.5) < 0.01 and abs((y % 2 == 0).double().mean() - 0.5) < 0.01
    assert torch.randint(0, 2, (50,), device=DEV).unique().tolist() == [0, 1]
    assert torch.empty(1000, dtype=torch.bool, device=DEV).random_().sum() in range(400, 600)


def test_normal_with_tensors():
    mean, std = torch.linspace(-1, 1, N, device=DEV), torch.linspace(0.5, 2, N, device=DEV)
    z = (torch.normal(mean, std) - mean) / std
    assert ks(z, torch.special.ndtr) < 1.95
    assert ks((torch.normal(mean, 3.0) - mean) / 3, torch.special.ndtr) < 1.95
    assert ks(torch.normal(2.0, std).sub(2).div(std), torch.special.ndtr) < 1.95


def test_uniform_never_reaches_its_end():
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        x = torch.empty(N, dtype=dtype, device=DEV).uniform_(0, 1).cpu()
        assert x.min() >= 0 and x.max() < 1


def test_extremes_are_finite():
    for fill in ("exponential_", "cauchy_", "log_normal_", "normal_"):
        x = getattr(torch.empty(2_000_000, device=DEV), fill)()
        assert torch.isfinite(x).all().item(), fill


def test_dropout():
    x = torch.ones(N, device=DEV, requires_grad=True)
    y = torch.nn.functional.dropout(x, 0.3)
    y.sum().backward()
    kept = (y.detach() != 0).float().mean().item()
    assert abs(kept - 0.7) < 0.01
    torch.testing.assert_close(y.detach().max().item(), 1 / 0.7, rtol=1e-5, atol=0)
    torch.testing.assert_close(x.grad.cpu(), y.detach().cpu())
    assert torch.nn.functional.dropout(x, 1.0).abs().sum().item() == 0
    torch.testing.assert_close(torch.nn.functional.dropout(x, 0.0).detach().cpu(), x.detach().cpu())


def test_rrelu():
    x = torch.linspace(-1, 1, N, device=DEV)
    y = torch.nn.functional.rrelu(x, 0.1, 0.4, training=True).cpu()
    slope = (y / x.cpu())[x.cpu() < 0]
    assert slope.min() >= 0.0999 and slope.max() <= 0.4001 and abs(slope.mean() - 0.25) < 0.005
    torch.testing.assert_close(y[x.cpu() > 0], x.cpu()[x.cpu() > 0])


def test_randperm():
    p = torch.randperm(1000, device=DEV).cpu()
    assert p.sort().values.tolist() == list(range(1000)) and p.tolist() != list(range(1000))
    assert torch.randperm(0, device=DEV).numel() == 0
    firsts = torch.stack([torch.randperm(4, device=DEV)[0] for _ in range(2000)]).cpu()
    assert torch.bincount(firsts, minlength=4).min() > 400


@pytest.mark.parametrize("replacement", [True, False])
def test_multinomial(replacement):
    w = torch.tensor([1.0, 0.0, 3.0, 6.0])
    picks = torch.multinomial(w.to(DEV).expand(20_000, 4), 1 if not replacement else 2, replacement=replacement).cpu()
    share = torch.bincount(picks.flatten(), minlength=4) / picks.numel()
    assert share[1] == 0
    assert (share - w / 10).abs().max() < 0.015
    if not replacement:
        both = torch.multinomial(w.to(DEV).expand(500, 4), 3).cpu()
        assert (both.sort(1).values == torch.tensor([0, 2, 3])).all()
    for bad in ([1.0, -1.0], [float("nan"), 1.0], [0.0, 0.0]):
        with pytest.raises(RuntimeError):
            torch.multinomial(torch.tensor(bad, device=DEV), 1, replacement=replacement).cpu()


def test_seeds_repeat_and_generators_differ():
    g, h = torch.Generator(DEV).manual_seed(5), torch.Generator(DEV).manual_seed(6)
    a = torch.rand(100, device=DEV, generator=g)
    b = torch.rand(100, device=DEV, generator=g)
    c = torch.rand(100, device=DEV, generator=h)
    assert not torch.equal(a, b) and not torch.equal(a, c)
    g.manual_seed(5)
    assert torch.equal(a, torch.rand(100, device=DEV, generator=g))
    torch.manual_seed(9)
    x = torch.randn(7, 5, device=DEV)
    torch.manual_seed(9)
    assert torch.equal(x, torch.randn(7, 5, device=DEV))


def test_values_do_not_depend_on_strides():
    torch.manual_seed(3)
    a = torch.empty(4, 6, device=DEV).uniform_()
    torch.manual_seed(3)
    b = torch.empty(6, 4, device=DEV).t().uniform_()
    assert torch.equal(a, b)
