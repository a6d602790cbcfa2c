"""The module torch.anygpu: what PyTorch and its users expect of a device's module, after torch.cuda."""

import torch

from anygpu import _torch, explain, fallbacks, stats  # noqa: F401

from .._devices import index as _index
from .busy import utilization  # noqa: F401
from .memory import (  # noqa: F401
    empty_cache,
    max_memory_allocated,
    max_memory_reserved,
    mem_get_info,
    memory_allocated,
    memory_reserved,
    memory_snapshot,
    memory_stats,
    memory_stats_as_nested_dict,
    memory_summary,
    reset_accumulated_memory_stats,
    reset_peak_memory_stats,
    set_memory_limit,
    set_per_process_memory_fraction,
)
from .random import (  # noqa: F401
    get_rng_state,
    get_rng_state_all,
    initial_seed,
    manual_seed,
    manual_seed_all,
    seed,
    seed_all,
    set_rng_state,
    set_rng_state_all,
)
from .streams import Event, Stream, current_stream, default_stream, set_stream, stream  # noqa: F401


def is_available():
    """Whether there is at least one device. Never raises."""
    return _torch.device_count() > 0


def device_count():
    return _torch.device_count()


def current_device():
    """Index of the calling thread's current device."""
    return _torch.current_device()


def set_device(device):
    """Makes `device` the calling thread's current one; a negative index changes nothing."""
    _torch.exchange_device(_index(device))


def synchronize(device=None):
    """Waits until all that was recorded on the device has run."""
    _torch.synchronize(_index(device))


def is_initialized():
    """Whether a device has been used in this process."""
    return _torch.initialized()


def init():
    _lazy_init()


def _lazy_init():
    """PyTorch calls this before the first tensor is made."""
    _torch.init()


def _is_in_bad_fork():
    """Whether this is a forked child of a process that had used the device."""
    return _torch.in_bad_fork()


def __getattr__(name):
    # torch.utils.checkpoint reads the attribute: it must be true exactly when there is random state worth saving.
    if name == "_initialized":
        return _torch.initialized()
    if name == "default_generators":
        return tuple(_torch.default_generator(i) for i in range(_torch.device_count()))
    raise AttributeError(f"module 'torch.anygpu' has no attribute '{name}'")


class device:
    """Context manager: the calling thread's current device. `device` is an index, a string or a torch.device; None changes nothing."""

    def __init__(self, device):
        self.idx = -1 if device is None else _index(device)
        self.prev_idx = -1

    def __enter__(self):
        self.prev_idx = _torch.exchange_device(self.idx)

    def __exit__(self, *exception):
        _torch.exchange_device(self.prev_idx)
        return False


class device_of(device):
    """Context manager: the device of a tensor or storage of anygpu; others change nothing."""

    def __init__(self, obj):
        super().__init__(obj.get_device() if obj.device.type == "anygpu" else None)


class _Properties:
    """name, backend, driver, total_memory (bytes), features, pci_address ("" where it has none)."""

    def __init__(self, info):
        self.__dict__.update(info)

    def __getattr__(self, name):
        raise AttributeError(f"anygpu's device properties have no '{name}'; they are {', '.join(self.__dict__)}")

    def __repr__(self):
        memory = f"{self.total_memory >> 20} MB"
        return f"anygpu.DeviceProperties(name='{self.name}', backend='{self.backend}', driver='{self.driver}', total_memory={memory})"


def get_device_properties(device=None):
    return _Properties(_torch.info(_index(device)))


def get_device_name(device=None):
    return _torch.info(_index(device))["name"]


def get_device_capability(device=None):
    """What the device is and has, as a dict: its properties, and the dtypes that operators compute in. (CUDA's two numbers are of CUDA's
    processors only.)"""
    i = _index(device)
    return {**_torch.info(i), **torch.accelerator.get_device_capability(i)}


def get_amp_supported_dtype():
    """What torch.autocast("anygpu") may compute in."""
    return [torch.bfloat16, torch.float16]


def is_bf16_supported(including_emulation=True):
    return True
