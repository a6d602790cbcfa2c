"""Storages: slices of them, and what new memory holds in deterministic mode."""

import io

import pytest
import torch

import anygpu

DEV = "anygpu"


def over(storage, dtype=torch.float32):
    return torch.empty(0, dtype=dtype, device=storage.device).set_(storage)


def line():
    return torch.arange(8.0, device=DEV)


def test_a_slice_holds_the_bytes_that_it_names():
    x = line()
    assert x.untyped_storage()[8:12].tolist() == [0, 0, 0, 64]
    assert x.untyped_storage()[8:12].data_ptr() == x.data_ptr() + 8
    s = over(x.untyped_storage()[8:24])
    assert s.tolist() == [2, 3, 4, 5]
    assert (s + 1).tolist() == [3, 4, 5, 6]
    assert s.flip(0).sort()[0].tolist() == [2, 3, 4, 5]
    assert s[1:].tolist() == [3, 4, 5] and (s[1:] * s[:-1]).tolist() == [6, 12, 20]
    assert over(x.untyped_storage()[8:24][4:12]).tolist() == [3, 4]
    assert x.untyped_storage()[8:16].clone().tolist() == x.untyped_storage()[8:16].cpu().tolist() == [0, 0, 0, 64, 0, 0, 64, 64]


def test_a_slice_is_written_where_it_lies():
    x = line()
    s = over(x.untyped_storage()[8:16])
    s.fill_(7)
    s[1] = 9
    s.add_(1)
    assert x.tolist() == [0, 1, 8, 10, 4, 5, 6, 7]
    s.copy_(torch.tensor([-1.0, -2.0]))
    assert x.tolist() == [0, 1, -1, -2, 4, 5, 6, 7]
    x.untyped_storage()[8:12].fill_(0)
    x.untyped_storage()[12:16].copy_(torch.tensor([5.0]).untyped_storage())
    assert x.tolist() == [0, 1, 0, 5, 4, 5, 6, 7]


def test_a_slice_that_no_element_fits():
    x = line()
    odd = over(x.untyped_storage()[9:25])
    assert odd.cpu().view(torch.uint8).tolist() == x.cpu().view(torch.uint8)[9:25].tolist()
    with pytest.raises(NotImplementedError, match="at byte 9 of a storage"):
        odd + 1
    assert (over(x.untyped_storage()[9:25], torch.uint8) + 1).tolist() == (x.cpu().view(torch.uint8)[9:25] + 1).tolist()


@pytest.mark.parametrize("start", [0, 8, 512])
def test_a_slice_of_nothing(start):
    x = torch.zeros(128, device=DEV)
    s = over(x.untyped_storage()[start:start])
    assert s.tolist() == [] and (s + 1).tolist() == []
    assert torch.zeros(0, device=DEV).untyped_storage()[0:0].tolist() == []


@pytest.mark.fallback
def test_a_slice_elsewhere():
    x = line()
    s = over(x.untyped_storage()[16:32])
    file = io.BytesIO()
    torch.save(s, file)
    file.seek(0)
    assert torch.load(file).tolist() == [4, 5, 6, 7]
    torch.testing.assert_close(torch.linalg.matrix_exp(s.view(2, 2)).cpu(), torch.linalg.matrix_exp(s.cpu().view(2, 2)))
    with pytest.raises(RuntimeError, match="not resizable"):
        x.untyped_storage()[8:24].resize_(64)


def test_memory_that_dlpack_lends():
    x = line()
    y = torch.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(x[2:4]))
    assert (y + 1).tolist() == [3, 4]
    y.zero_()
    assert x.tolist() == [0, 1, 0, 0, 4, 5, 6, 7]


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.use_deterministic_algorithms(False)


NEW = {
    "empty": lambda z, d: torch.empty(5, dtype=z.dtype, device=d),
    "empty_strided": lambda z, d: torch.empty_strided((2, 2), (2, 1), dtype=z.dtype, device=d),
    "empty_like": lambda z, d: torch.empty_like(z),
    "new_empty": lambda z, d: z.new_empty(3),
    "resize_": lambda z, d: z.resize_(3, 3),
    "resize_ of a part": lambda z, d: z[2:].resize_(6),
    "resize_ of nothing": lambda z, d: z[:0].clone().resize_(2),
    "resize_ to less": lambda z, d: z.resize_(2),
    "resize_as_": lambda z, d: z.resize_as_(torch.zeros(2, 4)),
    "channels_last": lambda z, d: z.resize_(2, 2, 2, 2, memory_format=torch.channels_last),
    "out=": lambda z, d: torch.empty(7, out=z[:0].clone()),
}


@pytest.mark.parametrize("new", NEW)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int32, torch.uint8, torch.bool, torch.complex64])
def test_deterministic_mode_fills_new_memory(deterministic, new, dtype):
    want, got = (NEW[new](torch.zeros(4, dtype=dtype, device=d), d) for d in ("cpu", DEV))
    assert got.stride() == want.stride()
    torch.testing.assert_close(got.cpu(), want, equal_nan=True)


def operators_of_a_resize():
    x = torch.zeros(4, device=DEV)
    anygpu.flush()
    before = anygpu.stats()["operators"]
    x.resize_(6)
    anygpu.flush()
    return anygpu.stats()["operators"] - before


def test_deterministic_mode_may_leave_memory_as_it_is(deterministic):
    # Not by the values: memory that nobody wrote may hold NaN by chance.
    filled = operators_of_a_resize()
    torch.utils.deterministic.fill_uninitialized_memory = False
    assert operators_of_a_resize() == 1 < filled, "only what there is is copied"
    assert torch.zeros(4, device=DEV).resize_(6)[:4].tolist() == [0] * 4
