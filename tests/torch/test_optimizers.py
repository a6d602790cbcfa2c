"""Every optimizer of torch.optim trains to the CPU's numbers, in each of its implementations; and GradScaler's two operators."""

import copy

import pytest
import torch
import torch.nn.functional as F

import anygpu

ADAM = dict(lr=1e-2)
# name -> keyword arguments of several configurations
OPTIMIZERS = {
    "Adadelta": [dict(), dict(weight_decay=0.1), dict(maximize=True, lr=0.1)],
    "Adagrad": [dict(), dict(lr_decay=0.01, weight_decay=0.1), dict(maximize=True)],
    "Adam": [ADAM, dict(ADAM, amsgrad=True, weight_decay=0.1), dict(ADAM, maximize=True, betas=(0.8, 0.9))],
    "AdamW": [ADAM, dict(ADAM, amsgrad=True), dict(ADAM, weight_decay=0.2, maximize=True)],
    "Adamax": [ADAM, dict(ADAM, weight_decay=0.1)],
    "ASGD": [dict(), dict(weight_decay=0.1)],
    "NAdam": [ADAM, dict(ADAM, weight_decay=0.1, decoupled_weight_decay=True)],
    "RAdam": [ADAM, dict(ADAM, weight_decay=0.1)],
    "RMSprop": [dict(), dict(momentum=0.9, centered=True, weight_decay=0.1)],
    "Rprop": [dict()],
    "SGD": [
        dict(lr=0.05),
        dict(lr=0.05, momentum=0.9),
        dict(lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.1),
        dict(lr=0.05, momentum=0.9, dampening=0.5, maximize=True),
    ],
}
FUSED = {"Adagrad", "Adam", "AdamW", "SGD"}


def cases():
    for name, configs in OPTIMIZERS.items():
        for i, kwargs in enumerate(configs):
            for mode in ("default", "foreach", "forloop") + (("fused",) if name in FUSED else ()):
                yield pytest.param(name, kwargs, mode, id=f"{name}-{i}-{mode}")


def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(7, 9), torch.nn.Tanh(), torch.nn.Linear(9, 3))


def train(model, device, name, kwargs, steps=6):
    model = copy.deepcopy(model).to(device)
    opt = getattr(torch.optim, name)(model.parameters(), **kwargs)
    g = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x, t = torch.randn(5, 7, generator=g), torch.randint(0, 3, (5,), generator=g)
        opt.zero_grad()
        F.cross_entropy(model(x.to(device)), t.to(device)).backward()
        opt.step()
    return [p.detach().cpu() for p in model.parameters()], opt


