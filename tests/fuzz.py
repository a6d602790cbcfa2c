#!/usr/bin/env python3
"""Random programs over aliasing tensors, on the device and on PyTorch's CPU: every tensor must agree after every program.

    fuzz.py [--programs 10000] [--seed 0] [--device anygpu] [--keep-going]
    fuzz.py --seed 4711 --programs 1 --print      repeat one program and show its operators

A program has 5 to 40 operators: pointwise, reductions, norms and their gradients, views, in-place, indexing, copies, casts, reads. In every
second program some calls are wrong (sizes, dimensions, dtypes: refused when called, as on the CPU) or have indices out of range, which the
device finds out only while it runs: what depends on such a call must raise when it is read, until it is overwritten, and nothing else.

Values are small integers held in floats, so that sums are exact and comparisons are sharp; what division and exp produce is marked inexact
and compared with a tolerance, and never decides a comparison or an index. The seed of a program that differs is printed.
"""

import argparse
import math
import operator
import random
import re
import sys
import time
import warnings

import torch
import torch.nn.functional as F

FLOAT, INT, BOOL = torch.float32, torch.int64, torch.bool
LIMIT = 64
ERRORS = (RuntimeError, IndexError, ValueError, TypeError, NotImplementedError)


# What an error about an index says, here and in PyTorch.
INDEX_ERROR = re.compile(r"out of (range|bounds)|index", re.I)


class Contents:
    """What is known of a storage: whether its numbers are sharp, and whether a failed operator has spoiled them on the device."""

    def __init__(self, exact, lost):
        self.exact, self.lost = exact, lost


class Pair:
    """A tensor on each side. Pairs that alias share their Contents. Of what is lost, the CPU's side only has the shape."""

    def __init__(self, cpu, dev, contents):
        self.cpu, self.dev, self.contents = cpu, dev, contents

    @property
    def exact(self):
        return self.contents.exact

    @property
    def lost(self):
        return self.contents.lost and self.cpu.numel() > 0

    def covers(self):
        """Whether it is all of its storage."""
        t = self.dev
        elements = math.prod(n for n, stride in zip(t.shape, t.stride()) if stride != 0 or n == 0)
        return t.untyped_storage().nbytes() == elements * t.element_size()

    def repeats(self):
        return any(n > 1 and s == 0 for n, s in zip(self.cpu.shape, self.cpu.stride()))


