"""The device as PyTorch sees it: its name, its module, the current device, parameters that move."""

import json

import pytest
import torch

import anygpu


def test_name_and_module():
    assert torch._C._get_privateuse1_backend_name() == "anygpu"
    assert torch.device("anygpu:0").type == "anygpu"
    assert torch.get_device_module("anygpu") is torch.anygpu
    assert torch.anygpu.is_available() and torch.anygpu.device_count() >= 1
    assert torch.accelerator.current_accelerator().type == "anygpu"
    assert torch.accelerator.device_count() == torch.anygpu.device_count()


@pytest.mark.parametrize(
    "name",
    """is_available device_count current_device set_device synchronize device stream Stream Event is_initialized _is_in_bad_fork
    manual_seed manual_seed_all get_rng_state get_rng_state_all set_rng_state get_amp_supported_dtype memory_allocated
    max_memory_allocated reset_peak_memory_stats memory_stats empty_cache fallbacks explain stats default_generators _lazy_init""".split(),
)
def test_module_has(name):
    assert hasattr(torch.anygpu, name)


def test_initialized_follows_first_use(python):
    out = python("""
        import torch, anygpu
        print(torch.anygpu._initialized, torch.anygpu.is_initialized())
        torch.empty(1, device="anygpu")
        print(torch.anygpu._initialized, torch.anygpu.is_initialized())
    """)
    assert out.split() == ["False", "False", "True", "True"]


def test_autoload_needs_no_import(python):
    # What the entry point does, in the order in which it happens: at the end of `import torch`, before anything else imports anygpu.
    out = python("""
        import torch
        import importlib
        entry = getattr(importlib.import_module("anygpu"), "_autoload")
        entry(); entry()
        print(torch.ones(2).to("anygpu").device)
    """)
    assert out.strip() == "anygpu:0"


def test_anygpu_before_torch(python):
    assert python("import anygpu, torch; print(torch.ones(2).to('anygpu').device)").strip() == "anygpu:0"


def test_tensor_methods():
    x = torch.arange(3).anygpu()
    assert x.is_anygpu and x.device == torch.device("anygpu:0")
    assert x.get_device() == 0
    assert torch.nn.Linear(2, 2).anygpu().weight.is_anygpu


def test_devices_describe_themselves():
    d = anygpu.devices()
    assert len(d) == torch.anygpu.device_count()
    assert d[0]["name"] and d[0]["backend"] and d[0]["total_memory"] > 0
    p = torch.anygpu.get_device_properties()
    assert p.name == torch.anygpu.get_device_name() and p.total_memory > 0


def test_capability():
    types = torch.accelerator.get_device_capability()["supported_dtypes"]
    assert {torch.float32, torch.bfloat16, torch.int64, torch.bool} <= set(types) and torch.float8_e4m3fn not in types


def test_wrong_index():
    with pytest.raises(RuntimeError, match="invalid device ordinal 99"):
        torch.empty(1, device="anygpu:99")
    with pytest.raises(RuntimeError, match="invalid device ordinal 99"):
        torch.anygpu.set_device(99)
    with pytest.raises(ValueError, match="expected an anygpu device"):
        torch.anygpu.synchronize("cpu")


def test_module_to_keeps_parameters():
    model = torch.nn.Linear(3, 2)
    weight = model.weight
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.to("anygpu")
    assert model.weight is weight and weight.is_anygpu
    assert optimizer.param_groups[0]["params"][0] is model.weight
    model.to("cpu")
    assert model.weight is weight and weight.device.type == "cpu"


def test_default_device():
    with torch.device("anygpu"):
        x = torch.empty(2)
    assert x.is_anygpu


def test_two_logical_devices(python):
    out = python(
        """
        import torch, anygpu, threading
        assert torch.anygpu.device_count() == 2
        a = torch.arange(6.0).reshape(2, 3)
        x = a.to("anygpu:1")
        y = torch.empty(3, 2, device="anygpu:0").t()
        y.copy_(x)
        assert y.device.index == 0 and torch.equal(y.cpu(), a)
        assert torch.equal(x.to("anygpu:0").to(torch.int64).cpu(), a.long())
        with torch.anygpu.device(1):
            assert torch.empty(1, device="anygpu").device.index == 1
            seen = []
            t = threading.Thread(target=lambda: seen.append(torch.anygpu.current_device()))
            t.start(); t.join()
            assert seen == [0], "the current device belongs to a thread"
        assert torch.anygpu.current_device() == 0
        torch.anygpu.set_device("anygpu:1")
        assert torch.anygpu.current_device() == 1 == torch.accelerator.current_device_index()
        try:
            x.copy_(x.to("anygpu:0") + x)
        except RuntimeError as e:
            assert "same device" in str(e), e
        else:
            raise SystemExit("operands on two devices were accepted")
        print("ok")
        """,
        ANYGPU_DEVICES="cpu,cpu",
    )
    assert out.strip() == "ok"


def test_bad_device_list(python):
    err = python("import torch, anygpu; torch.empty(1, device='anygpu')", fails=True, ANYGPU_DEVICES="toaster")
    assert "toaster" in err


def test_exit_with_queued_work_is_quiet(python):
    for tail in ("", "import os; x = torch.empty(3, device='anygpu').copy_(x)", "import sys; sys.exit(0)"):
        out = python(f"""
            import torch, anygpu
            x = torch.ones(1000, device="cpu").to("anygpu")
            y = torch.empty_like(x).copy_(x)
            keep = [torch.empty_like(x).copy_(x) for _ in range(100)]
            x = x[:3]
            {tail}
        """)
        assert out == ""


def test_meta_and_fake_tensors_are_not_recorded():
    from torch._subclasses.fake_tensor import FakeTensorMode

    x = torch.ones(2).to("anygpu")
    before = anygpu.stats()["operators"]
    with FakeTensorMode() as mode:
        fake = mode.from_tensor(x)
        again = torch.empty_like(fake).copy_(fake)
        made = torch.empty(4, device="anygpu")
        assert again.device.type == made.device.type == "anygpu"
    meta = torch.empty(2, device="meta")
    torch.empty_like(meta).copy_(meta)
    assert anygpu.stats()["operators"] == before
    with pytest.raises(NotImplementedError, match="meta"):
        x.copy_(meta)


def test_timeline_is_whole_whenever_it_is_read(python, tmp_path):
    """ANYGPU_TRACE: JSON after every step, also where the process is killed right then."""
    path = tmp_path / "timeline.json"
    python(
        """
        import json, os, signal, torch, anygpu
        counts = []
        for n in (3, 4):
            (torch.ones(n, device="anygpu").cumsum(0) + 1).cpu()
            counts.append(len(json.load(open(os.environ["ANYGPU_TRACE"]))))
        assert counts[0] < counts[1], counts
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        fails=True,
        ANYGPU_TRACE=str(path),
    )
    events = [e for e in json.loads(path.read_text()) if e["ph"] == "X"]
    assert {e["tid"] for e in events} == {0, 1}  # device and host
    assert any(e["name"].startswith("plan ") for e in events) and any(e["name"].startswith("kernel ") for e in events)
    assert all(e["dur"] >= 0 for e in events)
