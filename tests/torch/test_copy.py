"""Copies in all directions, layouts and dtypes; views; resize_ and set_."""

import itertools

import pytest
import torch

REAL = [
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
]
COMPLEX = [torch.complex64, torch.complex128]
STORED = [torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn, torch.complex32]


def sample(dtype, *sizes):
    torch.manual_seed(7)
    if dtype in STORED:  # any bits will do
        bytes_each = torch.empty(0, dtype=dtype).element_size()
        return torch.randint(0, 100, (*sizes, bytes_each), dtype=torch.uint8).view(dtype).reshape(sizes)
    if dtype is torch.bool:
        return torch.rand(sizes) > 0.5
    if dtype.is_complex:
        return torch.randn(sizes, dtype=torch.complex128).to(dtype)
    if dtype.is_floating_point:
        return torch.randn(sizes).to(dtype)
    return torch.randint(0, 100, sizes).to(dtype)


def same(device, cpu):
    assert device.is_anygpu and device.dtype == cpu.dtype and device.shape == cpu.shape
    a, b = device.cpu(), cpu
    if cpu.dtype in STORED:
        a, b = a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8)
    assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", REAL + COMPLEX + STORED)
@pytest.mark.parametrize("sizes", [(), (0,), (5,), (3, 4, 5)])
@pytest.mark.filterwarnings("ignore:ComplexHalf")
def test_round_trip(dtype, sizes):
    x = sample(dtype, *sizes)
    d = x.to("anygpu")
    same(d, x)
    same(d.clone(), x)


def layouts(x):
    """The same values in other strides."""
    wide = x.new_zeros(x.size(0), x.size(1) * 2 + 1, x.size(2))
    wide[:, 1::2] = x
    return {
        "contiguous": x,
        "transposed": x.transpose(0, 2).contiguous().transpose(0, 2),
        "sliced": wide[:, 1::2],
        "expanded": x[:1].expand(x.shape),
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool, torch.complex64, torch.complex128])
@pytest.mark.parametrize(
    "source,target", list(itertools.product(["contiguous", "transposed", "sliced", "expanded"], ["contiguous", "transposed", "sliced"]))
)
def test_strides(dtype, source, target):
    x = layouts(sample(dtype, 3, 4, 5))[source]
    zero = layouts(torch.zeros(3, 4, 5, dtype=dtype))[target]
    # Views of the device are made there, so that gaps and repeats really exist.
    base = zero._base if zero._base is not None else zero
    there = torch.as_strided(
        base.contiguous().to("anygpu") if base.is_contiguous() else base.to("anygpu"), zero.shape, zero.stride(), zero.storage_offset()
    )
    there.copy_(x)  # host to device
    same(there, x)
    again = layouts(torch.zeros(3, 4, 5, dtype=dtype))[target]
    again.copy_(there)  # device to host
    assert torch.equal(again, x)
    other = torch.empty(5, 4, 3, dtype=dtype, device="anygpu").permute(2, 1, 0)
    other.copy_(there)  # within the device
    same(other, x)


@pytest.mark.parametrize("source", REAL + COMPLEX)
@pytest.mark.parametrize("target", REAL + COMPLEX)
@pytest.mark.filterwarnings("ignore:Casting complex")
def test_casts(source, target):
    x = sample(source, 4, 3)
    expected = x.to(target)
    same(x.to("anygpu").to(target), expected)
    there = torch.empty(4, 3, dtype=target, device="anygpu")
    there.copy_(x)
    same(there, expected)
    here = torch.empty(4, 3, dtype=target)
    here.copy_(x.to("anygpu"))
    assert torch.equal(here, expected)


@pytest.mark.parametrize("source,target", list(itertools.product(COMPLEX, COMPLEX)))
@pytest.mark.parametrize("conj_source,conj_target", list(itertools.product([False, True], [False, True])))
def test_conjugate_bits(source, target, conj_source, conj_target):
    x = sample(source, 4, 3)
    d = x.to("anygpu")
    out, expected = torch.zeros(4, 3, dtype=target, device="anygpu"), torch.zeros(4, 3, dtype=target)
    (out.conj() if conj_target else out).copy_(d.conj() if conj_source else d)
    (expected.conj() if conj_target else expected).copy_(x.conj() if conj_source else x)
    same(out, expected)
    (out.conj() if conj_target else out).copy_(x.conj() if conj_source else x)
    same(out, expected)
    same(d.conj().resolve_conj() if conj_source else d, x.conj().resolve_conj() if conj_source else x)
    assert torch.equal(d.conj().cpu(), x.conj())


