"""nn.DataParallel: what torch.nn.parallel.comm asks of PyTorch's C++, which has it for CUDA only, over the devices of anygpu."""

import functools


def install(torch):
    """Puts these functions beside PyTorch's: a build for CUDA has its own, which go on serving tensors of CUDA."""
    for name, ours in {
        "_broadcast": _broadcast,
        "_broadcast_out": _broadcast_out,
        "_broadcast_coalesced": _broadcast_coalesced,
        "_scatter": _scatter,
        "_scatter_out": _scatter_out,
        "_gather": _gather,
        "_gather_out": _gather_out,
    }.items():
        setattr(torch._C, name, _either(ours, getattr(torch._C, name, None)))
    nccl = torch.cuda.nccl  # reduce_add asks it about any tensors, and it warns where PyTorch has none
    nccl.is_available = _either(lambda tensors: False, nccl.is_available)


def _either(ours, others):
    """`ours`, but for tensors of other devices."""

    @functools.wraps(ours)
    def call(tensors, *args):
        first = tensors if hasattr(tensors, "device") else tensors[0]
        if others is not None and first.device.type not in ("anygpu", "cpu"):
            return others(tensors, *args)
        return ours(tensors, *args)

    return call


def _device(index):
    import torch

    return torch.device("cpu") if index == -1 else torch.device("anygpu", index)


def _broadcast(tensor, devices):
    return tuple(tensor.to(_device(d)) for d in devices)


def _broadcast_out(tensor, out):
    for o in out:
        if o is not tensor:
            o.copy_(tensor)
    return tuple(out)


def _broadcast_coalesced(tensors, devices, buffer_size):
    """A list a device. Copies are recorded and run together anyway, so there is nothing to coalesce."""
    return [[t.to(_device(d)) for t in tensors] for d in devices]


def _scatter(tensor, devices, chunk_sizes, dim, streams):
    if chunk_sizes is None:
        chunks = tensor.chunk(len(devices), dim)
    else:
        if sum(chunk_sizes) != tensor.size(dim):
            given = f"sum(chunk_sizes) == {sum(chunk_sizes)}, but expected {tensor.size(dim)}"
            raise RuntimeError(f"given chunk sizes don't sum up to the tensor's size ({given})")
        chunks = tensor.split(list(chunk_sizes), dim)
    return [c.to(_device(d)) for c, d in zip(chunks, devices, strict=False)]


def _scatter_out(tensor, out, dim, streams):
    for o, chunk in zip(out, tensor.split([o.size(dim) for o in out], dim), strict=True):
        o.copy_(chunk)
    return list(out)


def _gather(tensors, dim, destination):
    """destination: an index, -1 for the CPU, None for the current device."""
    import torch

    device = _device(torch.anygpu.current_device() if destination is None else destination)
    return torch.cat([t.to(device) for t in tensors], dim)


def _gather_out(tensors, out, dim):
    for part, t in zip(out.split([t.size(dim) for t in tensors], dim), tensors, strict=True):
        part.copy_(t)
    return out
