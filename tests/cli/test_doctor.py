"""anygpu doctor: recorded machines, garbage, and this machine."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import layouts
import pytest

GUIDE = "docs/guide/not-seen.md#"


def matches(finding, expected):
    return (
        finding["status"] == expected.status
        and finding["chain"] == expected.chain
        and expected.link in finding["link"]
        and expected.found in finding["found"]
        and expected.mend in finding.get("mend", "")
        and (not expected.guide or finding.get("guide") == GUIDE + expected.guide)
    )


@pytest.mark.parametrize("name", layouts.names())
def test_layout(command, tree, name):
    layout = layouts.load(name)
    assert layout.expected and layout.exit_status is not None, "a layout without an expectation tests nothing"
    done = command("doctor", "--root", tree(name), "--json")
    report = json.loads(done.stdout)
    for expected in layout.expected:
        if expected.status in ("warn", "fail"):
            assert expected.mend and expected.guide, "say which mend is expected"
        assert any(matches(f, expected) for f in report["findings"]), f"not found: {expected}\nin:\n" + json.dumps(
            report["findings"], indent=1
        )
    # Nothing else is wrong: a layout that is broken in one link must not be said to be broken in others.
    for finding in report["findings"]:
        if finding["status"] == "fail" or (finding["status"] == "warn" and finding["chain"] != "reach"):
            assert any(matches(finding, e) for e in layout.expected), f"unexpected: {finding}"
    assert done.returncode == layout.exit_status == (2 if report["fail"] else 1 if report["warn"] else 0)
    assert done.stderr == ""


def test_there_are_enough_layouts():
    broken = [name for name in layouts.names() if layouts.load(name).exit_status]
    assert len(broken) >= 12


def test_every_mend_is_shown_on_one_screen(command, tree):
    """Without --json: the mend and the guide of each failure, and no more than a screen."""
    layout = layouts.load("vm_without_venus")
    done = command("doctor", "--root", tree("vm_without_venus"))
    for expected in layout.expected:
        assert f"guide: {GUIDE}{expected.guide}" in done.stdout and expected.mend in done.stdout
    assert len(done.stdout.splitlines()) <= 40
    assert "\x1b" not in done.stdout, "colour is for terminals"


def test_screen_is_kept_where_much_is_wrong(command, tree):
    root = tree("amd_no_permission")
    for i in range(60):
        (root / f"usr/share/vulkan/icd.d/zz_radeon_{i}.json").write_text("{")
    short = command("doctor", "--root", root).stdout
    assert len(short.splitlines()) <= 40 and "more: anygpu doctor --verbose" in short
    assert "usermod -aG render" in short, "the first broken link stays"
    long = command("doctor", "--root", root, "--verbose").stdout
    assert len(long.splitlines()) > 120 and "zz_radeon_59" not in short and "zz_radeon_40" in long


def test_verbose_shows_what_passes(command, tree):
    root = tree("amd")
    assert "there, and this user may use it" in command("doctor", "--root", root, "--verbose").stdout
    assert "there, and this user may use it" not in command("doctor", "--root", root).stdout


def test_recorded_trees_run_nothing(command, tree):
    report = command.json("doctor", "--root", tree("amd"))
    assert not [f for f in report["findings"] if f["chain"] in ("drivers", "anygpu")]


# ---- garbage ----


def finishes(command, root, **options):
    """A report comes; what hangs is stopped by command's own limit."""
    done = command("doctor", "--root", root, "--json", **options)
    report = json.loads(done.stdout)
    assert done.returncode in (0, 1, 2) and report["findings"]
    return report


def found_in(report, text):
    return [f for f in report["findings"] if text in f["link"] + f["found"]]


def test_empty_root(command, tmp_path):
    report = finishes(command, tmp_path)
    assert report["place"]["kernel"] == "" and report["reached"] == []


@pytest.mark.parametrize(
    "path",
    [
        "/proc/version",
        "/etc/os-release",
        "/etc/ld.so.conf",
        "/usr/share/vulkan/icd.d/x.json",
        "/etc/cdi/x.yaml",
        "/var/lib/dpkg/status",
        "/etc/group",
        "/.dockerenv",
    ],
)
@pytest.mark.parametrize("kind", ["fifo", "folder", "loop", "huge", "binary", "unreadable", "long_line", "nested", "to_zero"])
def test_garbage_in_one_place(command, tree, path, kind):
    root = tree("amd")
    at = root / path[1:]
    at.parent.mkdir(parents=True, exist_ok=True)
    at.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(at)
    elif kind == "folder":
        at.mkdir()
    elif kind == "loop":
        at.symlink_to(at.name)
    elif kind == "huge":
        with open(at, "wb") as f:
            f.truncate(1 << 40)
    elif kind == "binary":
        at.write_bytes(bytes(range(256)) * 64)
    elif kind == "unreadable":
        at.write_text("x")
        at.chmod(0)
    elif kind == "long_line":
        at.write_text("x" * 200_000)
    elif kind == "nested":
        at.write_text("[" * 100_000)
    elif kind == "to_zero":
        at.symlink_to("/dev/zero")
    report = finishes(command, root)
    if kind in ("fifo", "loop", "huge") and path not in ("/.dockerenv",):
        assert found_in(report, path), f"{path} was passed over in silence"


