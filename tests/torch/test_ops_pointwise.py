"""Pointwise operators where opdb does not look: special values, numbers of the host, strides, aliases, outputs, sizes of 0 and 1."""

import itertools
import math

import pytest
import torch

DEV = "anygpu"
INF, NAN = math.inf, math.nan
FLOATS = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -1.5,
    2.5,
    -2.5,
    3.0,
    -7.0,
    100.25,
    1e-3,
    1e30,
    -1e30,
    3e38,
    2e-38,
    INF,
    -INF,
    NAN,
    88.0,
    -104.0,
    0.9990234375,
]
INTS = [0, 1, 2, 3, 5, 7, 63, 64, 127, -1, -2, -3, -7, -128]


def same(got, want, **tolerance):
    torch.testing.assert_close(got.cpu(), want, equal_nan=True, **tolerance)


def on_both(f, *args, **tolerance):
    want = f(*[a.clone() if isinstance(a, torch.Tensor) else a for a in args])
    got = f(*[a.to(DEV) if isinstance(a, torch.Tensor) else a for a in args])
    same(got, want, **tolerance)


UNARY = """abs acos acosh angle asin asinh atan atanh ceil cos cosh digamma erf erfc erfinv exp exp2 expm1 floor frac i0 isinf isfinite
isnan lgamma log log10 log1p log2 logical_not logit nan_to_num neg reciprocal relu round rsqrt sigmoid sgn signbit sin sinc
sinh sqrt square tan tanh trunc""".split()


@pytest.mark.parametrize("name", UNARY)
def test_unary_of_special_values(name):
    x = torch.tensor(FLOATS)
    if name in ("sin", "cos", "tan", "sinc", "lgamma", "digamma"):
        x = x[x.abs() < 1e20]  # beyond, an argument's last bit decides
    on_both(getattr(torch, name), x, rtol=3e-5, atol=1e-5)


BINARY = """add sub mul true_divide floor_divide pow atan2 copysign heaviside logaddexp logaddexp2 xlogy maximum minimum
fmax fmin eq ne lt le gt ge logical_and logical_or logical_xor hypot nextafter""".split()


@pytest.mark.parametrize("name", BINARY)
def test_binary_of_special_values(name):
    x = torch.tensor(FLOATS)
    on_both(getattr(torch, name), x[:, None], x[None, :], rtol=3e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int8, torch.uint8])
@pytest.mark.parametrize(
    "name",
    (
        "add sub mul true_divide floor_divide fmod remainder gcd "
        "lcm bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift maximum lt ge"
    ).split(),
)
def test_integers_of_special_values(name, dtype):
    info = torch.iinfo(dtype)
    x = torch.tensor([i for i in INTS + [info.max, info.min] if info.min <= i <= info.max], dtype=dtype)
    if name in ("gcd", "lcm"):
        x = x[x != info.min] if info.min < 0 else x  # so does gcd(MIN, -1)
    y = x[x != 0] if name in ("floor_divide", "fmod", "remainder") else x
    if name in ("floor_divide", "fmod", "remainder") and info.min < 0:
        y = y[y != -1]  # MIN by -1 traps on the CPU
    on_both(getattr(torch, name), x[:, None], y[None, :])


@pytest.mark.parametrize("mode", [None, "floor", "trunc"])
def test_division_modes(mode):
    x = torch.tensor([7.5, -7.5, 2.0, -2.0, 0.0, 1e-3, INF, NAN])
    on_both(lambda a, b: torch.div(a, b, rounding_mode=mode), x[:, None], x[None, :])
    i = torch.tensor([7, -7, 2, -2, 3, -3])
    on_both(lambda a, b: torch.div(a, b, rounding_mode=mode), i[:, None], i[None, :])


@pytest.mark.parametrize("f", [torch.remainder, torch.fmod, torch.floor_divide, lambda a, b: torch.div(a, b, rounding_mode="trunc")])
def test_integer_division_by_zero_raises(f):
    with pytest.raises(RuntimeError):
        f(torch.tensor([1, 2], device=DEV), torch.tensor([1, 0], device=DEV)).cpu()
    assert torch.ones(2, device=DEV).add(1).tolist() == [2.0, 2.0]  # and the device goes on


def test_python_numbers_and_promotion():
    f, i, b = torch.arange(4.0), torch.arange(4), torch.tensor([True, False, True, True])
    for t in (f, i, b, f.half(), f.bfloat16(), f.double(), i.to(torch.uint8)):
        on_both(lambda a: a + 1, t)
        on_both(lambda a: a * 2.5, t)
        on_both(lambda a: 3 / (a + 1), t)
        on_both(lambda a: 2 - a.float(), t)
        on_both(lambda a: a == 1, t)
        on_both(lambda a: a < 1.5, t)
        on_both(lambda a: a + True, t)
    for a, c in itertools.product((f, i, b, f.half()), repeat=2):
        on_both(lambda x, y: x * y, a, c)
        on_both(lambda x, y: x + y, a, c)
    on_both(lambda a: a + torch.tensor(2.0, dtype=torch.float64), f)  # 0-dimensional of the host: keeps f32
    on_both(lambda a: torch.tensor(2.0) - a, f)
    on_both(lambda a: a[0] * torch.tensor(2.0, dtype=torch.float64), f)


