"""Runs a function in several processes at once, the ranks of one group. None of them outlives its time, so that no test hangs."""

import faulthandler
import io
import multiprocessing.connection
import os
import time
import traceback
from datetime import timedelta

import torch

# One server imports torch once and forks the ranks: to import it takes longer than most of what they do.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["torch"])

LIMIT = 900  # seconds: far more than any test takes on a loaded machine


class Died(AssertionError):
    """A rank raised, or ended without an answer."""


def run(function, ranks, folder, *args, backend=None, timeout=LIMIT / 3, env=None, expected_to_die=()):
    """[function(rank, *args) of each rank]. The group's store is a file in `folder`. Where a rank raises, the others are ended and its
    traceback is raised here. Ranks `expected_to_die` give None."""
    store = os.path.join(folder, f"store{time.monotonic_ns()}")
    children, pipes = [], []
    for rank in range(ranks):
        mine, its = _context.Pipe(duplex=False)
        setup = (rank, ranks, store, backend, timeout, env or {})
        children.append(_context.Process(target=_rank, args=(its, setup, function, args), daemon=True))
        children[-1].start()
        its.close()
        pipes.append(mine)
    try:
        return _answers(pipes, expected_to_die)
    finally:
        for child in children:
            child.join(timeout=5)
            if child.is_alive():
                child.kill()
                child.join()


def _answers(pipes, expected_to_die):
    answers, until = [None] * len(pipes), time.monotonic() + LIMIT
    left = {pipe: rank for rank, pipe in enumerate(pipes)}
    while left:
        ready = multiprocessing.connection.wait(list(left), timeout=until - time.monotonic())
        if not ready:
            raise Died(f"no answer in {LIMIT} s from ranks {sorted(left.values())}")
        for pipe in ready:
            rank = left.pop(pipe)
            try:
                well, answers[rank] = pipe.recv()
            except EOFError:
                if rank not in expected_to_die:
                    raise Died(f"rank {rank} ended without an answer") from None
                continue
            if not well:
                raise Died(f"rank {rank}:\n{answers[rank]}")
            answers[rank] = torch.load(io.BytesIO(answers[rank]))
    return answers


def _rank(pipe, setup, function, args):
    rank, ranks, store, backend, timeout, env = setup
    os.environ.update({"OMP_NUM_THREADS": "1", **env})
    faulthandler.dump_traceback_later(LIMIT - 10, exit=True)
    import torch.distributed as dist

    torch.set_num_threads(1)
    try:
        dist.init_process_group(
            backend, store=dist.FileStore(store, ranks), rank=rank, world_size=ranks, timeout=timedelta(seconds=timeout)
        )
        answer = io.BytesIO()
        torch.save(function(rank, *args), answer)  # tensors by value: those that a pipe takes live in files of the sender
        dist.destroy_process_group()
        pipe.send((True, answer.getvalue()))
    except BaseException:
        pipe.send((False, traceback.format_exc()))
        pipe.close()
        os._exit(1)
