"""torch.profiler on the device: kernels and whose work they are, in tables and in traces; memory; what a device says of itself."""

import gc
import glob
import json
import math
import pickle
import threading

import pytest
import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function, schedule, tensorboard_trace_handler

import anygpu
from anygpu import _torch

BOTH = [ProfilerActivity.CPU, ProfilerActivity.PrivateUse1]
pytestmark = pytest.mark.skipif(not _torch.PROFILES_KERNELS, reason="before PyTorch 2.13 no kernels come into a profile")


def profiled(f, activities=BOTH, **options):
    torch.anygpu.synchronize()
    with profile(activities=activities, **options) as p:
        f()
    return p


def on_device(p):
    """Events of the device but the user's ranges."""
    return [e for e in p.events() if e.device_type == DeviceType.PrivateUse1 and not e.is_user_annotation]


def trace_of(p, path):
    p.export_chrome_trace(str(path))
    return json.loads(path.read_text())["traceEvents"]


def test_a_fused_kernel_is_shared_by_its_operators():
    x = torch.randn(64, 33).to("anygpu")
    p = profiled(lambda: (torch.relu(x) + 1).cpu(), record_shapes=True)
    (kernel,) = [e for e in on_device(p) if not e.name.startswith("Memcpy")]
    assert "relu" in kernel.name and "add" in kernel.name
    assert math.prod(kernel.input_shapes[0]) == 64 * 33, "a kernel's shape is that of its loops"
    time = kernel.time_range.elapsed_us()
    rows = {e.key: e for e in p.key_averages() if e.device_type == DeviceType.CPU}
    for name in ("aten::relu", "aten::add"):
        assert rows[name].self_device_time_total == pytest.approx(time / 2)
        assert rows[name].self_anygpu_time_total == rows[name].self_device_time_total
    given = sum(e.self_device_time_total for e in p.key_averages() if e.device_type == DeviceType.CPU)
    assert given == pytest.approx(sum(e.time_range.elapsed_us() for e in on_device(p))), "nothing is counted twice"


def test_library_calls_forward_and_backward():
    w = torch.randn(64, 48).to("anygpu").requires_grad_()
    x = torch.randn(32, 64).to("anygpu")

    def work():
        loss = (x @ w).sum()
        loss.backward()
        loss.item()  # else nobody needs the first product

    p = profiled(work, record_shapes=True)
    products = [e for e in on_device(p) if "matmul" in e.name]
    assert len(products) == 2
    assert all(len(e.input_shapes) == 3 and [32, 64] in e.input_shapes + [s[::-1] for s in e.input_shapes] for e in products)
    rows = {e.key: e for e in p.key_averages() if e.device_type == DeviceType.CPU}
    time = sum(e.time_range.elapsed_us() for e in products)
    assert rows["aten::mm"].count == 2 and rows["aten::mm"].self_device_time_total >= 0.99 * time
    assert rows["MmBackward0"].device_time_total > 0, "what autograd's thread recorded is there, below its parents"


def test_tables_sort_by_the_devices_name():
    x = torch.randn(64, 64).to("anygpu")
    p = profiled(lambda: torch.softmax(x, 1).cpu(), with_stack=True)
    averages = p.key_averages()
    for key in ("anygpu_time", "anygpu_time_total", "self_anygpu_time_total", "anygpu_memory_usage", "self_anygpu_memory_usage"):
        table = averages.table(sort_by=key)
        assert "Self ANYGPU" in table and "ANYGPU total" in table and "nan" not in table.lower().replace("anygpu", "")
    times = [e.self_anygpu_time_total for e in averages]
    first = averages.table(sort_by="self_anygpu_time_total", row_limit=1)
    assert max(averages, key=lambda e: e.self_anygpu_time_total).key[:40] in first and max(times) > 0


def test_export_stacks(tmp_path):
    x = torch.randn(64, 64).to("anygpu")
    verbose = torch._C._profiler._ExperimentalConfig(verbose=True)
    p = profiled(lambda: torch.softmax(x, 1).cpu(), with_stack=True, experimental_config=verbose)
    p.export_stacks(str(tmp_path / "stacks"), "self_anygpu_time_total")
    assert (tmp_path / "stacks").exists()


