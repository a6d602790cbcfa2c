"""Random state: seeds, offsets, Generators, forks of the state, checkpointing."""

import copy

import pytest
import torch

from anygpu import _torch


def take(generator=None, blocks=1, device=0):
    """(seed, offset) as an operator would get them when it is recorded."""
    return _torch.philox(generator, device, blocks)


def test_manual_seed():
    torch.manual_seed(1234)
    assert take(blocks=3) == (1234, 0)
    assert take() == (1234, 3)
    torch.manual_seed(1234)
    assert take() == (1234, 0)
    torch.anygpu.manual_seed(7)
    assert take() == (7, 0)
    torch.anygpu.manual_seed_all(8)
    assert take() == (8, 0)
    assert torch.anygpu.initial_seed() == 8
    torch.anygpu.seed()
    assert torch.anygpu.initial_seed() != 8


def test_negative_seed():
    torch.manual_seed(-1)
    assert take()[0] == 2**64 - 1


def test_state_round_trip():
    torch.manual_seed(5)
    take(blocks=10)
    state = torch.anygpu.get_rng_state()
    assert state.device.type == "cpu" and state.dtype is torch.uint8 and state.numel() == 16
    first = take(blocks=4)
    torch.anygpu.set_rng_state(state)
    assert take(blocks=4) == first == (5, 10)
    states = torch.anygpu.get_rng_state_all()
    take()
    torch.anygpu.set_rng_state_all(states)
    assert take() == (5, 14)
    with pytest.raises(RuntimeError, match="wrong size"):
        torch.anygpu.set_rng_state(torch.zeros(3, dtype=torch.uint8))
    with pytest.raises((RuntimeError, TypeError)):
        torch.anygpu.set_rng_state(torch.zeros(16))


def test_fork_rng():
    torch.manual_seed(3)
    take(blocks=2)
    with torch.random.fork_rng(device_type="anygpu"):
        torch.manual_seed(99)
        take(blocks=100)
    assert take() == (3, 2)


def test_own_generator():
    g = torch.Generator(device="anygpu")
    assert g.device == torch.device("anygpu:0")
    g.manual_seed(42)
    torch.manual_seed(1)
    assert take(g, 5) == (42, 0)
    assert take(g, 5) == (42, 5)
    assert take() == (1, 0), "the default Generator is another one"
    other = torch.Generator(device="anygpu")
    other.set_state(g.get_state())
    assert take(other) == (42, 10)
    assert g.clone_state().get_offset() == g.get_offset() if hasattr(g, "get_offset") and hasattr(g, "clone_state") else True
    assert g.initial_seed() == 42


def test_generator_of_another_device_is_refused():
    with pytest.raises(RuntimeError, match="generator"):
        take(torch.Generator())


def test_default_generators():
    assert len(torch.anygpu.default_generators) == torch.anygpu.device_count()
    torch.anygpu.default_generators[0].manual_seed(11)
    assert take() == (11, 0)


def test_new_default_seed_each_process(python):
    script = "import torch, anygpu; print(torch.anygpu.initial_seed())"
    assert python(script) != python(script)


def test_reproducible_numbers():
    torch.manual_seed(0)
    a = torch.rand(1000, device="anygpu")
    b = torch.rand(1000, device="anygpu")
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1000, device="anygpu").cpu(), a.cpu())
    assert not torch.equal(a.cpu(), b.cpu())
    g = torch.Generator(device="anygpu").manual_seed(0)
    assert torch.equal(torch.rand(1000, device="anygpu", generator=g).cpu(), a.cpu())
    assert torch.equal(torch.rand(1000, device="anygpu", generator=g).cpu(), b.cpu())


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpoint_repeats_dropout(use_reentrant):
    from torch.utils.checkpoint import checkpoint

    torch.manual_seed(0)
    layer = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Dropout(0.5), torch.nn.Linear(64, 64), torch.nn.Dropout(0.5)).to("anygpu")
    twin = copy.deepcopy(layer)
    x = torch.randn(32, 64).to("anygpu").requires_grad_()
    y = x.detach().clone().requires_grad_()
    torch.manual_seed(1)
    plain = layer(x)
    plain.sum().backward()
    torch.manual_seed(1)
    saved = checkpoint(twin, y, use_reentrant=use_reentrant)
    torch.rand(10, device="anygpu")  # moves the state between forward and backward
    saved.sum().backward()
    assert torch.equal(plain.detach().cpu(), saved.detach().cpu())
    torch.testing.assert_close(x.grad.cpu(), y.grad.cpu())
    assert (x.grad.cpu() != 0).any()


@pytest.mark.fallback
def test_operators_on_the_cpu_draw_from_the_device(monkeypatch):
    # geometric_ has no kernel of ours if it falls back; either way the device's seed decides.
    def numbers():
        return torch.empty(100, device="anygpu").geometric_(0.3).cpu()

    torch.manual_seed(4)
    a, b = numbers(), numbers()
    torch.anygpu.manual_seed(4)
    assert torch.equal(numbers(), a) and not torch.equal(a, b)
