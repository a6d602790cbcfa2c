"""Errors: the right Python exception, PyTorch's words, and a device that goes on working. Missing operators."""

import warnings

import pytest
import torch

import anygpu
from anygpu import _torch

MISSING = torch.library.Library("anygpu_test", "DEF")
MISSING.define("double(Tensor x) -> Tensor")
MISSING.define("add_one_(Tensor(a!) x) -> Tensor(a!)")
MISSING.define("shift(Tensor x, Tensor(a!) y) -> ()")
MISSING.define("row(Tensor(a) x, int i) -> Tensor(a)")
MISSING.define("count_out(Tensor x, *, Tensor(a!) out) -> Tensor(a!)")
MISSING.define("lists(Tensor[] xs, Tensor?[] ys) -> (Tensor[], Tensor)")
MISSING.define("noise(Tensor x, *, Generator? generator=None) -> Tensor")
MISSING.define("made(int n, *, Device? device=None) -> Tensor")


def _cpu(name):
    def register(f):
        MISSING.impl(name, f, "CPU")
        return f

    return register


@_cpu("double")
def _double(x):
    assert x.device.type == "cpu"
    return x * 2


@_cpu("add_one_")
def _add_one_(x):
    return x.add_(1)


@_cpu("shift")
def _shift(x, y):
    y.copy_(x + 10)


@_cpu("row")
def _row(x, i):
    return torch.ops.aten.select.int(x, 0, i)


@_cpu("count_out")
def _count_out(x, *, out):
    out.resize_(x.numel(), 2)
    out.fill_(x.numel())
    return out


@_cpu("lists")
def _lists(xs, ys):
    return [x + 1 for x in xs], sum(y.sum() for y in ys if y is not None)


@_cpu("noise")
def _noise(x, *, generator=None):
    assert generator.device.type == "cpu"
    return torch.rand(x.shape, generator=generator)


@_cpu("made")
def _made(n, *, device=None):
    assert device.type == "cpu"
    return torch.arange(n)


ops = torch.ops.anygpu_test


def test_missing_operator_is_an_error():
    with pytest.raises(NotImplementedError, match="anygpu_test::double"):
        ops.double(torch.ones(2).to("anygpu"))
    assert "anygpu_test::double" not in anygpu.fallbacks()


@pytest.mark.fallback
def test_missing_operator_warns_once_and_is_counted(capfd):
    _torch.set_fallback_mode("warn")
    _torch.reset_fallback_counts()
    x = torch.arange(3.0).to("anygpu")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            y = ops.double(x)
    assert y.is_anygpu and torch.equal(y.cpu(), torch.tensor([0.0, 2, 4]))
    said = [str(w.message) for w in caught] + capfd.readouterr().err.splitlines()  # which of the two is PyTorch's choice
    assert len([w for w in said if "anygpu_test::double" in w]) == 1
    assert anygpu.fallbacks(reset=True)["anygpu_test::double"] == 3
    assert anygpu.fallbacks() == {}


@pytest.mark.fallback
def test_fallback_in_place_on_views():
    d, x = torch.arange(12.0).reshape(3, 4).to("anygpu"), torch.arange(12.0).reshape(3, 4)
    view = d[:, 1::2]
    assert ops.add_one_(view) is view
    x[:, 1::2] += 1
    assert torch.equal(d.cpu(), x)
    ops.add_one_(d.t())
    assert torch.equal(d.cpu(), x + 1)


@pytest.mark.fallback
def test_fallback_keeps_aliasing_between_arguments():
    d, x = torch.arange(8.0).to("anygpu"), torch.arange(8.0)
    ops.shift(d[:4], d[4:])
    ops.shift(x[:4], x[4:])
    assert torch.equal(d.cpu(), x)
    ops.shift(d, d)
    ops.shift(x, x)
    assert torch.equal(d.cpu(), x)


@pytest.mark.fallback
def test_fallback_returns_views():
    d = torch.arange(12.0).reshape(3, 4).to("anygpu")[1:]
    row = ops.row(d, 1)
    assert row.is_anygpu and row.untyped_storage().data_ptr() == d.untyped_storage().data_ptr() and row.storage_offset() == 8
    row.copy_(torch.zeros(4))
    assert torch.equal(d.cpu()[1], torch.zeros(4))


@pytest.mark.fallback
def test_fallback_resizes_out():
    x, out = torch.ones(3).to("anygpu"), torch.empty(0, device="anygpu")
    assert ops.count_out(x, out=out) is out
    assert torch.equal(out.cpu(), torch.full((3, 2), 3.0))


@pytest.mark.fallback
def test_fallback_lists_generators_and_devices():
    x = torch.ones(3).to("anygpu")
    xs, total = ops.lists([x, x], [None, x])
    assert all(t.is_anygpu for t in xs) and torch.equal(xs[1].cpu(), torch.full((3,), 2.0))
    assert total.is_anygpu and total.item() == 3
    torch.manual_seed(0)
    a, b = ops.noise(x).cpu(), ops.noise(x).cpu()
    torch.anygpu.manual_seed(0)
    assert torch.equal(ops.noise(x).cpu(), a) and not torch.equal(a, b)
    g = torch.Generator(device="anygpu").manual_seed(0)
    assert torch.equal(ops.noise(x, generator=g).cpu(), a)


@pytest.mark.fallback
def test_fallback_of_conjugates():
    x = torch.tensor([1 + 2j, 3 - 1j])
    assert torch.equal(ops.double(x.to("anygpu").conj()).cpu(), x.conj() * 2)


def test_fallback_modes():
    with pytest.raises(ValueError, match="ANYGPU_FALLBACK"):
        _torch.set_fallback_mode("sometimes")


def test_bad_fallback_variable(python):
    said = python("import torch, anygpu; anygpu.fallbacks()", fails=True, ANYGPU_FALLBACK="maybe")
    assert "ANYGPU_FALLBACK is warn, error or silent" in said


def test_mixed_devices():
    x = torch.ones(2).to("anygpu")
    with pytest.raises(RuntimeError, match="same device"):
        x + torch.ones(2)
    assert torch.equal((x + torch.tensor(1.0)).cpu(), torch.full((2,), 2.0)), "a CPU number may be mixed in"


def test_index_error():
    x = torch.ones(2).to("anygpu")
    with pytest.raises(IndexError):
        x[5]
    with pytest.raises(IndexError):
        x.sum(dim=3)


def test_many_dimensions():
    """More than the 16 that a View has: copies work. (Operators: test_refusals.py)"""
    x = torch.arange(2.0**18).reshape([2] * 18)
    backwards = list(reversed(range(18)))
    d = x.to("anygpu").permute(backwards)
    y = torch.empty([2] * 18, device="anygpu").copy_(d)
    assert torch.equal(y.cpu(), x.permute(backwards))


def test_sparse_is_refused():
    with pytest.raises((NotImplementedError, RuntimeError)):
        torch.eye(3).to_sparse().to("anygpu")


def test_device_works_after_errors():
    x = torch.ones(2).to("anygpu")
    for _ in range(3):
        with pytest.raises(RuntimeError):
            x + torch.ones(3).to("anygpu")
    assert torch.equal(x.cpu(), torch.ones(2))
