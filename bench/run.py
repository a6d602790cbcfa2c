#!/usr/bin/env python3
"""anygpu against what you would run instead, in one process, interleaved: ratios count, milliseconds do not.

    ./run bench                       all problems, against eager PyTorch and torch.compile
    ./run bench --only softmax,mlp    some
    ./run bench --no-compile          without torch.compile (which takes minutes to compile)

Prints a table (above 1: anygpu is faster) and writes out/bench.json and out/bench.png.
"""

import argparse
import json
import math
import pathlib
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

N = 1 << 20


def chain(x, y):
    return F.gelu(x * y + 1)


def softmax_loss(x, y):
    return F.cross_entropy(x, y)


def training_step(model, batch):
    """A function of a device that gives a function of nothing: one AdamW step."""

    def on(device, compiled):
        torch.manual_seed(0)
        m = model().to(device)
        forward = torch.compile(m) if compiled else m
        x, y = (t.to(device) for t in batch())
        optimizer = torch.optim.AdamW(m.parameters(), lr=1e-3)

        def step():
            optimizer.zero_grad()
            loss = F.cross_entropy(forward(x), y)
            loss.backward()
            optimizer.step()

        return step

    return on


def function(fn, *shapes, labels=0):
    def on(device, compiled):
        g = torch.Generator().manual_seed(0)
        args = [torch.randn(s, generator=g).to(device) for s in shapes]
        if labels:
            args.append(torch.randint(0, labels, (shapes[0][0],), generator=g).to(device))
        run = torch.compile(fn) if compiled else fn
        return lambda: run(*args)

    return on


def mlp():
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.GELU(), nn.Linear(512, 10))


def cnn():
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.BatchNorm2d(64),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


PROBLEMS = {
    "add 16": function(torch.add, (16,), (16,)),
    "gelu(x*y+1) 1M": function(chain, (N,), (N,)),
    "row sum 1024x1024": function(lambda x: x.sum(1), (1024, 1024)),
    "column sum 1024x1024": function(lambda x: x.sum(0), (1024, 1024)),
    "softmax 1024x1024": function(lambda x: x.softmax(-1), (1024, 1024)),
    "layer norm 1024x1024": function(lambda x: F.layer_norm(x, (1024,)), (1024, 1024)),
    "cross-entropy 1024x512": function(softmax_loss, (1024, 512), labels=512),
    "matmul 512x512x512": function(torch.mm, (512, 512), (512, 512)),
    "convolution 32x32x32x32": function(lambda x, w: F.conv2d(x, w, padding=1), (32, 32, 32, 32), (32, 32, 3, 3)),
    "mlp step": training_step(mlp, lambda: (torch.randn(128, 784), torch.randint(0, 10, (128,)))),
    "cnn step": training_step(cnn, lambda: (torch.randn(32, 3, 32, 32), torch.randint(0, 10, (32,)))),
}


def timed(run, device, repeats):
    """Seconds of one run. Results are kept: one that nobody can read any more would not be computed at all."""
    start = time.perf_counter()
    kept = [run() for _ in range(repeats)]
    if device != "cpu":
        torch.anygpu.synchronize()
    del kept
    return (time.perf_counter() - start) / repeats


def measure(on, rounds, with_compile):
    """Median seconds of each contestant, measured in turn."""
    who = {"anygpu": on("anygpu", False), "eager": on("cpu", False)}
    if with_compile:
        who["compile"] = on("cpu", True)
    times = {k: [] for k in who}
    repeats = {}
    for k, run in who.items():
        device = "anygpu" if k == "anygpu" else "cpu"
        timed(run, device, 3)
        repeats[k] = max(3, min(200, int(0.03 / timed(run, device, 2))))
    for _ in range(rounds):
        for k, run in who.items():
            times[k].append(timed(run, "anygpu" if k == "anygpu" else "cpu", repeats[k]))
    return {k: statistics.median(v) for k, v in times.items()}


def plot(results, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots(figsize=(8, 0.45 * len(results) + 1.2))
    names = list(results)[::-1]
    for i, (rival, colour) in enumerate((("eager", "tab:blue"), ("compile", "tab:orange"))):
        ratios = [results[n][rival] / results[n]["anygpu"] if rival in results[n] else 0 for n in names]
        ax.barh([j + 0.2 - 0.4 * i for j in range(len(names))], ratios, 0.38, color=colour, label=f"against {rival}")
    ax.axvline(1, color="black", lw=0.8)
    ax.set(yticks=range(len(names)), yticklabels=names, xlabel="times as fast as the rival (above 1: anygpu is faster)", xscale="log")
    ax.legend()
    fig.tight_layout()
    fig.savefig(path, dpi=120)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", default="", help="comma-separated parts of names")
    p.add_argument("--no-compile", action="store_true")
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out"))
    a = p.parse_args()
    wanted = [n for n in PROBLEMS if any(w in n for w in a.only.split(","))]
    print(f"{'problem':26} {'anygpu ms':>10} {'eager ms':>10} {'compile ms':>10} {'x eager':>8} {'x compile':>9}")
    results = {}
    for name in wanted:
        m = results[name] = measure(PROBLEMS[name], a.rounds, not a.no_compile)
        ms = lambda k, m=m: f"{m[k] * 1e3:10.3f}" if k in m else f"{'-':>10}"
        ratio = lambda k, m=m: m[k] / m["anygpu"] if k in m else math.nan
        print(f"{name:26} {ms('anygpu')} {ms('eager')} {ms('compile')} {ratio('eager'):8.2f} {ratio('compile'):9.2f}", flush=True)
    if not results:
        p.error(f"no problem matches '{a.only}'; there are: {', '.join(PROBLEMS)}")
    mean = math.exp(statistics.fmean(math.log(m["eager"] / m["anygpu"]) for m in results.values()))
    print(f"geometric mean {mean:.2f} x eager, on {torch.anygpu.get_device_name()}")
    a.out.mkdir(parents=True, exist_ok=True)
    (a.out / "bench.json").write_text(json.dumps(results, indent=1))
    plot(results, a.out / "bench.png")


if __name__ == "__main__":
    main()
