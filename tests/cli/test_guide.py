"""docs/guide/not-seen.md: each anchor that the doctor names is there, each command is run, and what it is said to print is printed.

A block's first words say what is done with it: `sh` is run here, `sh install` is simulated by apt, `sh container` is run in
test_podman.py, and `powershell`, "# only in WSL" and "# only with a GPU" are for machines that a test is not."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import layouts
import pytest

ROOT = pathlib.Path(__file__).parents[2]
GUIDE = ROOT / "docs/guide/not-seen.md"
RUSSIAN = ROOT / "docs/guide/ru/not-seen.md"


def blocks(path=GUIDE):
    return re.findall(r"^```([a-z ]+)\n(.*?)^```$", path.read_text(), re.M | re.S)


def anchors(path):
    return re.findall(r'^<a id="([a-z0-9-]+)"></a>\n#', path.read_text(), re.M)


def kind(block):
    name, body = block
    if body.startswith(("# only in WSL\n", "# only with a GPU\n")):
        return "elsewhere"
    return {"powershell": "elsewhere", "text": "text"}.get(name, name)


HERE = [body for name, body in blocks() if kind((name, body)) == "sh"]
INSTALL = [body for name, body in blocks() if kind((name, body)) == "sh install"]


def named_by_the_doctor():
    """The last argument of each finding that has a mend: an anchor, or a choice of two."""
    found = set()
    for source in (ROOT / "src/cli/doctor").glob("*.cpp"):
        for call in re.findall(r"findings\.(?:warn|fail)\((.*?)\);", source.read_text(), re.S):
            last = call.rsplit(",", 1)[1]
            names = re.findall(r'"([a-z0-9-]+)"', last)
            assert names, f"{source.name}: a finding without a guide: {call}"
            found |= set(names)
    return found


def test_anchors():
    names = anchors(GUIDE)
    assert len(names) == len(set(names)) > 20
    assert set(names) == named_by_the_doctor()


def test_every_recorded_failure_leads_into_the_guide(command, tmp_path):
    for name in layouts.names():
        (tmp_path / name).mkdir()
        report = command.json("doctor", "--root", layouts.expand(layouts.load(name), tmp_path / name))
        for finding in report["findings"]:
            if finding["status"] in ("warn", "fail"):
                path, _, anchor = finding["guide"].partition("#")
                assert ROOT / path == GUIDE and anchor in anchors(GUIDE)


def test_russian_guide_has_the_same_anchors_and_commands():
    assert anchors(RUSSIAN) == anchors(GUIDE)
    assert blocks(RUSSIAN) == blocks()
    # Links within a page lead somewhere.
    for path in (GUIDE, RUSSIAN):
        assert set(re.findall(r"\]\(#([a-z0-9-]+)\)", path.read_text())) <= set(anchors(path))


def test_every_block_is_of_a_known_kind():
    assert {kind(b) for b in blocks()} == {"sh", "sh install", "sh container", "elsewhere", "text"}
    assert len(HERE) > 10 and len(INSTALL) == 3


def test_report_in_the_guide_is_what_is_printed(command, tree):
    done = command("doctor", "--root", tree("amd_no_permission"))
    assert ("text", done.stdout) in blocks()


@pytest.mark.parametrize("body", HERE)
def test_command(command, tmp_path, body):
    (tmp_path / "anygpu").symlink_to(command.path)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-uec", body], capture_output=True, text=True, timeout=60, env=environment)
    if "cdi generate" in body and done.returncode == 69:
        assert "lavapipe is not installed here" in done.stderr
        return
    assert done.returncode in ((0, 1, 2) if "anygpu doctor" in body or "cdi list" in body else (0,)), done.stdout + done.stderr
    if "--json" in body:
        json.loads(done.stdout)


@pytest.mark.parametrize("body", INSTALL)
def test_install(tmp_path, body):
    """apt knows the packages and what they need; nothing is installed."""
    apt = shutil.which("apt-get")
    if not apt:
        pytest.skip("needs apt")
    (tmp_path / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
    (tmp_path / "apt-get").write_text(f'#!/bin/sh\nexec {apt} --simulate "$@"\n')
    for name in ("sudo", "apt-get"):
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["bash", "-uec", body],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LC_ALL": "C"},
    )
    if "Unable to locate package" in done.stderr and not list(pathlib.Path("/var/lib/apt/lists").glob("*Packages*")):
        pytest.skip("needs the lists of packages: apt-get update")
    assert done.returncode == 0, done.stderr
