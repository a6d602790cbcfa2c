"""Tests of the PyTorch frontend. PYTHONPATH=<build>/python runs those of a build tree. A missing operator is an error here, never a
silent detour over the CPU; tests of the detour are marked `fallback`."""

import os
import subprocess
import sys
import textwrap

os.environ.setdefault("ANYGPU_FALLBACK", "error")

import pytest  # noqa: E402
import torch  # noqa: E402

import anygpu  # noqa: E402
from anygpu import _torch  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "fallback: missing operators may run on the CPU in this test")


@pytest.fixture(autouse=True)
def _fallback_mode(request):
    before = _torch.fallback_mode()
    if request.node.get_closest_marker("fallback"):
        _torch.set_fallback_mode("silent")
    yield
    _torch.set_fallback_mode(before)


@pytest.fixture(autouse=True)
def _clean_device():
    """No test leaves an error, a limit or another current device behind."""
    yield
    torch.anygpu.set_memory_limit(0)
    torch.anygpu.set_device(0)
    try:
        anygpu.synchronize()
    except RuntimeError:
        pass


@pytest.fixture
def python():
    """Runs a script in a process of its own; returns what it printed. The exit status must be 0 unless `fails`."""

    def run(script, fails=False, timeout=1800, **env):
        done = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(script)],
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **env},
        )
        assert (done.returncode != 0) == fails, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stderr if fails else done.stdout

    return run
