"""Tensors between processes and between libraries: copies through host memory, DLPack, and errors where there is no way; never a hang."""

import pytest
import torch

DEV = "anygpu"

# Each script is a file: what spawned processes import must be found there.
HEAD = """
import sys, warnings
import torch, anygpu
import torch.multiprocessing as mp
from torch.utils.data import DataLoader, Dataset
warnings.simplefilter("ignore")


class Squares(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, i):
        return torch.full((3,), float(i * i), device="anygpu")


def put(queue, done):
    x = torch.arange(6.0, device="anygpu").reshape(2, 3)
    queue.put((x, x[1], x + 1))
    done.wait()


def put_failed(queue, done):
    x = torch.arange(4.0, device="anygpu")
    queue.put(x[torch.tensor([7], device="anygpu")])
    queue.put("next")
    done.wait()


def train(rank, model, results):
    model.weight.data += rank
    results.put((rank, model.weight.device.type, model.weight.sum().item(), model.weight is model.tied))


def received(queue, results):
    x = queue.get()
    results.put((x.device.type, x.dtype, x.requires_grad, x.tolist(), type(x).__name__))


class Tied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(4))
        self.tied = self.weight


if __name__ == "__main__":
    spawn = mp.get_context("spawn")
"""


@pytest.fixture
def spawned(python, tmp_path):
    def run(main, **more):
        script = tmp_path / "script.py"
        script.write_text(HEAD + "".join(f"    {x}\n" for x in main.strip().split("\n")))
        return python(f"import runpy, sys; sys.argv = [{str(script)!r}]; runpy.run_path({str(script)!r}, run_name='__main__')", **more)

    return run


def test_a_queue_from_a_spawned_process(spawned):
    out = spawned("""
queue, done = spawn.Queue(), spawn.Event()
p = spawn.Process(target=put, args=(queue, done)); p.start()
x, row, more = queue.get(timeout=600)
print(x.device, x.tolist(), row.tolist(), more.tolist())
row.zero_()
print(x.tolist())
done.set(); p.join(); print(p.exitcode)
""")
    lines = out.split("\n")
    assert lines[0] == "anygpu:0 [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]] [3.0, 4.0, 5.0] [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]"
    assert lines[1:3] == ["[[0.0, 1.0, 2.0], [0.0, 0.0, 0.0]]", "0"], "views of one message share their memory"


def test_a_queue_to_a_spawned_process(spawned):
    out = spawned("""
queue, results = spawn.Queue(), spawn.Queue()
for x in (torch.nn.Parameter(torch.ones(2, device="anygpu")), torch.ones(2, device="anygpu").half(), torch.empty(0, 3, device="anygpu")):
    p = spawn.Process(target=received, args=(queue, results)); p.start()
    queue.put(x)
    print(*results.get(timeout=600)); p.join()
""")
    assert out.split("\n")[:3] == [
        "anygpu torch.float32 True [1.0, 1.0] Parameter",
        "anygpu torch.float16 False [1.0, 1.0] Tensor",
        "anygpu torch.float32 False [] Tensor",
    ]


def test_a_failed_tensor_is_an_error_for_the_reader(spawned):
    out = spawned("""
queue, done = spawn.Queue(), spawn.Event()
p = spawn.Process(target=put_failed, args=(queue, done)); p.start()
try:
    print(queue.get(timeout=600))
except RuntimeError as e:
    print(e)
print(queue.get(timeout=600))
done.set(); p.join(); print(p.exitcode)
""")
    assert "IndexError in the process that sent a tensor: [index] index out of range: index 7" in out and out.endswith("next\n0\n"), out


def test_a_pipe_raises_at_the_sender(spawned):
    out = spawned("""
a, b = spawn.Pipe()
a.send(torch.ones(2, device="anygpu"))
print(b.recv().tolist())
x = torch.arange(4.0, device="anygpu")
try:
    a.send(x[torch.tensor([7], device="anygpu")])
except IndexError as e:
    print("at the sender")
""")
    assert out == "[1.0, 1.0]\nat the sender\n"


def test_spawn_with_a_model(spawned):
    out = spawned("""
results = spawn.Queue()
model = Tied().to("anygpu")
mp.spawn(train, args=(model, results), nprocs=2)
for r in sorted(results.get(timeout=600) for _ in range(2)):
    print(*r)
print(model.weight.sum().item())
""")
    assert out == "0 anygpu 4.0 True\n1 anygpu 8.0 True\n4.0\n", "each process has a copy"


