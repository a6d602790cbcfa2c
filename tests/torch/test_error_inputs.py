"""The bad inputs of PyTorch's operator database are refused as PyTorch's CPU refuses them: when called, by the same exception type, in
its words."""

import pathlib
import re

import pytest
from samples import on_device, tensors
from torch.testing._internal.common_methods_invocations import op_db

# What depends on values is found when they are computed, and told when something is read: docs/guide/workflow.md lists these.
TOLD_WHEN_READ = {"gather", "scatter", "scatter_add"}
GUIDE = pathlib.Path(__file__).parents[2] / "docs" / "guide" / "workflow.md"

OPS = [op for op in op_db if op.error_inputs_func is not None and not op.full_name.startswith("sparse.")]


def outcome(op, sample):
    """What the call raises, or None and its result."""
    try:
        return None, op(sample.input, *sample.args, **sample.kwargs)
    except Exception as e:
        return e, None


def told_when_read(result):
    try:
        for t in tensors(result):
            t.cpu()
    except Exception as e:
        return e
    return None


@pytest.mark.fallback
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.full_name)
def test_refused_as_the_cpu_refuses(op):
    for n, bad in enumerate(op.error_inputs("cpu")):
        want, _ = outcome(op, bad.sample_input)
        try:
            mine = on_device(bad.sample_input)
        except Exception:
            continue  # a meta tensor, for one
        if want is None:
            continue
        got, result = outcome(op, mine)
        if got is None and op.full_name in TOLD_WHEN_READ:
            got = told_when_read(result)
        where = f"error input {n}: {type(want).__name__}: {want}"
        assert got is not None, f"not refused: {where}"
        assert type(got) is type(want), f"{type(got).__name__}: {got}\n{where}"
        if "out of bounds" not in str(want) and re.search(bad.error_regex, str(want)):
            assert re.search(bad.error_regex, str(got)) is not None, f"{got}\n{where}"


def test_the_guide_lists_what_is_told_when_read():
    said = GUIDE.read_text()
    for name in TOLD_WHEN_READ:
        assert f"`{name}`" in said
