"""PyTorch's own operator database on the device: outputs and gradients against the CPU, and nothing leaves the device.

The operators in opinfo_falls_back.txt have no implementation here yet: their numbers must be right all the same, by way of
the CPU. An operator that gains one is taken off the list (the test says so)."""

import itertools
import pathlib
import re

import pytest
import torch
from samples import tensors
from torch.testing._internal.common_methods_invocations import op_db

import anygpu

HERE = pathlib.Path(__file__).parent
FALLS_BACK = set((HERE / "opinfo_falls_back.txt").read_text().split())
SAMPLES = 4

# Results are random, known only up to a sign or an order, or layouts that no dense device has.
UNJUDGED = re.compile(
    r"^(bernoulli|cauchy|exponential|geometric|log_normal|normal|uniform|multinomial|rand.*|empty.*|new_empty.*|.*dropout.*|to|tensor_split"
    r"|nn\.functional\.(rrelu|fractional_max_pool.*|multi_head_attention_forward|scaled_dot_product_attention)|.*lowrank"
    r"|jiterator.*|as_strided.*partial_views|sparse\..*|to_sparse|linalg\.(eig|eigvals|eigh|svd|qr)|svd|qr|geqrf)(\..*)?$"
)
OPS = [op for op in op_db if not UNJUDGED.match(op.full_name) and torch.float32 in op.supported_dtypes("cpu")]


@pytest.mark.fallback
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.full_name)
def test_against_cpu(op):
    before = anygpu.fallbacks()
    backward = op.supports_autograd and torch.float32 in op.supported_backward_dtypes("cpu")
    for sample in itertools.islice(op.sample_inputs("cpu", torch.float32, requires_grad=backward), SAMPLES):
        mine = sample.transform(lambda t: t.detach().to("anygpu").requires_grad_(t.requires_grad) if isinstance(t, torch.Tensor) else t)
        want, got = (op(s.input, *s.args, **s.kwargs) for s in (sample, mine))
        close = dict(rtol=2e-4, atol=2e-4, equal_nan=True)
        for w, g in zip(tensors(want), tensors(got), strict=True):
            torch.testing.assert_close(g.detach().cpu(), w.detach(), **close)
        if not backward:
            continue
        outs = [
            [t for t in tensors(s.output_process_fn_grad(o)) if t.requires_grad and t.is_floating_point()]
            for s, o in ((sample, want), (mine, got))
        ]
        if not outs[0]:
            continue
        leaves = [[t for t in tensors((s.input, s.args, s.kwargs)) if t.requires_grad] for s in (sample, mine)]
        seeds = [torch.rand_like(t) for t in outs[0]]
        gw = torch.autograd.grad(outs[0], leaves[0], seeds, allow_unused=True)
        gg = torch.autograd.grad(outs[1], leaves[1], [s.to("anygpu") for s in seeds], allow_unused=True)
        for w, g in zip(gw, gg, strict=True):
            assert (w is None) == (g is None)
            if w is not None:
                torch.testing.assert_close(g.cpu(), w, **close)
    left = {k for k, n in anygpu.fallbacks().items() if n > before.get(k, 0)}
    if op.full_name not in FALLS_BACK:
        assert not left, f"left the device: {left}"
    else:
        assert left, f"{op.full_name} no longer leaves the device: take it off opinfo_falls_back.txt"