def same(got, want):
    for a, b in zip(got, want):
        torch.testing.assert_close(a, b, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name,kwargs,mode", list(cases()))
def test_trains_as_the_cpu_does(name, kwargs, mode):
    how = {"default": {}, "foreach": {"foreach": True}, "forloop": {"foreach": False}, "fused": {"fused": True}}[mode]
    want, _ = train(net(), "cpu", name, kwargs)
    got, _ = train(net(), "anygpu", name, {**kwargs, **how})
    same(got, want)


def test_adafactor():
    want, _ = train(net(), "cpu", "Adafactor", {})
    got, _ = train(net(), "anygpu", "Adafactor", {})
    same(got, want)


def test_lbfgs():
    def run(device):
        torch.manual_seed(0)
        x = torch.randn(6).to(device).requires_grad_()
        opt = torch.optim.LBFGS([x], max_iter=8, line_search_fn="strong_wolfe")

        def closure():
            opt.zero_grad()
            loss = ((x - 1) ** 2 * torch.arange(1, 7, device=device)).sum()
            loss.backward()
            return loss

        opt.step(closure)
        return [x.detach().cpu()]

    same(run("anygpu"), run("cpu"))


@pytest.mark.parametrize("name", sorted(FUSED))
def test_fused_with_a_learning_rate_that_is_a_tensor(name):
    want, _ = train(net(), "cpu", name, dict(lr=0.01))
    got, _ = (
        train(net(), "anygpu", name, dict(lr=torch.tensor(0.01), fused=True))
        if name != "Adagrad"
        else train(net(), "anygpu", name, dict(lr=0.01, fused=True))
    )
    same(got, want)
    if name in ("Adam", "AdamW"):
        got, _ = train(net(), "anygpu", name, dict(lr=torch.tensor(0.01, device="anygpu"), fused=True))
        same(got, want)


@pytest.mark.parametrize(
    "name,kwargs", [("SGD", dict(momentum=0.9)), ("Adam", {}), ("AdamW", {}), ("AdamW", dict(fused=True)), ("RMSprop", {})]
)
def test_a_changing_learning_rate_makes_no_new_plan(name, kwargs):
    model = net().to("anygpu")
    opt = getattr(torch.optim, name)(model.parameters(), lr=1e-3, **kwargs)
    x, t = torch.randn(5, 7, device="anygpu"), torch.tensor([0, 1, 2, 0, 1], device="anygpu")
    for i in range(8):
        if i == 4:
            before = anygpu.stats()
        opt.param_groups[0]["lr"] = 1e-3 * (i + 1)
        opt.zero_grad()
        F.cross_entropy(model(x), t).backward()
        opt.step()
        anygpu.synchronize()
    after = anygpu.stats()
    assert after["plans_compiled"] == before["plans_compiled"] and after["kernels_compiled"] == before["kernels_compiled"]
    assert after["flushes"] > before["flushes"]


def test_state_dict_moves_between_devices():
    model = net().to("anygpu")
    opt = torch.optim.Adam(model.parameters(), fused=True)
    F.mse_loss(model(torch.ones(2, 7, device="anygpu")), torch.zeros(2, 3, device="anygpu")).backward()
    opt.step()
    state = opt.state_dict()
    again = torch.optim.Adam(model.parameters(), fused=True)
    again.load_state_dict(copy.deepcopy(state))
    a, b = opt.state_dict()["state"], again.state_dict()["state"]
    for k in a:
        for name in a[k]:
            torch.testing.assert_close(a[k][name].cpu(), b[k][name].cpu())


# ---- GradScaler ----


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_unscale_finds_what_is_not_finite(dtype):
    grads = [torch.tensor([2.0, 4.0, -8.0], dtype=dtype, device="anygpu"), torch.ones(2, 3, dtype=dtype, device="anygpu")]
    found, inverse = torch.zeros(1, device="anygpu"), torch.tensor([0.5], device="anygpu")
    torch._amp_foreach_non_finite_check_and_unscale_(grads, found, inverse)
    assert found.item() == 0
    assert grads[0].tolist() == [1.0, 2.0, -4.0] and grads[1].unique().tolist() == [0.5]
    for bad in (float("inf"), float("-inf"), float("nan")):
        found.zero_()
        grads[1][1, 2] = bad
        torch._amp_foreach_non_finite_check_and_unscale_(grads, found, inverse)
        assert found.item() == 1


def test_update_scale_grows_and_backs_off():
    scale, tracker = torch.tensor([8.0], device="anygpu"), torch.zeros(1, dtype=torch.int32, device="anygpu")
    ok, bad = torch.zeros(1, device="anygpu"), torch.ones(1, device="anygpu")
    seen = []
    for found in (ok, ok, bad, ok, ok, ok):
        torch._amp_update_scale_(scale, tracker, found, 2.0, 0.25, 2)
        seen.append((scale.item(), tracker.item()))
    assert seen == [(8, 1), (16, 0), (4, 0), (4, 1), (8, 0), (8, 1)]


@pytest.mark.parametrize("name", sorted(FUSED))
def test_fused_skips_a_step_that_overflowed(name):
    p = torch.ones(4, device="anygpu", requires_grad=True)
    opt = getattr(torch.optim, name)([p], lr=0.1, fused=True)
    p.grad = torch.full((4,), 2.0, device="anygpu")
    opt.step()
    before = p.detach().cpu()
    assert not before.eq(1).any()
    p.grad = torch.full((4,), 8.0, device="anygpu")
    opt.grad_scale, opt.found_inf = torch.tensor(4.0, device="anygpu"), torch.tensor(1.0, device="anygpu")
    opt.step()
    torch.testing.assert_close(p.detach().cpu(), before)
    opt.found_inf = torch.tensor(0.0, device="anygpu")
    opt.step()
    assert not p.detach().cpu().eq(before).any()
    assert p.grad.tolist() == [2.0] * 4  # unscaled in place, as PyTorch's fused optimizers do


def test_bad_lists_raise():
    a, b = torch.ones(3, device="anygpu"), torch.ones(4, device="anygpu")
    with pytest.raises(RuntimeError):
        torch._fused_sgd_([a], [b], [], lr=0.1, momentum=0, weight_decay=0, dampening=0, nesterov=False, maximize=False, is_first_step=True)


@pytest.mark.parametrize("name,kwargs", [("Adam", {}), ("AdamW", {}), ("SGD", dict(lr=0.1, momentum=0.9))])
def test_default_step_records_one_operator_a_parameter(name, kwargs):
    model = net().to("anygpu")
    opt = getattr(torch.optim, name)(model.parameters(), **kwargs)
    for _ in range(2):
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        before = anygpu.stats()["operators"]
        opt.step()
    assert anygpu.stats()["operators"] - before == len(list(model.parameters()))
    # what users can see is as PyTorch makes it
    if name != "SGD":
        assert all(s["step"].is_cpu and s["step"].item() == 2 for s in opt.state.values())
    assert opt.param_groups[0]["fused"] is None and opt.param_groups[0]["foreach"] is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_default_adam_in_other_dtypes(dtype):
    def run(device):
        p = torch.nn.Parameter(torch.linspace(-1, 1, 8, dtype=dtype).to(device))
        opt = torch.optim.AdamW([p], lr=0.1)
        for i in range(4):
            p.grad = torch.linspace(1, -1, 8, dtype=dtype).to(device) * (i + 1)
            opt.step()
        return p.detach().cpu()

    torch.testing.assert_close(run("anygpu"), run("cpu"))
