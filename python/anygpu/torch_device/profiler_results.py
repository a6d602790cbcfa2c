"""torch.profiler's results for this device. Kineto links a kernel with one operator; here one kernel is the work of many, so each is given
an equal share of its time. And the device's name is understood where tables are sorted: "self_anygpu_time_total"."""

import functools
import json

from anygpu import _torch

_NAMES = ("device_time", "device_time_total", "self_device_time_total", "device_memory_usage", "self_device_memory_usage")


def install(torch):
    from torch.autograd import profiler, profiler_util

    _name_device(profiler_util)
    profile = profiler.profile
    if _torch.PROFILES_KERNELS:
        profile.__init__ = _using_kineto(profile.__init__)
    profile.__exit__ = _keeping_kernels(profile.__exit__)
    profile._parse_kineto_results = _sharing_kernels(profile._parse_kineto_results)


def _name_device(util):
    for name in _NAMES:
        ours = name.replace("device", "anygpu")
        for events in (util.FunctionEvent, util.FunctionEventAvg):
            setattr(events, ours, property(lambda event, name=name: getattr(event, name)))
    metrics = util.EventList.supported_export_stacks_metrics
    util.EventList.supported_export_stacks_metrics = lambda events: [*metrics(events), "self_anygpu_time_total"]


def _using_kineto(init):
    """use_device="anygpu" alone means the way in which PyTorch marks the queue around every operator, so that none are fused."""

    @functools.wraps(init)
    def __init__(self, *args, **kwargs):
        if kwargs.get("use_device") == "anygpu":
            kwargs["use_kineto"] = True
        init(self, *args, **kwargs)

    return __init__


def _keeping_kernels(exit):
    """What the C++ side knows of a profile's kernels, it knows until the next profile."""

    @functools.wraps(exit)
    def __exit__(self, *exception):
        self._anygpu_kernels = None
        result = exit(self, *exception)
        _kernels_of(self)
        return result

    return __exit__


def _kernels_of(profile):
    if getattr(profile, "_anygpu_kernels", None) is None:
        profile._anygpu_kernels = {i: (operators, shapes) for i, operators, shapes in _torch.take_profiled_kernels()}
    return profile._anygpu_kernels


def _sharing_kernels(parse):
    @functools.wraps(parse)
    def _parse_kineto_results(self, *args, **kwargs):
        events = parse(self, *args, **kwargs)
        kernels = _kernels_of(self)
        if kernels:
            _share(events, kernels, self.record_shapes)
        return events

    return _parse_kineto_results


def _share(events, kernels, with_shapes):
    from torch.autograd import DeviceType

    operators = {e.id: e for e in events if e.device_type == DeviceType.CPU and not e.is_async and e.linked_correlation_id == 0}
    for event in events:
        if event.device_type != DeviceType.PrivateUse1 or event.is_user_annotation or event.id not in kernels:
            continue
        ids, shapes = kernels[event.id]
        if with_shapes:
            event.input_shapes = json.loads(shapes)
        sharing = [operators[i] for i in ids if i in operators]
        if len(sharing) < 2:
            continue
        whole = event.time_range.elapsed_us()
        _take_back(sharing[-1].kernels, event.name, whole)
        for operator in sharing:
            operator.append_kernel(event.name, event.device_index, whole / len(sharing))


def _take_back(kernels, name, duration):
    for i, kernel in enumerate(kernels):
        if kernel.name == name and kernel.duration == duration:
            del kernels[i]
            return