def test_use_device():
    x = torch.randn(64, 64).to("anygpu")
    with torch.autograd.profiler.profile(use_device="anygpu") as p:
        torch.relu(x @ x).cpu()
    assert {"matmul"} <= {e.name.split(" ")[0] for e in p.function_events if e.device_type == DeviceType.PrivateUse1}
    assert "nan" not in p.key_averages().table(sort_by="anygpu_time_total").lower()


def test_marks_around_every_operator():
    """PyTorch's other way, without Kineto's events of devices."""
    x = torch.randn(64, 64).to("anygpu")
    p = torch.autograd.profiler.profile(use_device="anygpu")
    p.profiler_kind = torch._C._profiler.ProfilerState.KINETO_PRIVATEUSE1_FALLBACK
    p.kineto_activities = {ProfilerActivity.CPU}
    with p:
        torch.relu(x @ x)
    rows = {e.key: e for e in p.key_averages()}
    assert rows["aten::mm"].device_time_total > 0 and rows["aten::relu"].device_time_total > 0


def test_chrome_trace(tmp_path):
    x = torch.randn(64, 33).to("anygpu")

    def work():
        with record_function("my range"):
            (torch.relu(x) + 1).cpu()

    events = trace_of(profiled(work), tmp_path / "trace.json")
    (kernel,) = [e for e in events if e.get("cat") == "kernel"]
    args = kernel["args"]
    assert args["operators"] == ["aten::relu", "aten::add"] and args["bytes"] == 2 * 64 * 33 * 4
    assert math.prod(args["shapes"][0]) == 64 * 33 and kernel["dur"] >= 0
    recorded = {e["args"]["External id"]: e["name"] for e in events if e.get("cat") == "cpu_op"}
    assert [recorded[i] for i in args["operator ids"]] == args["operators"]
    assert recorded[args["External id"]] == "aten::add"
    (copy,) = [e for e in events if e.get("cat") == "gpu_memcpy"]
    assert copy["name"] == "Memcpy DtoH (Device -> Host)" and copy["args"]["bytes"] == 64 * 33 * 4
    starts = {e["id"]: e for e in events if e.get("cat") == "ac2g" and e["ph"] == "s"}
    ends = {e["id"]: e for e in events if e.get("cat") == "ac2g" and e["ph"] == "f"}
    assert len(starts) == len(ends) == 2 and starts.keys() == ends.keys(), "an arrow from each operator"
    assert all(abs(e["ts"] - kernel["ts"]) <= 0.002 and (e["pid"], e["tid"]) == (kernel["pid"], kernel["tid"]) for e in ends.values())
    ranges = [e for e in events if e.get("cat") == "gpu_user_annotation" and e["name"] == "my range"]
    assert len(ranges) == 1 and ranges[0]["ts"] <= kernel["ts"] and ranges[0]["dur"] >= kernel["dur"]
    names = [e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "process_name" and e["pid"] == kernel["pid"]]
    assert names == ["anygpu:0"]


def test_planning_and_compiling_are_events(tmp_path):
    p = profiled(lambda: torch.randn(37, 41).to("anygpu").erf().mul(0.37).cpu())
    rows = {e.key: e for e in p.key_averages()}
    assert rows["anygpu::plan"].count == rows["anygpu::compile"].count == 1
    assert rows["anygpu::plan"].cpu_time_total >= rows["anygpu::compile"].cpu_time_total, "the one holds the other"
    (plan,) = [e for e in trace_of(p, tmp_path / "trace.json") if e.get("name") == "anygpu::plan"]
    assert "operators" in plan["args"]["detail"]


def test_planning_is_seen_without_the_device():
    p = profiled(lambda: torch.randn(39, 43).to("anygpu").erf().mul(0.39).cpu(), activities=[ProfilerActivity.CPU])
    assert on_device(p) == [] and any(e.key == "anygpu::plan" for e in p.key_averages())
    assert "ANYGPU" not in p.key_averages().table()


def test_the_device_alone():
    x = torch.randn(64, 33).to("anygpu")
    p = profiled(lambda: torch.relu(x).cpu(), activities=[ProfilerActivity.PrivateUse1])
    assert any("relu" in e.name for e in on_device(p))
    assert p.key_averages().table(sort_by="anygpu_time_total")