def test_a_host_tensor_with_elements_is_refused():
    with pytest.raises(RuntimeError, match="same device"):
        torch.ones(2, device=DEV) + torch.ones(2)
    with pytest.raises(RuntimeError, match="same device"):
        torch.ones(2, device=DEV).addcmul_(torch.ones(2), torch.ones(2, device=DEV))
    with pytest.raises(RuntimeError):
        torch.ones(2, device=DEV) + torch.ones(3, device=DEV)
    with pytest.raises(RuntimeError):
        torch.arange(3, device=DEV).add_(1.5)


@pytest.mark.parametrize("shape", [(0,), (1,), (), (2, 0, 3), (1, 1), (3, 1, 5)])
def test_sizes_of_zero_and_one(shape):
    x = torch.rand(shape)
    on_both(lambda a: a + a.exp() * 2, x)
    on_both(lambda a: torch.where(a > 0.5, a, -a), x)
    on_both(lambda a: a + torch.ones(1, 5, device=a.device) if a.dim() == 3 and a.size(1) == 1 else a, x)


def test_strides_and_outputs():
    x = torch.arange(24.0).view(4, 6)
    on_both(lambda a: a.t() + a.t(), x)
    on_both(lambda a: a[::2, 1:5:2].exp(), x / 10)
    on_both(lambda a: a.expand(3, 4, 6) * a, x)
    on_both(lambda a: torch.add(a, 1, out=torch.empty(0, device=a.device)), x)
    on_both(lambda a: torch.add(a, 1, out=torch.empty(6, 4, device=a.device).t()), x)
    on_both(lambda a: torch.lt(a, 7, out=torch.empty(4, 6, device=a.device)), x)
    assert (x.to(DEV).t() * 2).stride() == (x.t() * 2).stride()
    cl = torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last)
    assert cl.to(DEV).relu().is_contiguous(memory_format=torch.channels_last)


def test_in_place_and_aliases():
    def run(a):
        v = a.view(3, 4)
        v[1].add_(v[0])
        v.t()[2].mul_(v.t()[1])
        a[2:8].sub_(a[2:8])
        v[:, 0] = v[:, 3].exp()
        v.masked_fill_(v > 100, -1)
        return a

    on_both(run, torch.arange(12.0))
    with pytest.raises(RuntimeError, match="overlap|single memory location"):
        a = torch.zeros(6, device=DEV)
        a[1:].add_(a[:-1])
    with pytest.raises(RuntimeError):
        torch.zeros(1, device=DEV).expand(3).add_(1)


def test_masked_fill():
    x, m = torch.arange(6.0).view(2, 3), torch.tensor([True, False, True])
    on_both(lambda a, b: a.masked_fill(b, -INF), x, m)
    on_both(lambda a, b: a.masked_fill(b, torch.tensor(5.0)), x, m)
    on_both(lambda a, b: a.masked_fill(b, torch.tensor(5.0, device=a.device)), x, m)
    on_both(lambda a, b: a.to(torch.int64).masked_fill(b, 7), x, m)
    with pytest.raises(RuntimeError):
        x.to(DEV).masked_fill(m.to(DEV).float(), 1)
    with pytest.raises(RuntimeError):
        x.to(DEV).masked_fill(m.to(DEV), torch.ones(2, device=DEV))


def test_narrow_floats_round_once():
    for dtype in (torch.float16, torch.bfloat16):
        x = torch.linspace(-4, 4, 1001).to(dtype)
        for f in (lambda a: a * a + a, lambda a: a.sigmoid(), lambda a: torch.nn.functional.gelu(a), lambda a: a.add(a, alpha=0.1)):
            on_both(f, x, rtol=torch.finfo(dtype).eps, atol=1e-3)


def test_losses_and_gradients_of_corner_cases():
    p, t = torch.tensor([0.0, 1.0, 0.5, 1e-30]), torch.tensor([0.0, 1.0, 1.0, 1.0])

    def bce(a, b):
        a = a.detach().requires_grad_()
        torch.nn.functional.binary_cross_entropy(a, b, weight=b + 1).backward()
        return a.grad

    on_both(bce, p, t)
    on_both(lambda a, b: torch.nn.functional.binary_cross_entropy(a, b, reduction="none"), p, t)
    with pytest.raises(RuntimeError):
        torch.nn.functional.binary_cross_entropy(torch.tensor([1.5], device=DEV), torch.ones(1, device=DEV)).cpu()

    def prelu(a):
        w = torch.tensor([0.25, 0.5], device=a.device, requires_grad=True)
        torch.nn.functional.prelu(a, w).pow(2).sum().backward()
        return w.grad

    on_both(prelu, torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0)))