class Program:
    """Pairs of tensors, and the operators applied so far."""

    def __init__(self, seed, device, verbose):
        self.r = random.Random(seed)
        self.device, self.verbose = device, verbose
        self.pairs, self.log, self.failures = [], [], 0
        for _ in range(3):
            self.new()

    # ---- bookkeeping ----

    def alias_of(self, cpu):
        at = cpu.untyped_storage().data_ptr()
        return next((p for p in self.pairs if cpu.numel() and p.cpu.numel() and p.cpu.untyped_storage().data_ptr() == at), None)

    def push(self, cpu, dev, exact=True, lost=False):
        if cpu.numel() > 5000:
            return
        old = self.alias_of(cpu)
        if old:
            old.contents.exact &= exact
            old.contents.lost |= lost
        self.pairs.append(Pair(cpu, dev, old.contents if old else Contents(exact, lost)))
        if len(self.pairs) > 9:
            self.pairs.pop(self.r.randrange(len(self.pairs)))

    def both(self, t):
        """An operand that is made for one call."""
        return Pair(t, t.to(self.device), Contents(True, False))

    def note(self, text, pairs):
        self.log.append(text)
        if self.verbose:
            print("   ", text, [f"{list(p.cpu.shape)}{' lost' if p.lost else ''}" for p in pairs], flush=True)

    def apply(self, text, fn, *pairs, exact=None, out=True, reads=True):
        """fn on both sides. An error must be the same kind of error on both, but for operands that are lost: whoever reads one is told.
        out: makes new tensors, else it writes the first operand, whose old contents matter only if it `reads` them."""
        self.note(text, pairs)
        lost = any(p.lost for p in (pairs if reads else pairs[1:]))
        want = got = error = None
        try:
            want = fn(*[p.cpu for p in pairs])
        except ERRORS as e:
            error = e
        try:
            got = fn(*[p.dev for p in pairs])
        except ERRORS as e:
            if error is None:
                if lost and INDEX_ERROR.search(str(e)):
                    return
                raise AssertionError(f"{text}: only the device raises {type(e).__name__}: {e}") from e
            if type(e) is not type(error):
                raise AssertionError(f"{text}: the device raises {type(e).__name__}: {e}; the CPU {type(error).__name__}: {error}") from e
            return
        if error is not None:
            raise AssertionError(f"{text}: only the CPU raises {type(error).__name__}: {error}")
        if exact is None:
            exact = all(p.exact for p in pairs)
        if not out:
            return self.written(pairs[0], exact, lost, covered=not reads and pairs[0].covers())
        for w, g in zip(want if isinstance(want, (tuple, list)) else [want], got if isinstance(got, (tuple, list)) else [got]):
            if isinstance(w, torch.Tensor):
                if w.shape != g.shape or w.dtype != g.dtype:
                    raise AssertionError(f"{text}: {list(g.shape)} {g.dtype}, not {list(w.shape)} {w.dtype}")
                self.push(w, g, exact, lost)
            elif lost:
                raise AssertionError(f"{text}: {g}, of a tensor that a failed operator has spoiled")
            elif w != g and not (w != w and g != g):
                raise AssertionError(f"{text}: {g}, not {w}")

    @staticmethod
    def written(pair, exact, lost, covered):
        if not pair.cpu.numel():
            return
        pair.contents.exact = exact and (covered or pair.contents.exact)
        pair.contents.lost = lost or (pair.contents.lost and not covered)

    def fails(self, text, fn, operand, ids, valid, *others, out=True):
        """fn(operand, ids, ...) with indices out of range: the CPU refuses it, the device finds out while it runs. What it would have made
        is lost (`valid` indices tell its shape); what it would have changed is lost too. If the device refuses at once, nothing is."""
        pairs = [operand, ids, *others]
        self.note(text, pairs)
        try:
            fn(operand.cpu.clone(), ids.cpu, *[p.cpu for p in others])
        except ERRORS:
            pass
        else:
            raise AssertionError(f"{text}: the CPU does not raise")
        try:
            got = fn(operand.dev, ids.dev, *[p.dev for p in others])
        except ERRORS as e:
            if not INDEX_ERROR.search(str(e)):
                raise AssertionError(f"{text}: the device raises {type(e).__name__}: {e}") from e
            return
        self.failures += 1
        if out:
            self.push(fn(operand.cpu, valid, *[p.cpu for p in others]), got, lost=True)
        else:
            self.written(operand, operand.exact, True, False)

    def refused(self, text, fn, *pairs):
        """A call that is wrong whatever the numbers are: refused when called, with the same exception, and nothing comes of it."""
        self.note(text, pairs)
        errors = []
        for side in ("cpu", "dev"):
            try:
                fn(*[getattr(p, side) for p in pairs])
                errors.append(None)
            except ERRORS as e:
                errors.append(e)
        if type(errors[0]) is not type(errors[1]):
            raise AssertionError(f"{text}: the device raises {errors[1]!r}, the CPU {errors[0]!r}")

    def pick(self, dtype=None, exact=False, rank=0, nonempty=False):
        fits = [
            p for p in self.pairs
            if (dtype is None or p.cpu.dtype == dtype) and p.cpu.dim() >= rank
            and (not exact or p.exact) and (not nonempty or p.cpu.numel())
        ]  # fmt: skip
        return self.r.choice(fits) if fits else None

    # ---- operators ----

    def new(self):
        shape = [self.r.choice([1, 1, 2, 3, 4, 5, 7, 0, 17]) for _ in range(self.r.randrange(5))]
        g = torch.Generator().manual_seed(self.r.randrange(1 << 30))
        dtype = self.r.choice([FLOAT, FLOAT, FLOAT, INT])
        t = torch.randint(-3, 4, shape, generator=g).to(dtype)
        if t.numel() > 3000:
            t = t.flatten()[:100].clone()
        self.log.append(f"new {list(t.shape)} {dtype}")
        self.push(t, t.to(self.device))

    def unary(self):
        p = self.pick(FLOAT)
        if not p:
            return
        name = self.r.choice(["relu", "neg", "abs", "sign" if p.exact else "abs", "square"])
        if name == "square":
            return self.apply("square, clamp", lambda t: t.square().clamp(-LIMIT, LIMIT), p)
        self.apply(name, lambda t: getattr(torch, name)(t), p)

    def inexact_unary(self):
        p = self.pick(FLOAT)
        if not p:
            return
        name = self.r.choice(["sigmoid", "tanh", "exp", "gelu", "rsqrt"])
        fns = {
            "exp": lambda t: torch.exp(t.clamp(-4, 4)),
            "gelu": torch.nn.functional.gelu,
            "rsqrt": lambda t: (t.abs() + 1).rsqrt(),
        }
        self.apply(name, fns.get(name, getattr(torch, name, None)), p, exact=False)

    def partner(self, p):
        """A tensor that broadcasts with p: of p's shape by expanding or cutting another, or p itself."""
        same = [q for q in self.pairs if q.cpu.dtype == p.cpu.dtype and self.broadcasts(q.cpu.shape, p.cpu.shape)]
        return self.r.choice(same) if same else p

    @staticmethod
    def broadcasts(a, b):
        return all(x == y or x == 1 or y == 1 for x, y in zip(reversed(a), reversed(b)))

    def binary(self):
        p = self.pick(self.r.choice([FLOAT, INT]))
        if not p:
            return
        q = self.partner(p)
        name = self.r.choice(["add", "sub", "mul", "maximum", "minimum"])
        self.apply(f"{name}, clamp", lambda a, b: getattr(torch, name)(a, b).clamp(-LIMIT, LIMIT), p, q)

    def scalar(self):
        p = self.pick(self.r.choice([FLOAT, INT]))
        if not p:
            return
        k = self.r.choice([-2, 1, 2, 3])
        name = self.r.choice(["add", "mul", "sub"])
        self.apply(f"{name} {k}, clamp", lambda a: getattr(torch, name)(a, k).clamp(-LIMIT, LIMIT), p)

    def divide(self):
        p = self.pick(FLOAT)
        if not p:
            return
        self.apply("div", lambda a, b: a / (b.abs() + 1), p, self.partner(p), exact=False)

    def compare_where(self):
        p = self.pick(FLOAT, exact=True)
        if not p:
            return
        q = self.partner(p)
        if not q.exact:
            return
        kind = self.r.randrange(3)
        if kind == 0:
            self.apply("where", lambda a, b: torch.where(a > b, a, b * 2).clamp(-LIMIT, LIMIT), p, q)
        elif kind == 1:
            self.apply("le", lambda a, b: (a <= b).to(FLOAT), p, q)
        else:
            self.apply("masked_fill", lambda a: a.masked_fill(a > 1, -1), p)

    def reduce(self):
        p = self.pick(FLOAT)
        if not p:
            return
        t = p.cpu
        dims = self.r.sample(range(t.dim()), self.r.randrange(t.dim() + 1)) if t.dim() else []
        keep = self.r.random() < 0.5
        name = self.r.choice(["sum", "mean", "amax", "amin", "argmax", "any", "prod1", "norm"])
        exact = p.exact
        if name == "sum":
            self.apply(f"sum {dims}", lambda a: a.sum(dims, keepdim=keep).clamp(-LIMIT, LIMIT), p)
        elif name == "mean":
            self.apply(f"mean {dims}", lambda a: a.mean(dims, keepdim=keep), p, exact=False)
        elif name in ("amax", "amin"):
            self.apply(f"{name} {dims}", lambda a: getattr(a, name)(dims, keepdim=keep), p)
        elif name == "argmax" and exact and t.dim():
            d = self.r.randrange(t.dim())
            if t.shape[d] != 1:  # of one it is 0, whatever it is
                self.apply(f"argmax {d}", lambda a: a.argmax(d, keepdim=keep), p)
        elif name == "any" and exact and t.dim():
            self.apply("any", lambda a: (a > 0).any(0), p)
        elif name == "norm":
            self.apply(f"softmax-like {dims}", lambda a: a - a.logsumexp(dims, keepdim=True) if dims else a, p, exact=False)

    def normalise(self):
        """What has several stages in one kernel, over operands of which half repeat along what is reduced; or their gradients."""
        p = self.pick(FLOAT, rank=1, nonempty=True)
        if not p:
            return
        t, r = p.cpu, self.r
        d = r.randrange(t.dim())
        repeats = r.choice([0, 0, 2, 5])

        def operand(a):
            return a.narrow(d, 0, 1).expand([*a.shape[:d], repeats, *a.shape[d + 1 :]]) if repeats else a

        n = repeats or t.shape[d]
        rest = [repeats if i == d and repeats else size for i, size in enumerate(t.shape)][d:]
        kinds = {
            "softmax": lambda a: a.softmax(d),
            "log_softmax": lambda a: a.log_softmax(d),
            "logsumexp": lambda a: a.logsumexp(d),
            "var": lambda a: a.var(d, correction=0),
            "x - mean": lambda a: a - a.mean(d, keepdim=True),
            "sum, expanded": lambda a: a.sum(d, keepdim=True).expand_as(a).contiguous(),
            "layer_norm": lambda a: F.layer_norm(a, rest, eps=1),
            "rms_norm": lambda a: F.rms_norm(a, rest, eps=1),
            "normalize": lambda a: F.normalize(a, dim=d, eps=1),
        }
        if t.dim() >= 2 and n * (t.numel() // t.shape[d]) > t.shape[1]:
            kinds["batch_norm"] = lambda a: F.batch_norm(a, None, None, training=True, eps=1)
        if t.dim() == 2:
            kinds["cross_entropy"] = lambda a: F.cross_entropy(a, torch.zeros(a.shape[0], dtype=INT, device=a.device))
        name = r.choice(list(kinds))
        backward = r.random() < 0.4

        def run(a):
            if not backward:
                return kinds[name](operand(a)).clamp(-LIMIT, LIMIT).contiguous()
            x = a.detach().clone().requires_grad_()
            y = kinds[name](operand(x))
            if name in ("x - mean", "sum, expanded"):  # linear: their gradients do not depend on x
                y = y.square()
            return torch.autograd.grad(y, x, torch.ones((), device=a.device).expand(y.shape))[0].clamp(-LIMIT, LIMIT)

        text = f"{name} {d}" + (f" of {repeats} equal" if repeats else "") + (", backward" if backward else "")
        self.apply(text, run, p, exact=False)

    def view(self):
        p = self.pick(rank=1)
        if not p:
            return
        t, r = p.cpu, self.r
        d, e = r.randrange(t.dim()), r.randrange(t.dim())
        kind = r.randrange(10)
        if kind == 9 and t.shape[d]:
            n = r.randrange(1, 6)
            self.apply(f"expand {d} to {n}", lambda a: a.narrow(d, 0, 1).expand([*a.shape[:d], n, *a.shape[d + 1 :]]), p)
        elif kind == 0:
            self.apply(f"transpose {d} {e}", lambda a: a.transpose(d, e), p)
        elif kind == 1 and t.shape[d] > 1:
            start, step = r.randrange(t.shape[d]), r.choice([1, 1, 2, 3])
            stop = r.randrange(start, t.shape[d] + 1)
            self.apply(f"slice {d} {start}:{stop}:{step}", lambda a: a[(slice(None),) * d + (slice(start, stop, step),)], p)
        elif kind == 2 and t.shape[d]:
            i = r.randrange(t.shape[d])
            self.apply(f"select {d} {i}", lambda a: a.select(d, i), p)
        elif kind == 3:
            self.apply(f"unsqueeze {d}", lambda a: a.unsqueeze(d), p)
        elif kind == 4:
            self.apply("expand", lambda a: a.unsqueeze(0).expand([3, *a.shape]), p)
        elif kind == 5:
            self.apply("flatten", lambda a: a.flatten(), p)
        elif kind == 6 and t.dim() > 1:
            self.apply("diagonal", lambda a: a.diagonal(0, 0, 1), p)
        elif kind == 7:
            self.apply("flip", lambda a: a.flip(d), p)
        else:
            self.apply("contiguous", lambda a: a.contiguous(), p)

    def in_place(self):
        p = self.pick(FLOAT)
        if not p:
            return
        t = p.cpu
        q = self.partner(p)
        if torch.broadcast_shapes(t.shape, q.cpu.shape) != t.shape:
            q = p
        if q is not p and q.contents is p.contents and (q.cpu.shape != t.shape or not (t.is_contiguous() and q.cpu.is_contiguous())):
            q = p  # reads what it writes, elsewhere: PyTorch leaves the result undefined, and only refuses what it can tell
        kind = self.r.randrange(7)
        exact = p.exact and q.exact
        if kind == 0:
            self.apply("add_", lambda a, b: a.add_(b).clamp_(-LIMIT, LIMIT), p, q, exact=exact, out=False)
        elif kind == 1:
            self.apply("mul_", lambda a: a.mul_(2).clamp_(-LIMIT, LIMIT), p, out=False)
        elif kind == 2:
            self.apply("copy_", lambda a, b: a.copy_(b), p, q, exact=q.exact, out=False, reads=False)
        elif kind == 3:
            self.apply("zero_", lambda a: a.zero_(), p, exact=True, out=False, reads=False)
        elif kind == 4:
            self.apply("fill_", lambda a: a.fill_(2), p, exact=True, out=False, reads=False)
        elif kind == 5 and t.dim() and t.shape[0] > 1:
            self.apply("x[1:] += x[:-1]", lambda a: a[1:].add_(a[:-1].clone()).clamp_(-LIMIT, LIMIT), p, out=False)
        elif kind == 6:
            self.apply("relu_", lambda a: a.relu_(), p, out=False)

    def index(self):
        p = self.pick(FLOAT, rank=1, nonempty=True)
        if not p:
            return
        t, r = p.cpu, self.r
        d = r.randrange(t.dim())
        n = t.shape[d]
        count = r.randrange(1, 6)
        ids = torch.tensor([r.randrange(n) for _ in range(count)])
        unique = torch.tensor(r.sample(range(n), min(n, count)))
        kind = r.randrange(7)
        if kind == 0:
            self.apply(f"index_select {d}", lambda a, i: a.index_select(d, i), p, self.both(ids), exact=p.exact)
        elif kind == 1:
            self.apply("x[ids]", lambda a, i: a[i % a.shape[0]], p, self.both(ids), exact=p.exact)
        elif kind == 2:
            index = torch.randint(0, n, t.shape, generator=torch.Generator().manual_seed(r.randrange(1 << 30)))
            self.apply(f"gather {d}", lambda a, i: a.gather(d, i), p, self.both(index), exact=p.exact)
        elif kind == 3:
            self.apply(
                f"index_add {d}",
                lambda a, i: a.index_add(d, i, a.index_select(d, i)).clamp(-LIMIT, LIMIT),
                p,
                self.both(ids),
                exact=p.exact,
            )
        elif kind == 4:
            self.apply(f"index_copy {d}", lambda a, i: a.index_copy(d, i, a.index_select(d, i) * 2), p, self.both(unique), exact=p.exact)
        elif kind == 5:
            self.apply(f"index_fill_ {d}", lambda a, i: a.index_fill_(d, i, 1.0), p, self.both(unique), exact=p.exact, out=False)
        elif kind == 6:
            self.apply(
                "x[ids] += v",
                lambda a, i: a.index_put_((i % a.shape[0],), torch.ones((), device=a.device), accumulate=True),
                p,
                self.both(ids),
                exact=p.exact,
                out=False,
            )

    def bad_index(self):
        """An index out of range among good ones: only what depends on it may suffer."""
        p = self.pick(FLOAT, rank=1, nonempty=True)
        if not p:
            return
        t, r = p.cpu, self.r
        d = r.randrange(t.dim())
        n = t.shape[d]
        good = [r.randrange(n) for _ in range(r.randrange(4))]
        bad = r.choice([n, n + 1, n + 100, -n - 1, 1 << 40])
        ids = torch.tensor(r.sample([*good, bad], len(good) + 1))
        valid = torch.tensor([i if i in good else 0 for i in ids.tolist()])
        at = self.both(ids)
        kind = r.randrange(11)
        like = list(t.shape)
        like[d] = len(ids)
        along = [1] * t.dim()
        along[d] = -1
        grid = lambda i: i.view(along).expand(like).contiguous()
        if kind == 0:
            self.fails(f"bad index_select {d}", lambda a, i: a.index_select(d, i), p, at, valid)
        elif kind == 1:
            self.fails(f"bad x[ids] {d}", lambda a, i: a[(slice(None),) * d + (i,)], p, at, valid)
        elif kind == 2:
            self.fails(f"bad gather {d}", lambda a, i: a.gather(d, i), p, self.both(grid(ids)), grid(valid))
        elif kind == 3:
            flat = self.both(torch.tensor([t.numel()]))
            self.fails("bad take", lambda a, i: a.take(i), p, flat, torch.tensor([0]))
        elif kind == 4 and t.dim() == 2:
            ids = torch.tensor([t.shape[0], 0])
            self.fails("bad embedding", lambda a, i: F.embedding(i, a), p, self.both(ids), torch.tensor([0, 0]))
        elif p.repeats():
            return
        elif kind == 5:
            self.fails(f"bad index_fill_ {d}", lambda a, i: a.index_fill_(d, i, 1.0), p, at, valid, out=False)
        elif kind == 6:
            self.fails(f"bad x[ids] = v {d}", lambda a, i: operator.setitem(a, (slice(None),) * d + (i,), 1.0), p, at, valid, out=False)
        elif kind == 7:
            self.fails(f"bad index_add_ {d}", lambda a, i: a.index_add_(d, i, a.new_ones(like)), p, at, valid, out=False)
        elif kind == 8:
            self.fails(f"bad scatter_ {d}", lambda a, i: a.scatter_(d, i, 1.0), p, self.both(grid(ids)), grid(valid), out=False)
        elif kind == 9:
            self.fails(
                f"bad scatter_add_ {d}",
                lambda a, i: a.scatter_add_(d, i, a.new_ones(like)),
                p,
                self.both(grid(ids)),
                grid(valid),
                out=False,
            )
        elif kind == 10:
            self.fails(f"bad index_copy_ {d}", lambda a, i: a.index_copy_(d, i, a.new_ones(like)), p, at, valid, out=False)

    def wrong_call(self):
        """Shapes, dimensions and dtypes that do not go together."""
        p = self.pick()
        if not p:
            return
        t, n = p.cpu, p.cpu.dim()
        other = torch.zeros([s + 2 for s in t.shape] or [0, 2])
        wrong, labels = self.both(other), self.both(torch.zeros(9999, dtype=INT))
        name, fn, *more = self.r.choice(
            [
                ("add of other sizes", lambda a, b: a + b, wrong),
                ("mul_ of other sizes", lambda a, b: a.mul_(b), wrong),
                ("copy_ of other sizes", lambda a, b: a.copy_(b), wrong),
                ("where of other sizes", lambda a, b: torch.where(b > 0, a, b), wrong),
                ("masked_fill_ by a float", lambda a: a.masked_fill_(a.float(), 1)),
                ("cat of other sizes", lambda a, b: torch.cat([a.unsqueeze(0), b.unsqueeze(0)]), wrong),
                ("stack of other sizes", lambda a, b: torch.stack([a, b.to(a.dtype)]), wrong),
                ("sum of no dimension", lambda a: a.sum(n + 1)),
                ("softmax of no dimension", lambda a: a.float().softmax(-n - 2)),
                ("transpose of no dimension", lambda a: a.transpose(0, n + 1)),
                ("view of another size", lambda a: a.reshape(a.numel() + 1)),
                ("expand to less", lambda a: a.expand([-1] * (n - 1)) if n else a.expand(-1)),
                ("select beyond", lambda a: a.select(0, a.shape[0] if n else 0)),
                ("narrow beyond", lambda a: a.narrow(0, 0, a.shape[0] + 1 if n else 1)),
                ("mm", lambda a: torch.mm(a.float(), a.new_zeros((1001, 2)).float())),
                ("bmm of rank 2", lambda a: torch.bmm(a.reshape(-1, 1), a.reshape(1, -1))),
                ("mean of integers", lambda a: a.to(INT).mean()),
                ("and of floats", lambda a: a.float() & a.float()),
                ("int add_ float", lambda a: a.to(INT).add_(0.5)),
                ("gather by floats", lambda a: a.reshape(-1).gather(0, a.reshape(-1).float())),
                ("index_select by a matrix", lambda a: a.reshape(-1).index_select(0, torch.zeros(2, 2, dtype=INT, device=a.device))),
                ("x[mask] of other sizes", lambda a, b: a[b > 0], wrong),
                ("layer_norm of other sizes", lambda a: F.layer_norm(a.float(), (1001,))),
                ("conv of rank 1", lambda a: F.conv2d(a.float().reshape(-1), a.new_zeros((1, 1, 1, 1)).float())),
                ("cross_entropy of other sizes", lambda a, b: F.cross_entropy(a.float().reshape(-1, 1), b), labels),
            ]
        )  # fmt: skip
        self.refused(name, fn, p, *more)

    def synchronise(self):
        """May be where a failure is told, and nothing else."""
        self.note("synchronize", [])
        try:
            torch.accelerator.synchronize()
        except ERRORS as e:
            if not self.failures or not INDEX_ERROR.search(str(e)):
                raise AssertionError(f"synchronize: {e}") from e

    def join(self):
        p = self.pick(FLOAT, rank=1)
        if not p:
            return
        d = self.r.randrange(p.cpu.dim())
        if self.r.random() < 0.5:
            self.apply(f"cat {d}", lambda a: torch.cat([a, a * 2, a], d).clamp(-LIMIT, LIMIT), p)
        else:
            self.apply("stack", lambda a: torch.stack([a, a + 1]), p)

    def cast(self):
        p = self.pick(exact=True)
        if not p:
            return
        to = self.r.choice([FLOAT, INT, torch.int32, torch.uint8, BOOL, torch.float64])
        self.apply(f"to {to}", lambda a: a.to(to).to(FLOAT).clamp(-LIMIT, LIMIT), p)

    def read(self):
        p = self.pick(nonempty=True, exact=True)
        if p:
            self.apply("item", lambda a: a.flatten()[0].item(), p)

    def drop(self):
        if len(self.pairs) > 3:
            self.pairs.pop(self.r.randrange(len(self.pairs)))

    def run(self):
        kinds = [self.unary, self.inexact_unary, self.binary, self.binary, self.scalar, self.divide, self.compare_where,
                 self.reduce, self.reduce, self.normalise, self.normalise,
                 self.view, self.view, self.view, self.in_place, self.in_place, self.in_place, self.index, self.index, self.join, self.cast,
                 self.read, self.drop, self.new]  # fmt: skip
        if self.r.random() < 0.5:
            kinds += [self.wrong_call, self.wrong_call, self.bad_index, self.synchronise]
        for _ in range(self.r.randrange(5, 41)):
            self.r.choice(kinds)()
        for i, p in enumerate(self.pairs):
            self.compare(f"tensor {i} {list(p.cpu.shape)}", p)
        self.synchronise()

    def forget(self):
        """What has failed and was not told yet is no other program's concern."""
        try:
            torch.accelerator.synchronize()
        except ERRORS:
            pass

    def compare(self, name, p):
        if p.lost:
            try:
                p.dev.cpu()
            except ERRORS as e:
                if not INDEX_ERROR.search(str(e)):
                    raise AssertionError(f"{name} depends on a failed operator, but is told: {e}") from e
                return
            raise AssertionError(f"{name} depends on a failed operator, and is read without an error")
        tol = {"rtol": 0, "atol": 0} if p.exact else {"rtol": 1e-4, "atol": 1e-4}
        torch.testing.assert_close(p.dev.cpu(), p.cpu, equal_nan=True, msg=lambda m: f"{name}: {m}", **tol)


def fuzz(programs, seed, device="anygpu", verbose=False, progress=False, keep_going=False):
    """Runs programs seed, seed + 1, ...; raises AssertionError that names the seed of the first that differs.
    With keep_going it prints the last line of each instead, and raises at the end."""
    start, bad = time.time(), []
    for s in range(seed, seed + programs):
        p = Program(s, device, verbose)
        try:
            p.run()
        except Exception as e:
            if keep_going:
                bad.append(s)
                p.forget()
                print(f"\nprogram {s}: {str(e)[:300]}", flush=True)
                continue
            raise AssertionError(
                f"program {s} differs (repeat: tests/fuzz.py --seed {s} --programs 1 --print)\n  " + "\n  ".join(p.log) + f"\n{e}"
            ) from e
        if progress and (s - seed + 1) % 100 == 0:
            print(f"\r{s - seed + 1} programs, {(s - seed + 1) / (time.time() - start):.0f} a second", end="", flush=True)
    if progress:
        print()
    if bad:
        raise AssertionError(f"{len(bad)} programs differ: seeds {bad[:20]}")


if __name__ == "__main__":
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--programs", type=int, default=10000)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--device", default="anygpu")
    ap.add_argument("--print", dest="verbose", action="store_true")
    ap.add_argument("--keep-going", action="store_true", help="say which programs differ, and go on")
    a = ap.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    try:
        fuzz(a.programs, a.seed, a.device, a.verbose, progress=not a.verbose, keep_going=a.keep_going)
    except AssertionError as e:
        print()
        sys.exit(str(e))
    print(f"{a.programs} programs from seed {a.seed}: no difference")
