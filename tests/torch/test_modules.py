"""Every module of PyTorch's own module database, forward and backward, on the device against the CPU."""

import copy
import re

import pytest
import torch
from torch import nn
from torch.testing._internal.common_modules import module_db
from torch.utils._pytree import tree_leaves, tree_map

# Modules that draw random numbers of their own get others on another device.
RANDOM = re.compile("FractionalMaxPool")


def to(device, tree):
    """A copy of all tensors on `device`, leaves with the same need of gradients."""

    def move(t):
        if not isinstance(t, torch.Tensor):
            return t
        return t.detach().to(device, copy=True).requires_grad_(t.requires_grad)

    return tree_map(move, tree)


def tensors(tree):
    return [t for t in tree_leaves(tree) if isinstance(t, torch.Tensor)]


def assert_same(want, got, what):
    want, got = tensors(want), tensors(got)
    assert len(want) == len(got), what
    for a, b in zip(want, got):
        assert b.device.type == "anygpu", what
        torch.testing.assert_close(b.detach().cpu(), a.detach(), rtol=2e-4, atol=2e-4, equal_nan=True, msg=lambda m: f"{what}: {m}")


def seeded(f, *args, **kwargs):
    torch.manual_seed(0)
    return f(*args, **kwargs)


def examine(info, training, dtype=torch.float32):
    """The number of inputs tried."""
    tried = 0
    torch.manual_seed(0)
    inputs = info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True, training=training)
    for sample in inputs:
        if sample.forward_input is None:
            continue
        args, kwargs = sample.constructor_input.args, sample.constructor_input.kwargs
        x, options = sample.forward_input.args, sample.forward_input.kwargs
        torch.manual_seed(0)
        m = info.module_cls(*args, **kwargs)
        for part in m.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0
            if isinstance(getattr(part, "dropout", None), float):
                part.dropout = 0.0
            # The CPU's nested tensors put zeros where the padding is; this device keeps the padding, as slow paths do.
            if hasattr(part, "use_nested_tensor"):
                part.use_nested_tensor = False
        m = m.to(dtype).train(training)
        # Lazy modules take their shapes from the first input.
        if any(isinstance(p, nn.parameter.UninitializedParameter) for p in m.parameters()):
            seeded(m, *to("cpu", x), **to("cpu", options))
        d = copy.deepcopy(m).to("anygpu")
        xc, oc = to("cpu", x), to("cpu", options)
        xd, od = to("anygpu", x), to("anygpu", options)
        want = seeded(m, *xc, **oc)
        got = seeded(d, *xd, **od)
        what = f"{info.name} {sample.desc or ''} training={training}"
        if RANDOM.search(info.name):
            assert [t.shape for t in tensors(want)] == [t.shape for t in tensors(got)], what
            tried += 1
            continue
        assert_same(want, got, what)
        outs_c = [t for t in tensors(want) if t.requires_grad]
        outs_d = [t for t in tensors(got) if t.requires_grad]
        assert len(outs_c) == len(outs_d), what
        if outs_c:
            leaves = lambda m, x, o: [t for t in [*m.parameters(), *tensors((x, o))] if t.requires_grad]
            weights = [torch.rand_like(t) for t in outs_c]
            gc = torch.autograd.grad(outs_c, leaves(m, xc, oc), weights, allow_unused=True)
            gd = torch.autograd.grad(outs_d, leaves(d, xd, od), [w.to("anygpu") for w in weights], allow_unused=True)
            assert [g is None for g in gc] == [g is None for g in gd], what
            assert_same([g for g in gc if g is not None], [g for g in gd if g is not None], what + " gradient")
        assert_same(list(m.buffers()), list(d.buffers()), what + " buffers")
        tried += 1
    return tried


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("info", module_db, ids=lambda m: m.name)
def test_module(info, training):
    if not examine(info, training):
        pytest.skip("no inputs")


@pytest.mark.parametrize(
    "info", [m for m in module_db if re.search("Transformer|Attention|LSTM|GRU|RNN|Norm", m.name)], ids=lambda m: m.name
)
def test_module_without_gradients(info):
    """Some modules take another way where nothing needs a gradient."""
    with torch.no_grad():
        if not examine(info, training=False):
            pytest.skip("no inputs")