WINDOWS = ["bartlett", "blackman", "hamming", "hann", "kaiser"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", WINDOWS)
def test_windows(name, dtype):
    window = getattr(torch, f"{name}_window")
    for n in (0, 1, 2, 7, 100):
        for periodic in (True, False):
            for more in ((), (3.5,)) if name == "kaiser" else ((),):
                got, want = (window(n, periodic, *more, dtype=dtype, device=d) for d in (DEV, "cpu"))
                # PyTorch's own sums in the halves round after each operator, some of them below 0.
                close = 2e-2 if dtype in (torch.float16, torch.bfloat16) else 1e-5
                torch.testing.assert_close(got.cpu(), want, rtol=close, atol=close)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int32, torch.int64])
def test_factories(dtype):
    def both(f):
        same(f(DEV), f("cpu"))

    both(lambda d: torch.arange(1, 20, 3, dtype=dtype, device=d))
    both(lambda d: torch.arange(10, -5, -2, dtype=dtype, device=d))
    both(lambda d: torch.linspace(-3, 17, 9, dtype=dtype, device=d))
    both(lambda d: torch.linspace(2, 5, 1, dtype=dtype, device=d))
    both(lambda d: torch.logspace(0, 3, 4, dtype=dtype, device=d))
    both(lambda d: torch.eye(3, 5, dtype=dtype, device=d))
    both(lambda d: torch.full((2, 3), 7, dtype=dtype, device=d))
    both(lambda d: torch.ones(4, 5, dtype=dtype, device=d).tril(-1) + torch.ones(4, 5, dtype=dtype, device=d).triu(2))
    both(lambda d: torch.arange(0, dtype=dtype, device=d))
    both(lambda d: torch.tril_indices(4, 3, -1, device=d))
    both(lambda d: torch.triu_indices(4, 3, 1, device=d))
    both(lambda d: torch.zeros(2, 2, dtype=torch.complex64, device=d).fill_(1 + 2j))


def test_operators_that_opdb_never_reaches():
    a, b = torch.tensor([1, -5, 7]), torch.tensor([2, 1, 0])
    for other in (b, 2):
        on_both(lambda x, y: x << y, a, other)
        on_both(lambda x, y: x >> y, a, other)
        on_both(lambda x, y: x.__ilshift__(y), a, other)
        on_both(lambda x, y: x.__irshift__(y), a, other)
    x, y, z = (torch.randn(4, 6, generator=torch.Generator().manual_seed(i)) for i in range(3))
    half = x[:, :3].contiguous()
    on_both(lambda g, x, dx: torch.ops.aten.glu_jvp(torch.nn.functional.glu(x), x, dx, 1), half, y, z)
    on_both(lambda g, x, dx: torch.ops.aten.glu_backward_jvp(torch.ops.aten.glu_backward(g, x, 1), g, x, g * 2, dx, 1), half, y, z)
    on_both(lambda g, x: torch.ops.aten.mish_backward(g, x), x, y, rtol=1e-5, atol=1e-5)
    same(torch.range(0, 4, device=DEV), torch.arange(5.0))
    torch._assert_async(torch.tensor(True, device=DEV), "fine")
    with pytest.raises(RuntimeError, match="not so"):
        torch._assert_async(torch.tensor(0, device=DEV), "not so")


def test_complex_takes_the_cpu(request):
    from anygpu import _torch

    _torch.set_fallback_mode("silent")
    x = torch.tensor([1 + 2j, 3 - 1j])
    on_both(lambda a: a * a + 1, x)
    on_both(lambda a: a.exp(), x)
    on_both(lambda a: a.real * 2, x)


@pytest.mark.parametrize(
    "name",
    (
        "entr erfcx i0e i1 i1e log_ndtr ndtri "
        "bessel_j0 bessel_j1 bessel_y0 bessel_y1 modified_bessel_k0 modified_bessel_k1 spherical_bessel_j0"
    ).split(),
)
def test_special_functions_in_f64(name):
    special = pytest.importorskip("scipy.special")
    x = (
        torch.linspace(0.001, 0.999, 101, dtype=torch.float64)
        if name in ("ndtri", "entr")
        else torch.linspace(0.05, 40, 799, dtype=torch.float64)
    )
    reference = getattr(special, {"modified_bessel_k0": "k0", "modified_bessel_k1": "k1"}.get(name, name.replace("bessel_", "")), None)
    want = torch.from_numpy(special.spherical_jn(0, x.numpy()) if name == "spherical_bessel_j0" else reference(x.numpy()))
    same(getattr(torch.special, name)(x.to(DEV)), want, rtol=1e-11, atol=1e-13)
