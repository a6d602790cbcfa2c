"""Finding one's mistake: what a failure says, where it is raised, what it leaves as it was, and how a program is interrupted."""

import inspect
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
import torch
import torch.nn.functional as F

import anygpu

DEV = "anygpu"


def line():
    """Of the caller's next line."""
    return inspect.currentframe().f_back.f_lineno + 1


def raised(f, kind=Exception):
    with pytest.raises(kind) as caught:
        f()
    return str(caught.value)


X = torch.arange(12.0).reshape(4, 3)
BAD = {
    "index": (lambda x: x[torch.tensor([0, 9], device=DEV)], IndexError, "index 9 is out of bounds for dimension 0 with size 4"),
    "second": (
        lambda x: x[torch.tensor([0], device=DEV), torch.tensor([-4], device=DEV)],
        IndexError,
        "index -4 is out of bounds for dimension 1 with size 3",
    ),
    "index_select": (lambda x: x.index_select(1, torch.tensor([3], device=DEV)), IndexError, "index 3 is out of bounds for dimension 1"),
    "gather": (lambda x: x.gather(0, torch.full((1, 3), 4, device=DEV)), RuntimeError, "index 4 is out of bounds for dimension 0"),
    "embedding": (lambda x: F.embedding(torch.tensor([[1, 5]], device=DEV), x), IndexError, "index 5 is out of bounds for dimension 0"),
    "take": (lambda x: x.take(torch.tensor([12], device=DEV)), IndexError, "tried to access index 12 on a tensor of 12 elements"),
    "nll_loss": (lambda x: F.nll_loss(x, torch.tensor([0, 1, 2, 7], device=DEV)), IndexError, "Target 7 is out of bounds"),
    "put": (lambda x: x.clone().index_put_((torch.tensor([-5], device=DEV),), x[:1]), IndexError, "index -5 is out of bounds"),
    "fused": (lambda x: x[torch.tensor([0, 9], device=DEV) * 2 - 1].exp().sum(), IndexError, "index 17 is out of bounds"),
}


@pytest.mark.parametrize("call, kind, words", BAD.values(), ids=BAD)
def test_the_message_names_operator_value_size_and_line(call, kind, words):
    x = X.to(DEV)
    at = line()
    y = call(x)
    message = raised(y.cpu, kind)
    assert words in message and message.startswith("["), message
    assert f'File "{__file__}", line {at}, in test_the_message' in message or f"line {call.__code__.co_firstlineno}" in message, message


def test_many_rows_name_one_that_is_wrong():
    """Vectors and threads: the value told is one that is out of range."""
    index = torch.arange(100_000) % 4
    index[77_777] = 1234
    assert "index 1234 is out of bounds" in raised(lambda: X.to(DEV)[index.to(DEV)].cpu(), IndexError)
    index[5] = -99
    message = raised(lambda: X.to(DEV)[index.to(DEV)].cpu(), IndexError)
    assert "index 1234 is" in message or "index -99 is" in message


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(10, 8)
        self.out = torch.nn.Linear(8, 2)

    def forward(self, words):
        return self.out(self.embedding(words).mean(1))


def step(model, optimizer, words):
    optimizer.zero_grad()
    loss = model(words.to(DEV)).square().mean()
    loss.backward()
    optimizer.step()
    return loss


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=0.1),
    "sgd_single": lambda p: torch.optim.SGD(p, lr=0.1, foreach=False),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_failed_step_leaves_the_weights(make):
    torch.manual_seed(0)
    model = Net().to(DEV)
    optimizer = make(model.parameters())
    good, bad = torch.randint(0, 10, (2, 4, 5))
    bad[1, 1] = 10
    for _ in range(3):
        step(model, optimizer, good)
    before = {k: v.cpu() for k, v in model.state_dict().items()}
    state = [v.cpu() for s in optimizer.state.values() for v in s.values() if torch.is_tensor(v) and v.device.type == DEV]
    message = raised(step(model, optimizer, bad).item, IndexError)
    assert "index 10 is out of bounds" in message and "in forward" in message
    assert all(torch.equal(v.cpu(), before[k]) for k, v in model.state_dict().items())
    now = [v.cpu() for s in optimizer.state.values() for v in s.values() if torch.is_tensor(v) and v.device.type == DEV]
    assert all(torch.equal(a, b) for a, b in zip(state, now, strict=True))
    assert torch.isfinite(step(model, optimizer, good)).item()


def test_a_failed_step_is_told_though_nothing_is_lost():
    model = Net().to(DEV)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    step(model, optimizer, torch.full((4, 5), 11))
    other = torch.ones(3, device=DEV)
    assert "index 11" in raised(lambda: (other + 1).cpu(), IndexError)
    assert model.out.weight.isfinite().all()


