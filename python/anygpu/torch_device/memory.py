"""Memory of a device. "Allocated" is what tensors hold; "reserved" is what is taken from the backend, temporaries and caches included."""

import torch

from anygpu import _torch

from .._devices import index as _index


def memory_allocated(device=None):
    """Bytes that tensors hold."""
    return _torch.memory(_index(device))["allocated"]


def max_memory_allocated(device=None):
    """The most bytes that tensors have held since the start or reset_peak_memory_stats()."""
    return _torch.memory(_index(device))["allocated_peak"]


def memory_reserved(device=None):
    """Bytes taken from the backend."""
    return _torch.memory(_index(device))["reserved"]


def max_memory_reserved(device=None):
    return _torch.memory(_index(device))["reserved_peak"]


def reset_peak_memory_stats(device=None):
    _torch.reset_peak_memory(_index(device))


def memory_stats(device=None):
    """PyTorch's names ("allocated_bytes.all.current", ...), as torch.accelerator.memory_stats()."""
    i = _index(device)
    _torch.memory(i)  # opens the device: unopened ones have no statistics there
    return torch.accelerator.memory_stats(i)


def memory_summary(device=None):
    m = _torch.memory(_index(device))
    mib = {k: f"{m[k] / 2**20:.1f} MiB" for k in ("allocated", "allocated_peak", "reserved", "reserved_peak")}
    return (
        f"tensors hold {mib['allocated']} (peak {mib['allocated_peak']}); taken from the backend {mib['reserved']} "
        f"(peak {mib['reserved_peak']}); {m['allocations']} allocations, {m['frees']} freed, {m['out_of_memory']} refused"
    )


def mem_get_info(device=None):
    """(bytes that tensors may still take, bytes in all)"""
    i = _index(device)
    m = _torch.memory(i)
    total = m["limit"] or _torch.info(i)["total_memory"]
    return max(0, total - m["allocated"]), total


def empty_cache():
    """Gives unused memory of every device back to the system."""
    if _torch.initialized():
        for i in range(_torch.device_count()):
            _torch.empty_cache(i)


def set_memory_limit(bytes, device=None):
    """The most bytes that tensors may hold; beyond it allocation raises torch.OutOfMemoryError. 0 lifts it."""
    if bytes < 0:
        raise ValueError(f"a memory limit is not negative: {bytes}")
    _torch.set_memory_limit(_index(device), int(bytes))


def set_per_process_memory_fraction(fraction, device=None):
    if not 0 < fraction <= 1:
        raise ValueError(f"Invalid fraction value: {fraction}. Allowed range: (0, 1]")
    i = _index(device)
    _torch.set_memory_limit(i, int(fraction * _torch.info(i)["total_memory"]))
