"""Training on the Vulkan device, in processes of their own: which devices there are is settled when anygpu is loaded."""

import ctypes
import functools
from pathlib import Path

import pytest


@functools.cache
def driver():
    """Whether a loader is installed and lists a device. The loader is asked as the backend asks it."""
    try:
        vulkan = ctypes.CDLL("libvulkan.so.1")
    except OSError:
        return False
    info = (ctypes.c_uint32 * 16)()  # VkInstanceCreateInfo: sType 1, all else zero
    info[0] = 1
    instance, count = ctypes.c_void_p(), ctypes.c_uint32()
    if vulkan.vkCreateInstance(ctypes.byref(info), None, ctypes.byref(instance)) != 0:
        return False
    vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), None)
    vulkan.vkDestroyInstance(instance, None)
    return count.value > 0


needs_driver = pytest.mark.skipif(not driver(), reason="no Vulkan driver is installed")

TRAIN = """
    import torch, anygpu
    from torch import nn

    def train(device):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.GELU(), nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(8 * 16, 32), nn.LayerNorm(32), nn.Tanh(), nn.Linear(32, 10))
        x, y = torch.randn(64, 1, 8, 8), torch.randint(0, 10, (64,))
        model, x, y = model.to(device), x.to(device), y.to(device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        losses = []
        for _ in range(12):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return torch.tensor(losses)

    assert anygpu.devices()[0]["backend"] == "vulkan"
    ours, theirs = train("anygpu"), train("cpu")
    assert ours[-1] < 0.5 * ours[0], ours
    torch.testing.assert_close(ours, theirs, rtol=2e-3, atol=2e-4)
    print("trained")
"""


@needs_driver
@pytest.mark.parametrize("profile", ["", "dzn"])
def test_training_follows_the_cpu(python, profile):
    assert "trained" in python(TRAIN, ANYGPU_DEVICES="vulkan", ANYGPU_VULKAN_PROFILE=profile, ANYGPU_FALLBACK="error")


@needs_driver
def test_devices_describes_each(python):
    out = python(
        """
        import anygpu
        vulkan, cpu = anygpu.devices()
        assert (vulkan["backend"], cpu["backend"]) == ("vulkan", "cpu")
        for key in ("name", "driver", "features"):
            assert vulkan[key], key
        assert vulkan["total_memory"] > 0 and "Vulkan 1." in vulkan["driver"]
        print("described")
        """,
        ANYGPU_DEVICES="vulkan:0,cpu",
    )
    assert "described" in out


@needs_driver
def test_a_bad_index_raises_and_the_device_lives(python):
    out = python(
        """
        import torch, anygpu
        x = torch.arange(10.0, device="anygpu")
        try:
            x[torch.tensor([1, 99]).to("anygpu")].sum().item()
        except IndexError as e:
            assert "out of range" in str(e)
        else:
            raise SystemExit("an index out of range went unseen")
        print(x.sum().item())
        """,
        ANYGPU_DEVICES="vulkan",
    )
    assert out.strip() == "45.0"


@needs_driver
def test_indexing_and_scattering(python):
    """Where Vulkan's schedules differ most from the CPU's: atomics, order, bad indices."""
    assert "passed" in python(
        f"""
        import pytest
        raise SystemExit(pytest.main(["-q", "-p", "no:cacheprovider", {str(Path(__file__).with_name("test_ops_index.py"))!r}]))
        """,
        ANYGPU_DEVICES="vulkan",
    )


def test_no_loader_is_said_plainly_and_the_rest_works(python):
    missing = {"ANYGPU_VULKAN_LOADER": "/nowhere/libvulkan.so.1"}
    err = python("import torch, anygpu; torch.empty(1, device='anygpu')", fails=True, ANYGPU_DEVICES="vulkan", **missing)
    assert "cannot be opened" in err and "apt install" in err
    out = python("import torch, anygpu; print(torch.ones(3, device='anygpu').sum().item())", ANYGPU_DEVICES="cpu", **missing)
    assert out.strip() == "3.0"


def test_a_bad_number_is_said_plainly(python):
    err = python("import torch, anygpu; torch.empty(1, device='anygpu')", fails=True, ANYGPU_DEVICES="vulkan:one")
    assert "vulkan:one" in err and "not a number" in err


@needs_driver
@pytest.mark.parametrize("lacks, dtype", [("FLOAT64", "float64"), ("INT64", "int64")])
def test_a_dtype_that_the_device_lacks_is_refused_at_the_call(python, lacks, dtype):
    """And what was recorded beside it is computed."""
    said = python(
        f"""
        import torch
        weight = torch.arange(6.0).reshape(2, 3).to("anygpu")
        doubled = weight * 2
        x = torch.ones(2, 3, dtype=torch.{dtype}).to("anygpu")
        for call in (lambda: x + x, lambda: weight.to(torch.{dtype}), lambda: x.sum()):
            try:
                call()
            except RuntimeError as e:
                print(e)
        assert torch.equal(doubled.cpu(), torch.arange(6.0).reshape(2, 3) * 2)
        assert torch.equal(weight.cpu(), torch.arange(6.0).reshape(2, 3))
        assert torch.equal(x.cpu(), torch.ones(2, 3, dtype=torch.{dtype}))
        """,
        ANYGPU_DEVICES="vulkan:0",
        **{f"ANYGPU_VULKAN_{lacks}": "0"},
    )
    assert said.count("this device cannot compute in") == 3, said
