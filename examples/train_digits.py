#!/usr/bin/env python3
"""Train a small CNN on scikit-learn's 1,797 real handwritten digits.

    ./run train                      on anygpu
    ./run train --device cpu         the same on stock PyTorch
    ./run train --epochs 3 --out /tmp/digits

Writes a checkpoint, the loss curve as JSON and a plot of it. Ends by printing the device, test accuracy, steps per
second, and, on anygpu, kernels per step, Plans compiled after warm-up and operators that left the device.
"""

import argparse
import json
import pathlib
import time

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from tqdm import tqdm

BATCH = 64
WARM_UP_EPOCHS = 1


class DigitNet(nn.Module):
    """8 x 8 grey images to 10 classes: two convolutions with batch norm, one hidden layer."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(64 * 4 * 4, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, x):
        return self.head(self.features(x))


def digits():
    """Train and test images ([n, 1, 8, 8], 0 to 1) and labels, split 4 to 1 in an order that is always the same."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(len(images))
    x = torch.tensor(images[order] / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    y = torch.tensor(labels[order])
    n = len(x) * 4 // 5
    return (x[:n], y[:n]), (x[n:], y[n:])


def accuracy(model, x, y):
    model.eval()
    with torch.no_grad():
        right = (model(x).argmax(1) == y).sum().item()
    model.train()
    return right / len(y)


def plot(losses, path, title):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots(figsize=(7, 3.5))
    ax.semilogy(losses, lw=1)
    ax.set(xlabel="step", ylabel="cross-entropy", title=title)
    ax.grid(alpha=0.3)
    fig.tight_layout()
    fig.savefig(path, dpi=120)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--device", default="anygpu")
    p.add_argument("--epochs", type=int, default=12)
    p.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out"))
    a = p.parse_args()
    device = torch.device(a.device)
    backend = getattr(torch, "anygpu", None) if device.type == "anygpu" else None

    (x, y), (test_x, test_y) = digits()
    test_x, test_y = test_x.to(device), test_y.to(device)
    torch.manual_seed(0)
    model = DigitNet().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    steps = len(x) // BATCH
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, a.epochs * steps)
    order = torch.Generator().manual_seed(1)

    losses, warm, started = [], None, 0.0
    with tqdm(total=a.epochs * steps, unit="step", disable=None, desc=f"training on {device}") as bar:
        for epoch in range(a.epochs):
            epoch_losses = []
            for batch in torch.randperm(len(x), generator=order)[: steps * BATCH].split(BATCH):
                loss = F.cross_entropy(model(x[batch].to(device)), y[batch].to(device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                epoch_losses.append(loss.detach())
                bar.update()
            losses += torch.stack(epoch_losses).tolist()
            bar.set_postfix(loss=f"{losses[-1]:.4f}", accuracy=f"{accuracy(model, test_x, test_y):.1%}")
            if epoch + 1 == min(WARM_UP_EPOCHS, a.epochs):
                warm, started = backend.stats() if backend else None, time.perf_counter()
    seconds = time.perf_counter() - started
    measured = max(0, (a.epochs - WARM_UP_EPOCHS) * steps)

    a.out.mkdir(parents=True, exist_ok=True)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, a.out / f"digits_{device.type}.pt")
    (a.out / f"digits_{device.type}.json").write_text(json.dumps(losses))
    plot(losses, a.out / f"digits_{device.type}.png", f"1,797 handwritten digits on {device}")

    too_short = f"- (known from {WARM_UP_EPOCHS + 1} epochs on)"
    rows = {
        "device": f"{device} ({torch.anygpu.get_device_name(device)})" if backend else str(device),
        "test accuracy": f"{accuracy(model, test_x, test_y):.2%}",
        "steps per second": f"{measured / seconds:.0f}" if measured else too_short,
    }
    if backend:
        now = backend.stats()
        rows["kernels per step"] = f"{(now['kernels_run'] - warm['kernels_run']) / measured:.1f}" if measured else too_short
        rows["plans compiled after warm-up"] = str(now["plans_compiled"] - warm["plans_compiled"])
        rows["fallbacks"] = str(sum(backend.fallbacks().values()))
    rows["written"] = f"{a.out}/digits_{device.type}.pt, .json, .png"
    print()
    for name, value in rows.items():
        print(f"{name:30} {value}")


if __name__ == "__main__":
    main()