def test_loops_of_folders(command, tree):
    root = tree("amd")
    (root / "etc/ld.so.conf").write_text("include /etc/ld.so.conf\ninclude /etc/loop/*.conf\n")
    (root / "etc/loop").symlink_to("loop2")
    (root / "etc/loop2").symlink_to("loop")
    (root / "sys/class/drm/renderD129").symlink_to("../drm/renderD129/x")
    (root / "usr/local/lib/python3.11").symlink_to("..")
    (root / "usr/local/lib/up").symlink_to("/" + "../" * 300)
    report = finishes(command, root)
    assert found_in(report, "round in a circle")


def test_chain_of_links_is_bounded(command, tree):
    root = tree("amd")
    release = root / "etc/os-release"
    release.rename(root / "etc/real")
    for i in range(60):
        (root / f"etc/l{i}").symlink_to("real" if i == 0 else f"l{i - 1}")
    release.symlink_to("l59")
    assert found_in(finishes(command, root), "/etc/os-release: links that lead round")
    release.unlink()
    release.symlink_to("l20")
    assert finishes(command, root)["place"]["id"] == "ubuntu"


def test_links_do_not_lead_out_of_the_root(command, tree, tmp_path):
    """Absolute targets, and as many .. as one likes, end at the tree's own root."""
    (tmp_path / "secret").write_text("ID=outside\nPRETTY_NAME=outside\n")
    root = tree("amd")
    for target in (str(tmp_path / "secret"), "../" * 40 + str(tmp_path / "secret")[1:], "../../secret"):
        (root / "etc/os-release").unlink()
        (root / "etc/os-release").symlink_to(target)
        report = finishes(command, root)
        assert report["place"]["distribution"] == "" and "outside" not in json.dumps(report)
    (root / "secret").write_text("ID=inside\nPRETTY_NAME=inside\n")
    assert finishes(command, root)["place"]["distribution"] == "inside"


