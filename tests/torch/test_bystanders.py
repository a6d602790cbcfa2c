"""Whatever a call does, and however it fails, tensors that have nothing to do with it are what they were: a weight, a value computed in the
same Trace, and what the failing call only reads. Every operator of PyTorch's database with every dtype, supported or not, and its error
inputs."""

import itertools

import pytest
import torch
from samples import DTYPES, on_device, tensors
from torch.testing._internal.common_methods_invocations import op_db

WEIGHT = torch.arange(24.0).reshape(4, 6)
OPS = [op for op in op_db if not op.full_name.startswith(("sparse.", "jiterator", "to_sparse"))]


def bits(t):
    """What is stored, so that NaN equals itself and any dtype compares."""
    t = t.detach().cpu().resolve_conj().resolve_neg().contiguous()
    return t.reshape(-1).view(torch.uint8)


def check(op, sample, what):
    try:
        mine = on_device(sample)
    except Exception:
        return  # another layout, or a tensor that cannot be moved
    if any(t.device.type != "anygpu" for t in tensors((mine.input, mine.args, mine.kwargs))):
        return
    weight, reads = WEIGHT.to("anygpu"), tensors((mine.input, mine.args))
    before = [bits(t) for t in tensors((sample.input, sample.args))]
    computed = weight * 2 + 1
    failed = None
    try:
        result = op(mine.input, *mine.args, **mine.kwargs)
    except Exception as e:
        failed, result = e, None
    del result
    assert "[ir]" not in str(failed) and "ill-formed" not in str(failed), f"{what}: {failed}"
    assert torch.equal(weight.cpu(), WEIGHT), f"{what}: the weight is not what it was ({failed})"
    assert torch.equal(computed.cpu(), WEIGHT * 2 + 1), f"{what}: what was computed beside it is wrong ({failed})"
    if failed is not None:
        for t, was in zip(reads, before, strict=True):
            assert torch.equal(bits(t), was), f"{what}: an operand changed ({failed})"


@pytest.mark.fallback
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.full_name)
def test_survive(op):
    for dtype in DTYPES:
        try:
            samples = list(itertools.islice(op.sample_inputs("cpu", dtype), 1))
        except Exception:
            continue  # the database itself cannot make one
        for sample in samples:
            check(op, sample, f"{op.full_name} of {dtype}")
    if op.error_inputs_func is not None:
        for n, bad in enumerate(op.error_inputs("cpu")):
            check(op, bad.sample_input, f"error input {n} of {op.full_name}")
