"""./run bench runs: one small problem of each way to measure, its table, JSON and plot; and every problem of the data files can be made."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
from test_vulkan import needs_driver

import anygpu

BENCH = pathlib.Path(__file__).parents[2] / "bench"


def bench(*arguments):
    env = dict(os.environ, PYTHONPATH=str(pathlib.Path(anygpu.__file__).parents[1]))
    env.pop("ANYGPU_BENCH_PYTHON", None)
    return subprocess.run([sys.executable, str(BENCH / "run.py"), *arguments], capture_output=True, text=True, env=env)


def test_measures_and_writes(tmp_path):
    chosen = ["matmul 128x512x10", "host torch.relu(x)", "row sum 1024x1024"]
    done = bench("--only", ",".join(chosen), "--no-compile", "--rounds", "1", "--out", str(tmp_path), "--plot", str(tmp_path / "p.png"))
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "bench.json").read_text())["results"]
    assert sorted(name for group in results.values() for name in group) == sorted(chosen)
    assert all(r["anygpu"] > 0 and r["eager"] > 0 for group in results.values() for r in group.values())
    rows = [line for line in done.stdout.splitlines() if line.startswith(tuple(chosen))]
    assert len(rows) == 3 and len({len(row) for row in rows}) == 1, "columns are aligned"
    assert (tmp_path / "p.png").stat().st_size > 1000


@needs_driver
def test_measures_without_its_rival(tmp_path):
    done = bench("--group", "vulkan", "--only", "host x + y", "--rounds", "1", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads((tmp_path / "bench.json").read_text())["results"]["vulkan"].values()
    assert row["anygpu"] > 0 and "torchvulkan" not in row and "torchvulkan is not installed" in row["note"]


def test_says_what_it_does_not_know():
    done = bench("--only", "no such problem")
    assert done.returncode == 2 and "nothing matches" in done.stderr
    assert "gpt step" in bench("--list").stdout


@pytest.fixture(scope="module")
def kinds():
    sys.path.insert(0, str(BENCH))
    try:
        import kinds
        import run
    finally:
        sys.path.remove(str(BENCH))
    return kinds, run


def test_problems_name_what_exists(kinds):
    kinds, run = kinds
    for group, (about, problems) in run.problems().items():
        assert about and problems, group
        names = [p["name"] for p in problems]
        assert len(set(names)) == len(names), f"{group} has a name twice"
        for p in problems:
            if p["kind"] in ("function", "host"):
                kinds._call(p)
            assert p["kind"] in ("special", "distributed") or p["kind"] in kinds.KINDS
