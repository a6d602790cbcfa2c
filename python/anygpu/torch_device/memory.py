"""Memory of a device. "Allocated" is what tensors hold; "reserved" is what is taken from the backend, temporaries and caches included."""

import pickle
import sys

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


def reset_accumulated_memory_stats(device=None):
    """Sets "allocated" and "freed" of memory_stats() to 0."""
    i = _index(device)
    _torch.memory(i)  # opens the device
    torch.accelerator.reset_accumulated_memory_stats(i)


def memory_stats(device=None):
    """PyTorch's names ("allocated_bytes.all.current", ...), as torch.accelerator.memory_stats()."""
    i = _index(device)
    _torch.memory(i)  # opens the device: unopened ones have no statistics there
    return torch.accelerator.memory_stats(i)


def memory_stats_as_nested_dict(device=None):
    """memory_stats() with a level of dicts for each part of a name."""
    nested = {}
    for name, value in memory_stats(device).items():
        *path, last = name.split(".")
        at = nested
        for part in path:
            at = at.setdefault(part, {})
        at[last] = value
    return nested


_METRICS = {
    "allocated_bytes": ("held by tensors", True),
    "requested_bytes": ("asked for", True),
    "reserved_bytes": ("taken from the backend", True),
    "allocation": ("allocations", False),
}


def memory_summary(device=None, abbreviated=False):
    """memory_stats() as a table for people. abbreviated: only what tensors hold and what is taken from the backend."""
    i = _index(device)
    stats = memory_stats(i)
    rows = [("", "now", "peak", "ever allocated", "ever freed")]
    for metric, (words, is_bytes) in _METRICS.items():
        if abbreviated and metric not in ("allocated_bytes", "reserved_bytes"):
            continue
        numbers = [stats[f"{metric}.all.{when}"] for when in ("current", "peak", "allocated", "freed")]
        rows.append((words, *(f"{n / 2**20:.1f} MiB" if is_bytes else str(n) for n in numbers)))
    width = [max(len(row[c]) for row in rows) for c in range(5)]
    lines = ["  ".join([row[0].ljust(width[0]), *(row[c].rjust(width[c]) for c in range(1, 5))]) for row in rows]
    counts = f"{stats['num_ooms']} allocations refused, {stats['num_alloc_retries']} retried"
    title = f"memory of anygpu:{i} ({_torch.info(i)['name']}): {counts}"
    rule = "-" * max(len(title), len(lines[0]))
    return "\n".join([title, rule, *lines, rule, ""])


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


# ---- histories and snapshots, in the formats of torch.cuda.memory: pytorch.org/memory_viz and torch.cuda._memory_viz read them ----


def _record_memory_history(
    enabled="all",
    context="all",
    stacks="all",
    max_entries=sys.maxsize,
    device=None,
    clear_history=False,
    compile_context=False,
    global_record_annotations=False,
    skip_actions=None,
):
    """Keeps from now on where memory is allocated and freed, of every device, for _snapshot().

    enabled: None: nothing; "state": of what is allocated; "all": a history of what was allocated and freed, too.
    context: None: without stacks; "state": of what is allocated; "alloc": of allocations in the history; "all": of frees, too.
    stacks: "python", or "all": with C++ frames. max_entries: of the history of a device; then the oldest go.
    clear_history: forgets what was kept so far. The other arguments of torch.cuda.memory's are taken and have no effect."""
    _one_of("state", enabled, (None, "state", "all"))
    _one_of("context", context, (None, "state", "alloc", "all"))
    _one_of("stacks", stacks, ("python", "all"))
    _torch.record_memory_history(
        enabled is not None,
        enabled == "all",
        enabled is not None and context is not None,
        enabled == "all" and context in ("alloc", "all"),
        enabled == "all" and context == "all",
        stacks == "all",
        max(0, min(int(max_entries), sys.maxsize)),
        bool(clear_history),
    )


def _one_of(what, value, known):
    if value not in known:
        raise RuntimeError(f"expected {what} to be one of {', '.join(map(repr, known))}, but got {value!r}")


def _segment(address, size, room, device, frames):
    """A tensor's memory. Its address is where its storage begins for PyTorch; each lies in a place of its own."""
    block = {"address": address, "size": room, "requested_size": size, "state": "active_allocated", "frames": frames}
    return {
        "device": device,
        "address": address,
        "total_size": room,
        "allocated_size": room,
        "active_size": room,
        "requested_size": size,
        "stream": 0,
        "segment_type": "large" if size > 1 << 20 else "small",
        "segment_pool_id": (0, 0),
        "is_expandable": False,
        "frames": frames,
        "blocks": [block],
    }


def _entries(events):
    """A free takes effect for the program at once, so that its two events of CUDA's are one moment."""
    for action, address, size, time_us, left, frames in events:
        entry = {"size": size, "stream": 0, "time_us": time_us, "frames": frames, "compile_context": "N/A", "user_metadata": ""}
        if action == "oom":
            yield {"action": "oom", "device_free": left, **entry}
        elif action == "alloc":
            yield {"action": "alloc", "addr": address, **entry}
        else:
            yield {"action": "free_requested", "addr": address, **entry}
            yield {"action": "free_completed", "addr": address, **entry}


def _snapshot(device=None, augment_with_fx_traces=False):
    """What is allocated on all devices ("segments"), and since _record_memory_history() how it came to be ("device_traces")."""
    live, events = _torch.memory_snapshot(True)
    traces = [list(_entries(of_device)) for of_device in events]
    traces += [[] for _ in range(_torch.device_count() - len(traces))]
    return {
        "segments": [_segment(*block) for block in live],
        "device_traces": traces,
        "allocator_settings": {},
        "external_annotations": [],
    }


def memory_snapshot(mempool_id=None, include_traces=True):
    """What is allocated on all devices: a list of dicts, as torch.cuda.memory_snapshot()."""
    return [_segment(*block) for block in _torch.memory_snapshot(False)[0]]


def _dump_snapshot(filename="dump_snapshot.pickle", augment_with_fx_traces=False):
    """Writes _snapshot() to a file for pytorch.org/memory_viz."""
    with open(filename, "wb") as file:
        pickle.dump(_snapshot(), file)


def _allocation_traceback(data_ptr):
    """The frames that allocated the storage that begins at `data_ptr`; None where they were not recorded."""
    return _torch.allocation_traceback(data_ptr)
