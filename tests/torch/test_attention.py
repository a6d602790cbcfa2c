"""Scaled dot product attention: the fused operator against PyTorch's on the CPU, and when it is taken."""

import copy
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import anygpu

ATTENTION = F.scaled_dot_product_attention
BACKENDS = SDPBackend.OVERRIDEABLE, SDPBackend.FLASH_ATTENTION, SDPBackend.MATH
# batch, heads, heads of k and v, queries, keys, depth, width
SHAPES = [
    (1, 1, 1, 1, 1, 1, 1),
    (2, 3, 3, 17, 17, 16, 16),
    (2, 6, 6, 128, 128, 32, 32),
    (1, 4, 2, 33, 70, 24, 24),
    (2, 4, 1, 65, 31, 64, 64),
    (1, 2, 2, 5, 300, 80, 80),
    (1, 2, 2, 100, 100, 256, 256),
    (1, 2, 2, 40, 50, 8, 20),
]


def make(shape, seed=0):
    b, h, hk, t, s, d, e = shape
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(*size, generator=g) for size in ((b, h, t, d), (b, hk, s, d), (b, hk, s, e), (b, h, t, e))]


def choice(q, k, v, mask=None, **options):
    return SDPBackend(torch._fused_sdp_choice(q, k, v, mask, **options))


def both(q, k, v, grad, mask=None, fused=True, atol=1e-4, **options):
    """Results and gradients on both devices, compared; whether the fused operator was taken is as said."""
    results = []
    for device in ("cpu", "anygpu"):
        x = [t.detach().to(device).requires_grad_() for t in (q, k, v)]
        m = None if mask is None else mask.to(device)
        if device == "anygpu":
            assert (choice(*x, m, **options) == SDPBackend.OVERRIDEABLE) == fused
        # The CPU's fused operator multiplies -inf by a negative scale.
        math_path = device == "cpu" and (options.get("scale") or 1) < 0
        with sdpa_kernel([SDPBackend.MATH] if math_path else list(BACKENDS)):
            out = ATTENTION(*x, m, **options)
        out.backward(grad.to(device))
        results.append([out.detach().cpu()] + [t.grad.cpu() for t in x])
    for got, want in zip(results[1], results[0]):
        torch.testing.assert_close(got, want, rtol=2e-4, atol=atol, equal_nan=True)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("scale", [None, 0.3, -0.1])
def test_shapes(shape, causal, scale):
    both(*make(shape), is_causal=causal, scale=scale, enable_gqa=shape[1] != shape[2])


MASKS = {
    "float": lambda b, h, t, s: torch.randn(b, h, t, s),
    "float2d": lambda b, h, t, s: torch.randn(t, s),
    "keys": lambda b, h, t, s: torch.randn(b, 1, 1, s),
    "queries": lambda b, h, t, s: torch.randn(1, h, t, 1),
    "bool": lambda b, h, t, s: torch.rand(b, h, t, s) < 0.7,
    "bool2d": lambda b, h, t, s: torch.rand(t, s) < 0.7,
    "padding": lambda b, h, t, s: (torch.arange(s) < max(1, s - 3)).expand(b, 1, 1, s),
    "transposed": lambda b, h, t, s: torch.randn(b, h, s, t).transpose(-2, -1),
}


@pytest.mark.parametrize("shape", SHAPES[1:6], ids=str)
@pytest.mark.parametrize("mask", MASKS)
def test_masks(shape, mask):
    torch.manual_seed(1)
    b, h, hk, t, s = shape[:5]
    both(*make(shape), MASKS[mask](b, h, t, s), enable_gqa=h != hk)


