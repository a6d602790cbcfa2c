"""What the tests by PyTorch's operator database share."""

import torch
from torch.testing._internal import common_utils
from torch.testing._internal.opinfo import core
from torch.utils._pytree import tree_leaves

# For every sample the database searches the stack, with sources, for a unittest that is told of it: longer than the test itself takes.
common_utils.extract_test_fn = core.extract_test_fn = lambda: None

DTYPES = [
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex32,
    torch.complex64,
    torch.complex128,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
]


def tensors(x):
    return [t for t in tree_leaves(x) if isinstance(t, torch.Tensor)]


def on_device(sample):
    """The sample's tensors on the device. What shares memory there shares it here: an out= that overlaps an input still does."""
    storages = {}

    def move(t):
        if not isinstance(t, torch.Tensor):
            return t
        if t.layout != torch.strided or t.device.type != "cpu":
            return t.detach().to("anygpu")
        whole = t.untyped_storage()
        if whole.nbytes() == 0:
            return t.detach().to("anygpu")
        key = whole.data_ptr()
        if key not in storages:
            storages[key] = torch.empty(0, dtype=torch.uint8).set_(whole).to("anygpu").untyped_storage()
        moved = torch.empty(0, dtype=t.dtype, device="anygpu")
        moved.set_(storages[key], t.storage_offset(), t.shape, t.stride())
        return moved.requires_grad_(t.requires_grad) if t.is_leaf else moved

    return sample.transform(move)
