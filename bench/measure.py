"""How things are timed: contestants in turn, round by round, medians."""

import gc
import importlib
import statistics
import time

import torch

RIVALS = ("anygpu", "eager", "compile")
DEVICES = {"anygpu": "anygpu", "compiled": "anygpu", "torchvulkan": "vulkan"}  # all others compute on the CPU
SECONDS_A_SAMPLE = 0.06


def contestants(problem):
    """`compiled`, torch.compile on the device, only where the problem asks for it."""
    return ("anygpu", "compiled", *RIVALS[1:]) if problem.get("compiled") else RIVALS


def device_of(who):
    return DEVICES.get(who, "cpu")


def package(who):
    """Importing it makes its device known to PyTorch. `compiled` is anygpu through torch.compile."""
    return importlib.import_module("anygpu" if who == "compiled" else who)


def settle(who):
    if who in DEVICES:
        package(who).synchronize()


def wall(run, who, repeats):
    """Seconds a call. On anygpu each call is a Plan of its own: recorded together, equal calls would be computed once, and one whose
    result nobody can read not at all."""
    flush = package(who).flush if DEVICES.get(who) == "anygpu" else lambda: None
    start = time.perf_counter()
    for i in range(repeats):
        result = run(i)
        flush()
    settle(who)
    took = time.perf_counter() - start
    del result
    return took / repeats


def host(run, who, repeats):
    """Seconds of the calling thread a call, results kept; what the device does afterwards is not counted."""
    return _kept(run, who, repeats)[0]


def many(run, who, repeats):
    """Seconds a call, results kept, from the first to the end of them all on the device."""
    return _kept(run, who, repeats)[1]


def _kept(run, who, repeats):
    kept = [None] * repeats
    gc.collect()
    gc.disable()
    try:
        start, start_thread = time.perf_counter(), time.thread_time()
        for i in range(repeats):
            kept[i] = run(i)
        took_thread = time.thread_time() - start_thread
        settle(who)
        took = time.perf_counter() - start
    finally:
        gc.enable()
    return took_thread / repeats, took / repeats


# Kinds of problems that are a thousand calls at once.
THOUSANDS = {"host": host, "many": many}


def warm(run, who, clock=wall):
    """How many calls make a sample, found by making some."""
    for _ in range(3):
        once = clock(run, who, 1)
    return max(1, min(500, int(SECONDS_A_SAMPLE / max(once, 1e-7))))


def interleaved(contestants, rounds, clock=wall, repeats=None):
    """contestants: {who: run(i)}. Returns {who: median seconds a call}."""
    count = {who: repeats or warm(run, who, clock) for who, run in contestants.items()}
    times = {who: [] for who in contestants}
    for _ in range(rounds):
        for who, run in contestants.items():
            times[who].append(clock(run, who, count[who]))
    return {who: statistics.median(t) for who, t in times.items()}


def triad(rounds, elements=1 << 24):
    """Bytes a second of a = b + s * c over three arrays of 64 MiB, counted as STREAM does (what a written line costs to fetch is not
    counted), on as many threads as PyTorch has. The best of the rounds, as STREAM says."""
    a, b, c = (torch.ones(elements) for _ in range(3))
    best = 0.0
    for _ in range(max(rounds, 5)):
        start = time.perf_counter()
        torch.add(b, c, alpha=3.0, out=a)
        best = max(best, 12 * elements / (time.perf_counter() - start))
    return best
