"""What PyTorch's CPU refuses is refused when called, by the same exception type and in the same words; what it does is done here too. Each
case is run on both."""

import warnings

import pytest
import torch
import torch.nn.functional as F

import anygpu

DEV = "anygpu"
INT64 = torch.iinfo(torch.int64)


def outcome(case, device):
    """('raised', type, words) or ('done', results)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            r = case(lambda x, **k: torch.tensor(x, **k).to(device), device)
    except Exception as e:
        return "raised", type(e).__name__, str(e).split("\n")[0]
    results = r if isinstance(r, (tuple, list)) else [r]
    return "done", [t.cpu() if isinstance(t, torch.Tensor) else t for t in results]


def same_outcome(case):
    want, got = outcome(case, "cpu"), outcome(case, DEV)
    assert want[0] == got[0], f"{got}, not {want}"
    if want[0] == "raised":
        assert got == want
        return
    for w, g in zip(want[1], got[1], strict=True):
        if isinstance(w, torch.Tensor):
            assert torch.equal(g, w) if w.dtype.is_floating_point is False else torch.allclose(g.double(), w.double(), equal_nan=True)
        else:
            assert g == w


X, I8 = [1.0, 2, 3, 4, 5, 6], [1, 2, 3]


def i8(t):
    return t(I8, dtype=torch.int8)


TRUTH = {
    "sub": lambda t, d: t(X) - True,
    "rsub": lambda t, d: True - t(X),
    "sub_alpha": lambda t, d: torch.sub(t(X), t(X), alpha=True),
    "add": lambda t, d: t(X) + True,
    "add_alpha": lambda t, d: torch.add(t(X), t(X), alpha=True),
    "foreach_sub": lambda t, d: torch._foreach_sub([t(X)], True),
    "foreach_sub_list": lambda t, d: torch._foreach_sub([t(X)], [True]),
    "foreach_sub_": lambda t, d: torch._foreach_sub_([t(X)], True),
    "foreach_add": lambda t, d: torch._foreach_add([t(X)], True),
    "foreach_add_alpha": lambda t, d: torch._foreach_add([t(X)], [t(X)], alpha=True),
    "addr_beta": lambda t, d: torch.addr(t([X]), t([1.0]), t(X), beta=True),
    "addr_alpha": lambda t, d: torch.addr(t([X]), t([1.0]), t(X), alpha=True),
    "addr_in_place": lambda t, d: t([X]).addr_(t([1.0]), t(X), beta=True),
    "addr_out": lambda t, d: torch.addr(t([X]), t([1.0]), t(X), beta=True, out=t([X])),
    "addr_int": lambda t, d: torch.addr(t([I8]), t([1]), t(I8), beta=0.5),
    "addr_right": lambda t, d: torch.addr(t([X]), t([1.0]), t(X), beta=2, alpha=0.5),
    "abs": lambda t, d: t([True]).abs(),
    "ceil": lambda t, d: t([True]).ceil(),
    "trunc": lambda t, d: t([True]).trunc(),
    "relu": lambda t, d: t([True]).relu(),
    "sum": lambda t, d: torch.sum(t(X), dtype=torch.bool),
    "prod": lambda t, d: torch.prod(t([1.0, 0]), dtype=torch.bool),
    "nansum": lambda t, d: torch.nansum(t([float("nan")]), dtype=torch.bool),
    "cumsum": lambda t, d: torch.cumsum(t(X), 0, dtype=torch.bool),
    "cumprod": lambda t, d: torch.cumprod(t(X), 0, dtype=torch.bool),
    "randperm": lambda t, d: torch.randperm(2, dtype=torch.bool, device=d),
    "dropout": lambda t, d: torch.dropout(t([True]), 0.5, True),
    "mm": lambda t, d: t([[True]]) @ t([[True]]),
}

DTYPE = {
    "and": lambda t, d: t(X) & t(X),
    "or": lambda t, d: t(X) | 1,
    "xor": lambda t, d: t(X) ^ t(X),
    "shift": lambda t, d: t(X) << 1,
    "shifts": lambda t, d: t(X) >> t(X),
    "gelu": lambda t, d: F.gelu(i8(t)),
    "frac": lambda t, d: i8(t).frac(),
    "lerp": lambda t, d: torch.lerp(i8(t), i8(t), 1),
    "leaky_relu": lambda t, d: F.leaky_relu(i8(t)),
    "mse": lambda t, d: F.mse_loss(i8(t), i8(t)),
    "complex_max": lambda t, d: t([1j]).max(),
    "complex_cummax": lambda t, d: t([1j]).cummax(0),
    "logcumsumexp": lambda t, d: torch.logcumsumexp(i8(t), 0),
    "dropout": lambda t, d: F.dropout(i8(t), 0.5),
    "dropout_off": lambda t, d: torch.native_dropout(i8(t), 0.5, False),
    "rrelu": lambda t, d: F.rrelu(i8(t), training=True),
    "round": lambda t, d: i8(t).round(),
    "softmax": lambda t, d: F.softmax(i8(t), 0),
    "scatter_reduce_complex": lambda t, d: t([1j, 2]).scatter_reduce_(0, t([0, 0]), t([1j, 3j]), "sum"),
    "scatter_reduce_complex_prod": lambda t, d: t([1j, 2]).scatter_reduce_(0, t([0, 0]), t([1j, 3j]), "prod"),
    "linear": lambda t, d: F.linear(t([X], dtype=torch.float64), t([X])),
    "linear_bias": lambda t, d: F.linear(t([X]), t([X]), t([1.0], dtype=torch.float64)),
    "mm": lambda t, d: torch.mm(t([X]), t([X], dtype=torch.float64).t()),
    "bmm": lambda t, d: torch.bmm(t([[X]]), t([[X]], dtype=torch.float64).mT),
    "matmul": lambda t, d: torch.matmul(t([[X]]), t(X, dtype=torch.float16)),
    "addmm": lambda t, d: torch.addmm(t([[1.0]], dtype=torch.float64), t([X]), t([X]).t()),
    "baddbmm": lambda t, d: torch.baddbmm(t([[[1.0]]]), t([[X]]), t([[X]], dtype=torch.float64).mT),
    "addmv": lambda t, d: torch.addmv(t([1.0]), t([X]), t(X, dtype=torch.float64)),
    "dot": lambda t, d: torch.dot(t(X), t(X, dtype=torch.float64)),
    "conv1d": lambda t, d: F.conv1d(t([[X]]), t([[X]], dtype=torch.float64)),
    "conv1d_bias": lambda t, d: F.conv1d(t([[X]]), t([[X]]), t([1.0], dtype=torch.float64)),
    "conv2d": lambda t, d: F.conv2d(t([[[X]]]), t([[[X]]], dtype=torch.bfloat16)),
    "conv_transpose1d": lambda t, d: F.conv_transpose1d(t([[X]]), t([[X]], dtype=torch.float64)),
    "conv_of_bool": lambda t, d: F.conv1d(t([[[True]]]), t([[[True]]])),
    "attention": lambda t, d: F.scaled_dot_product_attention(t([[[X]]]), t([[[X]]], dtype=torch.float64), t([[[X]]])),
    "layer_norm": lambda t, d: F.layer_norm(t([X]), (6,), t(X, dtype=torch.float64)),
    "group_norm": lambda t, d: F.group_norm(t([X]), 2, t(X, dtype=torch.float64), t(X, dtype=torch.float64)),
    "batch_norm": lambda t, d: F.batch_norm(t([X, X[::-1]]), None, None, t(X, dtype=torch.float64), None, True),
}

# A number that the dtype does not hold.
TOO_LARGE = {
    "fill": lambda t, d: i8(t).fill_(300),
    "fill_minus_one": lambda t, d: t([1], dtype=torch.uint8).fill_(-1),
    "fill_half": lambda t, d: t(X, dtype=torch.float16).fill_(1e6),
    "fill_inf": lambda t, d: i8(t).fill_(float("inf")),
    "fill_2_63": lambda t, d: t([1]).fill_(2**63),
    "fill_tensor": lambda t, d: i8(t).fill_(torch.tensor(300)),
    "full": lambda t, d: torch.full((2,), 300, dtype=torch.int8, device=d),
    "set_item": lambda t, d: i8(t).__setitem__(0, 300),
    "set_items": lambda t, d: i8(t).__setitem__(t([0]), 300),
    "set_masked": lambda t, d: i8(t).__setitem__(i8(t) > 1, 300),
    "masked_fill": lambda t, d: i8(t).masked_fill(i8(t) > 1, 300),
    "masked_fill_tensor": lambda t, d: i8(t).masked_fill(i8(t) > 1, torch.tensor(300)),
    "index_fill": lambda t, d: i8(t).index_fill(0, t([0]), 300),
    "scatter": lambda t, d: i8(t).scatter(0, t([0]), 300),
    "clamp_max": lambda t, d: i8(t).clamp(max=300),
    "clamp": lambda t, d: i8(t).clamp(-300, 300),
    "pow": lambda t, d: i8(t) ** 300,
    "add": lambda t, d: i8(t) + 300,
    "eq": lambda t, d: i8(t) == 300,
    "add_alpha": lambda t, d: torch.add(i8(t), i8(t), alpha=300),
    "addcmul": lambda t, d: torch.addcmul(i8(t), i8(t), i8(t), value=300),
    "addcmul_half": lambda t, d: torch.addcmul(t(X).half(), t(X).half(), t(X).half(), value=1e6),
    "where": lambda t, d: torch.where(i8(t) > 1, i8(t), 300),
    "threshold": lambda t, d: F.threshold(i8(t), 1, 300),
    "threshold_half": lambda t, d: F.threshold(t(X).half(), 1, 1e6),
    "index_add": lambda t, d: i8(t).index_add(0, t([0]), t([1], dtype=torch.int8), alpha=300),
    "linspace": lambda t, d: torch.linspace(0, 300, 3, dtype=torch.int8, device=d),
    "pad": lambda t, d: F.pad(i8(t), (1, 1), value=300),
    "randperm": lambda t, d: torch.randperm(300, dtype=torch.int8, device=d),
}


def expanded(d):
    return torch.zeros(1, device=d).expand(5)


# An output that overlaps an input, or itself.
OVERLAP = {
    "cat": lambda t, d: (lambda a: torch.cat([a[:3], a[3:5]], out=a[:5]))(t(X)),
    "cat_expanded": lambda t, d: torch.cat([t(X)[:3], t(X)[:2]], out=expanded(d)),
    "gather": lambda t, d: (lambda a: torch.gather(a, 0, t([0, 1, 2, 3, 4, 5]), out=a))(t(X)),
    "gather_index": lambda t, d: (lambda i: torch.gather(i, 0, i, out=i))(t([0, 1])),
    "gather_expanded": lambda t, d: torch.gather(t(X), 0, t([0, 1, 2, 3, 4]), out=expanded(d)),
    "index_select": lambda t, d: (lambda a: torch.index_select(a, 0, t([0, 1, 2, 3, 4, 5]), out=a))(t(X)),
    "masked_select": lambda t, d: (lambda a: torch.masked_select(a, a > 0, out=a))(t(X)),
    "take": lambda t, d: (lambda a: torch.take(a, t([0, 1]), out=a[:2]))(t(X)),
    "take_index": lambda t, d: (lambda i: torch.take(t([1, 2, 3]), i[1:], out=i[:-1]))(t([0, 1, 2])),
    "put": lambda t, d: (lambda a: a.put_(t([0, 1]), a[1:3]))(t(X)),
    "put_index": lambda t, d: (lambda i: i.put_(i, t([1, 2])))(t([0, 1])),
    "kthvalue": lambda t, d: (lambda a: torch.kthvalue(a.view(2, 3), 2, 1, out=(a[:2], t([0, 0]))))(t(X)),
    "bernoulli": lambda t, d: (lambda p: torch.bernoulli(p[:4] * 0, out=expanded(d)))(t(X)),
    "bernoulli_": lambda t, d: (lambda p: p[:4].bernoulli_(p[2:6]))(t(X) * 0),
    "narrow_copy": lambda t, d: torch.narrow_copy(t([X]), 2, 0, 1),
    "narrow_copy_length": lambda t, d: torch.narrow_copy(t([X]), 1, 0, -1),
    "fractional": lambda t, d: F.fractional_max_pool2d(
        torch.ones(2, 3, 8, 8, device=d), 2, 3, _random_samples=torch.ones(1, 3, 2, device=d)
    ),
    "fractional_3d": lambda t, d: F.fractional_max_pool3d(
        torch.ones(2, 3, 8, 8, 8, device=d), 2, 3, _random_samples=torch.ones(2, 2, 3, device=d)
    ),
}

KINDS = {"truth": TRUTH, "dtype": DTYPE, "too_large": TOO_LARGE, "overlap": OVERLAP}


@pytest.mark.fallback
@pytest.mark.parametrize("kind,name", [(k, n) for k, cases in KINDS.items() for n in cases])
def test_as_the_cpu(kind, name):
    same_outcome(KINDS[kind][name])


def test_a_refused_call_spoils_nothing():
    weight, x = torch.rand(2, 3), torch.rand(4, 3)
    w, d = weight.to(DEV), x.to(DEV)
    beside = d * 2
    with pytest.raises(RuntimeError, match="same dtype"):
        F.linear(d.double(), w)
    with pytest.raises(NotImplementedError, match="GeluKernelImpl"):
        F.gelu(d.int())
    assert torch.equal(w.cpu(), weight) and torch.equal(beside.cpu(), x * 2) and torch.equal(d.cpu(), x)


def test_refused_calls_are_no_fallbacks():
    before = anygpu.fallbacks()
    with pytest.raises(NotImplementedError, match="GeluKernelImpl"):
        F.gelu(torch.tensor([1]).to(DEV))
    assert anygpu.fallbacks() == before


def test_what_only_the_cpu_does_is_a_fallback():
    """Mixed dtypes that PyTorch allows: not silently, and an error where the detour is forbidden."""
    x = torch.tensor([1j, 2])
    with pytest.raises(NotImplementedError, match="forbids"):
        x.to(DEV).scatter_reduce_(0, torch.tensor([0, 0], device=DEV), x.to(DEV), "sum")


def test_complex_half_warns(python):
    said = python(
        """
        import warnings, torch
        with warnings.catch_warnings(record=True) as w:
            warnings.simplefilter("always")
            torch.empty(2, dtype=torch.complex32, device="anygpu")
        print([str(x.message) for x in w])
        """
    )
    assert "ComplexHalf support is experimental" in said


# ---- valid on the CPU, once refused here ----


@pytest.mark.parametrize("shape", [[2] * 17, [1] * 40 + [3], [2, 1] * 10])
def test_pointwise_of_many_dimensions(shape):
    x = torch.randn(shape)
    d = x.to(DEV)
    for f in (torch.relu, lambda t: t * 2 + t, lambda t: t < 0.5, lambda t: t.double(), lambda t: torch.add(t, t[..., :1], alpha=2)):
        assert torch.equal(f(d).cpu(), f(x))
    d.mul_(3)
    assert torch.equal(d.cpu(), x * 3)


@pytest.mark.fallback
def test_other_operators_of_many_dimensions():
    x = torch.randn([2] * 18)
    d = x.to(DEV)
    backwards = list(reversed(range(18)))
    same = lambda f: torch.testing.assert_close(f(d).cpu(), f(x))  # noqa: E731
    same(lambda t: t.permute(backwards) + t)
    same(lambda t: t.sum(3))
    same(lambda t: t.sum())
    same(lambda t: torch.cat([t, t], 2))
    same(lambda t: t.softmax(-1))


def test_integers_over_the_full_range():
    lo, hi = INT64.min, INT64.max
    for d in (
        torch.randint(lo, hi, (20000,), device=DEV),
        torch.empty(20000, dtype=torch.int64, device=DEV).random_(lo, hi),
        torch.empty(20000, dtype=torch.int64, device=DEV).random_(lo, None),
        torch.randint(lo, lo // 2 * 1 + 2**62, (20000,), device=DEV),
    ):
        x = d.cpu().double()
        assert x.unique().numel() > 19000
        assert x.min() < lo * 0.99
    near = torch.randint(-(2**62) - 7, 2**62 + 7, (40000,), device=DEV).cpu()
    assert near.min() >= -(2**62) - 7 and near.max() < 2**62 + 7
    assert abs(near.double().mean() / 2**62) < 0.02 and abs((near > 2**61).double().mean() - 0.25) < 0.02


def test_mode_out():
    x = torch.randint(0, 4, (5, 7))
    values, indices = torch.empty(0, dtype=torch.int64, device=DEV), torch.empty(0, dtype=torch.int64, device=DEV)
    torch.mode(x.to(DEV), 1, out=(values, indices))
    want = torch.mode(x, 1)
    assert torch.equal(values.cpu(), want.values) and torch.equal(indices.cpu(), want.indices)


UNSIGNED = [torch.uint16, torch.uint32, torch.uint64]
STORED = [*UNSIGNED, torch.float8_e4m3fn, torch.float8_e5m2]


@pytest.mark.parametrize("dtype", STORED, ids=str)
def test_dtypes_that_are_only_stored(dtype):
    """Making, filling, joining and indexing move bits: no detour over the CPU."""
    bits = lambda t: t.cpu().view(torch.uint8)  # noqa: E731
    x = torch.tensor([0.0, 1, 2, 3]).to(dtype)
    d = x.to(DEV)
    assert torch.equal(bits(torch.zeros(3, dtype=dtype, device=DEV)), bits(torch.zeros(3, dtype=dtype)))
    assert torch.equal(bits(torch.full((3,), 2, dtype=dtype, device=DEV)), bits(torch.full((3,), 2, dtype=dtype)))
    assert torch.equal(bits(torch.cat([d, d[1:]])), bits(torch.cat([x, x[1:]])))
    assert torch.equal(bits(d[torch.tensor([2, 0], device=DEV)]), bits(x[[2, 0]]))
    assert torch.equal(bits(d.clone()[1:].fill_(1)), bits(x.clone()[1:].fill_(1)))
    if dtype in UNSIGNED:
        assert torch.equal((d == 2).cpu(), x == 2)
        assert torch.equal((d != d[[0, 1, 1, 3]]).cpu(), x != x[[0, 1, 1, 3]])
        assert torch.equal(d, d.clone()) and not torch.equal(d, torch.cat([d[1:], d[:1]]))


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_gradients_in_batches(kind):
    torch.manual_seed(0)
    layer = getattr(torch.nn, kind)(3, 4)
    x, v = torch.randn(5, 2, 3, requires_grad=True), torch.randn(3, 5, 2, 4)
    want = torch.autograd.grad(layer(x)[0], [x, *layer.parameters()], v, is_grads_batched=True)
    layer.to(DEV)
    y = x.detach().to(DEV).requires_grad_()
    got = torch.autograd.grad(layer(y)[0], [y, *layer.parameters()], v.to(DEV), is_grads_batched=True)
    for w, g in zip(want, got, strict=True):
        torch.testing.assert_close(g.cpu(), w, rtol=1e-4, atol=1e-5)
    out = layer(y)[0]
    rows = torch.func.vmap(lambda u: torch.autograd.grad(out, y, u, retain_graph=True)[0])(v.to(DEV))
    torch.testing.assert_close(rows.cpu(), want[0], rtol=1e-4, atol=1e-5)


@pytest.mark.fallback
@pytest.mark.parametrize("shape", [(3,), (0,), (2, 0), ()], ids=str)
@pytest.mark.parametrize(
    "call",
    [
        lambda x: x & x,
        lambda x: torch.bitwise_or(x, 1),
        lambda x: torch.bitwise_not(x),
        lambda x: x << 1,
        lambda x: torch.gcd(x, x),
        lambda x: torch.lcm(x, x),
        lambda x: torch.nn.functional.gelu(x.int()),
        lambda x: torch.frac(x.int()),
        lambda x: x.bool().ceil(),
    ],
)
def test_nothing_is_too_small_to_be_refused(call, shape):
    x = torch.zeros(shape)
    with pytest.raises(NotImplementedError):
        call(x)
    with pytest.raises(NotImplementedError):
        call(x.to("anygpu"))
