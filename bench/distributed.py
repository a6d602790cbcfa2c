"""Problems of several processes: what a step, or a collective, takes when ranks share the work, against stock PyTorch on the CPU with Gloo.

training     a DistributedDataParallel step of "model": each rank has as many rows as one process alone, and its share of the cores
all_reduce   "bytes" of floats

All ranks run all contestants in turn. `distributed.py PROBLEM(json) ROUNDS RANK RANKS STORE` is one rank; the first prints the times.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

RANKS = 2
WHO = ("anygpu", "eager")
SECONDS_A_SAMPLE = 0.3


def run(problem, rounds, with_compile):
    """{who: median seconds}. Of a training step the note says how much of the work of so many processes alone is done in that time."""
    ranks = problem.get("ranks", RANKS)
    times = _measure(problem, rounds, ranks)
    if problem["what"] != "training":
        return times
    alone = _measure(problem, rounds, 1, share=ranks)
    scaling = ", ".join(f"{w} {ranks * alone[w] / times[w]:.2f}" for w in WHO)
    return {**times, "note": f"{ranks} ranks do the work of: {scaling}"}


def _measure(problem, rounds, ranks, share=None):
    import anygpu

    threads = max(1, len(os.sched_getaffinity(0)) // (share or ranks))
    env = dict(os.environ, OMP_NUM_THREADS=str(threads), PYTHONPATH=str(pathlib.Path(anygpu.__file__).parents[1]))
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, json.dumps(problem), str(rounds)]
        started = [
            subprocess.Popen(
                [*command, str(r), str(ranks), f"{folder}/store"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            for r in range(ranks)
        ]
        said = [p.communicate() for p in started]
    if any(p.returncode for p in started):
        raise RuntimeError("a rank failed:\n" + "\n".join(err[-1000:] for _, err in said))
    return json.loads(said[0][0].splitlines()[-1])


# ---- a rank ----


def _training(problem, who):
    import measure
    import models
    from torch.nn.parallel import DistributedDataParallel

    training = models.Training(problem["model"], measure.device_of(who))
    training.forward = DistributedDataParallel(training.model)
    return training.step


def _all_reduce(problem, who):
    import measure
    import torch
    import torch.distributed as dist

    t = torch.zeros(problem["bytes"] // 4, device=measure.device_of(who))
    return lambda i: dist.all_reduce(t)


def _rank(problem, rounds, rank, ranks, store):
    import measure
    import torch
    import torch.distributed as dist

    dist.init_process_group(store=dist.FileStore(store, ranks), rank=rank, world_size=ranks)
    steps = {w: {"training": _training, "all_reduce": _all_reduce}[problem["what"]](problem, w) for w in WHO}

    def seconds(who, repeats):
        dist.barrier()
        start = time.perf_counter()
        for i in range(repeats):
            steps[who](i)
        measure.settle(who)
        return (time.perf_counter() - start) / repeats

    repeats = {}
    for w in WHO:
        seconds(w, 5)
        agreed = torch.tensor(max(1, int(SECONDS_A_SAMPLE / seconds(w, 3))))
        dist.broadcast(agreed, 0)
        repeats[w] = agreed.item()
    samples = {w: [] for w in WHO}
    for _ in range(rounds):
        for w in WHO:
            samples[w].append(seconds(w, repeats[w]))
    if rank == 0:
        print(json.dumps({w: statistics.median(s) for w, s in samples.items()}))
    dist.destroy_process_group()


if __name__ == "__main__":
    _rank(json.loads(sys.argv[1]), *map(int, sys.argv[2:5]), sys.argv[5])
