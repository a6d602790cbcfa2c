"""After torch.use_deterministic_algorithms(True) a sum has the same bits on cpu, fused with its producers or not, on one thread
or several: a reduction's order follows from its size and layout alone. gradcheck asks for that by default (nondet_tol=0)."""

import itertools

import pytest
import torch
import torch.nn.functional as F

DEVICE = "anygpu"


@pytest.fixture(autouse=True)
def _in_order():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def _on_the_processor():
    if "llvmpipe" in torch.anygpu.get_device_name(0) or "cores" not in torch.anygpu.get_device_name(0):
        pytest.skip("of the cpu backend alone")


def bits(t):
    t = t.detach().cpu().contiguous()
    return t.view({4: torch.int32, 8: torch.int64, 2: torch.int16}[t.element_size()])


LAYOUTS = {
    "dense": lambda t: t,
    "transposed": lambda t: t.transpose(0, -1),
    "sliced": lambda t: t[..., 1:],
    "stepped": lambda t: t[..., ::2],
    "outer": lambda t: t[1:],
}
SIZES = [
    (1_000_003,),
    (33, 65),
    (3, 40_001),
    (40_001, 3),
    (513, 700),
    (5, 17, 129),
    (2, 3, 1, 4099),
]
SUMS = {
    "sum": lambda t, d: t.sum(d),
    "mean": lambda t, d: t.mean(d),
    "prod": lambda t, d: (t * 0.01 + 1).prod(d[0]),
    "norm": lambda t, d: torch.linalg.vector_norm(t, dim=d),
    "var": lambda t, d: t.var(d, correction=0),
    "softmax": lambda t, d: t.softmax(d[0]),
    "log_softmax": lambda t, d: t.log_softmax(d[-1]),
    "two sums": lambda t, d: t.sum(d) / (t * t).sum(d),
    "beside": lambda t, d: torch.stack([t.sum(d), t.amax(d), t.sum(d).exp()]),
}
PRODUCERS = {
    "add": lambda t: t + 0.5,
    "heavy": lambda t: (t.exp() * torch.erf(t)).sin(),
    "row": lambda t: t * torch.arange(t.shape[-1], device=t.device).to(t.dtype),
    "column": lambda t: t + t[..., :1],
    "half": lambda t: t.to(torch.bfloat16).to(t.dtype),
    "index": lambda t: torch.where(torch.arange(t.numel(), device=t.device).view(t.shape) % 3 == 0, t, -t),
}


def dimensions(rank):
    return [list(d) for n in range(1, rank + 1) for d in itertools.combinations(range(rank), n)]


def made(sizes, layout, dtype=torch.float32):
    x = torch.randn(sizes, generator=torch.Generator().manual_seed(len(sizes) + sizes[-1]), dtype=torch.float64)
    return LAYOUTS[layout](x.to(dtype).to(DEVICE))


@pytest.mark.parametrize("producer", PRODUCERS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_fused_or_not(sizes, producer):
    differ = []
    for layout in LAYOUTS:
        x = made(sizes, layout)
        if x.numel() == 0:
            continue
        for name, dims in itertools.product(SUMS, dimensions(x.dim())):
            y = PRODUCERS[producer](x)
            fused = bits(SUMS[name](y, dims))  # y lives: stored beside, in the same kernel
            apart = bits(SUMS[name](y, dims))  # y is in memory
            alone = bits(SUMS[name](PRODUCERS[producer](x), dims))  # y is never stored
            if not (torch.equal(fused, apart) and torch.equal(alone, apart)):
                differ.append((layout, name, dims))
    assert not differ


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types(dtype):
    for sizes, layout in itertools.product([(33, 65), (3, 40_001), (5, 17, 129)], LAYOUTS):
        x = made(sizes, layout, dtype)
        for dims in dimensions(x.dim()):
            y = x * 1.5 + 0.25
            assert torch.equal(bits(y.sum(dims)), bits(y.sum(dims))), (sizes, layout, dims)
            y = x * 1.5 + 0.25
            assert torch.equal(bits(y.softmax(dims[0])), bits(y.softmax(dims[0]))), (sizes, layout, dims)


def test_random_numbers():
    z = torch.randn(1_000_003, device=DEVICE)
    assert z.sum().item() == z.sum().item()
    z = torch.randn(1003, 57, device=DEVICE)
    assert z.sum().item() == z.sum().item()


THREADS = """
import hashlib, torch, torch.nn.functional as F
torch.use_deterministic_algorithms(True)
torch.manual_seed(0)
d, out = "anygpu", []
def keep(*tensors):
    for t in tensors:
        out.append(hashlib.sha256(t.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()[:12])
for sizes in [(1000003,), (3, 40001), (40001, 3), (24, 3001), (7, 6000), (300, 20)]:
    x = torch.randn(sizes).to(d)
    keep(x.sum(0), x.sum(-1), x.exp().sum(), x.softmax(-1), (x * x).mean(0), x.std())
for batch in (1, 3, 5, 10, 40, 47, 64):  # runs of small steps, which threads share by rows
    model = torch.nn.Sequential(*[m for _ in range(3) for m in (torch.nn.Linear(64, 64), torch.nn.GELU(), torch.nn.LayerNorm(64))]).to(d)
    x = torch.randn(batch, 64).to(d)
    y = model(x).log_softmax(-1)
    y.square().mean().backward()
    keep(y, *[p.grad for p in model.parameters()])
print(" ".join(out))
"""


def test_one_thread_or_several(python):
    one, two, three = (python(THREADS, OMP_NUM_THREADS=str(n), ANYGPU_DEVICES="cpu").split() for n in (1, 2, 3))
    assert len(one) > 50 and one == two == three


@pytest.mark.parametrize("f", [F.layer_norm, F.softmax, F.gelu, F.logsigmoid, torch.sum, torch.std], ids=lambda f: f.__name__)
def test_gradcheck_with_defaults(f):
    x = torch.randn(7, 65, dtype=torch.float64, device=DEVICE, requires_grad=True)
    more = {"layer_norm": ([65],), "softmax": (1,)}.get(f.__name__, ())
    assert torch.autograd.gradcheck(lambda t: f(t * 2 + 1, *more), (x,), fast_mode=True)