def test_schedule_and_tensorboard(tmp_path):
    x = torch.randn(8, 8).to("anygpu")
    cycles = []

    def done(p):
        cycles.append(sum("exp" in e.name for e in on_device(p)))
        tensorboard_trace_handler(str(tmp_path))(p)

    with profile(activities=BOTH, schedule=schedule(wait=1, warmup=1, active=2, repeat=2), on_trace_ready=done) as p:
        for _ in range(9):
            torch.exp(x).cpu()
            p.step()
    assert cycles == [2, 2], "kernels of the active steps only"
    traces = glob.glob(str(tmp_path / "*.pt.trace.json"))
    assert len(traces) == 2
    for trace in traces:
        whole = json.load(open(trace))
        assert sum(e.get("cat") == "kernel" for e in whole["traceEvents"]) == 2
        assert whole["deviceProperties"][0]["totalGlobalMem"] == torch.anygpu.get_device_properties(0).total_memory
        steps = [e for e in whole["traceEvents"] if e.get("cat") == "gpu_user_annotation" and e["name"].startswith("ProfilerStep")]
        assert len(steps) == 2


def test_a_profile_has_its_own_events_only():
    x = torch.randn(8, 9).to("anygpu")
    first = profiled(lambda: torch.exp(x).cpu())
    torch.sin(x).cpu()
    second = profiled(lambda: torch.cos(x).cpu())
    assert [e.name for e in on_device(first) if "Memcpy" not in e.name] == ["exp"]
    assert [e.name for e in on_device(second) if "Memcpy" not in e.name] == ["cos"]


def test_what_was_recorded_before_has_run_before():
    x = torch.randn(8, 9).to("anygpu")
    y = torch.exp(x)
    with profile(activities=BOTH) as p:
        torch.cos(y).cpu()
    assert [e.name for e in on_device(p) if "Memcpy" not in e.name] == ["cos"]
    assert torch.allclose(y.cpu(), x.cpu().exp())


def test_steps_that_are_not_waited_for():
    """Kernels of the step before the active ones are not in the profile, though the device runs behind."""
    x = torch.randn(300, 300).to("anygpu")
    with profile(activities=BOTH, schedule=schedule(wait=0, warmup=2, active=1, repeat=1)) as p:
        for _ in range(3):
            x.copy_(torch.exp(x).clamp(max=1))
            anygpu.flush()
            p.step()
    assert sum("exp" in e.name for e in on_device(p)) == 1


def test_optimizer_and_model_step():
    """A step of training: everything that the device did is somebody's."""
    model = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.GELU(), torch.nn.Linear(32, 4)).to("anygpu")
    optimizer = torch.optim.AdamW(model.parameters())
    x, y = torch.randn(8, 16).to("anygpu"), torch.randint(4, (8,)).to("anygpu")

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    for _ in range(2):
        step()
    p = profiled(step)
    kernels = on_device(p)
    assert len(kernels) >= 3 and all(e.linked_correlation_id > 0 for e in kernels)
    given = sum(e.self_device_time_total for e in p.key_averages() if e.device_type == DeviceType.CPU)
    assert given == pytest.approx(sum(e.time_range.elapsed_us() for e in kernels))
    ranges = {e.name for e in p.events() if e.device_type == DeviceType.PrivateUse1 and e.is_user_annotation}
    assert "Optimizer.step#AdamW.step" in ranges


def test_two_devices(python, tmp_path):
    """Each in a row group of its own, under its name; also what no one has waited for, of the device that is not current."""
    path = tmp_path / "trace.json"
    python(
        f"""
        import torch, anygpu
        from torch.profiler import ProfilerActivity, profile
        x, y = torch.randn(8).to("anygpu:0"), torch.randn(8).to("anygpu:1")
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.PrivateUse1]) as p:
            a, b = torch.exp(x), torch.cos(y)
        p.export_chrome_trace({str(path)!r})
        """,
        ANYGPU_DEVICES="cpu,cpu",
    )
    events = json.loads(path.read_text())["traceEvents"]
    assert {e["name"]: e["pid"] for e in events if e.get("cat") == "kernel"} == {"exp": 0, "cos": 1}
    names = {e["pid"]: e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "process_name"}
    assert (names[0], names[1]) == ("anygpu:0", "anygpu:1")


def test_threads_beside_the_profiled_one():
    x = torch.randn(8, 9).to("anygpu")
    stop = threading.Event()

    def beside():
        while not stop.wait(0.01):
            torch.sin(x).cpu()

    thread = threading.Thread(target=beside)
    thread.start()
    try:
        for _ in range(3):
            p = profiled(lambda: torch.cos(x).cpu())
            owned = [e.name for e in on_device(p) if e.linked_correlation_id > 0 and "Memcpy" not in e.name]
            assert sum("cos" in name for name in owned) == 1
    finally:
        stop.set()
        thread.join()


