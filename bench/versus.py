"""Problems with a rival ("against") that lives in a virtual environment of its own, whose Python ANYGPU_BENCH_PYTHON names. Both run in
processes of their own, on the same Vulkan device, sample by sample in turn."""

import atexit
import json
import os
import pathlib
import statistics
import subprocess
import sys

import kinds
import measure

import anygpu

# Of what is compared: losses after equal steps, means of results.
TOLERANCE = 0.02
COPY = {"kind": "function", "call": "torch.neg(x)", "inputs": {"x": [1 << 24]}}
COPY_BYTES = 8 << 24


class Contestant:
    def __init__(self, who, python, env):
        self.who = who
        command = [python, str(pathlib.Path(__file__).with_name("contestant.py")), who]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        atexit.register(self.process.kill)

    def ask(self, **request):
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except OSError:
            pass  # it has ended: no answer comes
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.who} ended with {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{self.who}: {answer['error']}")
        return answer


_running = {}


def contestant(who):
    """Started when first asked for, and again where it has ended."""
    if who not in _running or _running[who].process.poll() is not None:
        env = dict(os.environ)
        python = env.get("ANYGPU_BENCH_PYTHON")
        if who == "anygpu":
            python = sys.executable
            env |= {"ANYGPU_DEVICES": env.get("ANYGPU_DEVICES", "vulkan:0"), "PYTHONPATH": str(pathlib.Path(anygpu.__file__).parents[1])}
        elif not python:
            raise RuntimeError(
                f"{who} is not installed: ANYGPU_BENCH_PYTHON names no Python that has it (./run bench --group vulkan makes one)"
            )
        else:
            env.pop("PYTHONPATH", None)
        _running[who] = Contestant(who, python, env)
    return _running[who]


def same(problem, values):
    ours, theirs = (values[w] for w in ("anygpu", problem["against"]))
    if ours is not None and not abs(ours - theirs) <= TOLERANCE * abs(theirs) + 1e-3:
        raise RuntimeError(f"the two compute different things: anygpu {ours:.6g}, {problem['against']} {theirs:.6g}")


def run(problem, rounds, with_compile):
    """{who: median seconds}, and a note: operations or bytes a second, the latter as a share of a plain copy's."""
    rival = problem["against"]
    jobs = [("anygpu", "problem", problem), (rival, "problem", problem)]
    if problem.get("bandwidth"):
        jobs.insert(1, ("anygpu", "copy", COPY))
    made, failed = {}, None
    for who, name, what in jobs:
        try:
            made[who, name] = contestant(who).ask(make=name, problem=what, first=name == "problem")
        except RuntimeError as error:
            if who == "anygpu":
                raise
            failed = str(error)
    if not failed:
        same(problem, {w: made[w, "problem"]["value"] for w in ("anygpu", rival)})
    times = {key: [] for key in made}
    for _ in range(rounds * 3 if problem["kind"] in measure.THOUSANDS else rounds):
        for (who, name), all_of in times.items():
            all_of.append(contestant(who).ask(sample=name, repeats=made[who, name]["repeats"])["seconds"])
    median = {key: statistics.median(t) for key, t in times.items()}
    result = {who: median[who, "problem"] for who, name in made if name == "problem"}
    notes = []
    if "operations" in problem:
        notes.append(", ".join(f"{w} {problem['operations'] / s / 1e9:.1f} GFLOP/s" for w, s in result.items()))
    if problem.get("bandwidth"):
        ours, copy = kinds.least_bytes(problem) / result["anygpu"], COPY_BYTES / median["anygpu", "copy"]
        notes.append(f"{ours / 1e9:.1f} GB/s, {100 * ours / copy:.0f} % of a copy shader's")
    if failed:
        notes.append(f"no figure of the rival: {failed}")
    return {**result, "note": "; ".join(notes)}
