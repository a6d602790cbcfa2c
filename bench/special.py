"""The problems that are no ratio of two loops: time to the first step, peak memory, and sequence lengths that never repeat."""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import measure
import models
import torch

import anygpu

MIB = 1 << 20


def _child(what, model, who):
    """The same Python and anygpu, with no cache of either compiler."""
    with tempfile.TemporaryDirectory() as caches:
        env = dict(os.environ, ANYGPU_CACHE_DIR=f"{caches}/anygpu", TORCHINDUCTOR_CACHE_DIR=f"{caches}/inductor")
        env |= {"TRITON_CACHE_DIR": f"{caches}/triton", "PYTHONPATH": str(pathlib.Path(anygpu.__file__).parents[1])}
        command = [sys.executable, str(pathlib.Path(__file__).with_name("child.py")), what, model, who]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def first_step(problem, rounds, with_compile):
    """The compiler's time is taken once: it is long, and varies little beside the ratio."""
    who = [w for w in measure.contestants(problem) if w != "compile" or with_compile]
    runs = {w: [_child("first_step", problem["model"], w) for _ in range(1 if w == "compile" else min(rounds, 3))] for w in who}
    return {w: statistics.median(r["seconds"] for r in rs) for w, rs in runs.items()}


def memory(problem, rounds, with_compile):
    runs = {w: _child("memory", problem["model"], w) for w in ("anygpu", "eager")}
    result = {w: r["peak"] for w, r in runs.items()}
    grew = ", ".join(f"{w} {r['process'] / MIB:.0f}" for w, r in runs.items())
    return {**result, "unit": "MiB", "note": f"process grew by MiB: {grew}"}


def dynamic(problem, rounds, with_compile):
    """Mean seconds a step over lengths that both see once, in turn. The first tenth of the lengths warms up."""
    g = torch.Generator().manual_seed(0)
    span = torch.randperm(problem["longest"] - problem["shortest"] + 1, generator=g) + problem["shortest"]
    lengths = span[: problem["steps"]].tolist()
    who = {w: models.Training("gpt", measure.device_of(w), context=problem["longest"], lengths=lengths) for w in ("anygpu", "eager")}
    warm = max(2, len(lengths) // 10)
    seconds = dict.fromkeys(who, 0.0)
    reserved = []
    for i in range(len(lengths)):
        if i == warm:
            seconds = dict.fromkeys(who, 0.0)
            kernels = anygpu.stats()["kernels_compiled"]
        for w, training in who.items():
            start = time.perf_counter()
            training.step(i).item()
            measure.settle(w)
            seconds[w] += time.perf_counter() - start
        reserved.append(torch.anygpu.memory_reserved())
    counted = len(lengths) - warm
    half = max(reserved[: len(reserved) // 2])
    note = (
        f"{anygpu.stats()['kernels_compiled'] - kernels} kernels compiled in {counted} steps; "
        f"reserved {half / MIB:.0f} MiB at half-time, {max(reserved) / MIB:.0f} at the end"
    )
    return {**{w: s / counted for w, s in seconds.items()}, "note": note}


SPECIAL = {"first_step": first_step, "memory": memory, "dynamic": dynamic}


def run(problem, rounds, with_compile):
    return SPECIAL[problem["what"]](problem, rounds, with_compile)
