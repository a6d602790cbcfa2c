"""What `anygpu bench` asks of PyTorch, in a process of its own:

    python -m anygpu._bench measure cpu 1.5 pointwise=16777216 matmul=1024,2048    seconds each; a list of sizes is climbed while they fit
    python -m anygpu._bench plot FILE JSON

`measure` prints a line of JSON for each thing that it knows, as src/cli/library_bench.cpp does, and first what it runs on.
"""

import ctypes
import importlib.util
import json
import signal
import statistics
import sys
import time


def say(**line):
    print(json.dumps(line), flush=True)


def copy(device, n):
    """Bytes read and written."""
    import torch

    a, b = torch.ones(n // 4, device=device), torch.empty(n // 4, device=device)
    return (lambda: b.copy_(a)), 2 * n


def pointwise(device, n):
    """Four operators, counted as the bytes that must move: two inputs, one result."""
    import torch

    x, b = torch.randn(n, device=device), torch.randn(n, device=device)
    return (lambda: torch.nn.functional.gelu(x + b) * torch.sigmoid(x)), 12 * n


def matmul(device, n):
    import torch

    a, b = torch.randn(n, n, device=device), torch.randn(n, n, device=device)
    return (lambda: a @ b), 2 * n**3


def training(device, n):
    """A step of AdamW of a small convolutional network on n images of 28 x 28."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(4),
        nn.Flatten(), nn.Linear(64 * 7 * 7, 64), nn.ReLU(), nn.Linear(64, 10),
    ).to(device)  # fmt: skip
    x, target = torch.randn(n, 1, 28, 28).to(device), torch.randint(10, (n,)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        return loss

    return step, n


MEASURES = {f.__name__: f for f in (copy, pointwise, matmul, training)}


def timed(run, repeats, settle):
    start = time.perf_counter()
    for _ in range(repeats):
        kept = run()
    settle()
    took = time.perf_counter() - start
    del kept
    return took / repeats


def measure(name, device, sizes, seconds, settle):
    for i, n in enumerate(sizes):
        say(start=name, size=n)
        run, work = MEASURES[name](device, n)
        timed(run, 1, settle)
        once = timed(run, 1, settle)
        if i + 1 < len(sizes) and once * sizes[i + 1] / n <= seconds:
            continue
        repeats = max(1, min(500, int(0.05 / once)))
        samples, end = [once], time.perf_counter() + seconds
        while time.perf_counter() < end and len(samples) < 50:
            samples.append(timed(run, repeats, settle))
        took = statistics.median(samples)
        say(measure=name, size=n, seconds=took, per_second=work / took)
        return


def measure_all(device, seconds, wanted):
    import torch

    say(
        pytorch=torch.__version__,
        threads=torch.get_num_threads(),
        matplotlib=importlib.util.find_spec("matplotlib") is not None,
    )
    settle = torch.anygpu.synchronize if torch.device(device).type == "anygpu" else lambda: None
    for request in wanted:
        name, _, sizes = request.partition("=")
        try:
            measure(name, device, [int(n) for n in sizes.split(",")], seconds, settle)
        except Exception as error:
            say(measure=name, error=f"{type(error).__name__}: {error}")


def plot(path, report):
    """Bars of all that has a ratio: how many times PyTorch's CPU."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    compared = [m for m in report["measures"] if any("ratio" in r for r in m["results"])]
    devices = [d["device"] for d in report["devices"]]
    names = {d["device"]: f"{d['device']}: {d['name']} ({d['backend']})" for d in report["devices"]}
    fig, ax = plt.subplots(figsize=(8, 1.2 + 0.35 * len(compared) * (len(devices) + 0.6)))
    height = 0.8 / max(1, len(devices))
    for i, device in enumerate(devices):
        for j, one in enumerate(compared):
            for result in one["results"]:
                if result["device"] != device or "ratio" not in result:
                    continue
                bar = ax.barh(j + i * height, result["ratio"], height * 0.9, color=f"C{i}", label=names.pop(device, None))
                ax.bar_label(bar, [f"{result['ratio']:.2f}"], padding=3, fontsize=8)
    ax.axvline(1, color="black", lw=0.8)
    ax.set_xscale("log")
    ax.margins(x=0.15)
    ax.set_yticks([j + height * (len(devices) - 1) / 2 for j in range(len(compared))], [m["title"] for m in compared])
    ax.invert_yaxis()
    ax.set(xlabel=f"times PyTorch {report['pytorch']['version']} on the CPU, {report['pytorch']['threads']} threads")
    ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.4, -0.25 if len(compared) > 2 else -0.4))
    fig.savefig(path, dpi=120, bbox_inches="tight")


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: the command that asked is gone
    if sys.argv[1] == "plot":
        plot(sys.argv[2], json.loads(sys.argv[3]))
    else:
        measure_all(sys.argv[2], float(sys.argv[3]), sys.argv[4:])
