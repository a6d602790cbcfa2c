"""A short run of tests/fuzz.py in each mode; run the script itself for long ones."""

import os
import pathlib
import subprocess
import sys

import pytest

FUZZ = pathlib.Path(__file__).parents[1] / "fuzz.py"


@pytest.mark.parametrize("mode,programs,seed", [("", 200, 0), ("ANYGPU_EAGER", 100, 100_000), ("ANYGPU_VERIFY", 100, 200_000)])
def test_random_programs(mode, programs, seed):
    env = {**os.environ, **({mode: "1"} if mode else {})}
    run = subprocess.run(
        [sys.executable, FUZZ, "--programs", str(programs), "--seed", str(seed)], capture_output=True, text=True, timeout=1800, env=env
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
