"""Run by special.py in a process of its own: `child.py first_step|memory MODEL anygpu|compiled|eager|compile`. Prints one JSON object."""

import json
import pathlib
import re
import sys
import time

import measure
import models
import torch

import anygpu


def resident(field):
    """VmRSS or VmHWM of this process, in bytes."""
    return int(re.search(field + r":\s+(\d+)", pathlib.Path("/proc/self/status").read_text())[1]) * 1024


def first_step(model, who):
    """Seconds from a model on the CPU to the end of its first training step on the device."""
    device = measure.device_of(who)
    torch.zeros(1).to(device).add(1).cpu()  # libraries are loaded, threads run
    start = time.perf_counter()
    training = models.Training(model, device, who.startswith("compile"))
    loss = training.step(0)
    measure.settle(who)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "loss": loss.item()}


def memory(model, who):
    """Peak bytes of tensors in a warm step, as the allocators count them: what anygpu takes from the machine, arenas and caches
    included, against what PyTorch's CPU allocator hands out. And by how much the process grew, whatever for."""
    torch.nn.functional.conv2d(torch.ones(1, 8, 9, 9), torch.ones(8, 8, 3, 3)).sum().item()
    (torch.ones(64, 64).to(measure.device_of(who)) @ torch.ones(64, 64).to(measure.device_of(who))).sum().item()
    before = resident("VmRSS")
    training = models.Training(model, measure.device_of(who))
    for i in range(3):
        training.step(i).item()
    measure.settle(who)
    if who == "anygpu":
        anygpu._torch.reset_peak_memory(0)
        for i in range(3):
            training.step(i).item()
        measure.settle(who)
        peak = torch.anygpu.max_memory_reserved()
    else:
        held = [*training.model.parameters(), *training.model.buffers(), *(t for pair in training.data for t in pair)]
        held += [p.grad for p in training.model.parameters()]
        held += [t for s in training.optimizer.state.values() for t in s.values()]
        live = sum(t.numel() * t.element_size() for t in held)
        peak = live
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            training.step(0)
        for event in profile.profiler.kineto_results.events():
            if event.name() == "[memory]":
                live += event.nbytes()
                peak = max(peak, live)
    return {"peak": peak, "process": resident("VmHWM") - before}


if __name__ == "__main__":
    torch._dynamo.config.verbose = False
    print(json.dumps({"first_step": first_step, "memory": memory}[sys.argv[1]](sys.argv[2], sys.argv[3])))
