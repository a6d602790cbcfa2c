"""What ./run says on machines that it cannot set up: its tools are replaced by ones that answer as such a machine's do."""

import os
import pathlib
import shutil
import subprocess

import guides
import pytest

INSTALLED = 'echo "install ok installed"'
OFFERED = 'printf "x:\\n  Installed: (none)\\n  Candidate: 1:19\\n"'


@pytest.fixture
def said(tmp_path):
    """said(**programs): the error message of `./run setup`, with these shell scripts in place of programs."""

    def run(**programs):
        shutil.copy(guides.ROOT / "run", tmp_path / "run")
        for name, text in programs.items():
            path = pathlib.Path(tmp_path, name.replace("_", "-"))
            path.write_text(f"#!/bin/sh\n{text}\n")
            path.chmod(0o755)
        env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", tmp_path / "run", "setup"], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1800
        )
        assert done.returncode == 1 and not (tmp_path / ".venv").exists()
        return done.stderr

    return run


def test_user_without_sudo(said):
    text = said(id="echo 1000", sudo="exit 1", dpkg_query="exit 1", apt_cache=OFFERED)
    assert "could not be installed" in text and "sudo apt-get update && sudo apt-get install -y g++ cmake" in text


def test_user_without_sudo_and_without_lists_of_packages(said):
    assert "Type: sudo apt-get update" in said(id="echo 1000", sudo="exit 1", dpkg_query="exit 1", apt_cache="true")


def test_no_network(said):
    text = said(id="echo 0", apt_get="exit 100", dpkg_query="exit 1", apt_cache="true")
    assert "apt-get update failed with status 100" in text and "network" in text


def test_distribution_without_llvm(said):
    assert "no LLVM 15 or newer: take Debian 12" in said(id="echo 0", apt_get="true", dpkg_query="exit 1", apt_cache="true")


def test_distribution_with_an_old_cmake(said):
    text = said(dpkg_query=INSTALLED, cmake='echo "cmake version 3.22.1"')
    assert "its CMake is 3.22.1, and 3.25 is needed" in text