def test_anomaly_detection_raises_at_the_line():
    x = X.to(DEV)
    with torch.autograd.detect_anomaly(check_nan=False):
        assert "index 9" in raised(lambda: x[torch.tensor([9], device=DEV)], IndexError)
        y = x + 1
    z = x[torch.tensor([9], device=DEV)]  # and not after it
    assert "index 9" in raised(anygpu.synchronize, IndexError)
    assert torch.equal(y.cpu(), X + 1) and z.shape == (1, 3)


def test_stacks_are_kept_when_asked():
    before = anygpu.keep_stacks()
    try:
        x = torch.arange(64.0).to(DEV)

        def inner():
            return x * 3

        y = inner() + 1
        y.cpu()
        table = anygpu.explain()
        assert "in inner" in table and "in test_stacks_are_kept_when_asked" in table
        z = x[torch.tensor([64], device=DEV)]
        message = raised(z.cpu, IndexError)
        assert message.index("in test_stacks_are_kept") > message.index("recorded at") and "pytest" in message
    finally:
        anygpu.keep_stacks(before)
    (x * 5).cpu()
    assert "in inner" not in anygpu.explain()


SCRIPT = """
    import traceback, torch, anygpu
    x = torch.arange(4.0, device="anygpu")
    def lookup(i):
        return x[torch.tensor([i], device="anygpu")]
    a = lookup(3)
    try:
        b = lookup(4)
        print("recorded")
        b.cpu()
    except IndexError as e:
        print("at", [f.name for f in traceback.extract_tb(e.__traceback__)][-1], str(e).split("\\n")[0])
    print((a + 1).item(), x.sum().item())
"""


@pytest.mark.parametrize("switch, where", [("ANYGPU_BLOCKING", "at lookup"), ("ANYGPU_EAGER", "recorded\nat <module>")])
def test_the_blocking_mode_raises_at_the_line(python, switch, where):
    out = python(SCRIPT, **{switch: "1"})
    assert out.startswith(where) and "index 4 is out of bounds for dimension 0 with size 4" in out and out.endswith("4.0 6.0\n"), out


def test_the_backward_pass_is_named(python):
    out = python(
        """
        import torch, anygpu
        w = torch.ones(3, device="anygpu", requires_grad=True)
        class Twice(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2
            @staticmethod
            def backward(ctx, g):
                return g[torch.tensor([0, 1, 5], device="anygpu")]
        Twice.apply(w).sum().backward()
        try:
            w.grad.cpu()
        except IndexError as e:
            print(e)
        """
    )
    assert "index 5 is out of bounds" in out and "the backward pass, in TwiceBackward" in out


INTERRUPTED = {
    "waiting": "x.sum().item()",  # in the device's code
    "elsewhere": "time.sleep(3600)",  # in Python's: what is queued is dropped as the process ends
}


@pytest.mark.parametrize("wait", INTERRUPTED.values(), ids=INTERRUPTED)
def test_ctrl_c_drops_what_is_queued(wait):
    """Of 60 products one at most is still made: less than half of them is far from both, however fast the machine is."""
    script = f"""
        import signal, time, torch, anygpu
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        x = torch.full((2048, 2048), 1e-6).to("anygpu")
        (x @ x).cpu()
        start = time.monotonic()
        (x @ x).cpu()
        print(time.monotonic() - start, flush=True)
        for _ in range(60):
            x = x @ x
        anygpu.flush()
        print("ready", flush=True)
        try:
            {wait}
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            raise
    """
    p = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    one = float(p.stdout.readline())
    assert p.stdout.readline() == "ready\n"
    time.sleep(one)
    start = time.monotonic()
    os.kill(p.pid, signal.SIGINT)
    out, err = p.communicate(timeout=600)
    took = time.monotonic() - start
    assert out == "interrupted\n" and "KeyboardInterrupt" in err, (out, err)
    assert took < 30 * one + 5, f"{took:.1f} s after Ctrl-C; a product takes {one:.2f} s"


@pytest.fixture
def heeds_ctrl_c():
    """A shell's background jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_device_goes_on_after_ctrl_c(heeds_ctrl_c):
    """Raised in the program's own wait, as by the user's hand. Weights that the dropped work would have written are what they were."""
    x = torch.full((2048, 2048), 1e-6).to(DEV)
    weight = torch.ones(3, device=DEV)
    anygpu.synchronize()
    y = x
    for _ in range(60):
        y = y @ x
    weight += y[0, 0]
    timer = threading.Timer(0.1, lambda: signal.raise_signal(signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        while True:
            y.sum().item()
            y = y @ x
    timer.join()
    assert weight.sum().item() == 3
    assert (torch.ones(3, device=DEV) + 1).tolist() == [2, 2, 2]
    with pytest.raises(RuntimeError, match="interrupted before this was computed"):
        for _ in range(2):
            y.cpu()
