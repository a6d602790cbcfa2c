"""Streams and events. A device has one queue, in order: every stream is that queue, so work never overlaps and never needs ordering."""

import contextlib

import torch

from .._devices import index as _index


class Stream(torch.Stream):
    """A stream of a device (the current one by default)."""

    def __new__(cls, device=None, priority=0, **kwargs):
        if "stream_id" in kwargs:
            return super().__new__(cls, **kwargs)
        return super().__new__(cls, torch.device("anygpu", _index(device)), priority=priority)

    def wait_stream(self, stream):
        self.wait_event(stream.record_event())


class _EventType(type):
    def __instancecheck__(cls, object):
        return isinstance(object, torch.Event) and object.device.type == "anygpu"


class Event(metaclass=_EventType):
    """A place in a device's queue: a torch.Event of this device. Not a subclass: elapsed_time and record_event want torch.Event itself."""

    def __new__(cls, enable_timing=False, blocking=False, interprocess=False):
        return torch.Event("anygpu", enable_timing=enable_timing, blocking=blocking, interprocess=interprocess)


def current_stream(device=None):
    return torch.accelerator.current_stream(_index(device))


def default_stream(device=None):
    d = torch.device("anygpu", _index(device))
    return torch.Stream(stream_id=0, device_index=d.index, device_type=int(torch._C._autograd.DeviceType.PrivateUse1))


def set_stream(stream):
    if stream is not None:
        torch.accelerator.set_stream(stream)


@contextlib.contextmanager
def stream(stream):
    """Makes `stream` current, and its device; None changes nothing."""
    if stream is None:
        yield
        return
    device, previous = torch.accelerator.current_device_index(), None
    previous = torch.accelerator.current_stream(stream.device)
    torch.accelerator.set_stream(stream)
    try:
        yield
    finally:
        torch.accelerator.set_stream(previous)
        torch.accelerator.set_device_index(device)