def test_negative_bit():
    x = sample(torch.complex64, 4, 3)
    d = x.to("anygpu")
    assert d.conj().imag.is_neg()
    assert torch.equal(d.conj().imag.cpu(), x.conj().imag)
    assert torch.equal(d.conj().imag.resolve_neg().cpu(), -x.imag)
    out = torch.empty(4, 3, device="anygpu")
    out.copy_(d.conj().imag)
    same(out, -x.imag)


def test_complex_views():
    x = sample(torch.complex64, 4, 3)
    d = x.to("anygpu")
    same(torch.view_as_real(d), torch.view_as_real(x))
    same(torch.view_as_complex(torch.view_as_real(d)[1:]), x[1:])
    same(d.real, x.real)
    same(d.imag, x.imag)
    d.real.copy_(torch.zeros(4, 3))
    x.real.zero_()
    same(d, x)


def test_copy_broadcasts():
    out = torch.empty(4, 3, device="anygpu")
    row, column = torch.arange(3.0), torch.arange(4.0).reshape(4, 1)
    same(out.copy_(row.to("anygpu")), row.expand(4, 3))
    same(out.copy_(column), column.expand(4, 3))
    here = torch.empty(4, 3)
    here.copy_(row.to("anygpu"))
    assert torch.equal(here, row.expand(4, 3))
    with pytest.raises(RuntimeError):
        out.copy_(torch.ones(2).to("anygpu"))


def test_copy_refuses_overlap():
    x = torch.zeros(4).to("anygpu")
    with pytest.raises(RuntimeError, match="single memory location"):
        x[:1].expand(4).copy_(torch.ones(4))
    with pytest.raises(RuntimeError, match="single memory location"):
        x[:1].expand(4).copy_(x)
    with pytest.raises(RuntimeError, match="some elements of the input tensor"):
        x[1:].copy_(x[:-1])


def test_upload_takes_a_snapshot():
    x = torch.zeros(1000)
    copies = []
    for i in range(20):
        x.fill_(i)
        copies.append(x.to("anygpu", non_blocking=True))
    for i, c in enumerate(copies):
        assert torch.equal(c.cpu(), torch.full((1000,), float(i)))


def test_download_is_complete_when_it_returns():
    x = torch.ones(1 << 20).to("anygpu")
    y = torch.empty_like(x).copy_(x)
    here = torch.zeros(1 << 20)
    here.copy_(y, non_blocking=True)
    assert here.sum() == 1 << 20


def test_item_and_bool():
    for dtype in REAL + COMPLEX:
        x = sample(dtype, 3)
        assert x.to("anygpu")[1].item() == x[1].item()
    assert bool(torch.tensor(True, device="anygpu"))
    with pytest.raises(RuntimeError):
        torch.ones(2).to("anygpu").item()


def test_views_share_memory():
    x = torch.arange(24.0).reshape(2, 3, 4)
    d = x.to("anygpu")
    for f in (
        lambda t: t.view(6, 4),
        lambda t: t.transpose(0, 2),
        lambda t: t[1],
        lambda t: t[:, 1:, ::2],
        lambda t: t.unsqueeze(1).expand(2, 5, 3, 4),
        lambda t: t.unfold(2, 2, 1),
        lambda t: t.reshape(-1),
        lambda t: t.squeeze().flatten(),
        lambda t: t.diagonal(0, 1, 2),
        lambda t: t.as_strided((3, 2), (4, 1), 5),
        lambda t: t.view(torch.int32),
        lambda t: t.movedim(0, -1),
        lambda t: t.narrow(1, 1, 2),
        lambda t: t.detach().view_as(t),
    ):
        view = f(d)
        same(view, f(x))
        assert view.untyped_storage().data_ptr() == d.untyped_storage().data_ptr()
    assert [t.shape for t in d.split(1, 1)] == [t.shape for t in x.split(1, 1)]
    d[1, :, 2].copy_(torch.tensor([-1.0, -2, -3]))
    x[1, :, 2] = torch.tensor([-1.0, -2, -3])
    same(d, x)
    d.transpose(0, 1)[0].copy_(d[1, :2])
    x.transpose(0, 1)[0] = x[1, :2].clone()
    same(d, x)


