#!/usr/bin/env python3
"""Random programs over aliasing tensors, on the device and on PyTorch's CPU: every tensor must agree after every program.

    fuzz.py [--programs 10000] [--seed 0] [--device anygpu] [--keep-going]
    fuzz.py --seed 4711 --programs 1 --print      repeat one program and show its operators

A program has 5 to 40 operators: pointwise, reductions, views, in-place, indexing, copies, casts, reads. Values are small
integers held in floats, so that sums are exact and comparisons are sharp; what division and exp produce is marked inexact
and compared with a tolerance, and never decides a comparison or an index. The seed of a program that differs is printed.
"""

import argparse
import random
import sys
import time

import torch

FLOAT, INT, BOOL = torch.float32, torch.int64, torch.bool
LIMIT = 64


class Program:
    """Pairs of tensors, one on each side, that alias alike; and the operators applied so far."""

    def __init__(self, seed, device, verbose):
        self.r = random.Random(seed)
        self.device, self.verbose = device, verbose
        self.pairs, self.inexact, self.log = [], set(), []
        for _ in range(3):
            self.new()

    # ---- bookkeeping ----

    def group(self, t):
        return t.untyped_storage().data_ptr() if t.numel() else id(t)

    def exact(self, pair):
        return self.group(pair[0]) not in self.inexact

    def push(self, cpu, dev, exact=True):
        if cpu.numel() > 5000:
            return
        if not exact:
            self.inexact.add(self.group(cpu))
        else:
            self.inexact.discard(self.group(cpu)) if not any(self.group(p[0]) == self.group(cpu) for p in self.pairs) else None
        self.pairs.append((cpu, dev))
        if len(self.pairs) > 9:
            self.pairs.pop(self.r.randrange(len(self.pairs)))

    def apply(self, text, fn, *pairs, exact=None, out=True):
        """fn on both sides. An error must be the same kind of error on both."""
        self.log.append(text)
        if self.verbose:
            print("   ", text, [list(p[0].shape) for p in pairs], flush=True)
        want = got = error = None
        try:
            want = fn(*[p[0] for p in pairs])
        except (RuntimeError, IndexError, ValueError, TypeError) as e:
            error = e
        try:
            got = fn(*[p[1] for p in pairs])
        except (RuntimeError, IndexError, ValueError, TypeError) as e:
            if error is None:
                raise AssertionError(f"{text}: only the device raises {type(e).__name__}: {e}") from e
            if type(e) is not type(error):
                raise AssertionError(f"{text}: the device raises {type(e).__name__}, the CPU {type(error).__name__}: {error}") from e
            return
        if error is not None:
            raise AssertionError(f"{text}: only the CPU raises {type(error).__name__}: {error}")
        if exact is None:
            exact = all(self.exact(p) for p in pairs)
        if not out:
            if not exact:
                self.inexact.add(self.group(pairs[0][0]))
            return
        for w, g in zip(want if isinstance(want, (tuple, list)) else [want], got if isinstance(got, (tuple, list)) else [got]):
            if isinstance(w, torch.Tensor):
                self.push(w, g, exact)
            elif w != g and not (w != w and g != g):
                raise AssertionError(f"{text}: {g}, not {w}")

    def pick(self, dtype=None, exact=False, rank=0, nonempty=False):
        fits = [
            p for p in self.pairs
            if (dtype is None or p[0].dtype == dtype) and p[0].dim() >= rank
            and (not exact or self.exact(p)) and (not nonempty or p[0].numel())
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
        name = self.r.choice(["relu", "neg", "abs", "sign", "square"])
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
        same = [q for q in self.pairs if q[0].dtype == p[0].dtype and self.broadcasts(q[0].shape, p[0].shape)]
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
        if not self.exact(q):
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
        t = p[0]
        dims = self.r.sample(range(t.dim()), self.r.randrange(t.dim() + 1)) if t.dim() else []
        keep = self.r.random() < 0.5
        name = self.r.choice(["sum", "mean", "amax", "amin", "argmax", "any", "prod1", "norm"])
        exact = self.exact(p)
        if name == "sum":
            self.apply(f"sum {dims}", lambda a: a.sum(dims, keepdim=keep).clamp(-LIMIT, LIMIT), p)
        elif name == "mean":
            self.apply(f"mean {dims}", lambda a: a.mean(dims, keepdim=keep), p, exact=False)
        elif name in ("amax", "amin"):
            self.apply(f"{name} {dims}", lambda a: getattr(a, name)(dims, keepdim=keep), p)
        elif name == "argmax" and exact and t.dim():
            d = self.r.randrange(t.dim())
            self.apply(f"argmax {d}", lambda a: a.argmax(d, keepdim=keep), p)
        elif name == "any" and exact and t.dim():
            self.apply("any", lambda a: (a > 0).any(0), p)
        elif name == "norm":
            self.apply(f"softmax-like {dims}", lambda a: a - a.logsumexp(dims, keepdim=True) if dims else a, p, exact=False)

    def view(self):
        p = self.pick(rank=1)
        if not p:
            return
        t, r = p[0], self.r
        d, e = r.randrange(t.dim()), r.randrange(t.dim())
        kind = r.randrange(9)
        if kind == 0:
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
        t = p[0]
        q = self.partner(p)
        if torch.broadcast_shapes(t.shape, q[0].shape) != t.shape:
            q = p
        if q is not p and self.group(q[0]) == self.group(t) and (q[0].shape != t.shape or not (t.is_contiguous() and q[0].is_contiguous())):
            q = p  # reads what it writes, elsewhere: PyTorch leaves the result undefined, and only refuses what it can tell
        kind = self.r.randrange(7)
        exact = self.exact(p) and self.exact(q)
        if kind == 0:
            self.apply("add_", lambda a, b: a.add_(b).clamp_(-LIMIT, LIMIT), p, q, exact=exact, out=False)
        elif kind == 1:
            self.apply("mul_", lambda a: a.mul_(2).clamp_(-LIMIT, LIMIT), p, out=False)
        elif kind == 2:
            self.apply("copy_", lambda a, b: a.copy_(b), p, q, exact=exact, out=False)
        elif kind == 3:
            self.apply("zero_", lambda a: a.zero_(), p, out=False)
        elif kind == 4:
            self.apply("fill_", lambda a: a.fill_(2), p, out=False)
        elif kind == 5 and t.dim() and t.shape[0] > 1:
            self.apply("x[1:] += x[:-1]", lambda a: a[1:].add_(a[:-1].clone()).clamp_(-LIMIT, LIMIT), p, out=False)
        elif kind == 6:
            self.apply("relu_", lambda a: a.relu_(), p, out=False)

    def index(self):
        p = self.pick(FLOAT, rank=1, nonempty=True)
        if not p:
            return
        t, r = p[0], self.r
        d = r.randrange(t.dim())
        n = t.shape[d]
        count = r.randrange(1, 6)
        ids = torch.tensor([r.randrange(n) for _ in range(count)])
        unique = torch.tensor(r.sample(range(n), min(n, count)))
        both = lambda i: (i, i.to(self.device))
        kind = r.randrange(7)
        if kind == 0:
            self.apply(f"index_select {d}", lambda a, i: a.index_select(d, i), p, both(ids), exact=self.exact(p))
        elif kind == 1:
            self.apply("x[ids]", lambda a, i: a[i % a.shape[0]], p, both(ids), exact=self.exact(p))
        elif kind == 2:
            index = torch.randint(0, n, t.shape, generator=torch.Generator().manual_seed(r.randrange(1 << 30)))
            self.apply(f"gather {d}", lambda a, i: a.gather(d, i), p, both(index), exact=self.exact(p))
        elif kind == 3:
            self.apply(
                f"index_add {d}",
                lambda a, i: a.index_add(d, i, a.index_select(d, i)).clamp(-LIMIT, LIMIT),
                p,
                both(ids),
                exact=self.exact(p),
            )
        elif kind == 4:
            self.apply(f"index_copy {d}", lambda a, i: a.index_copy(d, i, a.index_select(d, i) * 2), p, both(unique), exact=self.exact(p))
        elif kind == 5:
            self.apply(f"index_fill_ {d}", lambda a, i: a.index_fill_(d, i, 1.0), p, both(unique), exact=self.exact(p), out=False)
        elif kind == 6:
            self.apply(
                "x[ids] += v",
                lambda a, i: a.index_put_((i % a.shape[0],), torch.ones((), device=a.device), accumulate=True),
                p,
                both(ids),
                exact=self.exact(p),
                out=False,
            )

    def join(self):
        p = self.pick(FLOAT, rank=1)
        if not p:
            return
        d = self.r.randrange(p[0].dim())
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
        p = self.pick(nonempty=True)
        if p and self.exact(p):
            self.apply("item", lambda a: a.flatten()[0].item(), p, out=True)

    def drop(self):
        if len(self.pairs) > 3:
            self.pairs.pop(self.r.randrange(len(self.pairs)))

    def run(self):
        kinds = [self.unary, self.inexact_unary, self.binary, self.binary, self.scalar, self.divide, self.compare_where,
                 self.reduce, self.reduce,
                 self.view, self.view, self.view, self.in_place, self.in_place, self.in_place, self.index, self.index, self.join, self.cast,
                 self.read, self.drop, self.new]  # fmt: skip
        for _ in range(self.r.randrange(5, 41)):
            self.r.choice(kinds)()
        for i, (cpu, dev) in enumerate(self.pairs):
            exact = self.exact((cpu, dev))
            tol = {"rtol": 0, "atol": 0} if exact else {"rtol": 1e-4, "atol": 1e-4}
            torch.testing.assert_close(
                dev.cpu(), cpu, equal_nan=True, msg=lambda m, i=i: f"tensor {i} {list(self.pairs[i][0].shape)}: {m}", **tol
            )


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
    try:
        fuzz(a.programs, a.seed, a.device, a.verbose, progress=not a.verbose, keep_going=a.keep_going)
    except AssertionError as e:
        print()
        sys.exit(str(e))
    print(f"{a.programs} programs from seed {a.seed}: no difference")
