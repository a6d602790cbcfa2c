"""Memory: statistics, limits, recovery from running out, pinned host memory, addresses."""

import gc

import pytest
import torch

import anygpu

MiB = 1 << 20


def test_statistics():
    gc.collect()
    torch.anygpu.reset_peak_memory_stats()
    before = torch.anygpu.memory_allocated()
    x = torch.empty(MiB, device="anygpu")
    assert torch.anygpu.memory_allocated() == before + 4 * MiB
    y = x[: MiB // 2]
    assert torch.anygpu.memory_allocated() == before + 4 * MiB, "a view owns nothing"
    del x
    assert torch.anygpu.memory_allocated() == before + 4 * MiB, "the view holds its storage"
    del y
    assert torch.anygpu.memory_allocated() == before
    assert torch.anygpu.max_memory_allocated() == before + 4 * MiB
    torch.anygpu.reset_peak_memory_stats()
    assert torch.anygpu.max_memory_allocated() == before


def test_accelerator_interface():
    x = torch.empty(MiB, device="anygpu")
    assert torch.accelerator.memory_allocated() == torch.anygpu.memory_allocated() >= 4 * MiB
    assert torch.accelerator.max_memory_allocated() == torch.anygpu.max_memory_allocated()
    assert torch.accelerator.memory_reserved() == torch.anygpu.memory_reserved()
    stats = torch.anygpu.memory_stats()
    assert stats["allocated_bytes.all.current"] == torch.anygpu.memory_allocated()
    assert stats["allocation.all.current"] >= 1
    assert stats["allocated_bytes.all.allocated"] - stats["allocated_bytes.all.freed"] == torch.anygpu.memory_allocated()
    torch.accelerator.reset_peak_memory_stats()
    torch.accelerator.reset_accumulated_memory_stats()
    stats = torch.anygpu.memory_stats()
    assert stats["allocated_bytes.all.allocated"] == stats["allocated_bytes.all.freed"] == 0
    y = torch.empty(100, device="anygpu")
    assert torch.anygpu.memory_stats()["allocated_bytes.all.allocated"] == 400
    del y
    assert torch.anygpu.memory_stats()["allocated_bytes.all.freed"] == 400
    torch.accelerator.empty_cache()
    free, total = torch.anygpu.mem_get_info()
    assert 0 < free < total
    assert torch.accelerator.get_memory_info() == (free, total)
    assert "MiB" in torch.anygpu.memory_summary()
    del x


def test_limit_and_recovery():
    x = torch.arange(1000.0).to("anygpu")
    torch.anygpu.set_memory_limit(torch.anygpu.memory_allocated() + 8 * MiB)
    with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        torch.empty(16 * MiB, dtype=torch.uint8, device="anygpu")
    # All else is intact.
    y = torch.empty(MiB, dtype=torch.uint8, device="anygpu")
    assert torch.equal(x.cpu(), torch.arange(1000.0))
    with pytest.raises(torch.OutOfMemoryError):
        x.resize_(16 * MiB)
    assert x.shape == (1000,) and torch.equal(x.cpu(), torch.arange(1000.0))
    torch.anygpu.set_memory_limit(0)
    z = torch.empty(16 * MiB, dtype=torch.uint8, device="anygpu")
    del y, z
    with pytest.raises(ValueError):
        torch.anygpu.set_memory_limit(-1)


def test_limit_from_environment(python):
    out = python(
        """
        import torch, anygpu
        x = torch.empty(1 << 19, dtype=torch.uint8, device="anygpu")
        try:
            torch.empty(1 << 20, dtype=torch.uint8, device="anygpu")
        except torch.OutOfMemoryError as e:
            print("refused")
        """,
        ANYGPU_MEMORY_LIMIT=str(MiB),
    )
    assert out.strip() == "refused"


def test_limit_with_a_unit_and_without_a_number(python):
    script = """
        import torch, anygpu
        x = torch.ones(1, device="anygpu")
        print(torch.anygpu.mem_get_info()[1])
        """
    assert python(script, ANYGPU_MEMORY_LIMIT="3M").strip() == str(3 * MiB)
    for wrong in ("much", "4T", "-1"):
        assert f"ANYGPU_MEMORY_LIMIT is '{wrong}'" in python(script, fails=True, ANYGPU_MEMORY_LIMIT=wrong)


def test_fraction():
    torch.anygpu.set_per_process_memory_fraction(0.5)
    assert torch.anygpu.mem_get_info()[1] == int(0.5 * anygpu.devices()[0]["total_memory"])
    with pytest.raises(ValueError):
        torch.anygpu.set_per_process_memory_fraction(1.5)


def test_absurd_size():
    with pytest.raises(RuntimeError):
        torch.empty(1 << 60, device="anygpu")
    with pytest.raises(RuntimeError):
        torch.empty(1 << 40, 1 << 40, device="anygpu")


def test_addresses_do_not_overlap():
    gc.collect()
    tensors = [
        torch.empty(n, dtype=torch.uint8, device="anygpu")
        for n in [1, 511, 512, 513, 2048, 2049, 2560, 5000, 100_000, 1 << 20, (1 << 20) + 1] * 3
    ]
    ranges = sorted((t.data_ptr(), t.data_ptr() + t.numel()) for t in tensors)
    assert all(t.data_ptr() % 512 == 0 for t in tensors)
    assert all(a[1] <= b[0] for a, b in zip(ranges, ranges[1:], strict=False))


def test_addresses_are_used_again():
    seen = set()
    for _ in range(100):
        seen.add(torch.empty(12345, device="anygpu").data_ptr())
    assert len(seen) <= 2


def test_values_survive_reuse():
    tensors = []
    for i in range(200):
        t = torch.full((100,), float(i)).to("anygpu")
        if i % 3 == 0:
            tensors.append((i, t))
    for i, t in tensors:
        assert torch.equal(t.cpu(), torch.full((100,), float(i)))


def test_pinned_memory():
    x = torch.arange(1000.0)
    assert not x.is_pinned()
    p = x.pin_memory()
    assert p.is_pinned() and p[10:].is_pinned() and torch.equal(p, x)
    assert torch.empty(10, pin_memory=True).is_pinned()
    assert torch.equal(p.to("anygpu", non_blocking=True).cpu(), x)
    q = torch.empty(123456, pin_memory=True)
    address = q.data_ptr()
    del q
    assert torch.empty(123456, pin_memory=True).data_ptr() == address, "freed pinned memory is used again"
    torch.accelerator.empty_host_cache()
    with pytest.raises(RuntimeError):
        x.to("anygpu").pin_memory()


def test_freeing_from_other_threads():
    import threading

    def work():
        for _ in range(200):
            t = torch.ones(100).to("anygpu")
            torch.empty_like(t).copy_(t)

    before = torch.anygpu.memory_allocated()
    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    gc.collect()
    assert torch.anygpu.memory_allocated() == before


def test_sizes_that_never_repeat_do_not_pile_up():
    # What was in use before must not count: how much that is depends on the tests before, and on how far the host ran ahead.
    big = torch.ones(64 * MiB).to("anygpu")
    big.add_(1)[-1].item()
    del big
    gc.collect()
    torch.anygpu.empty_cache()
    base = torch.anygpu.memory_reserved()
    live = 0
    for i in range(60):
        n = (1 << 20) + 7919 * ((i * 37) % 60)  # 4 to 6 MiB
        x = torch.ones(n).to("anygpu")
        y = (x + 1).cumsum(0)
        assert y[-1].item() == 2 * n
        live = max(live, 4 * n)
        del x, y
    assert torch.anygpu.memory_reserved() - base < 4 * live + (16 << 20)
