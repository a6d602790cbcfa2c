"""anygpu bench: once for real on the processor, and with a PyTorch that only pretends, which is quick and fails as told."""

import json
import os
import pty
import re
import subprocess
import sys

import pytest

CPU = {"ANYGPU_DEVICES": "cpu"}
LIBRARY = ["upload", "download", "copy", "pointwise", "matmul"]
COMPARED = ["copy", "pointwise", "matmul", "training"]

PRETENDER = """#!{python}
import json, sys
def say(**line): print(json.dumps(line), flush=True)
if sys.argv[3] == "plot":
    open(sys.argv[4], "w").write(sys.argv[5])
else:
    say(pytorch="2.99", threads=3, matplotlib={matplotlib})
    for request in sys.argv[6:]:
        name, _, sizes = request.partition("=")
        for size in sizes.split(",")[-1:]:
            {measure}
"""


@pytest.fixture
def pretend(tmp_path):
    """pretend(what is done for a measure): a file that --python takes for a Python with PyTorch."""

    def make(measure="say(measure=name, size=int(size), seconds=0.5, per_second=2.0)", matplotlib=True):
        file = tmp_path / "python"
        file.write_text(PRETENDER.format(python=sys.executable, measure=measure, matplotlib=matplotlib))
        file.chmod(0o755)
        return file

    return make


def bench(command, *more, **options):
    return command("bench", "--seconds", "1", *more, timeout=1800, env=options.pop("env", CPU), **options)


def test_measures_and_compares(command, tmp_path):
    picture = tmp_path / "bench.png"
    done = bench(command, "--json", "--plot", picture, "--python", sys.executable)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["missing"] == [] and report["pytorch"]["threads"] >= 1
    assert [d["device"] for d in report["devices"]] == ["anygpu:0"] and report["devices"][0]["backend"] == "cpu"
    assert [m["measure"] for m in report["measures"]] == LIBRARY + ["training"]
    for measure in report["measures"]:
        by = {r["device"]: r for r in measure["results"]}
        assert all(r["value"] > 0 and r["seconds"] > 0 for r in by.values()), measure
        if measure["measure"] in COMPARED:
            assert set(by) == {"pytorch-cpu", "anygpu:0"} and by["pytorch-cpu"]["size"] == by["anygpu:0"]["size"]
            assert by["anygpu:0"]["ratio"] == pytest.approx(by["anygpu:0"]["value"] / by["pytorch-cpu"]["value"])
        else:
            assert set(by) == {"anygpu:0"} and "ratio" not in by["anygpu:0"]
    # What is counted is what the sizes say.
    for name, work in {"copy": lambda n: 2 * n / 1e9, "matmul": lambda n: 2 * n**3 / 1e9, "training": lambda n: n}.items():
        (result,) = [r for m in report["measures"] for r in m["results"] if m["measure"] == name and r["device"] == "anygpu:0"]
        assert result["value"] == pytest.approx(work(result["size"]) / result["seconds"])
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_table(command, pretend):
    done = bench(command, "--python", pretend())
    assert done.returncode == 0 and done.stderr == "", "no progress where no terminal is"
    assert "against PyTorch 2.99 on the CPU, 3 threads" in done.stdout and "missing" not in done.stdout
    assert re.search(r"^training step of a small CNN, 64 images +images/s +x PyTorch$", done.stdout, re.M)
    assert re.search(r"^  PyTorch on the CPU +2\.00 +1\.00  #{24}$", done.stdout, re.M)
    assert re.search(r"^  anygpu:0 +2\.00 +1\.00  #{24}$", done.stdout, re.M)
    assert max(map(len, done.stdout.splitlines())) <= 100 and "\x1b" not in done.stdout