def test_slices_of_one_tensor():
    """As transformers have it: q, k and v are slices of one tensor, the heads are merged again after."""
    torch.manual_seed(0)
    b, t, h, d = 3, 50, 4, 24
    qkv, grad = torch.randn(b, t, 3 * h * d), torch.randn(b, t, h * d)
    results = []
    for device in ("cpu", "anygpu"):
        x = qkv.detach().to(device).requires_grad_()
        q, k, v = x.view(b, t, 3, h, d).permute(2, 0, 3, 1, 4)
        out = ATTENTION(q, k, v, is_causal=True).transpose(1, 2)
        if device == "anygpu":
            assert out.is_contiguous()  # so that the reshape is a view
        out = out.reshape(b, t, h * d)
        out.backward(grad.to(device))
        results.append((out.detach().cpu(), x.grad.cpu()))
    torch.testing.assert_close(results[1], results[0], rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("rank", [2, 3])
def test_lower_ranks(rank):
    q, k, v, grad = (t[0, 0] if rank == 2 else t[0] for t in make((1, 3, 3, 20, 30, 8, 12)))
    both(q, k, v, grad)
    both(q, k, v, grad, torch.rand(20, 30) < 0.8)


def test_strides_and_offsets():
    q, k, v, grad = make((2, 3, 3, 20, 30, 16, 16))
    layouts = [
        lambda t: t.transpose(1, 2).contiguous().transpose(1, 2),
        lambda t: t.transpose(2, 3).contiguous().transpose(2, 3),
        lambda t: torch.cat([t, t], -1)[..., 1::2],
        lambda t: torch.cat([t, t], 2)[:, :, 3:-3],
        lambda t: t[:, :1].expand_as(t),
    ]
    for layout in layouts:
        both(layout(q), layout(k), layout(v), layout(grad)[:, :, : layout(q).shape[2]])
    both(q, k, v, torch.tensor(1.0).expand_as(grad))


def test_rows_that_see_nothing():
    q, k, v, grad = make((1, 2, 2, 40, 20, 8, 8))
    torch.manual_seed(2)
    keeps = torch.rand(40, 20) < 0.5
    keeps[3] = False
    keeps[35:] = False
    both(q, k, v, grad, keeps)
    both(q, k, v, grad, torch.zeros(40, 20).masked_fill(~keeps, -math.inf))
    both(q, k, v, grad, torch.zeros(40, 20).masked_fill(~keeps, torch.finfo(torch.float32).min))


def test_special_values():
    q, k, v, grad = make((1, 1, 1, 40, 40, 8, 8))
    q[0, 0, 3, 2] = math.nan
    out, want = ATTENTION(*(t.to("anygpu") for t in (q, k, v))).cpu(), ATTENTION(q, k, v)
    torch.testing.assert_close(out, want, equal_nan=True)
    assert out.isnan().any(-1).sum() == 1
    q[0, 0, 3, 2] = math.inf
    torch.testing.assert_close(ATTENTION(*(t.to("anygpu") for t in (q, k, v))).cpu(), ATTENTION(q, k, v), equal_nan=True)
    q = make((1, 1, 1, 40, 40, 8, 8))[0] * 100
    both(q, k, v, grad, atol=3e-3)


def test_empty():
    for shape in ((0, 2, 2, 3, 3, 4, 4), (2, 2, 2, 0, 3, 4, 4), (2, 2, 2, 3, 0, 4, 4), (1, 2, 2, 3, 3, 4, 0)):
        both(*make(shape), fused=False)


def test_what_is_not_fused():
    q, k, v, grad = make((2, 3, 3, 20, 30, 16, 16))
    both(q, k[:, :1], v[:, :1], grad, fused=False)  # broadcast, without enable_gqa
    both(q.double(), k.double(), v.double(), grad.double(), fused=False)
    x = [t.to("anygpu") for t in (q, k, v)]
    assert choice(*x) == SDPBackend.OVERRIDEABLE
    assert choice(*x, dropout_p=0.1) == SDPBackend.MATH
    mask = torch.randn(20, 30).to("anygpu").requires_grad_()
    assert choice(*x, mask) == SDPBackend.MATH
    with torch.no_grad():
        assert choice(*x, mask) == SDPBackend.OVERRIDEABLE
    with sdpa_kernel(SDPBackend.MATH):
        assert choice(*x) == SDPBackend.MATH
        want = ATTENTION(*x)
    torch.testing.assert_close(ATTENTION(*x).cpu(), want.cpu())
    with pytest.raises(RuntimeError):
        ATTENTION(*x, mask.detach(), is_causal=True)
    with pytest.raises(RuntimeError):
        ATTENTION(x[0], x[1][:, :2], x[2][:, :2])


def test_gradient_of_the_mask():
    q, k, v, grad = make((2, 3, 3, 20, 30, 16, 16))
    mask = torch.randn(3, 1, 30)
    results = []
    for device in ("cpu", "anygpu"):
        m = mask.detach().to(device).requires_grad_()
        ATTENTION(*(t.to(device) for t in (q, k, v)), m).backward(grad.to(device))
        results.append(m.grad.cpu())
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("which", ["plain", "causal", "mask", "gqa"])
def test_double_backward(which):
    q, k, v, grad = make((2, 4, 2 if which == "gqa" else 4, 9, 12, 8, 8))
    options = {"is_causal": which == "causal", "enable_gqa": which == "gqa"}
    mask = torch.rand(9, 12) < 0.7 if which == "mask" else None
    if mask is not None:
        mask[4] = False
    results = []
    for device in ("cpu", "anygpu"):
        x = [t.detach().to(device).requires_grad_() for t in (q, k, v)]
        m = None if mask is None else mask.to(device)
        # The CPU's fused operator has no second derivative: its math path is what to compare with.
        with sdpa_kernel([SDPBackend.MATH] if device == "cpu" else [SDPBackend.OVERRIDEABLE, SDPBackend.MATH]):
            out = ATTENTION(*x, m, **options)
        first = torch.autograd.grad(out, x, grad.to(device), create_graph=True)
        second = torch.autograd.grad(sum((g * g).sum() for g in first), x)
        results.append([t.detach().cpu() for t in (*first, *second)])
    for got, want in zip(results[1], results[0]):
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4)


