"""Reductions over expanded tensors: the operand repeats along what is reduced, so that a row's results are one number, stored all along
it. Forward and backward, and where the operand is a constant that planning inlines."""

import pytest
import torch
import torch.nn.functional as F

DEVICE = "anygpu"
SIZES = [((4, 1), (4, 6)), ((1, 6), (4, 6)), ((1, 1), (4, 6)), ((1, 1), (300, 70)), ((30, 1), (30, 3000)), ((1, 3000), (30, 3000))]


def mask(x):
    return torch.arange(x.numel(), device=x.device).reshape(x.shape) % 3 == 0


FUNCTIONS = {
    "softmax": lambda x, d: x.softmax(d),
    "log_softmax": lambda x, d: x.log_softmax(d),
    "masked_softmax": lambda x, d: torch._masked_softmax(x, mask(x), d),
    "logsumexp": lambda x, d: x.logsumexp(d),
    "var": lambda x, d: x.var(d),
    "normalize": lambda x, d: F.normalize(x + 1, dim=d),
    "layer_norm": lambda x, d: F.layer_norm(x, x.shape[1:] if d else x.shape),
    "rms_norm": lambda x, d: F.rms_norm(x, x.shape[1:] if d else x.shape),
    "batch_norm": lambda x, d: F.batch_norm(x, None, None, training=True),
    "group_norm": lambda x, d: F.group_norm(x, 2 if d else 1),
    "cross_entropy": lambda x, d: F.cross_entropy(x, torch.full((x.shape[0],), d, device=x.device)),
    "sum, expanded": lambda x, d: x.sum(d, keepdim=True).expand(x.shape).contiguous(),
    "x - mean": lambda x, d: x - x.mean(d, keepdim=True),
    "amax, beside": lambda x, d: torch.stack([x.amax(d, keepdim=True).expand(x.shape), x * 2]),
}


def made(kind, base, device):
    if kind == "random":
        return torch.randn(base, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(device)
    return getattr(torch, kind)(base, dtype=torch.float64, device=device)


@pytest.mark.parametrize("kind", ["random", "ones", "zeros"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_reductions(name, kind):
    for base, sizes in SIZES:
        for dim in (0, 1):
            results = []
            for device in ("cpu", DEVICE):
                x = made(kind, base, device).requires_grad_(name != "masked_softmax")
                y = FUNCTIONS[name](x.expand(sizes), dim)
                results.append([y])
                if not x.requires_grad:
                    continue
                weights = torch.arange(y.numel(), dtype=y.dtype, device=device).reshape(y.shape).cos()
                results[-1] += torch.autograd.grad(y, x, torch.ones((), dtype=y.dtype, device=device).expand(y.shape), retain_graph=True)
                results[-1] += torch.autograd.grad(y, x, weights)
            for want, got in zip(*results):
                torch.testing.assert_close(
                    got.cpu(), want, rtol=1e-6, atol=1e-6, equal_nan=True, msg=lambda m, at=(base, sizes, dim): f"{at}: {m}"
                )


def test_several_dimensions_and_halves():
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.arange(8.0).reshape(2, 4, 1, 1).to(dtype)
        for f in (
            lambda t: F.instance_norm(t.expand(2, 4, 5, 6)),
            lambda t: F.batch_norm(t.expand(2, 4, 5, 6), None, None, training=True),
            lambda t: F.layer_norm(t.expand(2, 4, 5, 6), (5, 6)),
            lambda t: t.expand(2, 4, 5, 6).softmax(3),
            lambda t: t[:, :, 0].expand(2, 4, 0).softmax(2),
        ):
            # A row of equal numbers has variance 0: its mean's rounding error comes out times 1 / sqrt(eps).
            torch.testing.assert_close(f(x.to(DEVICE)).cpu(), f(x), rtol=2e-2, atol=1e-3)
