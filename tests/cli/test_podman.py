"""The CDI file in a real container without network: what podman makes of it. The container's root is made of this machine's own files:
no image registry is needed. Skipped where podman cannot start any container, or where the file's folder may not be written."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import guides
import pytest

SPEC = pathlib.Path("/var/run/cdi/anygpu-test.json")
LIMITS = ["--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"]


def libraries(path):
    text = subprocess.run(["ldd", path], capture_output=True, text=True).stdout
    return re.findall(r"(/\S+) \(0x", text)


def add(root, path):
    target = root / path[1:]
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copy(os.path.realpath(path), target)


@pytest.fixture(scope="module")
def image(command, tmp_path_factory):
    """A root folder with the command, the Vulkan loader, and what the notes of `cdi generate` ask of an image."""
    if not shutil.which("podman") or os.geteuid() != 0:
        pytest.skip("needs podman, and root to write a CDI file where podman looks")
    root = tmp_path_factory.mktemp("image")
    for folder in ("dev", "proc", "sys", "tmp", "run", "etc", "usr/bin", "usr/lib"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name in ("lib", "lib64"):
        (root / name).symlink_to("usr/lib" if name == "lib" else "usr/lib64")
    (root / "usr/lib64").mkdir()
    (root / "etc/os-release").write_text("ID=debian\nPRETTY_NAME=image\n")
    shutil.copy(command.path, root / "usr/bin/anygpu")
    programs = [str(command.path), "/bin/true", *libraries("/bin/true"), *libraries(command.path)]
    known = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True).stdout
    loader = next((line.split()[-1] for line in known.splitlines() if "libvulkan.so.1 " in line), None)
    if not loader:
        pytest.skip("needs a Vulkan loader and lavapipe: there is no GPU to give but Mesa's software one")
    notes = command("cdi", "generate", "--software", "--output", "-")
    if notes.returncode != 0:
        pytest.skip("needs lavapipe: there is no GPU to give but Mesa's software one")
    programs += [loader, *libraries(loader)]
    mounts = [m for d in json.loads(notes.stdout)["devices"] for m in d["containerEdits"]["mounts"]]
    driver = next(m["hostPath"] for m in mounts if "libvulkan_lvp" in m["hostPath"])
    # What the file does not bring is what an image has: glibc, and what the notes name.
    brought = {os.path.basename(m["containerPath"]) for m in mounts}
    images = [file for file in libraries(driver) if os.path.basename(file) not in brought]
    named = set(re.search(r"and have:(.*?);", notes.stderr)[1].split())
    with_named = {os.path.basename(needed) for file in images if os.path.basename(file) in named for needed in libraries(file)}
    left = {os.path.basename(file) for file in images} - named - with_named
    assert all(re.match(r"lib(c|m|dl|rt|pthread|resolv)\.so|ld-linux", name) for name in left), f"neither brought nor named: {left}"
    for file in programs[1:] + images:
        add(root, file)
    return root


def podman(image, *arguments):
    for runtime in ([], ["--runtime", "runc"]):
        start = ["podman", *runtime, "run", "--rm", *LIMITS]
        # --rootfs is for what the container may change; :O keeps the folder as it is.
        if subprocess.run([*start, "--rootfs", f"{image}:O", "true"], capture_output=True).returncode == 0:
            return subprocess.run(
                [*start, *arguments[0], "--rootfs", f"{image}:O", *arguments[1]], capture_output=True, text=True, timeout=1800
            )
    pytest.skip("podman cannot start a container here")


@pytest.fixture
def spec(command):
    if SPEC.exists():
        pytest.skip(f"{SPEC} is there already")
    done = command("cdi", "generate", "--software", "--output", SPEC)
    if done.returncode == 73:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    yield SPEC
    SPEC.unlink()


@pytest.mark.parametrize("name", ["all", "lavapipe"])
def test_container_gets_the_device(image, spec, name):
    done = podman(image, ["--device", f"anygpu.dev/gpu={name}"], ["anygpu", "devices", "--json"])
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)["vulkan"]
    assert [d["type"] for d in found] == ["cpu"] and "llvmpipe" in found[0]["name"]


def test_container_without_the_device_has_none(image, spec):
    done = podman(image, [], ["anygpu", "devices", "--json"])
    assert json.loads(done.stdout)["vulkan"] == []


def test_podman_refuses_a_device_that_the_file_lacks(image, spec):
    done = podman(image, ["--device", "anygpu.dev/gpu=7"], ["true"])
    assert done.returncode != 0 and "anygpu.dev/gpu=7" in done.stderr


def test_doctor_names_the_library_that_an_image_lacks(image, spec):
    """An image without zlib: the driver does not load, and the doctor says why."""
    (zlib,) = image.glob("usr/lib/**/libz.so.1")
    zlib.rename(image / "hidden")
    try:
        report = json.loads(podman(image, ["--device", "anygpu.dev/gpu=all"], ["anygpu", "doctor", "--json"]).stdout)
    finally:
        (image / "hidden").rename(zlib)
    (driver,) = [f for f in report["findings"] if f["chain"] == "drivers"]
    assert driver["status"] == "fail" and "libz.so.1: cannot open shared object file" in driver["found"]
    assert "--drivers none" in driver["mend"] and driver["guide"].endswith("#driver-does-not-load")


def test_doctor_in_a_container(image, spec):
    report = json.loads(podman(image, ["--device", "anygpu.dev/gpu=all"], ["anygpu", "doctor", "--json"]).stdout)
    assert report["place"]["container"] == "podman"
    (driver,) = [f for f in report["findings"] if f["chain"] == "drivers"]
    assert driver["status"] == "pass" and "llvmpipe" in driver["found"]


@pytest.mark.parametrize("body", [b.body for b in guides.blocks("not-seen.md") if b.kind == "sh container"])
def test_command_of_the_guide(image, spec, body):
    """IMAGE is the folder, and this machine's limits on containers come before what the guide says."""
    done = podman(image, [], ["true"])
    runtime, body = done.args[1:-1], body.replace("IMAGE", f"--rootfs {image}:O")
    options = " ".join(word for word in runtime[runtime.index("run") + 2 :] if "rootfs" not in word and str(image) not in word)
    body = body.replace("podman run", f"podman {' '.join(runtime[: runtime.index('run')])} run {options}")
    done = subprocess.run(["bash", "-uec", body], capture_output=True, text=True, timeout=1800)
    assert done.returncode in (0, 1, 2) and done.stderr == "", done.stderr
    assert "a container (podman)" in done.stdout or "podman version" in done.stdout
