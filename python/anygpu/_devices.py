"""From what users write to the index of a device."""

from anygpu import _torch


def index(device):
    """None: the current device. Else an index, "anygpu", "anygpu:1" or a torch.device. Raises ValueError for another type of device."""
    if device is None:
        return _torch.current_device()
    if isinstance(device, int):
        return device
    import torch

    d = torch.device(device)
    if d.type != "anygpu":
        raise ValueError(f"expected an anygpu device, not {d}")
    return _torch.current_device() if d.index is None else d.index
