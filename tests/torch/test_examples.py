"""The examples do what the README says, on the device and on stock PyTorch."""

import gzip
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def train(out, *args):
    run = subprocess.run(
        [sys.executable, ROOT / "examples/train_digits.py", "--epochs", "5", "--out", out, *args],
        capture_output=True, text=True, timeout=1800, env={**os.environ, "ANYGPU_FALLBACK": "error"},
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_digits_agree_with_stock_pytorch(tmp_path):
    text = train(tmp_path)
    train(tmp_path, "--device", "cpu")
    ours, theirs = (json.loads((tmp_path / f"digits_{d}.json").read_text()) for d in ("anygpu", "cpu"))
    assert len(ours) == len(theirs) >= 100
    assert max(abs(a - b) for a, b in zip(ours[:100], theirs[:100])) < 1e-3
    rows = dict(line.rsplit(None, 1) for line in text.splitlines() if "  " in line)
    assert float(rows["test accuracy"].rstrip("%")) >= 97
    assert rows["plans compiled after warm-up"] == "0"
    assert rows["fallbacks"] == "0"
    assert (tmp_path / "digits_anygpu.pt").stat().st_size > 0
    assert (tmp_path / "digits_anygpu.png").stat().st_size > 0


def test_digits_in_cpp(tmp_path):
    import anygpu

    program = pathlib.Path(anygpu.__file__).absolute().parents[2] / "examples/train_digits"
    if not program.exists():
        pytest.skip(f"no {program}: the package was not imported from a build tree")
    import sklearn.datasets

    packed = pathlib.Path(sklearn.datasets.__file__).parent / "data/digits.csv.gz"
    (tmp_path / "digits.csv").write_bytes(gzip.decompress(packed.read_bytes()))
    run = subprocess.run([program, tmp_path / "digits.csv"], capture_output=True, text=True, timeout=1800)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "device anygpu" in run.stdout
    assert float(run.stdout.split("test accuracy")[1].split("%")[0]) >= 97
