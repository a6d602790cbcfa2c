"""PyTorch's operator database under ANYGPU_VERIFY=1: each Plan that the operators make, forward and backward, runs fused on the device
and unfused on the reference backend, and the two must agree. The mode is fixed when a process starts, so here that is another one:

    ANYGPU_VERIFY=1 pytest tests/torch/test_opinfo_verified.py -k softmax    # ANYGPU_TEST_SAMPLES=4: more samples an operator
"""

import itertools
import os
import subprocess
import sys

import pytest
import torch
from samples import tensors
from torch.testing._internal.common_methods_invocations import op_db

import anygpu

SAMPLES = int(os.environ.get("ANYGPU_TEST_SAMPLES", "1"))
# jiterator is CUDA's compiler; tensor_split wants its indices on the CPU.
OPS = [op for op in op_db if torch.float32 in op.supported_dtypes("cpu") and not op.name.startswith(("jiterator", "tensor_split"))]

if os.environ.get("ANYGPU_VERIFY") == "1":

    @pytest.mark.fallback
    @pytest.mark.parametrize("op", OPS, ids=lambda op: op.full_name)
    def test_plans_agree(op):
        backward = op.supports_autograd and torch.float32 in op.supported_backward_dtypes("cpu")
        for sample in itertools.islice(op.sample_inputs("cpu", torch.float32, requires_grad=backward), SAMPLES):
            mine = sample.transform(lambda t: t.detach().to("anygpu").requires_grad_(t.requires_grad) if isinstance(t, torch.Tensor) else t)
            try:
                outs = tensors(op(mine.input, *mine.args, **mine.kwargs))
            except NotImplementedError:
                continue  # what the device has not got is test_opinfo.py's business
            outs = [t for t in outs if t.requires_grad and t.is_floating_point() and t.layout == torch.strided]
            leaves = [t for t in tensors((mine.input, mine.args, mine.kwargs)) if t.requires_grad]
            anygpu.synchronize()
            if backward and outs:
                torch.autograd.grad(outs, leaves, [torch.rand_like(t) for t in outs], allow_unused=True)
                anygpu.synchronize()

else:

    def test_plans_agree_in_a_process_of_their_own():
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
            capture_output=True,
            text=True,
            timeout=1800,
            env={**os.environ, "ANYGPU_VERIFY": "1"},
        )
        assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
        assert f"{len(OPS)} passed" in run.stdout, run.stdout[-300:]
