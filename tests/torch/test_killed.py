"""A process that is killed while it compiles leaves a cache that the next one can use."""

import pytest
from test_vulkan import needs_driver

SCRIPT = """
    import os, pathlib, random, signal, sys, time
    import torch, anygpu

    def program(seed, device):
        r = random.Random(seed)
        x = y = torch.arange(1000, device=device) / 1000
        for _ in range(6):
            y = getattr(torch, r.choice(["sin", "cos", "tanh", "sigmoid", "neg", "abs"]))(y) * r.choice([0.5, 2.0]) + x
        return y.cpu()

    cache = pathlib.Path(os.environ["ANYGPU_CACHE_DIR"])
    kept = lambda: [f for f in cache.rglob("*") if f.is_file() and not f.name.startswith("new-")]
    for turn in range(5):
        child = os.fork()
        if child == 0:
            for seed in range(10_000):
                program(seed + 100 * turn, "anygpu")
        # Once there is something to harm, at any moment; half of the time just when a file is being written.
        start = time.time()
        while time.time() - start < 600 and not kept():
            time.sleep(0.01)
        before, moment = time.time(), random.Random(turn).random()
        while time.time() - before < moment and not (turn % 2 and list(cache.rglob("new-*"))):
            pass
        os.kill(child, signal.SIGKILL)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL, "the child ended by itself"
    assert kept()
    for seed in (0, 1, 100, 250):
        torch.testing.assert_close(program(seed, "anygpu"), program(seed, "cpu"))
    print("right")
"""


@pytest.mark.parametrize("device", ["cpu", pytest.param("vulkan", marks=needs_driver)])
def test_the_next_process_uses_what_is_there(python, tmp_path, device):
    out = python(SCRIPT, ANYGPU_DEVICES=device, ANYGPU_CACHE_DIR=str(tmp_path), ANYGPU_VULKAN_VALIDATE="")
    assert out.strip() == "right"
