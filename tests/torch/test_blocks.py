"""Temporaries between convolutions lie in blocks of channels on some backends (src/runtime/channel_blocks.cpp): what stands between the
convolutions must follow, or keep them as they were. Every case is compared with the CPU, forward and backward."""

import pytest
import torch
import torch.nn.functional as F

CONV = dict(padding=1)


def between(name, x):
    return {
        "nothing": lambda: x,
        "relu": lambda: F.relu(x),
        "batch_norm": lambda: F.batch_norm(x, None, None, training=True),
        "group_norm": lambda: F.group_norm(x, 4),
        "layer_norm": lambda: F.layer_norm(x, x.shape[1:]),
        "max_pool": lambda: F.max_pool2d(x, 2),
        "padded_pool": lambda: F.max_pool2d(x, 3, 2, 1),
        "avg_pool": lambda: F.avg_pool2d(x, 2),
        "softmax_channels": lambda: x.softmax(1),
        "transpose": lambda: x.transpose(2, 3),
        "flip": lambda: x.flip(2) + x,
        "cat": lambda: torch.cat([x[:, :16], x[:, 16:] * 2], 1),
        "odd_channels": lambda: torch.cat([x[:, 5:], x[:, :5]], 1),
        "upsample": lambda: F.interpolate(x, scale_factor=2),
        "pixel_shuffle": lambda: F.pixel_shuffle(F.pixel_unshuffle(x, 2), 2),
        "squeeze_excite": lambda: x * x.mean((2, 3), keepdim=True).sigmoid(),
        "flat_sum": lambda: x + x.flatten().sum(),
        "index": lambda: x[:, torch.arange(31, -1, -1)],
        "cumsum": lambda: x.cumsum(1),
        "roll": lambda: x.roll(1, 3),
        "strided": lambda: x[..., ::2, 1::2] + 1,
        "positions": lambda: x * torch.arange(x.numel(), device=x.device).view(x.shape).remainder(7),
    }[name]()


NAMES = (
    "nothing relu batch_norm group_norm layer_norm max_pool padded_pool avg_pool softmax_channels transpose flip cat odd_channels upsample"
)
NAMES += " pixel_shuffle squeeze_excite flat_sum index cumsum roll strided positions"


def run(device, name, size, train):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, size, size + 2, generator=g).to(device)
    weights = [
        torch.randn(s, generator=g).mul(0.1).to(device).requires_grad_(train) for s in ((32, 3, 3, 3), (32, 32, 3, 3), (16, 32, 1, 1))
    ]
    y = F.conv2d(x, weights[0], **CONV)
    y = F.conv2d(between(name, y), weights[1], **CONV) + y.mean((2, 3), keepdim=True)
    y = F.conv2d(between(name, y), weights[2])
    if not train:
        return [y.cpu()]
    y.square().mean().backward()
    return [y.detach().cpu(), *(w.grad.cpu() for w in weights)]


@pytest.mark.parametrize("train", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("size", [8, 20])
@pytest.mark.parametrize("name", NAMES.split())
def test_agrees_with_cpu(name, size, train):
    for ours, theirs in zip(run("anygpu", name, size, train), run("cpu", name, size, train), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2e-4, atol=2e-4 * theirs.abs().max().item())
