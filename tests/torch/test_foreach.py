"""The _foreach_ operators against the CPU: the direct path, and lists that must take PyTorch's own loop."""

import pytest
import torch

SHAPES = [(3,), (2, 4), (), (0,), (5, 1)]


def lists(n, dtype=torch.float32, seed=0):
    g = torch.Generator().manual_seed(seed)
    return [[(torch.rand(s, generator=g) + 0.5).to(dtype) for s in SHAPES] for _ in range(n)]


def check(name, *args, **kwargs):
    """Runs torch.<name> on copies on both devices; results and changed arguments must agree."""
    move = lambda x, d: (
        [t.clone().to(d) for t in x]
        if isinstance(x, list) and x and isinstance(x[0], torch.Tensor)
        else x.to(d)
        if isinstance(x, torch.Tensor)
        else x
    )
    out = {}
    for d in ("cpu", "anygpu"):
        a = [move(x, d) for x in args]
        r = getattr(torch, name)(*a, **kwargs)
        out[d] = [t for x in [*a, r] if isinstance(x, (list, tuple)) for t in x if isinstance(t, torch.Tensor)]
    for w, g in zip(out["cpu"], out["anygpu"], strict=True):
        torch.testing.assert_close(g.cpu(), w)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", ["sqrt", "rsqrt", "neg", "abs", "sign", "reciprocal", "exp", "log", "sigmoid", "tanh"])
def test_unary(name, dtype):
    check("_foreach_" + name, *lists(1, dtype))
    check(f"_foreach_{name}_", *lists(1, dtype))


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "maximum", "minimum", "pow", "clamp_min", "clamp_max"])
def test_binary(name):
    a, b = lists(2)
    for n in (f"_foreach_{name}", f"_foreach_{name}_"):
        check(n, a, 1.25)
        check(n, a, b)
        check(n, a, [0.5 + i for i in range(len(a))])
    check("_foreach_pow", a, 2)


def test_alpha_and_tensors():
    a, b = lists(2)
    check("_foreach_add_", a, b, alpha=0.3)
    check("_foreach_sub_", a, b, alpha=0.3)
    check("_foreach_mul_", a, torch.tensor(1.5))
    check("_foreach_div_", a, torch.tensor(1.5))
    check("_foreach_add_", a, torch.tensor(1.5), alpha=2)
    cpu_number = [t.to("anygpu") for t in a]
    torch._foreach_mul_(cpu_number, torch.tensor(2.0))
    for g, w in zip(cpu_number, a):
        torch.testing.assert_close(g.cpu(), w * 2)


@pytest.mark.parametrize("name", ["addcmul", "addcdiv"])
def test_ternary(name):
    a, b, c = lists(3)
    for n in (f"_foreach_{name}", f"_foreach_{name}_"):
        check(n, a, b, c, 0.3)
        check(n, a, b, c, [0.1 * i for i in range(len(a))])


def test_lerp_zero_copy_norm():
    a, b, w = lists(3)
    check("_foreach_lerp", a, b, 0.3)
    check("_foreach_lerp_", a, b, 0.7)
    check("_foreach_lerp_", a, b, w)
    check("_foreach_zero_", a)
    check("_foreach_copy_", a, b)
    check("_foreach_norm", [t for t in a if t.numel()])


def test_lists_that_take_the_slow_path():
    ints = [torch.arange(4), torch.arange(6).view(2, 3)]
    check("_foreach_add", ints, 1)
    check("_foreach_add", ints, 1.5)
    check("_foreach_sqrt", ints)
    check("_foreach_mul", [torch.ones(3), torch.ones(2, dtype=torch.float64)], [torch.ones(3, dtype=torch.float64), torch.ones(2)])
    check("_foreach_add_", [torch.ones(2, 3)], [torch.ones(3)])  # broadcasts
    check("_foreach_copy_", [torch.ones(2, 3)], [torch.arange(6).view(2, 3)])


def test_strides_and_aliases():
    a = torch.arange(12.0).view(3, 4)
    d = a.to("anygpu")
    torch._foreach_mul_([d.t()[1], d[0, 2:]], [2.0, 3.0])
    a.t()[1].mul_(2), a[0, 2:].mul_(3)
    torch.testing.assert_close(d.cpu(), a)
