"""How busy a device is, as far as its driver tells."""

import ctypes
import time
from pathlib import Path

from anygpu import _torch

from .._devices import index as _index


def utilization(device=None):
    """Percent of the last moment in which the device was at work, for anybody: of a GPU, by its driver; of a device that is the
    processor, the processor's in a tenth of a second from now. Raises RuntimeError where no driver tells."""
    i = _index(device)
    info = _torch.info(i)
    if info["backend"] != "vulkan" or "software rasteriser" in info["features"]:
        return _of_processor()
    for source in (_by_sysfs, _by_nvml):
        percent = source(info["pci_address"])
        if percent is not None:
            return percent
    raise RuntimeError(
        f"how busy anygpu:{i} is, its driver does not tell: {info['name']} ({info['driver']}) at PCI address '{info['pci_address']}' "
        "has no gpu_busy_percent in sysfs, and libnvidia-ml does not know it"
    )


def _of_processor(seconds=0.1):
    busy, all = _processor_ticks()
    time.sleep(seconds)
    later_busy, later_all = _processor_ticks()
    return round(100 * (later_busy - busy) / max(1, later_all - all))


def _processor_ticks():
    ticks = [int(n) for n in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = ticks[3] + ticks[4]  # and waiting for disks
    return sum(ticks) - idle, sum(ticks)


def _by_sysfs(address, root="/sys"):
    """AMD's kernel driver has a file for it."""
    try:
        return int(Path(root, "bus/pci/devices", address, "gpu_busy_percent").read_text()) if address else None
    except (OSError, ValueError):
        return None


class _Rates(ctypes.Structure):
    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]


def _by_nvml(address, library="libnvidia-ml.so.1"):
    """NVIDIA's library that comes with its driver."""
    try:
        nvml = ctypes.CDLL(library)
    except OSError:
        return None
    if not address or nvml.nvmlInit_v2() != 0:
        return None
    try:
        handle, rates = ctypes.c_void_p(), _Rates()
        if nvml.nvmlDeviceGetHandleByPciBusId_v2(address.encode(), ctypes.byref(handle)) != 0:
            return None
        return rates.gpu if nvml.nvmlDeviceGetUtilizationRates(handle, ctypes.byref(rates)) == 0 else None
    finally:
        nvml.nvmlShutdown()