def test_progress_on_a_terminal(command, pretend):
    main, terminal = pty.openpty()
    environment = os.environ | CPU | {"TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [command.path, "bench", "--seconds", "1", "--python", pretend("say(start=name, size=1)")],
        stdout=subprocess.PIPE, stderr=terminal, stdin=subprocess.DEVNULL, env=environment, text=True,
    )  # fmt: skip
    out, _ = process.communicate(timeout=1800)
    os.close(terminal)
    said = os.read(main, 1 << 16).decode()
    os.close(main)
    assert "[1/10] anygpu:0: copy to the device" in said and "anygpu:0: training step" in said
    assert said.endswith("\r\x1b[K"), "the line is taken away in the end"
    assert process.returncode == 1 and "anygpu:0, training: gave no answer" in out


@pytest.mark.parametrize(
    "measure, why",
    [
        ("say(measure=name, error='RuntimeError: no such thing')", "RuntimeError: no such thing"),
        ("import os; os.kill(os.getpid(), 11)", "ended by signal 11"),
        ("sys.exit('ImportError: no torch')", "exit status 1; it said: ImportError: no torch"),
        ("print('not JSON')", "gave no answer"),
    ],
)
def test_what_fails_is_missing(command, pretend, measure, why):
    done = bench(command, "--json", "--python", pretend(measure))
    report = json.loads(done.stdout)
    assert done.returncode == 1 and [m["measure"] for m in report["measures"]] == LIBRARY
    told = {(m["device"], m["measure"]): m["why"] for m in report["missing"]}
    assert set(told) == {("anygpu:0", "training")} | {("pytorch-cpu", name) for name in ("copy", "pointwise", "matmul")}
    assert all(why in text for text in told.values()), told


def test_without_pytorch(command, tmp_path):
    """What the library does alone is measured, and what is missing is said."""
    environment = CPU | {"HOME": str(tmp_path), "VIRTUAL_ENV": "", "CONDA_PREFIX": ""}
    done = bench(command, "--plot", tmp_path / "x.png", env=environment, cwd=tmp_path)
    if "against PyTorch" in done.stdout:
        pytest.skip("a Python of the machine's own has PyTorch and anygpu")
    assert "matrix product" in done.stdout and "training step" not in done.stdout
    assert "PyTorch on the CPU: no Python with PyTorch and anygpu was found" in done.stdout and "--python FILE" in done.stdout
    assert done.returncode == 73 and "needs PyTorch to compare with" in done.stderr and not (tmp_path / "x.png").exists()


def test_picture(command, pretend, tmp_path):
    done = bench(command, "--python", pretend(), "--plot", tmp_path / "x.png")
    assert done.returncode == 0 and f"written: {tmp_path}/x.png" in done.stdout
    assert json.loads((tmp_path / "x.png").read_text())["pytorch"]["version"] == "2.99"
    done = bench(command, "--python", pretend(matplotlib=False), "--plot", tmp_path / "y.png")
    assert done.returncode == 73 and "has no matplotlib" in done.stderr and "matrix product" in done.stdout


def test_devices(command, pretend):
    two = {"ANYGPU_DEVICES": "cpu,cpu"}
    report = json.loads(bench(command, "--json", "--device", "anygpu:1", "--python", pretend(), env=two).stdout)
    assert [d["device"] for d in report["devices"]] == ["anygpu:1"]
    done = bench(command, "--device", "anygpu:7")
    assert done.returncode == 64 and "there is no device 'anygpu:7'" in done.stderr
    done = bench(command, env={"ANYGPU_DEVICES": "nonsense"})
    assert done.returncode == 69 and "nonsense" in done.stderr and "anygpu doctor" in done.stderr
    done = bench(command, "--json", "--python", pretend(), env={"ANYGPU_DEVICES": "cpu,nonsense"})
    assert done.returncode == 1 and [m["device"] for m in json.loads(done.stdout)["missing"]] == ["anygpu:1"]


@pytest.mark.parametrize("wrong", [["--seconds", "0"], ["--seconds", "many"], ["--python", "/nowhere"], ["extra"]])
def test_usage(command, wrong):
    assert command("bench", *wrong).returncode == 64
