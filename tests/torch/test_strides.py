"""Layouts: strides of results and gradients equal those of PyTorch's CPU, for every operator of its database and for inputs that are
contiguous, permuted, channels_last, sliced and expanded. Strides are known when an operator is recorded, so most of this runs nothing;
values are compared for one layout of each operator."""

import copy
import itertools
import re
import zlib

import pytest
import torch
from test_opinfo import UNJUDGED, tensors
from torch import nn
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db

import anygpu

# No strided results, or uninitialised memory looked at through strides.
SKIPPED = re.compile(r"^(jiterator.*|sparse\..*|to_sparse|empty.*|new_empty.*|as_strided.*|tensor_split|to)$")
OPS = [op for op in op_db if not SKIPPED.match(op.full_name) and torch.float32 in op.supported_dtypes("cpu")]

# Where the layout on the CPU is a choice of its library or of an algorithm that is not used here.
GRADIENTS_DIFFER = {
    "nn.functional.scaled_dot_product_attention": "the CPU's flash kernel transposes all gradients, its other path those of the products",
    "nn.functional.group_norm": "autograd's formula hands the kernel contiguous tensors on every device but the CPU",
}


# ---- layouts ----


def permuted(t):
    order = tuple(reversed(range(t.dim())))
    return t.permute(order).contiguous().permute(order)


def swapped(t):
    return t.transpose(-1, -2).contiguous().transpose(-1, -2) if t.dim() > 1 else t


def channels_last(t):
    format = {4: torch.channels_last, 5: torch.channels_last_3d}.get(t.dim())
    return torch.empty_like(t, memory_format=format).copy_(t) if format else t


def sliced(t):
    if t.dim() == 0:
        return t
    wide = torch.zeros(*t.shape[:-1], 2 * t.shape[-1] + 1, dtype=t.dtype)
    wide[..., 1::2] = t
    return wide[..., 1::2]


def expanded(t, dim=0):
    if t.dim() < 2 or t.numel() == 0 or not t.is_floating_point():
        return t
    return t.narrow(dim, 0, 1).clone(memory_format=torch.contiguous_format).expand_as(t)


def expanded_last(t):
    return expanded(t, -1)


LAYOUTS = [torch.Tensor.contiguous, permuted, swapped, channels_last, sliced, expanded, expanded_last]
TIES = 2  # the last ones: which of equal elements kthvalue finds is not said, so no values are compared
OF_FIRST = [permuted, channels_last]  # also of the first tensor alone
SHAPES = [(2, 6, 4, 5), (2, 3, 1, 1), (1, 3, 4, 1)]  # sizes of 1 leave the memory format open


def strided(x):
    return isinstance(x, torch.Tensor) and x.layout == torch.strided


def laid(sample, layout, first=False):
    """The sample with its tensors (or the first alone) in a layout."""
    seen = itertools.count()

    def one(t):
        if not strided(t):
            return t
        u = t.detach() if first and next(seen) else layout(t.detach())
        return u.detach().requires_grad_(t.requires_grad)

    return sample.transform(one)


def to_device(t):
    """The same strides and offset over a copy of the storage."""
    flat = torch.empty(0, dtype=t.dtype).set_(t.untyped_storage())
    return flat.to("anygpu").as_strided(t.shape, t.stride(), t.storage_offset()).detach().requires_grad_(t.requires_grad)


def lifted(op, sample, shape):
    """The sample with all tensors of its input's shape in another one, where the operator takes that."""
    if not strided(sample.input) or sample.input.dim() == 0:
        return None
    old = sample.input.shape

    def one(t):
        if not strided(t) or t.shape != old:
            return t
        return (torch.rand(shape) * 0.8 + 0.1).to(t.dtype).requires_grad_(t.requires_grad)

    other = sample.transform(one)
    try:
        call(op, other)
    except Exception:
        return None
    return other


def call(op, sample):
    torch.default_generator.manual_seed(0)  # torch.manual_seed, which asks other devices too, takes 3 ms
    return op(sample.input, *sample.args, **sample.kwargs)