def test_no_readable_pointer():
    d = torch.ones(3).to("anygpu")
    assert d.data_ptr() != 0 and d[1:].data_ptr() == d.data_ptr() + 4
    assert torch.empty(0, device="anygpu").data_ptr() == 0
    with pytest.raises(TypeError):
        d.numpy()


def test_resize_keeps_contents():
    x = torch.arange(6.0).to("anygpu")
    x.resize_(3)
    same(x, torch.arange(3.0))
    x.resize_(2, 5)
    assert torch.equal(x.cpu().flatten()[:6], torch.arange(6.0))
    y = torch.arange(6.0).to("anygpu")[2:]
    y.resize_(8)
    assert torch.equal(y.cpu()[:4], torch.arange(2.0, 6))
    z = torch.empty(2, 3, 4, 5, device="anygpu").resize_(2, 3, 4, 4, memory_format=torch.channels_last)
    assert z.is_contiguous(memory_format=torch.channels_last)
    assert x.resize_(0).numel() == 0
    same(x.resize_(2), torch.arange(2.0))


def test_storage_resize():
    x = torch.arange(6.0).to("anygpu")
    s = x.untyped_storage()
    s.resize_(0)
    assert s.size() == 0 and x.shape == (6,)
    s.resize_(24)
    x.copy_(torch.ones(6))
    same(x, torch.ones(6))
    s.resize_(8)
    s.resize_(24)
    assert torch.equal(x.cpu()[:2], torch.ones(2))


def test_set():
    x = torch.arange(6.0).to("anygpu")
    y = torch.empty(0, device="anygpu")
    y.set_(x.untyped_storage(), 2, (2, 2), (2, 1))
    same(y, torch.tensor([[2.0, 3], [4, 5]]))
    y.set_(x)
    same(y, torch.arange(6.0))
    assert y.is_set_to(x)
    y.set_(x.untyped_storage())
    assert y.shape == (6,)
    y.set_()
    assert y.numel() == 0
    y.set_(x.untyped_storage(), 4, (4,), (1,))  # beyond the end: grows
    assert x.untyped_storage().nbytes() == 32
    assert torch.equal(y.cpu()[:2], torch.tensor([4.0, 5.0]))
    with pytest.raises(RuntimeError):
        y.set_(torch.ones(2).untyped_storage())


def test_lazy_clone():
    x = torch.arange(4.0).to("anygpu")
    y = torch._lazy_clone(x)
    y.copy_(torch.zeros(4))
    same(x, torch.arange(4.0))
    same(y, torch.zeros(4))


def test_factories():
    x = torch.empty((2, 3, 4, 5), device="anygpu", memory_format=torch.channels_last, dtype=torch.float16)
    assert x.is_contiguous(memory_format=torch.channels_last) and x.dtype is torch.float16
    assert torch.empty_strided((2, 3), (1, 2), device="anygpu").stride() == (1, 2)
    assert torch.empty_like(x).stride() == x.stride()
    assert x.new_empty(3).is_anygpu
    assert torch.empty(2, device="anygpu", requires_grad=True).requires_grad
    with pytest.raises(RuntimeError, match="negative dimension"):
        torch.empty(-1, device="anygpu")
    with pytest.raises(RuntimeError, match="pinned"):
        torch.empty(1, device="anygpu", pin_memory=True)
    with pytest.raises(NotImplementedError):
        torch.empty((2, 2), device="anygpu", layout=torch.sparse_csr)


def test_tensor_from_data():
    same(torch.tensor([[1, 2], [3, 4]], device="anygpu"), torch.tensor([[1, 2], [3, 4]]))
    same(torch.as_tensor([1.5], device="anygpu"), torch.tensor([1.5]))
    assert torch.ones(2).to("anygpu").tolist() == [1.0, 1.0]
