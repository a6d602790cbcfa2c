"""Products, convolution, pooling, normalisation, softmax and losses, where PyTorch's own operator database does not look."""

import pytest
import torch
import torch.nn.functional as F

import anygpu

DEV = "anygpu"
INF, NAN = float("inf"), float("nan")


def same(got, want, **kw):
    torch.testing.assert_close(got.detach().cpu(), want.detach(), equal_nan=True, **kw)


# ---- products ----


def test_products_whose_result_is_an_argument():
    a, b = torch.randn(5, 5), torch.randn(5, 5)
    x = a.to(DEV)
    x.addmm_(x, b.to(DEV))
    same(x, a + a @ b)
    x = a.to(DEV)
    torch.mm(x, b.to(DEV), out=x)
    same(x, a @ b)


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0)])
def test_products_of_nothing(shape):
    m, k, n = shape
    a, b, c = torch.randn(m, k), torch.randn(k, n), torch.randn(m, n)
    same(a.to(DEV) @ b.to(DEV), a @ b)
    same(torch.addmm(c.to(DEV), a.to(DEV), b.to(DEV)), torch.addmm(c, a, b))
    same(torch.addmm(c.to(DEV), a.to(DEV), b.to(DEV), beta=0.5, alpha=2), torch.addmm(c, a, b, beta=0.5, alpha=2))


def test_beta_zero_ignores_what_is_not_a_number():
    nan = torch.full((2, 2), float("nan"))
    a = torch.randn(2, 2)
    same(torch.addmm(nan.to(DEV), a.to(DEV), a.to(DEV), beta=0), a @ a)


def test_scalars_of_products_need_no_new_plan():
    c, a, b = (torch.randn(4, 4, device=DEV) for _ in range(3))
    anygpu.synchronize()
    torch.addmm(c, a, b, beta=0.5, alpha=2).cpu()
    before = anygpu.stats()["plans_compiled"]
    for i in range(3):
        torch.addmm(c, a, b, beta=0.1 * i + 0.3, alpha=i + 3).cpu()
    assert anygpu.stats()["plans_compiled"] == before


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float64])
def test_product_dtypes(dtype):
    a, b = torch.randint(-5, 5, (7, 9)).to(dtype), torch.randint(-5, 5, (9, 3)).to(dtype)
    same(a.to(DEV) @ b.to(DEV), a @ b)


# ---- convolution ----


@pytest.mark.parametrize("transposed", [False, True])
def test_convolution_of_channels_last(transposed):
    conv = F.conv_transpose2d if transposed else F.conv2d
    x = torch.randn(2, 4, 7, 6).to(memory_format=torch.channels_last).requires_grad_()
    w = torch.randn(4, 4, 3, 3, requires_grad=True)
    y, v = x.detach().to(DEV).requires_grad_(), w.detach().to(DEV).requires_grad_()
    a, b = conv(x, w, padding=1), conv(y, v, padding=1)
    assert b.is_contiguous(memory_format=torch.channels_last)
    same(b, a, rtol=1e-4, atol=1e-4)
    for want, got in zip(torch.autograd.grad(a.sin().sum(), (x, w)), torch.autograd.grad(b.sin().sum(), (y, v))):
        same(got, want, rtol=1e-4, atol=1e-4)


# ---- pooling ----


@pytest.mark.parametrize(
    "kernel,stride,padding,dilation,ceil",
    [(2, 2, 0, 1, False), (3, 2, 1, 1, False), (3, 1, 1, 2, False), (2, 3, 1, 1, True), (3, 2, 0, 1, True)],
)
def test_max_pool_and_its_gradient(kernel, stride, padding, dilation, ceil):
    x = torch.randn(2, 3, 9, 8).round(decimals=1).requires_grad_()  # with ties
    x.data[0, 0, :2] = float("-inf")
    y = x.detach().to(DEV).requires_grad_()
    a, i = F.max_pool2d(x, kernel, stride, padding, dilation, ceil, return_indices=True)
    b, j = F.max_pool2d(y, kernel, stride, padding, dilation, ceil, return_indices=True)
    same(b, a)
    same(j, i)
    g = torch.randn_like(a)
    same(torch.autograd.grad(b, y, g.to(DEV))[0], torch.autograd.grad(a, x, g)[0])


