"""Quantised tensors: stored and copied here, computed with by PyTorch's CPU, which is warned of and counted."""

import copy

import pytest
import torch

pytestmark = pytest.mark.fallback
DEV = "anygpu"
Q = {
    "per_tensor": lambda t: torch.quantize_per_tensor(t, 0.1, 3, torch.qint8),
    "unsigned": lambda t: torch.quantize_per_tensor(t, 0.1, 3, torch.quint8),
    "wide": lambda t: torch.quantize_per_tensor(t, 0.1, 3, torch.qint32),
    "dynamic": lambda t: torch.quantize_per_tensor_dynamic(t, torch.qint8, False),
    "per_channel": lambda t: torch.quantize_per_channel(
        t, torch.tensor([0.1, 0.2, 0.3], device=t.device), torch.tensor([0, 1, 2], device=t.device), 0, torch.qint8
    ),
}


@pytest.mark.parametrize("make", Q.values(), ids=Q)
def test_a_quantised_tensor_keeps_what_it_is(make):
    x = torch.linspace(-3, 3, 24).reshape(3, 8)
    want, q = make(x), make(x.to(DEV))
    assert q.device.type == DEV and q.is_quantized and q.dtype == want.dtype and q.qscheme() == want.qscheme()
    assert torch.equal(q.dequantize().cpu(), want.dequantize()) and q.dequantize().device.type == DEV
    assert torch.equal(q.int_repr().cpu(), want.int_repr())
    for moved in (q.cpu(), q.clone().cpu(), want.to(DEV).cpu(), copy.deepcopy(q).cpu()):
        assert torch.equal(moved.dequantize(), want.dequantize()) and moved.qscheme() == want.qscheme()
    assert torch.equal(q[1:].cpu().dequantize(), want.dequantize()[1:]) or want.qscheme() == torch.per_channel_affine
    assert "quantization_scheme" in repr(q)


def test_numbers_are_quantised_as_they_are_copied():
    q = torch.quantize_per_tensor(torch.zeros(4), 0.5, 0, torch.qint8).to(DEV)
    q.copy_(torch.tensor([0.4, 1.1, -2.0, 3.0]))
    assert q.dequantize().tolist() == [0.5, 1.0, -2.0, 3.0]
    with pytest.raises(RuntimeError, match="please use dequantize"):
        torch.zeros(4, device=DEV).copy_(q)


MODELS = {
    "linear": lambda: torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4)),
    "lstm": lambda: torch.nn.LSTM(8, 8),
    "gru": lambda: torch.nn.GRU(8, 8),
}


@pytest.mark.parametrize("dtype", [torch.qint8, torch.float16], ids=str)
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_quantize_dynamic(make, dtype):
    torch.manual_seed(0)
    model = make().eval()
    kinds = {torch.nn.Linear, torch.nn.LSTM, torch.nn.GRU}
    x = torch.randn(1, 3, 8)
    quantise = torch.ao.quantization.quantize_dynamic
    first = lambda r: r if isinstance(r, torch.Tensor) else r[0]  # noqa: E731
    want = first(quantise(copy.deepcopy(model), kinds, dtype=dtype)(x))
    there = first(quantise(copy.deepcopy(model).to(DEV), kinds, dtype=dtype)(x.to(DEV)))
    moved = first(quantise(copy.deepcopy(model), kinds, dtype=dtype).to(DEV)(x.to(DEV)))
    for got in (there, moved):
        assert got.device.type == DEV
        torch.testing.assert_close(got.detach().cpu(), want.detach(), rtol=1e-5, atol=1e-5)