def arguments(sample):
    return [t for t in tensors((sample.input, sample.args, sample.kwargs)) if strided(t)]


def samples(op, requires_grad):
    """Two of the most dimensions, and one in other shapes."""
    torch.manual_seed(0)
    pool = list(itertools.islice(op.sample_inputs("cpu", torch.float32, requires_grad=requires_grad), 12))
    rank = lambda s: max((t.dim() for t in arguments(s)), default=0)  # noqa: E731
    chosen = sorted(pool, key=rank, reverse=True)[:2]
    for shape in SHAPES:
        chosen += filter(None, (lifted(op, s, shape) for s in pool[:1]))
    return chosen


# ---- comparing ----


def assert_strides(want, got, what):
    want, got = [t for t in tensors(want) if strided(t)], tensors(got)
    for w, g in zip(want, got):
        if w.numel():
            assert g.shape == w.shape and g.stride() == w.stride(), f"{what}: {tuple(w.shape)} has {g.stride()}, wanted {w.stride()}"


def differentiable(outputs):
    return [t for t in tensors(outputs) if t.requires_grad and t.is_floating_point()]


def gradients(op, sample, outputs, seeds):
    leaves = [t for t in arguments(sample) if t.requires_grad]
    return torch.autograd.grad(differentiable(sample.output_process_fn_grad(outputs)), leaves, seeds, allow_unused=True, retain_graph=True)


def given(gradients, others):
    return [g for g, o in zip(gradients, others) if g is not None and o is not None]


def examine(op, cpu, what, values):
    """Whether the sample is one that the CPU takes and this device does itself."""
    before = anygpu.fallbacks()
    try:
        want = call(op, cpu)
    except Exception:
        return False  # e.g. in-place operators on expanded tensors
    mine = cpu.transform(lambda t: to_device(t) if strided(t) else t)
    got = call(op, mine)
    if anygpu.fallbacks() != before:
        return False
    assert_strides(want, got, what)
    close = dict(rtol=2e-4, atol=2e-4, equal_nan=True)
    if values:
        for w, g in zip(tensors(want), tensors(got), strict=True):
            torch.testing.assert_close(g.detach().cpu(), w.detach(), **close)
    outputs = differentiable(cpu.output_process_fn_grad(want))
    if not outputs or not any(t.requires_grad for t in arguments(cpu)):
        return True
    for kind, make in (("like the result", torch.rand_like), ("contiguous", lambda t: torch.rand(t.shape))):
        if kind == "contiguous" and all(t.is_contiguous() for t in outputs):
            continue
        seeds = [make(t) for t in outputs]
        try:
            wanted = gradients(op, cpu, want, seeds)
        except (RuntimeError, ValueError):
            return True  # e.g. a gradient that PyTorch does not have
        have = gradients(op, mine, got, [to_device(s) for s in seeds])
        if anygpu.fallbacks() != before:
            return True
        if op.full_name not in GRADIENTS_DIFFER:
            assert_strides(given(wanted, have), given(have, wanted), f"{what}, gradient of one {kind}")
        if values:
            for w, g in zip(given(wanted, have), given(have, wanted), strict=True):
                torch.testing.assert_close(g.cpu(), w, **close)
    return True


@pytest.mark.fallback
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.full_name)
def test_strides_are_the_cpus(op):
    backward = op.supports_autograd and torch.float32 in op.supported_backward_dtypes("cpu")
    judged = not UNJUDGED.match(op.full_name)
    turn = zlib.crc32(op.full_name.encode()) % (len(LAYOUTS) - TIES)
    for i, sample in enumerate(samples(op, backward)):
        plain = [t.stride() for t in arguments(sample)]
        for n, layout in enumerate(LAYOUTS):
            for first in (False, True) if layout in OF_FIRST and len(plain) > 1 else (False,):
                cpu = laid(sample, layout, first)
                if n and [t.stride() for t in arguments(cpu)] == plain:
                    continue
                what = f"{op.full_name}, {layout.__name__}{' first' * first} {[(tuple(t.shape), t.stride()) for t in arguments(cpu)]}"
                examine(op, cpu, what, values=judged and n == turn and i == 0 and not first)