def test_errors_are_raised_where_they_would_be():
    x = torch.randn(8).to("anygpu")
    index = torch.tensor([9]).to("anygpu")
    with pytest.raises(IndexError), profile(activities=BOTH):
        x[index].cpu()
    y = torch.randn(3).to("anygpu")
    assert torch.equal(profiled(lambda: y.add_(1)) and y.cpu(), y.cpu())


# ---- memory ----


def test_memory_events(tmp_path):
    gc.collect()
    held = []

    def work():
        held.append(torch.empty(1000, device="anygpu"))
        x = torch.ones(500, device="anygpu")
        del x

    p = profiled(work, profile_memory=True, record_shapes=True)
    rows = {e.key: e for e in p.key_averages()}
    assert rows["aten::empty"].self_device_memory_usage >= 4000
    assert rows["aten::empty"].self_anygpu_memory_usage == rows["aten::empty"].self_device_memory_usage
    assert rows["[memory]"].self_device_memory_usage == -2000, "what goes between operators"
    assert "ANYGPU Mem" in p.key_averages().table(sort_by="self_anygpu_memory_usage")
    events = [e for e in trace_of(p, tmp_path / "trace.json") if e.get("name") == "[memory]"]
    sizes = [e["args"]["Bytes"] for e in events if e["args"]["Device Type"] == int(DeviceType.PrivateUse1.value)]
    assert sizes == [4000, 2000, -2000]
    totals = [e["args"]["Total Allocated"] for e in events if e["args"]["Device Type"] == int(DeviceType.PrivateUse1.value)]
    assert totals[1] == totals[0] + 2000 and totals[2] == totals[0]


def test_out_of_memory_is_an_event():
    torch.anygpu.set_memory_limit(torch.anygpu.memory_allocated() + 1000)
    with profile(activities=BOTH, profile_memory=True) as p, pytest.raises(torch.OutOfMemoryError):
        torch.empty(5000, device="anygpu")
    assert "[OutOfMemory]" in {e.name for e in p.events()}


@pytest.fixture
def memory():
    yield torch.anygpu.memory
    torch.anygpu.memory._record_memory_history(None, clear_history=True)


def allocate_here():
    return torch.empty(1234, device="anygpu")


def test_history_of_memory(memory, tmp_path):
    memory._record_memory_history(stacks="python")
    x = allocate_here()
    address = x.data_ptr()
    assert any(f["name"] == "allocate_here" and f["filename"] == __file__ for f in memory._allocation_traceback(address))
    del x
    torch.anygpu.set_memory_limit(torch.anygpu.memory_allocated() + 1000)
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(5000, device="anygpu")
    snapshot = memory._snapshot()
    events = snapshot["device_traces"][0]
    assert [e["action"] for e in events] == ["alloc", "free_requested", "free_completed", "oom"]
    assert [e["size"] for e in events] == [4936, 4936, 4936, 20000]
    assert [e["addr"] for e in events[:3]] == [address] * 3
    assert events[0]["time_us"] <= events[1]["time_us"]
    assert events[0]["frames"][0]["name"] == "allocate_here" and events[1]["frames"][0]["name"] == "test_history_of_memory"
    assert 0 <= events[3]["device_free"] <= 1000
    assert len(snapshot["device_traces"]) == torch.anygpu.device_count()
    memory._dump_snapshot(str(tmp_path / "snapshot.pickle"))
    assert pickle.loads((tmp_path / "snapshot.pickle").read_bytes())["device_traces"][0] == events


def test_snapshots_are_what_pytorchs_tools_read(memory):
    from torch.cuda import _memory_viz

    memory._record_memory_history(stacks="python")
    x = allocate_here()
    snapshot = memory._snapshot()
    (block,) = [b for s in snapshot["segments"] for b in s["blocks"] if b["address"] == x.data_ptr()]
    assert block["requested_size"] == 4936 <= block["size"] and block["state"] == "active_allocated"
    assert block["frames"][0]["name"] == "allocate_here"
    assert "total_allocated" in _memory_viz.segsum(snapshot)
    assert _memory_viz.trace(snapshot) and _memory_viz.trace_plot(snapshot) and _memory_viz.segment_plot(snapshot)


