"""torch.autocast: the policies of PyTorch's own lists, as CUDA has them, and training in mixed precision."""

import copy

import pytest
import torch
from torch import nn

import anygpu

DEV = "anygpu"
F = torch.nn.functional
HALVES = pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])


def with_kernels(key):
    return set(torch._C._dispatch_get_registrations_for_dispatch_key(key))


def test_the_lists_are_cudas():
    ours, cuda = with_kernels("AutocastPrivateUse1"), with_kernels("AutocastCUDA")
    assert len(cuda) > 80 and cuda - ours == {"aten::cudnn_convolution", "aten::cudnn_convolution_transpose"} and not ours - cuda


@HALVES
def test_policies(half):
    x, h = torch.rand(4, 4, device=DEV), torch.rand(4, 4, device=DEV, dtype=half)
    d = torch.rand(4, 4, device=DEV, dtype=torch.float64)
    with torch.autocast(DEV, dtype=half):
        lower = [x @ x, torch.mm(x, h), F.linear(x, x), torch.einsum("ij,jk", x, x), F.conv1d(x[None], x[:, :, None])]
        full = [h.exp(), h.softmax(1), h.sum(), h.cumsum(0), h.norm(), h.pow(2), F.layer_norm(h, (4,)), F.mse_loss(h, h)]
        wide = [torch.addcmul(x, h, h), torch.dot(x[0], h[0]), torch.tensordot(x, h)]
        assert all(t.dtype == half for t in lower)
        assert all(t.dtype == torch.float32 for t in full + wide)
        assert (h + h).dtype == half and (h + x).dtype == torch.float32, "other operators promote as ever"
        assert (d @ d).dtype == torch.float64 and d.exp().dtype == torch.float64, "doubles are left alone"
        assert h.sum(dtype=half).dtype == half, "what is asked for is given"
        assert x.to("cpu").dtype == torch.float32 and h.float().dtype == torch.float32
        with torch.autocast(DEV, enabled=False):
            assert (x @ x).dtype == torch.float32
    assert (x @ x).dtype == torch.float32


def test_integers_and_tensors_elsewhere_are_left_alone():
    with torch.autocast(DEV):
        assert (torch.ones(3, dtype=torch.int64, device=DEV) ** 2).dtype == torch.int64
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_binary_cross_entropy_is_banned():
    p = torch.rand(3, device=DEV)
    with torch.autocast(DEV):
        with pytest.raises(RuntimeError, match="unsafe to autocast"):
            F.binary_cross_entropy(p, p)
        assert F.binary_cross_entropy_with_logits(p, p).dtype == torch.float32


def test_a_weight_is_cast_once():
    w = torch.rand(4, 4, device=DEV, requires_grad=True)
    x = torch.rand(4, 4, device=DEV)
    with torch.autocast(DEV, dtype=torch.bfloat16):
        a, b = F.linear(x, w), F.linear(x, w)
        cast = [t.grad_fn.next_functions[1][0].next_functions[0][0] for t in (a, b)]  # beyond the transposition
        assert cast[0] is cast[1] and "ToCopy" in cast[0].name()
        assert torch.equal(a, b)
    with torch.autocast(DEV, dtype=torch.bfloat16, cache_enabled=False):
        a, b = F.linear(x, w), F.linear(x, w)
    with torch.no_grad():
        w.zero_()
    with torch.autocast(DEV, dtype=torch.bfloat16):
        assert not F.linear(x, w).any(), "a region that begins casts the weight anew"


def test_custom_function():
    class Product(torch.autograd.Function):
        @staticmethod
        @torch.amp.custom_fwd(device_type=DEV, cast_inputs=torch.float32)
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            assert not torch.is_autocast_enabled(DEV)
            return a @ b

        @staticmethod
        @torch.amp.custom_bwd(device_type=DEV)
        def backward(ctx, grad):
            a, b = ctx.saved_tensors
            return grad @ b.t(), a.t() @ grad

    x = torch.rand(3, 3, device=DEV, requires_grad=True)
    with torch.autocast(DEV, dtype=torch.float16):
        y = Product.apply(x.half(), x)
    y.sum().backward()
    assert y.dtype == torch.float32 and x.grad.dtype == torch.float32


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.LayerNorm(144), nn.Linear(144, 5))


@HALVES
def test_training_follows_the_cpu(half):
    x, t = torch.rand(50, 16, 1, 8, 8), torch.randint(0, 5, (50, 16))
    before = dict(anygpu.fallbacks())
    losses = {}
    for device in ("cpu", DEV):
        m = copy.deepcopy(model()).to(device)
        optimizer = torch.optim.AdamW(m.parameters(), lr=1e-3)
        scaler = torch.amp.GradScaler(device, init_scale=256.0)
        losses[device] = []
        for i in range(50):
            optimizer.zero_grad()
            with torch.autocast(device, dtype=half):
                loss = F.cross_entropy(m(x[i].to(device)), t[i].to(device))
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            losses[device].append(loss.detach())
    got, want = (torch.stack(losses[d]).float().cpu() for d in (DEV, "cpu"))
    torch.testing.assert_close(got, want, rtol=0, atol=2e-2)
    assert dict(anygpu.fallbacks()) == before


def test_scaler_skips_what_overflowed():
    w = torch.ones(3, device=DEV, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=0.1)
    scaler = torch.amp.GradScaler(DEV, init_scale=4.0)
    scaler.scale((w * torch.tensor([1.0, float("inf"), 1.0], device=DEV)).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert w.tolist() == [1, 1, 1] and scaler.get_scale() == 2.0
    optimizer.zero_grad()
    scaler.scale(w.sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    torch.testing.assert_close(w.detach().cpu(), torch.full((3,), 0.9))
