"""Tensors between processes: what is sent is a copy in shared host memory, which the other process puts on its device of the same number.

Two processes have no common queue of operators, so nothing of a device can be shared as CPU tensors are: share_memory_() is an error here.
"""

import ctypes
import threading
import warnings
from multiprocessing.context import get_spawning_popen

_COPIES = (
    "tensors of anygpu are sent to other processes as copies: what one writes, the others do not see. Send tensors of the CPU where "
    "they shall (this is said once)"
)
_said = False


def install(torch):
    """Teaches torch.multiprocessing's pickler our storages, and share_memory_ what cannot be."""
    from torch.multiprocessing import reductions

    of_others = reductions.reduce_storage
    share = torch.UntypedStorage.share_memory_

    def reduce_storage(storage):
        if storage.device.type != "anygpu":
            return of_others(storage)
        _say_once()
        try:
            on_host = storage.cpu()
        except Exception as error:
            # A Queue pickles in a thread that prints what is raised and forgets it: whoever reads would wait for ever.
            if threading.current_thread() is threading.main_thread():
                raise
            return _raise, (f"{type(error).__name__} in the process that sent a tensor: {error}",)
        if get_spawning_popen() is not None:
            # File descriptors are handed over when the process starts, and by then nobody would hold the copy.
            return _of_bytes, (ctypes.string_at(on_host.data_ptr(), on_host.nbytes()), storage.device.index)
        return _on_device, (on_host, storage.device.index)

    def share_memory_(self, *args, **kwargs):
        if self.device.type == "anygpu":
            raise RuntimeError(
                f"share_memory_: memory of {self.device} cannot be shared between processes. Call .cpu() first to share it, or send the "
                "tensor (torch.multiprocessing), which sends a copy"
            )
        return share(self, *args, **kwargs)

    reductions.reduction.register(torch.UntypedStorage, reduce_storage)
    torch.UntypedStorage.share_memory_ = share_memory_


def _say_once():
    global _said
    if not _said:
        _said = True
        warnings.warn(_COPIES, stacklevel=2)


def _on_device(storage, index):
    """In the other process."""
    import torch

    return torch.empty(0, dtype=torch.uint8).set_(storage).to(f"anygpu:{index}").untyped_storage()


def _of_bytes(content, index):
    import torch

    on_host = torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)
    return on_host.to(f"anygpu:{index}").untyped_storage()


def _raise(words):
    raise RuntimeError(words)
