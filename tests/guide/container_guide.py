"""The commands of docs/guide/containers.md, typed in this tree, one block after the other. `./run container` runs this when it has made
the images; podman and docker are then the programs of build-container/bin, which add what this machine asks for, and no network.
A block whose engine is not here is skipped."""

import os
import pathlib
import re
import shutil
import subprocess

import guides
import pytest

ROOT = guides.ROOT
SPEC = pathlib.Path("/var/run/cdi/anygpu.json")
PROGRAMS = ROOT / "build-container/bin"
BLOCKS = [b for b in guides.blocks("containers.md") if b.kind == "sh image"]


def answers(*words):
    if not shutil.which(words[0], path=f"{PROGRAMS}:{os.environ['PATH']}"):
        return ""
    done = subprocess.run(words, capture_output=True, text=True, timeout=1800)
    return done.stdout.strip() if done.returncode == 0 else ""


def missing(body):
    """Why a block cannot be run here; empty where it can."""
    if "docker " in body and not (PROGRAMS / "docker").exists():
        return "no docker engine that reads CDI files answers"
    if "ctr " in body and not re.match(r"[2-9]\.", containerd()):
        return "no containerd 2.0 or newer answers"
    return ""


def containerd():
    """Its version, by ctr."""
    found = re.search(r"Server:\s*Version:\s*(\S+)", answers("ctr", "version"))
    return found[1] if found else ""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """What the first block puts into /var/run/cdi is taken away again, and sudo does nothing but go on."""
    if not PROGRAMS.exists() or os.geteuid() != 0:
        pytest.skip("needs root, and what ./run container makes before it comes here")
    here = SPEC.exists()
    folder = tmp_path_factory.mktemp("programs")
    (folder / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
    (folder / "sudo").chmod(0o755)
    (folder / "anygpu").symlink_to(ROOT / "build/bin/anygpu")
    yield os.environ | {"PATH": f"{folder}:{PROGRAMS}:{os.environ['PATH']}"}
    if not here:
        SPEC.unlink(missing_ok=True)


def test_there_are_commands_for_each_engine():
    assert len(BLOCKS) >= 6 and all(any(f"{e} " in b.body for b in BLOCKS) for e in ("podman", "docker", "ctr"))


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_block(environment, block):
    if why := missing(block.body):
        pytest.skip(why)
    done = subprocess.run(["bash", "-euc", block.body], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    lacking = guides.matches(block.prints, done.stdout)
    assert lacking is None, f"{block} does not print: {lacking}\nIt prints:\n{done.stdout}"
    for accuracy in re.findall(r"^test accuracy\s+([\d.]+)%", done.stdout, re.M):
        assert float(accuracy) > 95


def test_without_the_device_there_is_none(environment):
    """What passes above passes because of the option."""
    words = ["podman", "run", "--rm", "-e", "ANYGPU_DEVICES=vulkan", "localhost/anygpu", "anygpu", "devices"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 69 and "Vulkan reaches" not in done.stdout, done.stdout
