"""What a problem of problems/*.json can be. Each kind gives, for a problem and a contestant, a function run(i).

function    "call", an expression over "inputs", in which torch and F are known; with "gradient": its gradient for all float inputs too
training    one AdamW step of "model"; "compiled": and of torch.compile(model) on the device
optimizer   one step of torch.optim."optimizer" over parameters of these "shapes"
many        "call" a thousand times, until the device has done them all (measure.many)
host        "call" recorded only, the calling thread's time (measure.host); a compiler has nothing to do there
"""

import math

import measure
import models
import torch
import torch.nn.functional as F


def tensors(problem):
    """Inputs by name, on the CPU. A list is the shape of normal floats; {"below": n, "shape": s}: integers from 0 to n - 1."""
    g = torch.Generator().manual_seed(0)
    made = {}
    for name, what in problem["inputs"].items():
        if isinstance(what, dict):
            made[name] = torch.randint(what["below"], what["shape"], generator=g)
        else:
            made[name] = torch.randn(what, generator=g)
    return made


def _call(problem):
    return eval(f"lambda {', '.join(problem['inputs'])}: {problem['call']}", {"torch": torch, "F": F})  # noqa: S307 (our own data files)


def function(problem, who):
    args = [t.to(measure.device_of(who)) for t in tensors(problem).values()]
    fn = _call(problem)
    if who == "compile":
        fn = torch.compile(fn)
    if not problem.get("gradient"):
        return lambda i: fn(*args)
    leaves = [a.requires_grad_() for a in args if a.is_floating_point()]
    upstream = torch.ones_like(fn(*args).detach())

    def run(i):
        return torch.autograd.grad(fn(*args), leaves, upstream)

    return run


def training(problem, who):
    return models.Training(problem["model"], measure.device_of(who), who.startswith("compile")).step


def optimizer(problem, who):
    g = torch.Generator().manual_seed(0)
    shapes = [s for s in problem["shapes"] for _ in range(problem.get("times", 1))]
    params = [torch.nn.Parameter(torch.randn(s, generator=g).to(measure.device_of(who))) for s in shapes]
    for p in params:
        p.grad = torch.ones_like(p)
    step = getattr(torch.optim, problem["optimizer"])(params, lr=1e-3).step
    step = torch.compile(step) if who.startswith("compile") else step
    return lambda i: step()


def host(problem, who):
    args = [t.to(measure.device_of(who)) for t in tensors(problem).values()]
    fn = _call(problem)
    return lambda i: fn(*args)


KINDS = {"function": function, "training": training, "optimizer": optimizer, "host": host, "many": host}


def least_bytes(problem):
    """Each input read once, the result written once: what a pointwise chain or a reduction must move."""
    made = tensors(problem)
    with torch.no_grad():
        out = _call(problem)(*made.values())
    return sum(t.numel() * t.element_size() for t in (*made.values(), out))


def run(problem, rounds, with_compile):
    """{who: median seconds}, and "bytes" where the problem is about bandwidth."""
    kind = problem["kind"]
    who = [w for w in measure.contestants(problem) if w != "compile" or (with_compile and kind not in measure.THOUSANDS)]
    contestants = {w: KINDS[kind](problem, w) for w in who}
    if kind in measure.THOUSANDS:
        result = measure.interleaved(contestants, rounds * 3, measure.THOUSANDS[kind], repeats=1000)
    else:
        result = measure.interleaved(contestants, rounds)
    if problem.get("bandwidth"):
        result["bytes"] = least_bytes(problem)
    torch.compiler.reset()
    return result


def geometric_mean(ratios):
    return math.exp(sum(map(math.log, ratios)) / len(ratios))