def test_unpool_index_out_of_range():
    x, i = torch.randn(1, 1, 2, 2, device=DEV), torch.full((1, 1, 2, 2), 99, device=DEV)
    with pytest.raises((IndexError, RuntimeError)):
        F.max_unpool2d(x, i, 2).cpu()
    same(torch.ones(2, device=DEV) + 1, torch.full((2,), 2.0))


# ---- normalisation ----


@pytest.mark.parametrize("momentum", [0.1, None])
def test_running_statistics(momentum):
    torch.manual_seed(0)
    m, d = (torch.nn.BatchNorm2d(3, momentum=momentum).to(where) for where in ("cpu", DEV))
    for _ in range(4):
        x = torch.randn(5, 3, 4, 4) * 2 + 1
        same(d(x.to(DEV)), m(x), rtol=1e-4, atol=1e-4)
    same(d.running_mean, m.running_mean)
    same(d.running_var, m.running_var)
    assert d.num_batches_tracked.item() == 4
    x = torch.randn(5, 3, 4, 4)
    same(d.eval()(x.to(DEV)), m.eval()(x), rtol=1e-4, atol=1e-4)


def test_momentum_needs_no_new_plan():
    x, rm, rv = torch.randn(4, 3, 5, device=DEV), torch.zeros(3, device=DEV), torch.ones(3, device=DEV)
    anygpu.synchronize()
    F.batch_norm(x, rm, rv, training=True, momentum=0.5).cpu()
    before = anygpu.stats()["plans_compiled"]
    for i in range(3):
        F.batch_norm(x, rm, rv, training=True, momentum=1 / (i + 3), eps=1e-5 * (i + 1)).cpu()
    assert anygpu.stats()["plans_compiled"] == before


def test_a_large_mean_does_not_drown_the_variance():
    x = torch.randn(8, 512) + 1e4
    same(F.layer_norm(x.to(DEV), (512,)), F.layer_norm(x.double(), (512,)).float(), rtol=1e-2, atol=1e-2)


# ---- softmax ----


@pytest.mark.parametrize("f", [F.softmax, F.log_softmax])
def test_softmax_of_extremes(f):
    inf = float("inf")
    x = torch.tensor([[-inf, -inf, -inf], [-inf, 0.0, 1.0], [1e4, -1e4, 1e4], [float("nan"), 0.0, 0.0], [inf, 0.0, 0.0]])
    same(f(x.to(DEV), -1), f(x, -1))
    same(torch.softmax(torch.tensor(3.0, device=DEV), 0), torch.tensor(1.0))


def test_attention_with_masks():
    q, k, v = (torch.randn(2, 3, 5, 4, requires_grad=True) for _ in range(3))
    on = [t.detach().to(DEV).requires_grad_() for t in (q, k, v)]
    mask = torch.rand(5, 5) > 0.4
    mask[2] = False  # a query that may see nothing
    for options in ({"is_causal": True}, {"attn_mask": mask}, {"attn_mask": torch.randn(5, 5)}, {"scale": 0.3}):
        there = {n: o.to(DEV) if isinstance(o, torch.Tensor) else o for n, o in options.items()}
        a, b = F.scaled_dot_product_attention(q, k, v, **options), F.scaled_dot_product_attention(*on, **there)
        same(b, a, rtol=1e-4, atol=1e-5)
        for want, got in zip(torch.autograd.grad(a.sin().sum(), (q, k, v)), torch.autograd.grad(b.sin().sum(), on)):
            same(got, want, rtol=1e-4, atol=1e-5)


# ---- losses ----