def test_workers_of_a_data_loader(spawned):
    out = spawned("""
for batch in DataLoader(Squares(), batch_size=4, num_workers=2, multiprocessing_context="spawn"):
    print(batch.device, batch[:, 0].tolist())
torch.ones(2, device="anygpu").cpu()
try:
    list(DataLoader(Squares(), batch_size=4, num_workers=1, multiprocessing_context="fork"))
except RuntimeError as e:
    print("spawn" in str(e))
""")
    assert out == "anygpu:0 [0.0, 1.0, 4.0, 9.0]\nanygpu:0 [16.0, 25.0, 36.0, 49.0]\nTrue\n"


def test_that_it_is_a_copy_is_said_once(python):
    out = python("""
        import io, warnings, torch, anygpu
        from multiprocessing.reduction import ForkingPickler
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(3):
                ForkingPickler.dumps(torch.ones(2, device="anygpu"))
        print(len(caught), caught[0].message)
    """)
    assert out.startswith("1 ") and "copies" in out


def test_shared_memory_is_refused():
    x = torch.ones(2, device=DEV)
    for f in (x.share_memory_, torch.nn.Linear(2, 2).to(DEV).share_memory, x.untyped_storage().share_memory_):
        with pytest.raises(RuntimeError, match="cannot be shared between processes"):
            f()
    assert torch.ones(2).share_memory_().is_shared()


# ---- other libraries ----


def test_numpy_refuses_in_pytorchs_words():
    np = pytest.importorskip("numpy")
    x = torch.ones(2, device=DEV)
    for f in (lambda: x.numpy(), lambda: np.asarray(x), lambda: np.array(x)):
        with pytest.raises(TypeError, match=r"can't convert anygpu:0 device type tensor to numpy. Use Tensor.cpu\(\) to copy"):
            f()
    assert x.numpy(force=True).tolist() == [1, 1]


def test_dlpack_to_numpy():
    np = pytest.importorskip("numpy")
    x = torch.arange(12.0, device=DEV).reshape(3, 4)
    for t in (x, x.t(), x[1:, ::2], x[0, 0], x.long(), torch.empty(0, 2, device=DEV)):
        assert t.__dlpack_device__() == (1, 0)
        a = np.from_dlpack(t)
        assert a.tolist() == t.tolist() and a.shape == tuple(t.shape)
    y = x * 2
    assert np.from_dlpack(y)[1].tolist() == [8, 10, 12, 14], "what is recorded has run"


def test_dlpack_lends_the_hosts_memory():
    """On `cpu` and `reference` without a copy; elsewhere a copy, or BufferError where none is wanted."""
    x = torch.arange(6.0, device=DEV)
    if torch.anygpu.get_device_properties(0).backend not in ("cpu", "reference"):
        with pytest.raises(BufferError, match="cannot be lent without a copy"):
            x.__dlpack__(copy=False)
        return
    view = torch._C._from_dlpack(x.__dlpack__(copy=False))
    view[0] = 7
    assert (x + 0).tolist() == [7, 1, 2, 3, 4, 5]
    x += 1
    torch.anygpu.synchronize()
    assert view.tolist() == [8, 2, 3, 4, 5, 6]
    copied = torch._C._from_dlpack(x.__dlpack__(copy=True))
    copied[0] = 0
    assert x[0].item() == 8
    del x
    torch.zeros(6, device=DEV).cpu()
    assert view.tolist() == [8, 2, 3, 4, 5, 6], "the memory lives as long as who was lent it"


def test_dlpack_from_others():
    np = pytest.importorskip("numpy")
    a = np.arange(6.0).reshape(2, 3)
    t = torch.from_dlpack(a, device=DEV)
    assert t.device.type == DEV and t.tolist() == a.tolist()
    with pytest.raises(ValueError, match="without copying"):
        torch.from_dlpack(a, device=DEV, copy=False)
    x = torch.ones(3, device=DEV)
    same = torch.from_dlpack(x)
    same += 1
    assert same.device.type == DEV and x.tolist() == [2, 2, 2]
    assert torch.from_dlpack(x, copy=True).data_ptr() != x.data_ptr()
    assert torch.from_dlpack(x, device="cpu").tolist() == [2, 2, 2] and torch.from_dlpack(x, device="cpu").device.type == "cpu"
    assert torch.from_dlpack(torch.utils.dlpack.to_dlpack(x)).tolist() == [2, 2, 2]


def test_dlpack_refuses_as_pytorch_does():
    with pytest.raises(BufferError, match="require gradient"):
        torch.ones(2, device=DEV, requires_grad=True).__dlpack__()
    with pytest.raises(BufferError, match="host memory only"):
        torch.ones(2, device=DEV).__dlpack__(dl_device=(2, 0))
