"""Recurrent layers: every option, packed sequences, gradients and gradients of gradients, against the CPU."""

import copy
import itertools

import pytest
import torch
from torch import nn

import anygpu


def same(want, got, atol=2e-5):
    torch.testing.assert_close(got.detach().cpu(), want.detach(), rtol=1e-4, atol=atol)


def pair(kind, *args, **kwargs):
    torch.manual_seed(0)
    m = kind(*args, **kwargs)
    return m, copy.deepcopy(m).to("anygpu")


def grads(out, m, x, part, create_graph):
    finals = out[1] if isinstance(out[1], tuple) else (out[1],)
    loss = 0
    if part != "finals":
        loss = loss + (out[0] ** 2).sum()
    if part != "outputs":
        loss = loss + sum((t**3).sum() for t in finals)
    return torch.autograd.grad(loss, [x, *m.parameters()], retain_graph=True, create_graph=create_graph)


OPTIONS = list(itertools.product([False, True], [False, True], [1, 2], [True, False]))


@pytest.mark.parametrize("bidirectional,batch_first,layers,bias", OPTIONS)
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_layer(kind, bidirectional, batch_first, layers, bias):
    m, d = pair(kind, 5, 7, layers, bias=bias, batch_first=batch_first, bidirectional=bidirectional)
    x = torch.randn(3, 4, 5, requires_grad=True)
    y = x.detach().to("anygpu").requires_grad_()
    a, b = m(x), d(y)
    same(a[0], b[0])
    for part in ("outputs", "finals", "both"):
        for want, got in zip(grads(a, m, x, part, False), grads(b, d, y, part, False)):
            same(want, got)
    with torch.inference_mode():
        same(m(x)[0], d(y)[0])


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_gradients_of_gradients(kind, batch_first):
    m, d = pair(kind, 5, 7, 2, batch_first=batch_first, bidirectional=True)
    x = torch.randn(3, 4, 5, requires_grad=True)
    y = x.detach().to("anygpu").requires_grad_()
    second = []
    for module, leaf in ((m, x), (d, y)):
        first = grads(module(leaf), module, leaf, "both", True)
        second.append(torch.autograd.grad(sum((g**2).sum() for g in first), [leaf, *module.parameters()]))
    for want, got in zip(*second):
        same(want, got, atol=1e-3)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_packed_sequence(kind):
    m, d = pair(kind, 5, 7, 2, bidirectional=True)
    x = torch.randn(3, 4, 5, requires_grad=True)
    y = x.detach().to("anygpu").requires_grad_()
    results = []
    for module, leaf in ((m, x), (d, y)):
        out = module(nn.utils.rnn.pack_padded_sequence(leaf, [3, 1, 2, 2], enforce_sorted=False))[0].data
        results.append([out, *torch.autograd.grad((out**2).sum(), [leaf, *module.parameters()])])
    for want, got in zip(*results):
        same(want, got)


def test_projection():
    m, d = pair(nn.LSTM, 5, 8, proj_size=3)
    x = torch.randn(4, 2, 5)
    same(m(x)[0], d(x.to("anygpu"))[0])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_wrong_sizes_raise_what_the_cpu_raises(kind):
    m, d = pair(kind, 5, 7)
    x = torch.randn(3, 4, 6)
    with pytest.raises((RuntimeError, ValueError)) as want:
        m(x)
    with pytest.raises(want.type):
        d(x.to("anygpu"))


def test_output_changed_in_place_before_backward_is_refused():
    _, d = pair(nn.LSTM, 5, 7)
    out = d(torch.randn(3, 4, 5, device="anygpu"))[0]
    total = (out * 1.0).sum()
    with torch.no_grad():
        out.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


def test_a_layer_records_few_operators():
    _, d = pair(nn.LSTM, 8, 8)
    x = torch.randn(20, 4, 8, device="anygpu", requires_grad=True)
    anygpu.synchronize()
    before = anygpu.stats()["operators"]
    d(x)[0].sum().backward()
    assert anygpu.stats()["operators"] - before < 4 * 20 + 40
