"""out= arguments of another dtype or layout than the result would have, and destinations that a source does not broadcast to."""

# The functions are called where they are made.
# ruff: noqa: B023

import warnings

import pytest
import torch

DEV = "anygpu"


def raised(f):
    with pytest.raises(Exception) as e:
        f()
    return e.type, str(e.value).split("\n")[0]


# ---- sources that do not broadcast ----

MISFITS = [
    ((4,), (2, 4)),
    ((4,), (1, 4)),
    ((4,), (3,)),
    ((2, 3), (3, 2)),
    ((0,), (3,)),
    ((1, 4), (1, 1, 1, 4)),
    ((), (1,)),
    ((2, 1), (2, 4)),
]


@pytest.mark.parametrize("dst,src", MISFITS)
@pytest.mark.parametrize("types", [(torch.float32, torch.float32), (torch.float32, torch.int64), (torch.complex64, torch.float32)])
def test_copy_refuses_a_source_that_does_not_broadcast(dst, src, types):
    to, source = torch.zeros(dst, dtype=types[0]), torch.ones(src, dtype=types[1])
    want = raised(lambda: to.copy_(source))
    d = to.to(DEV)
    assert raised(lambda: d.copy_(source.to(DEV))) == want
    assert raised(lambda: d.copy_(source)) == want
    assert raised(lambda: to.copy_(source.to(DEV))) == want
    assert torch.equal(d.cpu(), to), "nothing was written"


@pytest.mark.parametrize("dst,src", [((4,), (2, 4)), ((4,), (3,))])
def test_other_writers_refuse_too(dst, src):
    for f in (
        lambda d: torch._foreach_copy_([torch.zeros(dst, device=d)], [torch.ones(src, device=d)]),
        lambda d: torch.zeros(dst, device=d).masked_fill_(torch.ones(src, dtype=torch.bool, device=d), 1),
        lambda d: torch.zeros(dst, device=d).add_(torch.ones(src, device=d)),
        lambda d: torch.zeros(dst, device=d)[torch.tensor([0, 1], device=d)].copy_(torch.ones(src, device=d)),
        lambda d: torch.zeros(dst, device=d).fill_(torch.ones(src, device=d)),
        lambda d: torch.zeros(dst, device=d).index_put_((torch.tensor([0, 1], device=d),), torch.ones(src, device=d)),
    ):
        assert raised(lambda: f(DEV)) == raised(lambda: f("cpu"))


def test_assignment_refuses_too():
    x = torch.zeros(4, device=DEV)
    with pytest.raises(RuntimeError, match=r"the number of sizes provided \(1\) must be greater or equal to the number of dimensions"):
        x[1:3] = torch.ones(2, 2, device=DEV)
    x[1:3] = torch.ones(1, 1, 2, device=DEV)  # leading ones are cut off
    assert x.tolist() == [0, 1, 1, 0]


# ---- factories into any layout ----