# ---- what users lean on ----


def image(*shape):
    return channels_last(torch.rand(shape))


def convolve(x, channels, name, **options):
    n = x.dim() - 2  # kernels of 2: for those of 1 the CPU's choice depends on its number of threads
    return getattr(nn.functional, name.replace("N", str(n)))(x, torch.rand(*channels, *[2] * n, device=x.device), **options)


KEPT = {
    "sigmoid": torch.sigmoid,
    "exp": torch.exp,
    "silu": nn.functional.silu,
    "gelu": nn.functional.gelu,
    "pow": lambda x: x**2.5,
    "clamp": lambda x: x.clamp(0.2, 0.8),
    "lerp": lambda x: torch.lerp(x, x, 0.3),
    "addcmul": lambda x: torch.addcmul(x, x, x),
    "add": lambda x: x + x,
    "div of a contiguous one": lambda x: x / x.contiguous(),
    "with a bias": lambda x: x * torch.rand(x.shape[1], *[1] * (x.dim() - 2), device=x.device),
    "foreach": lambda x: torch._foreach_mul([x], 2.0)[0],
    "max_pool": lambda x: (nn.functional.max_pool2d if x.dim() == 4 else nn.functional.max_pool3d)(x, 2),
    "replication_pad": lambda x: nn.functional.pad(x, [1] * 2 * (x.dim() - 2), "replicate"),
    "reflection_pad": lambda x: nn.functional.pad(x, [1] * 2 * (x.dim() - 2), "reflect"),
    "adaptive_avg_pool": lambda x: (nn.functional.adaptive_avg_pool2d if x.dim() == 4 else nn.functional.adaptive_avg_pool3d)(x, 2),
    "group_norm": lambda x: nn.functional.group_norm(x, 3, torch.rand(6, device=x.device), torch.rand(6, device=x.device)),
    "batch_norm": lambda x: nn.functional.batch_norm(x, None, None, training=True),
    "pixel_shuffle": lambda x: nn.functional.pixel_shuffle(x, 1) if x.dim() == 4 else x.clone(),
    "roll": lambda x: x.roll((1, 1), (0, 2)),
    "conv": lambda x: convolve(x, (3, 6), "convNd"),
    "conv_transpose": lambda x: convolve(x, (6, 3), "conv_transposeNd"),
    "conv_transpose padded": lambda x: convolve(x, (6, 3), "conv_transposeNd", stride=2, output_padding=1),
    "conv_transpose padded much": lambda x: convolve(x, (6, 3), "conv_transposeNd", stride=2, dilation=3, output_padding=2),
}


@pytest.mark.parametrize("shape", [(2, 6, 4, 5), (2, 6, 3, 4, 5), (1, 6, 4, 4), (2, 6, 2, 4), (2, 6, 2, 2, 4)], ids=str)
@pytest.mark.parametrize("name", KEPT)
def test_channels_last_as_on_the_cpu(name, shape):
    x = image(*shape)
    want, got = KEPT[name](x), KEPT[name](to_device(x))
    assert got.stride() == want.stride()


@pytest.mark.parametrize("shape", [(2, 3, 1, 1), (1, 3, 4, 1), (2, 1, 4, 5), (1, 1, 1, 1), (1, 3, 1, 1, 1)], ids=str)
@pytest.mark.parametrize("name", ["sigmoid", "exp", "gelu", "pow", "add", "lerp", "foreach", "batch_norm"])
def test_sizes_of_1_leave_the_format_open(name, shape):
    x = image(*shape) if name != "batch_norm" else image(2, *shape[1:])
    assert KEPT[name](to_device(x)).stride() == KEPT[name](x).stride()


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x.softmax(0),
        lambda x: x.log_softmax(-1),
        lambda x: nn.functional.softmin(x, 1),
        lambda x: x.roll(1, 0),
        lambda x: x.logcumsumexp(1),
        lambda x: nn.functional.batch_norm(x, None, None, training=True),
        lambda x: nn.functional.channel_shuffle(x, 2),
        torch.fft.fftshift,
        nn.functional.logsigmoid,
    ],
)
def test_results_of_permuted_inputs_can_be_viewed(f):
    x = torch.rand(6, 5, 4, 2).permute(3, 2, 1, 0)
    torch.testing.assert_close(f(to_device(x)).view(-1).cpu(), f(x).view(-1))


