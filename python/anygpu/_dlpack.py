"""DLPack: tensors are lent to NumPy, JAX and others as host memory: as they are where the device's memory is the host's, else as a copy.

PyTorch would hand out DLPack's number for other devices (kDLExtDev) and our pointers, which are addresses that lead to no bytes.
"""

import functools


def install(torch):
    from torch.utils import dlpack

    from anygpu import _torch

    lend, lends_on = torch.Tensor.__dlpack__, torch.Tensor.__dlpack_device__
    lend_old, take = dlpack.to_dlpack, torch.from_dlpack
    host = (dlpack.DLDeviceType.kDLCPU, 0)

    def on_host(t, dl_device, copy):
        if t.requires_grad:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        if t.is_conj():
            raise BufferError("Can't export tensors with the conjugate bit set")
        if dl_device is not None and tuple(dl_device) != host:
            raise BufferError(f"{t.device} lends tensors as host memory only, not on the DLPack device {tuple(dl_device)}")
        view = None if copy else _torch.host_view(t)
        if view is None and copy is False:
            raise BufferError(f"memory of {t.device} is not the host's: it cannot be lent without a copy")
        return t.cpu() if view is None else view

    @functools.wraps(lend)
    def __dlpack__(self, *, stream=-1, max_version=None, dl_device=None, copy=None):
        if self.device.type != "anygpu":
            return lend(self, stream=stream, max_version=max_version, dl_device=dl_device, copy=copy)
        return lend(on_host(self, dl_device, copy), max_version=max_version)

    @functools.wraps(lends_on)
    def __dlpack_device__(self):
        return host if self.device.type == "anygpu" else lends_on(self)

    def to_dlpack(tensor):
        return lend_old(on_host(tensor, None, None) if isinstance(tensor, torch.Tensor) and tensor.device.type == "anygpu" else tensor)

    @functools.wraps(take)
    def from_dlpack(ext_tensor, *, device=None, copy=None):
        if not isinstance(ext_tensor, torch.Tensor) or ext_tensor.device.type != "anygpu":
            return take(ext_tensor, device=device, copy=copy)
        # One of ours stays where it is, unless a device is named.
        elsewhere = device is not None and torch.device(device) not in (ext_tensor.device, torch.device("anygpu"))
        if elsewhere:
            return take(ext_tensor, device=device, copy=copy)
        return ext_tensor.detach().clone() if copy else ext_tensor.detach()

    torch.Tensor.__dlpack__, torch.Tensor.__dlpack_device__ = __dlpack__, __dlpack_device__
    torch.to_dlpack = dlpack.to_dlpack = to_dlpack
    torch.from_dlpack = dlpack.from_dlpack = from_dlpack