def test_functorch_and_forward_mode():
    q, k, v, _ = (t.to("anygpu") for t in make((3, 2, 2, 5, 6, 4, 4)))
    want = ATTENTION(q, k, v)
    torch.testing.assert_close(torch.vmap(ATTENTION)(q, k, v).cpu(), want.cpu())

    def loss(q):
        return ATTENTION(q, k, v).square().sum()

    x = q.clone().requires_grad_()
    loss(x).backward()
    torch.testing.assert_close(torch.func.grad(loss)(q).cpu(), x.grad.cpu(), rtol=1e-4, atol=1e-5)
    value, tangent = torch.func.jvp(loss, (q,), (torch.ones_like(q),))
    torch.testing.assert_close(tangent.cpu(), x.grad.sum().cpu(), rtol=1e-3, atol=1e-3)


def test_one_thread_gives_the_same_bits(python):
    script = """
        import torch, anygpu, hashlib
        g = torch.Generator().manual_seed(0)
        h = hashlib.sha256()
        for shape in ((1, 1, 300, 32), (1, 3, 150, 24), (2, 4, 70, 16)):
            q, k, v, d = (torch.randn(*shape, generator=g).to("anygpu") for _ in range(4))
            q.requires_grad_(), k.requires_grad_(), v.requires_grad_()
            out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            out.backward(d)
            for t in (out, q.grad, k.grad, v.grad):
                h.update(t.detach().cpu().numpy().tobytes())
        print(h.hexdigest())
    """
    assert len({python(script, ANYGPU_NUM_THREADS=n) for n in ("1", "2", "3", "5")}) == 1


def test_nothing_falls_back():
    before = dict(anygpu.fallbacks())
    both(*make(SHAPES[1]), is_causal=True)
    assert dict(anygpu.fallbacks()) == before


@pytest.mark.parametrize("options", list(itertools.product([False, True], [False, True])), ids=str)
def test_multi_head_attention(options):
    need_weights, padded = options
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(32, 4, batch_first=True)
    x = torch.randn(3, 11, 32)
    padding = torch.zeros(3, 11, dtype=torch.bool)
    padding[1, 8:] = True
    results = []
    for device in ("cpu", "anygpu"):
        for train in (True, False):
            m = copy.deepcopy(layer).to(device).train(train)
            with torch.set_grad_enabled(train):
                y = x.detach().to(device).requires_grad_(train)
                out, weights = m(y, y, y, need_weights=need_weights, key_padding_mask=padding.to(device) if padded else None)
                if train:
                    out.sum().backward()
                results.append([t.detach().cpu() for t in (out, weights, y.grad) if t is not None])
    for got, want in zip(results[2:], results[:2]):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_transformer_trains_as_on_the_cpu(masked):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
    net = nn.Sequential(nn.Linear(16, 32), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(32, 16))
    data = torch.randn(6, 4, 20, 16)
    mask = nn.Transformer.generate_square_subsequent_mask(20) if masked else None
    losses = []
    for device in ("cpu", "anygpu"):
        model = copy.deepcopy(net).to(device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        losses.append([])
        for x in data.to(device):
            optimizer.zero_grad()
            y = model[2](model[1](model[0](x), mask=None if mask is None else mask.to(device), is_causal=False))
            loss = F.mse_loss(y[:, :-1], x[:, 1:])
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.detach())
        losses[-1] = [float(v) for v in losses[-1]]
        model.eval()
        with torch.no_grad():
            losses[-1].append(float(model[2](model[1](model[0](data[0].to(device)))).square().mean()))
    torch.testing.assert_close(torch.tensor(losses[1]), torch.tensor(losses[0]), rtol=1e-4, atol=1e-5)