def test_attention_is_in_the_order_of_the_query():
    q, k, v = torch.rand(3, 2, 4, 6, 8)
    for x in (q, q.transpose(1, 2).contiguous().transpose(1, 2)):
        want = nn.functional.scaled_dot_product_attention(x, k, v)
        assert nn.functional.scaled_dot_product_attention(to_device(x), to_device(k), to_device(v)).stride() == want.stride()


@pytest.mark.parametrize("layout", [torch.Tensor.contiguous, permuted, channels_last])
def test_index_results(layout):
    x, rows = layout(torch.rand(4, 5, 6, 3)), torch.tensor([[0, 1], [1, 2], [3, 3]])
    for i in (rows, permuted(rows)):
        for at in ((i,), (slice(None), i), (i, slice(None), i), (slice(None), i, i), (slice(None), slice(None), i)):
            want, got = x[at], to_device(x)[tuple(to_device(j) if isinstance(j, torch.Tensor) else j for j in at)]
            assert got.stride() == want.stride(), at
            torch.testing.assert_close(got.cpu(), want)
    assert to_device(x).nonzero().stride() == x.nonzero().stride()


@pytest.mark.parametrize("f", [nn.functional.avg_pool2d, nn.functional.adaptive_avg_pool2d])
def test_an_output_that_is_resized_takes_the_format(f):
    x = image(2, 6, 4, 4)
    aten = {"avg_pool2d": torch._C._nn.avg_pool2d, "adaptive_avg_pool2d": torch._C._nn.adaptive_avg_pool2d}[f.__name__]
    assert aten(to_device(x), (2, 2), out=torch.empty(0, device="anygpu")).stride() == aten(x, (2, 2), out=torch.empty(0)).stride()


@pytest.mark.fallback
@pytest.mark.parametrize("info", [m for m in module_db if not re.search("Fractional|Lazy", m.name)], ids=lambda m: m.name)
def test_modules_with_channels_last_inputs(info):
    torch.manual_seed(0)
    for s in itertools.islice(info.module_inputs_func(info, device="cpu", dtype=torch.float32, requires_grad=True, training=True), 6):
        if s.forward_input is None or not any(strided(t) and t.dim() > 3 for t in s.forward_input.args):
            continue
        module = info.module_cls(*s.constructor_input.args, **s.constructor_input.kwargs)
        x = [channels_last(t.detach()).requires_grad_(t.requires_grad) if strided(t) else t for t in s.forward_input.args]
        y = [to_device(t) if strided(t) else t for t in x]
        other = copy.deepcopy(module).to("anygpu")
        want, got = module(*x, **s.forward_input.kwargs), other(*y, **s.forward_input.kwargs)
        assert_strides(want, got, info.name)
        outputs, mine = differentiable(want), differentiable(got)
        leaves = [[t for t in [*m.parameters(), *filter(strided, i)] if t.requires_grad] for m, i in ((module, x), (other, y))]
        seeds = [torch.rand_like(t) for t in outputs]
        try:
            wanted = torch.autograd.grad(outputs, leaves[0], seeds, allow_unused=True)
        except RuntimeError:
            continue  # the CPU's NLLLoss has no gradient for such an input
        have = torch.autograd.grad(mine, leaves[1], [to_device(t) for t in seeds], allow_unused=True)
        assert_strides(given(wanted, have), given(have, wanted), f"{info.name}, gradient")
