"""A small model, its data and its training, the same in every rank; and what one process makes of it on the CPU."""

import torch
from torch import nn

STEPS, ROWS = 4, 8


class Net(nn.Module):
    """Some layers, a buffer that changes, and one layer that only even steps use."""

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(6, 16), nn.LayerNorm(16), nn.Linear(16, 16)
        self.odd, self.c = nn.Linear(16, 16), nn.Linear(16, 3)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x, odd=True):
        self.calls += 1
        x = self.norm(torch.relu(self.a(x)))
        x = torch.tanh(self.b(x))
        return self.c(self.odd(x) if odd else x)


def net():
    torch.manual_seed(7)
    return Net()


def batches(rank=0, n=1, device="cpu", dtype=torch.float32):
    """The rank's rows of the same batches."""
    g = torch.Generator().manual_seed(3)
    for _ in range(STEPS):
        x, y = torch.randn(ROWS, 6, generator=g), torch.randn(ROWS, 3, generator=g)
        yield tuple(t.chunk(n)[rank].to(device, dtype) for t in (x, y))


def train(model, data, optimizer=None, skip=False):
    """Losses."""
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for step, (x, y) in enumerate(data):
        loss = nn.functional.mse_loss(model(x, odd=step % 2 == 0) if skip else model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    return torch.stack(losses).cpu()


def alone(skip=False):
    """Losses and weights of one process on the CPU."""
    model = net()
    losses = train(model, batches(), skip=skip)
    return losses, [p.detach() for p in model.parameters()]


def assert_trained(answers, skip=False, **tolerances):
    """answers: of each rank, losses and weights."""
    losses, weights = alone(skip)
    torch.testing.assert_close(torch.stack([a[0] for a in answers]).mean(0), losses, **tolerances)
    for a in answers:
        for found, wanted in zip(a[1], weights, strict=True):
            torch.testing.assert_close(found, wanted, **tolerances)


def weights_of(model):
    return [p.detach().cpu() for p in model.parameters()]