@pytest.mark.parametrize("bad", [-1, 5, 10**12])
def test_target_out_of_range(bad):
    x = torch.randn(4, 5, device=DEV)
    t = torch.tensor([0, bad, 2, 3], device=DEV)
    with pytest.raises((IndexError, RuntimeError), match="arget"):
        F.cross_entropy(x, t).item()
    assert torch.isfinite(F.cross_entropy(x, t.clamp(0, 4))).item()


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("shape", [(5,), (4, 5), (2, 5, 3, 2), (2, 5, 3)])
def test_nll_loss(shape, reduction):
    x = torch.randn(shape, requires_grad=True)
    y = x.detach().to(DEV).requires_grad_()
    t = torch.randint(0, 5, (*shape[:1], *shape[2:]) if len(shape) > 1 else ())
    if t.dim():
        t.view(-1)[0] = -100
    w = torch.rand(5)
    for weight in (None, w):
        a = F.nll_loss(x, t, weight=weight, reduction=reduction)
        b = F.nll_loss(y, t.to(DEV), weight=None if weight is None else weight.to(DEV), reduction=reduction)
        same(b, a)
        same(torch.autograd.grad(b.sum(), y)[0], torch.autograd.grad(a.sum(), x)[0])


def test_loss_of_ignored_targets_only():
    x, t = torch.randn(3, 4), torch.full((3,), -100)
    same(F.cross_entropy(x.to(DEV), t.to(DEV)), F.cross_entropy(x, t))


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("zero_infinity", [False, True])
def test_ctc_loss(reduction, zero_infinity):
    torch.manual_seed(0)
    steps, batch, classes, longest = 20, 5, 7, 9
    x = torch.randn(steps, batch, classes).log_softmax(2)
    inputs, lengths = torch.tensor([20, 3, 18, 7, 20]), torch.tensor([9, 8, 0, 5, 1])
    t = torch.randint(1, classes, (batch, longest))
    a, b = x.clone().requires_grad_(), x.to(DEV).requires_grad_()
    want = F.ctc_loss(a, t, inputs, lengths, reduction=reduction, zero_infinity=zero_infinity)
    got = F.ctc_loss(b, t.to(DEV), inputs, lengths, reduction=reduction, zero_infinity=zero_infinity)
    same(got, want)
    want.sum().backward()
    got.sum().backward()
    same(b.grad, a.grad, rtol=1e-4, atol=1e-4)


# ---- sampling ----


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("coordinate", [INF, -INF, NAN, 3e38])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_grid_sample_far_outside(n, coordinate, mode, axis):
    """Zeros, but in 2-D the weights of an endless coordinate times zero are NaN, as PyTorch's."""
    grid = torch.zeros(1, *[1] * n, n)
    grid[..., axis % n] = coordinate
    results = []
    for d in ("cpu", DEV):
        x = torch.arange(1.0, 1 + 2**n, device=d).view(1, 1, *[2] * n).requires_grad_()
        g = grid.clone().to(d).requires_grad_()
        y = F.grid_sample(x, g, mode=mode, align_corners=False)
        if coordinate == coordinate or mode == "bilinear":  # PyTorch's backward of nearest writes anywhere where a coordinate is NaN
            y.sum().backward()
        results.append([y, *(t for t in (x.grad, g.grad) if t is not None)])
    for want, got in zip(*results):
        same(got, want)
    if n == 3:
        assert all(not t.any() for t in results[1])


def test_dropout_backward_of_integers_gives_floats():
    mask = torch.tensor([True, False, True])
    for dtype in (torch.int64, torch.uint8, torch.bool, torch.float16, torch.float64):
        for mask_dtype in (torch.bool, torch.uint8, torch.float64):
            dy = torch.tensor([1, 2, 3]).to(dtype)
            want = torch.ops.aten.native_dropout_backward(dy, mask.to(mask_dtype), 1.5)
            got = torch.ops.aten.native_dropout_backward(dy.to(DEV), mask.to(mask_dtype).to(DEV), 1.5)
            assert got.dtype == want.dtype
            same(got, want)
