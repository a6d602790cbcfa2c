"""More elements than 31 or 32 bits can count. Bytes, so that they fit; where memory is short, they are left out."""

import pytest
import torch

DEVICE = "anygpu"


def available():
    with open("/proc/meminfo") as f:
        return next(int(line.split()[1]) << 10 for line in f if line.startswith("MemAvailable"))


@pytest.fixture
def n():
    """2^32, or 2^31 where memory is short."""
    if "llvmpipe" in torch.anygpu.get_device_name(0):
        pytest.skip("a device in software: too slow")
    for n in (1 << 32, 1 << 31):
        if available() > n + (2 << 30):
            return n
    pytest.skip("not enough memory")


def test_elements_at_and_beyond(n):
    x = torch.zeros(n + 8, dtype=torch.int8, device=DEVICE)
    edges = [e for e in (1 << 31, 1 << 32) if e <= n]
    for e in edges:  # a view that begins before and ends after
        x[e - 4 : e + 8] = torch.arange(12, dtype=torch.int8, device=DEVICE)
    assert x.argmax().item() == edges[0] + 7
    assert x.sum(dtype=torch.int64).item() == 66 * len(edges)
    for e in edges:
        assert x[e - 5 : e + 9].tolist() == [0, *range(12), 0][: x.numel() - e + 5]
        assert x[e + 3].item() == 7
        at = torch.tensor([e - 1, e, e + 7], device=DEVICE)
        assert x[at].tolist() == [3, 4, 11]
        x[at] += 1
        x.index_fill_(0, at[:1] + 2, 99)
        assert x[e - 2 : e + 8].tolist() == [2, 4, 5, 99, 6, 7, 8, 9, 10, 12]
        assert x.view(-1, 8)[e // 8].tolist() == [5, 99, 6, 7, 8, 9, 10, 12]
    assert x.view(-1, 8)[:, 5].sum(dtype=torch.int64).item() == 10 * len(edges)
    assert x[:12].tolist() == [0] * 12


def test_cat_beyond(n):
    part = torch.full((1,), 3, dtype=torch.uint8, device=DEVICE).expand(n // 2)
    tail = torch.arange(5, dtype=torch.uint8, device=DEVICE)
    y = torch.cat([part, part, tail])
    assert y.numel() == n + 5 and y[n - 1 :].tolist() == [3, 0, 1, 2, 3, 4]
    assert y[:2].tolist() == [3, 3]


def test_sizes_that_no_memory_holds():
    """What has no elements of its own may be of any size."""
    x = torch.full((), 2, dtype=torch.int8, device=DEVICE).expand(1 << 33, 1 << 20)
    assert x[(1 << 33) - 1, :3].tolist() == [2, 2, 2]
    assert x[:: 1 << 31, :: 1 << 19].sum().item() == 16
    assert torch.zeros(1 << 33, 0, device=DEVICE).sum().item() == 0
    with pytest.raises(RuntimeError, match="memory"):
        torch.zeros(1 << 33, 1 << 20, device=DEVICE)