LAYOUTS = {
    "contiguous": lambda z: z(3, 4),
    "transposed": lambda z: z(4, 3).t(),
    "strided": lambda z: z(24)[::2],
    "narrowed": lambda z: z(3, 8)[:, 1:5],
    "permuted": lambda z: z(2, 3, 2).permute(2, 0, 1),
    "too small": lambda z: z(0),
}
LINES = {
    "arange": lambda o: torch.arange(0, 12, out=o),
    "arange by -2": lambda o: torch.arange(30, 6, -2, out=o),
    "linspace": lambda o: torch.linspace(0, 11, 12, out=o),
    "logspace": lambda o: torch.logspace(0, 11, 12, base=2, out=o),
    "range": lambda o: torch.range(0, 11, out=o),
    "eye": lambda o: torch.eye(3, 4, out=o),
    "full": lambda o: torch.full((3, 4), 7, out=o),
    "randperm": lambda o: torch.randperm(12, out=o).sort()[0],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
@pytest.mark.filterwarnings("ignore")
def test_factories_into_any_layout(layout, line, dtype):
    want, got = (LAYOUTS[layout](lambda *n, d=d: torch.zeros(n, dtype=dtype, device=d)) for d in ("cpu", DEV))
    want_line, got_line = LINES[line](want), LINES[line](got)
    assert got_line.shape == want_line.shape and got_line.stride() == want_line.stride()
    torch.testing.assert_close(got_line.cpu(), want_line)
    torch.testing.assert_close(got.cpu(), want) if line != "randperm" else None


def test_a_line_of_one_number_and_one_over_itself():
    for f in (lambda o: torch.arange(5, 6, out=o), lambda o: torch.linspace(5, 9, 1, out=o)):
        assert f(torch.zeros((), device=DEV)).tolist() == 5
    for line in ("arange", "linspace", "logspace", "range"):
        with warnings.catch_warnings(), pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
            warnings.simplefilter("ignore")
            LINES[line](torch.zeros(1, device=DEV).expand(12))


@pytest.mark.parametrize(
    "f", [lambda d: torch.linspace(0, 1, 2, dtype=torch.bool, device=d), lambda d: torch.range(0, 1, dtype=torch.bool, device=d)]
)
@pytest.mark.filterwarnings("ignore")
def test_no_line_of_truth_values(f):
    assert raised(lambda: f(DEV)) == raised(lambda: f("cpu"))


# ---- wider results ----

BINARY = "add sub mul div hypot atan2 maximum fmod remainder logaddexp copysign pow".split()
UNARY = "exp exp2 expm1 log sqrt rsqrt square sin tanh sigmoid sinh cosh reciprocal erf lgamma digamma".split()


def agree(f, out):
    """The same bits: both computed in the narrow dtype."""
    want, got = f("cpu", torch.zeros(out.shape, dtype=out.dtype)), f(DEV, out.to(DEV))
    assert got.dtype == want.dtype
    torch.testing.assert_close(got.cpu(), want, equal_nan=True, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("out", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_arithmetic_rounds_to_the_dtype_that_it_computes_in(dtype, out):
    a = torch.tensor([40000.0, 1 / 3, -1e-4, 3e38, 7.0, -0.0]).to(dtype)
    b = torch.tensor([40000.0, 3.0, 1e-4, 3e38, -3.0, 0.0]).to(dtype)
    for name in ("add", "sub", "mul", "div", "maximum"):
        agree(lambda d, o: getattr(torch, name)(a.to(d), b.to(d), out=o), torch.zeros(6, dtype=out))
    agree(lambda d, o: torch.mul(a.to(d), 3.3, out=o), torch.zeros(6, dtype=out))


@pytest.mark.parametrize("name", BINARY + UNARY)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_wider_result_holds_nothing_finer(name, dtype):
    a = torch.tensor([40000.0, 1 / 3, 2.25, -7.7]).to(dtype).to(DEV)
    args = [a, a.flip(0)] if name in BINARY else [a]
    f = getattr(torch, name)
    wide = f(*args, out=torch.zeros(4, device=DEV)).cpu()
    torch.testing.assert_close(wide, f(*args).cpu().float(), equal_nan=True, rtol=0, atol=0)
    double = f(*args, out=torch.zeros(4, dtype=torch.float64, device=DEV)).cpu()
    torch.testing.assert_close(double, wide.double(), equal_nan=True, rtol=0, atol=0)
    # Alone and with a neighbour that it fuses with: the same.
    torch.testing.assert_close((f(*args, out=torch.zeros(4, device=DEV)) * 2).cpu(), wide * 2, equal_nan=True, rtol=0, atol=0)


def test_half_sums_overflow_into_a_float():
    h = torch.full((3,), 40000.0, dtype=torch.half, device=DEV)
    assert torch.add(h, h, out=torch.zeros(3, device=DEV)).tolist() == [float("inf")] * 3
    assert torch.sum(h, 0, out=torch.zeros((), device=DEV)).item() == 120000  # a reduction computes in the result's dtype


def test_truth_values_and_bytes_into_wider_integers():
    t, u = torch.tensor([True, False]), torch.tensor([200, 3], dtype=torch.uint8)
    for out in (torch.int32, torch.float32, torch.int64):
        agree(lambda d, o: torch.add(t.to(d), t.to(d), out=o), torch.zeros(2, dtype=out))
        agree(lambda d, o: torch.add(u.to(d), u.to(d), out=o), torch.zeros(2, dtype=out))
        agree(lambda d, o: torch.mul(u.to(d), 2, out=o), torch.zeros(2, dtype=out))


@pytest.mark.parametrize("f", ["sum", "mean", "nansum", "prod", "cumsum", "cumprod"])
def test_reductions_compute_in_the_dtype_of_the_result(f):
    h = torch.tensor([[40000.0, 3.0], [40000.0, 1 / 3]]).half()
    shape = (2, 2) if f.startswith("cum") else (2,)
    agree(lambda d, o: getattr(torch, f)(h.to(d), 0, out=o), torch.zeros(shape))
