"""Saving, loading, pickling, copying, printing, loading data."""

import copy
import io
import pickle

import pytest
import torch


def saved(obj, **load):
    f = io.BytesIO()
    torch.save(obj, f)
    f.seek(0)
    return torch.load(f, **load)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.complex64])
def test_save_and_load(dtype):
    x = (torch.arange(12).reshape(3, 4) % 5).to(dtype)
    d = x.to("anygpu")
    for back in (
        saved(d),
        saved(d, map_location="anygpu"),
        saved(x, map_location="anygpu"),
        saved(x, map_location=torch.device("anygpu:0")),
    ):
        assert back.is_anygpu and back.dtype is dtype and torch.equal(back.cpu(), x)
    assert saved(d, map_location="cpu").device.type == "cpu"
    assert torch.equal(saved(d, map_location=lambda storage, location: storage), x)


def test_save_keeps_aliasing_and_strides():
    d = torch.arange(12.0).reshape(3, 4).to("anygpu")
    base, row, turned = saved([d, d[1], d.t()])
    assert row.untyped_storage().data_ptr() == base.untyped_storage().data_ptr()
    assert turned.stride() == (1, 4)
    row.copy_(torch.zeros(4))
    assert torch.equal(base.cpu()[1], torch.zeros(4))


def test_state_dicts():
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).to("anygpu")
    state = saved(model.state_dict())
    assert all(t.is_anygpu for t in state.values())
    other = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    other.load_state_dict(state)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a.detach().cpu(), b.detach())


def test_optimizer_state_moves_with_its_parameters():
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([p], lr=0.1, momentum=0.9)
    p.grad = torch.ones(3)
    optimizer.step()
    q = torch.nn.Parameter(torch.ones(3).to("anygpu"))
    other = torch.optim.SGD([q], lr=0.1, momentum=0.9)
    other.load_state_dict(saved(optimizer.state_dict()))
    assert other.state[q]["momentum_buffer"].is_anygpu


def test_pickle_and_deepcopy():
    x = torch.arange(4.0).to("anygpu").requires_grad_()
    for y in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x), copy.copy(x)):
        assert y.is_anygpu and y.requires_grad and torch.equal(y.detach().cpu(), x.detach().cpu())
    p = torch.nn.Parameter(x.detach())
    assert isinstance(copy.deepcopy(p), torch.nn.Parameter)
    a, b = copy.deepcopy([x.detach(), x.detach()[1:]])
    a.copy_(torch.zeros(4))
    assert torch.equal(b.cpu(), torch.zeros(3)), "deepcopy keeps aliasing"


def test_device_pickles():
    assert pickle.loads(pickle.dumps(torch.device("anygpu:0"))) == torch.device("anygpu:0")


def test_load_to_a_missing_device():
    f = io.BytesIO()
    torch.save(torch.ones(2), f)
    f.seek(0)
    with pytest.raises(RuntimeError):
        torch.load(f, map_location="anygpu:77")


def test_printing():
    assert repr(torch.tensor([1.5, -2.0]).to("anygpu")) == "tensor([ 1.5000, -2.0000], device='anygpu:0')"
    assert repr(torch.tensor(3).to("anygpu")) == "tensor(3, device='anygpu:0')"
    assert repr(torch.empty(0, device="anygpu")) == "tensor([], device='anygpu:0')"
    big = torch.arange(10000.0).reshape(100, 100)
    assert repr(big.to("anygpu")).split() == (repr(big)[:-1] + ", device='anygpu:0')").split()
    z = torch.tensor([1 + 2j])
    assert repr(z.to("anygpu")) == repr(z)[:-1] + ", device='anygpu:0')"
    assert "requires_grad=True" in repr(torch.ones(2).to("anygpu").requires_grad_())
    assert "Parameter" in repr(torch.nn.Parameter(torch.ones(2).to("anygpu")))
    assert f"{torch.tensor(1.5).to('anygpu'):.2f}" == "1.50"


def test_printing_compiles_nothing():
    import anygpu

    x = torch.arange(10000.0).reshape(100, 100).to("anygpu")
    before = anygpu.stats()["kernels_compiled"]
    repr(x)
    assert anygpu.stats()["kernels_compiled"] == before


class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, i):
        return torch.full((8,), float(i)), i


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_data_loader(workers, context):
    if workers == 0 and context == "spawn":
        pytest.skip("no workers to spawn")
    torch.ones(1).to("anygpu")  # the device is in use when workers are forked
    loader = torch.utils.data.DataLoader(
        Numbers(), batch_size=16, num_workers=workers, pin_memory=True, multiprocessing_context=context if workers else None
    )
    seen = []
    for x, i in loader:
        assert x.is_pinned()
        d = x.to("anygpu", non_blocking=True)
        assert torch.equal(d.cpu()[:, 0], i.to(torch.float32))
        seen += i.tolist()
    assert seen == list(range(64))
