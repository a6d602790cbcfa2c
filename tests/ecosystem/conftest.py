"""Libraries over PyTorch, used as their quick tours do: nothing here names the device, and all of it must be there. `./run test ecosystem`
runs these in a virtual environment of their own; an operator that leaves the device is an error."""

import os

os.environ.setdefault("ANYGPU_FALLBACK", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest  # noqa: E402
import torch  # noqa: E402

import anygpu  # noqa: E402


def pytest_collection_modifyitems(config, items):
    """ANYGPU_SLICE=k/n: every n-th test, counted from the k-th."""
    k, _, n = os.environ.get("ANYGPU_SLICE", "").partition("/")
    if n:
        left_out = [item for i, item in enumerate(items) if (i - int(k)) % int(n)]
        items[:] = [item for i, item in enumerate(items) if (i - int(k)) % int(n) == 0]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(autouse=True)
def _on_the_device():
    """What was computed was computed there."""
    before = anygpu.stats()["operators"]
    torch.manual_seed(0)
    yield
    assert anygpu.stats()["operators"] > before
    assert not anygpu.fallbacks()