def test_how_much_of_a_history_is_kept(memory):
    def events(**options):
        memory._record_memory_history(stacks="python", clear_history=True, **options)
        for _ in range(3):
            allocate_here()
        return memory._snapshot()["device_traces"][0]

    assert len(events()) == 9
    assert [e["action"] for e in events(max_entries=2)] == ["alloc", "free_requested", "free_completed"], "the oldest go"
    assert all(e["frames"] for e in events(context="all"))
    assert [bool(e["frames"]) for e in events(context="alloc")] == [True, False, False] * 3
    assert not any(e["frames"] for e in events(context=None))
    assert events(enabled="state") == [] and events(enabled=None) == []
    memory._record_memory_history("state", stacks="all")
    x = allocate_here()
    frames = memory._allocation_traceback(x.data_ptr())
    assert any(f["name"] == "allocate_here" for f in frames) and any("empty" in f["name"] for f in frames), "C++ frames, too"
    for wrong in ({"enabled": "some"}, {"context": "some"}, {"stacks": "some"}):
        with pytest.raises(RuntimeError, match="expected"):
            memory._record_memory_history(**wrong)


def test_memory_snapshot_without_a_history():
    gc.collect()
    x = torch.empty(1000, device="anygpu")
    blocks = {b["address"]: b for s in torch.anygpu.memory_snapshot() for b in s["blocks"]}
    assert blocks[x.data_ptr()]["requested_size"] == 4000 and blocks[x.data_ptr()]["frames"] == []
    assert torch.anygpu.memory._allocation_traceback(x.data_ptr()) is None
    assert sum(b["requested_size"] for b in blocks.values()) == torch.anygpu.memory_allocated()


def test_memory_statistics_as_of_cuda():
    x = torch.empty(1 << 20, device="anygpu")
    nested = torch.anygpu.memory_stats_as_nested_dict()
    assert nested["allocated_bytes"]["all"]["current"] == torch.anygpu.memory_allocated()
    text = torch.anygpu.memory_summary()
    assert "anygpu:0" in text and "held by tensors" in text and "MiB" in text
    assert len(torch.anygpu.memory_summary(abbreviated=True)) < len(text)
    del x


def test_accumulated_statistics_begin_again(python):
    out = python(
        """
        import torch, anygpu
        x = torch.empty(1000, device="anygpu")
        torch.anygpu.reset_accumulated_memory_stats()
        y = torch.empty(100, device="anygpu")
        stats = torch.anygpu.memory_stats_as_nested_dict()["allocated_bytes"]["all"]
        print(stats["current"], stats["allocated"], stats["freed"])
        """
    )
    assert out.split() == ["4400", "400", "0"]


# ---- what a device says of itself ----


def test_properties_and_capability():
    properties = torch.anygpu.get_device_properties()
    assert properties.name == torch.anygpu.get_device_name() and properties.total_memory > 0
    assert isinstance(properties.pci_address, str)
    with pytest.raises(AttributeError, match="'major'; they are name, backend"):
        properties.major  # noqa: B018
    capability = torch.anygpu.get_device_capability()
    assert capability["backend"] == anygpu.devices()[0]["backend"] and torch.float32 in capability["supported_dtypes"]


def test_utilization(tmp_path, monkeypatch):
    from anygpu.torch_device import busy

    assert 0 <= busy._of_processor() <= 100
    file = tmp_path / "bus/pci/devices/0000:03:00.0/gpu_busy_percent"
    file.parent.mkdir(parents=True)
    file.write_text("37\n")
    assert busy._by_sysfs("0000:03:00.0", tmp_path) == 37
    assert busy._by_sysfs("0000:04:00.0", tmp_path) is None and busy._by_sysfs("", tmp_path) is None
    assert busy._by_nvml("0000:03:00.0", "libno-such-library.so.1") is None
    monkeypatch.setattr(busy, "_torch", Untold())
    with pytest.raises(RuntimeError, match=r"how busy anygpu:0 is, its driver does not tell: Some GPU \(1.2\)"):
        torch.anygpu.utilization(0)


class Untold:
    """A GPU at an address where there is none."""

    def info(self, index):
        return {"name": "Some GPU", "driver": "1.2", "backend": "vulkan", "features": "", "pci_address": "ffff:ff:1f.7"}