def test_crowded_folders(command, tree):
    root = tree("amd")
    for folder, count in (("usr/share/vulkan/icd.d", 4200), ("etc/cdi", 300), ("sys/bus/pci/devices", 300)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            (root / folder / f"{i:05}.json").write_text("{}")
    report = finishes(command, root)
    assert found_in(report, "/usr/share/vulkan/icd.d: larger")


def test_time_is_bounded_where_much_is_to_be_read(command, tree):
    """64 CDI files of 4 MiB, the most that is read of one: the report ends when its time is spent, and says where it stopped."""
    root = tree("amd")
    (root / "etc/cdi").mkdir()
    (root / "etc/cdi/00.yaml").write_bytes((b"kind: a/b\ndevices:\n" + b"- name: x\n" * 500_000)[: 4 * 1024 * 1024])
    for i in range(1, 64):
        (root / f"etc/cdi/{i:02}.yaml").symlink_to("00.yaml")
    hasty, whole = (finishes(command, root, env={"ANYGPU_DOCTOR_SECONDS": seconds}) for seconds in ("0.01", "600"))
    assert found_in(hasty, "the time for this report was spent") and len(found_in(hasty, "devices of a/b")) < 64
    assert not found_in(whole, "the time for this report was spent") and len(found_in(whole, "devices of a/b")) == 64


def test_control_characters_do_not_reach_the_terminal(command, tree):
    root = tree("amd")
    (root / "etc/os-release").write_text('ID=x\nPRETTY_NAME="a\x1b[2Jb\x07"\n')
    text = command("doctor", "--root", root, "--verbose").stdout
    assert "\x1b" not in text and "\x07" not in text and "a?[2Jb?" in text
    assert command.json("doctor", "--root", root)["place"]["distribution"] == "a\x1b[2Jb\x07"


def test_it_changes_nothing(command, tree):
    root = tree("broken_icd")
    before = subprocess.run(["find", root, "-printf", "%p %s %m %T@\n"], capture_output=True, text=True, check=True).stdout
    command("doctor", "--root", root)
    assert before == subprocess.run(["find", root, "-printf", "%p %s %m %T@\n"], capture_output=True, text=True, check=True).stdout


def test_wrong_usage(command, tmp_path):
    for arguments in (["doctor", "--root", tmp_path / "none"], ["doctor", "--what"], ["nothing"], ["doctor", "--root"]):
        done = command(*arguments)
        assert done.returncode == 64 and done.stdout == "" and "anygpu: " in done.stderr, arguments
    assert command().returncode == 64


# ---- this machine ----


def test_this_machine(command):
    report = command.json("doctor")
    assert report["place"]["kernel"] == os.uname().release
    own = [f for f in report["findings"] if f["chain"] == "anygpu"]
    assert own and own[0]["status"] == "pass" and own[0]["link"] == "anygpu:0"


def test_device_that_this_build_lacks(command):
    report = command.json("doctor", env={"ANYGPU_DEVICES": "cpu,nonsense"})
    (bad,) = [f for f in report["findings"] if f["link"] == "anygpu:1"]
    assert bad["status"] == "fail" and "nonsense" in bad["found"] and "ANYGPU_DEVICES" in bad["mend"]


def driver(tmp_path, body):
    """A Vulkan driver that does what `body` says when it is loaded; its ICD file is where this user's are looked for."""
    source = tmp_path / "driver.c"
    includes = "".join(f"#include <{name}.h>\n" for name in ("signal", "stdio", "unistd"))
    source.write_text(includes + f"__attribute__((constructor)) static void loaded(void) {{ {body} }}\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "libvulkan_test.so", source], check=True)
    folder = tmp_path / ".local/share/vulkan/icd.d"
    folder.mkdir(parents=True)
    (folder / "test_icd.json").write_text(
        json.dumps({"file_format_version": "1.0.0", "ICD": {"library_path": str(tmp_path / "libvulkan_test.so"), "api_version": "1.2.0"}})
    )


@pytest.mark.parametrize(
    "body, found",
    [
        (
            'fprintf(stderr, "no such adapter"); raise(SIGSEGV);',
            "(Segmentation fault) when it was opened; it said: no such adapter",
        ),
        ("for (;;) pause();", "did not end in time"),
    ],
)
def test_driver_that_crashes_or_hangs_is_a_finding(command, tmp_path, body, found):
    if not any(f["link"] == "loader" and f["status"] == "pass" for f in command.json("doctor")["findings"]):
        pytest.skip("this machine has no Vulkan loader that would open the driver")
    driver(tmp_path, body)
    limit = "5" if "pause" in body else "600"  # what hangs ends the doctor's wait for all
    report = command.json("doctor", env={"HOME": str(tmp_path), "ANYGPU_DOCTOR_SECONDS": limit})
    (finding,) = [f for f in report["findings"] if f["chain"] == "drivers" and "test_icd.json" in f["link"]]
    assert finding["status"] == "fail" and found in finding["found"] and finding["guide"] == GUIDE + "driver-crashes"
    assert re.search(r"VK_LOADER_DRIVERS_DISABLE='\*test_icd.json'", finding["mend"])


def test_another_user_may_not_read_all(command):
    """Files that this user may not read are named, and the rest is examined. Root reads all, so it becomes another for this."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        root = pathlib.Path(name) / "root"
        root.mkdir()
        layouts.expand(layouts.load("amd"), root)
        (root / "etc/os-release").chmod(0)
        (root / "usr/share/vulkan/icd.d").chmod(0)
        program = shutil.copy(command.path, name)
        other = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run([program, "doctor", "--root", root, "--json"], capture_output=True, text=True, timeout=1800, **other)
        (root / "usr/share/vulkan/icd.d").chmod(0o755)
    report = json.loads(done.stdout)
    assert report["place"]["distribution"] == "" and report["place"]["kernel"]
    for path in ("/etc/os-release", "/usr/share/vulkan/icd.d"):
        (finding,) = [f for f in report["findings"] if f["found"].startswith(path + ":")]
        assert finding["status"] == "warn" and "may not be read" in finding["found"] and finding["guide"] == GUIDE + "unreadable"


def test_driver_without_its_library_is_a_finding(command, tmp_path):
    if not any(f["link"] == "loader" and f["status"] == "pass" for f in command.json("doctor")["findings"]):
        pytest.skip("this machine has no Vulkan loader that would open the driver")
    driver(tmp_path, "")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "libgone.so", tmp_path / "driver.c"], check=True)
    built = tmp_path / "libvulkan_test.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-Wl,--no-as-needed", "-o", built, tmp_path / "driver.c", tmp_path / "libgone.so"], check=True
    )
    (tmp_path / "libgone.so").unlink()
    report = command.json("doctor", env={"HOME": str(tmp_path)})
    (finding,) = [f for f in report["findings"] if f["chain"] == "drivers" and "test_icd.json" in f["link"]]
    assert finding["status"] == "fail" and "libgone.so: cannot open shared object file" in finding["found"]
    assert finding["guide"] == GUIDE + "driver-does-not-load"
