"""Training loops as users write them: what is flushed when, that a warm loop compiles nothing, and that numbers agree with the CPU's."""

import copy
import gc
import re
import threading

import pytest
import torch
from torch import nn

import anygpu


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 10))


def batches(n, device):
    torch.manual_seed(1)
    for _ in range(n):
        yield torch.randn(8, 16).to(device), torch.randint(0, 10, (8,)).to(device)


def train(net, optimizer, device, steps=5, **options):
    losses = []
    for x, y in batches(steps, device):
        optimizer.zero_grad(**options)
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return [float(v) for v in losses]


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("set_to_none", [True, False])
def test_agrees_with_the_cpu(optimizer, set_to_none):
    a = model()
    b = copy.deepcopy(a).to("anygpu")
    cpu = train(a, optimizer(a.parameters(), lr=0.01), "cpu", set_to_none=set_to_none)
    device = train(b, optimizer(b.parameters(), lr=0.01), "anygpu", set_to_none=set_to_none)
    torch.testing.assert_close(torch.tensor(device), torch.tensor(cpu), rtol=1e-4, atol=1e-5)
    for p, q in zip(a.parameters(), b.parameters()):
        torch.testing.assert_close(q.detach().cpu(), p.detach(), rtol=1e-3, atol=1e-4)


def test_optimizer_built_before_the_model_moved():
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net.to("anygpu")
    before = [p.detach().cpu() for p in net.parameters()]
    train(net, optimizer, "anygpu", steps=1)
    assert all(not torch.equal(p.detach().cpu(), q) for p, q in zip(net.parameters(), before))


def test_step_flushes():
    net = model().to("anygpu")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    x, y = next(batches(1, "anygpu"))
    nn.functional.cross_entropy(net(x), y).backward()
    before = anygpu.stats()["flushes"]
    optimizer.step()
    assert anygpu.stats()["flushes"] > before


def test_warm_loop_compiles_nothing():
    net = model().to("anygpu")
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    train(net, optimizer, "anygpu", steps=5)
    before = anygpu.stats()
    train(net, optimizer, "anygpu", steps=10)
    after = anygpu.stats()
    assert after["plans_compiled"] == before["plans_compiled"] and after["kernels_compiled"] == before["kernels_compiled"]
    assert after["flushes"] >= before["flushes"] + 10


def test_changing_the_learning_rate_compiles_nothing():
    net = model().to("anygpu")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    train(net, optimizer, "anygpu", steps=5)
    before = anygpu.stats()["plans_compiled"]
    for rate in (0.05, 0.01, 0.003):
        optimizer.param_groups[0]["lr"] = rate
        train(net, optimizer, "anygpu", steps=2)
    assert anygpu.stats()["plans_compiled"] == before


def test_memory_is_steady():
    net = model().to("anygpu")
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    train(net, optimizer, "anygpu", steps=3)
    gc.collect()
    before = torch.anygpu.memory_allocated()
    train(net, optimizer, "anygpu", steps=10)
    gc.collect()
    assert torch.anygpu.memory_allocated() == before


def test_gradients_are_taken_not_cloned():
    """Autograd keeps a gradient that nobody else holds; one held by a queue of ours would be copied."""
    w = torch.ones(4, 3).to("anygpu").requires_grad_()
    seen = []
    w.register_hook(lambda g: seen.append(g.data_ptr()))
    (w * w).sum().backward()
    assert w.grad.data_ptr() == seen[0]
    assert w.grad.stride() == w.stride()


def test_gradient_accumulation():
    w = torch.ones(5).to("anygpu").requires_grad_()
    for _ in range(3):
        (w * 2).sum().backward()
    assert torch.equal(w.grad.cpu(), torch.full((5,), 6.0))


def test_double_backward():
    x = torch.tensor([1.0, 2, 3]).to("anygpu").requires_grad_()
    (g,) = torch.autograd.grad((x * x * x).sum(), x, create_graph=True)
    g.sum().backward()
    assert torch.equal(x.grad.cpu(), torch.tensor([6.0, 12, 18]))


def test_threads_train_at_once():
    results = {}

    def work(i):
        w = torch.full((100,), float(i)).to("anygpu").requires_grad_()
        for _ in range(20):
            loss = (w * w).sum()
            (g,) = torch.autograd.grad(loss, w)
            with torch.no_grad():
                w -= 0.1 * g
        results[i] = w.detach().cpu()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for i in range(4):
        torch.testing.assert_close(results[i], torch.full((100,), i * 0.8**20))


def test_long_loop_without_reads():
    x = torch.zeros(1000).to("anygpu")
    for _ in range(20_000):
        x.add_(1)
    assert torch.equal(x.cpu(), torch.full((1000,), 20_000.0))


def test_explain_and_stats():
    x = torch.ones(10).to("anygpu")
    (x + 1).relu().cpu()
    text = anygpu.explain(1)
    assert isinstance(text, str) and text.strip()
    assert {"flushes", "plans_compiled", "kernels_compiled", "kernels_run", "operators"} <= set(anygpu.stats())


def test_explain_says_the_time_of_each_step():
    a, b = torch.rand(64, 64).to("anygpu"), torch.rand(64, 64).to("anygpu")
    for _ in range(3):
        y = (a @ b).cumsum(0)
        anygpu.flush()  # explain() waits for it
    lines = anygpu.explain(colour=False).splitlines()
    del y
    counts = r"Plan: 2 operators as (\d+) kernels? and (\d+) library calls?, "
    head = re.match(counts + r"\d+ \w+ moved, arena \d+ \w+, ([\d.]+) (us|ms) \(3 runs\)", lines[0])
    assert head, lines[0]
    row = r" +\d+ +([\d.]+) (us|ms) +([\d.]+) % +([\d.]+) +\d+ \w+  (kernel|library)"
    steps = [re.match(row, line) for line in lines[2:]]
    steps = [s for s in steps if s]
    assert len(steps) == int(head[1]) + int(head[2]) and all(float(s[1]) > 0 for s in steps)
    assert abs(sum(float(s[3]) for s in steps) - 100) < 1
    assert len({line.index("%") for line in lines[2:] if "%" in line}) == 1, "columns are aligned"
    assert "\x1b" not in "".join(lines) and "\x1b[1mPlan" in anygpu.explain(colour=True)


def test_gradcheck():
    x = torch.randn(3, 4, dtype=torch.float64).to("anygpu").requires_grad_()
    w = torch.randn(4, 2, dtype=torch.float64).to("anygpu").requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: torch.tanh(a @ b).sum(1), (x, w))
