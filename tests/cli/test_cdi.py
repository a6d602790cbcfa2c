"""anygpu cdi: files for recorded machines against the specification's rules, writing, listing."""

import json
import os
import shutil
import stat
import subprocess

import jsonschema
import pytest
import yaml
from cdi_schema import SCHEMA

WHOLE = ["amd", "amd_no_permission", "base_two_gpus", "wsl2_amd", "wsl2_amd_no_dzn", "wsl2_nvidia", "vm_venus", "nouveau"]


def generate(command, root, *more):
    done = command("cdi", "generate", "--root", root, *more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def edits(spec, name):
    (device,) = [d for d in spec["devices"] if d["name"] == name]
    return device["containerEdits"]


def places(edit):
    return {m["containerPath"]: m["hostPath"] for m in edit.get("mounts", [])}


def nodes(edit):
    return [n["path"] for n in edit.get("deviceNodes", [])]


@pytest.mark.parametrize("more", [[], ["--drivers", "none"], ["--software"]])
@pytest.mark.parametrize("name", WHOLE)
def test_file_obeys_the_specification(command, tree, name, more):
    root = tree(name)
    spec, _ = generate(command, root, *more)
    jsonschema.Draft202012Validator(SCHEMA).validate(spec)
    assert spec["kind"] == "anygpu.dev/gpu"
    names = [d["name"] for d in spec["devices"]]
    assert names[-1] == "all" and len(set(names)) == len(names) > 1
    # A container whose file names a path that is not there does not start.
    for edit in [spec.get("containerEdits", {})] + [d["containerEdits"] for d in spec["devices"]]:
        for mount in edit.get("mounts", []):
            assert (root / mount["hostPath"][1:]).exists() and not (root / mount["hostPath"][1:]).is_symlink(), mount
            assert "ro" in mount["options"]
        targets = [m["containerPath"] for m in edit.get("mounts", [])]
        assert targets == sorted(set(targets))


def test_schema_refuses_what_the_specification_refuses(command, tree):
    spec, _ = generate(command, tree("amd"))
    check = jsonschema.Draft202012Validator(SCHEMA)

    def broken(change):
        copy = json.loads(json.dumps(spec))
        change(copy)
        return not check.is_valid(copy)

    assert broken(lambda s: s.update(kind="gpu"))
    assert broken(lambda s: s.update(unknown=1))
    assert broken(lambda s: s["devices"][0].update(name="-x"))
    assert broken(lambda s: s["devices"][0]["containerEdits"].update(additionalGids=[44]))  # 0.7.0
    assert broken(lambda s: s["devices"][0]["containerEdits"]["mounts"][0].update(hostPath="relative"))


def test_two_gpus(command, tree):
    spec, _ = generate(command, tree("base_two_gpus"))
    assert [d["name"] for d in spec["devices"]] == ["0", "0000:00:02.0", "1", "0000:03:00.0", "all"]
    assert nodes(edits(spec, "0")) == nodes(edits(spec, "0000:00:02.0")) == ["/dev/dri/renderD128"]
    assert nodes(edits(spec, "1")) == ["/dev/dri/renderD129"]
    assert nodes(edits(spec, "all")) == ["/dev/dri/renderD128", "/dev/dri/renderD129"]
    intel, amd = places(edits(spec, "0")), places(edits(spec, "1"))
    assert set(intel) == {"/usr/share/vulkan/icd.d/intel_icd.x86_64.json", "/usr/lib/x86_64-linux-gnu/libvulkan_intel.so"}
    assert set(amd) == {"/usr/share/vulkan/icd.d/radeon_icd.x86_64.json", "/usr/lib/x86_64-linux-gnu/libvulkan_radeon.so"}
    assert places(edits(spec, "all")) == intel | amd


def test_image_with_its_own_mesa(command, tree):
    spec, _ = generate(command, tree("amd"), "--drivers", "none")
    assert "mounts" not in edits(spec, "all") and nodes(edits(spec, "all")) == ["/dev/dri/renderD128"]


def test_wsl(command, tree):
    spec, _ = generate(command, tree("wsl2_amd"))
    assert [d["name"] for d in spec["devices"]] == ["dxg", "all"]
    assert nodes(edits(spec, "all")) == ["/dev/dxg"]
    assert set(places(spec["containerEdits"])) == {
        "/usr/lib/wsl/lib",
        "/usr/lib/wsl/drivers",
        "/usr/share/vulkan/icd.d/dzn_icd.x86_64.json",
        "/usr/lib/x86_64-linux-gnu/libvulkan_dzn.so",
    }
    assert spec["containerEdits"]["env"] == ["LD_LIBRARY_PATH=/usr/lib/wsl/lib"]


def test_wsl_without_dzn_says_so(command, tree):
    spec, notes = generate(command, tree("wsl2_amd_no_dzn"))
    assert "dzn is not installed here" in notes and nodes(edits(spec, "all")) == ["/dev/dxg"]


def test_nvidia_is_left_to_its_own_toolkit(command, tree):
    done = command("cdi", "generate", "--root", tree("nvidia"))
    assert done.returncode == 69 and done.stdout == ""
    assert "/etc/cdi/nvidia.yaml has it: --device nvidia.com/gpu=all" in done.stderr


def test_nvidia_without_the_toolkits_file(command, tree):
    done = command("cdi", "generate", "--root", tree("nvidia_without_libcuda"))
    assert done.returncode == 69 and "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml" in done.stderr


def test_wsl_with_nvidia_gets_dzn_from_us_and_cuda_from_them(command, tree):
    spec, notes = generate(command, tree("wsl2_nvidia"))
    assert nodes(edits(spec, "all")) == ["/dev/dxg"] and "nvidia-ctk cdi generate" in notes


@pytest.mark.parametrize("name", ["vm_without_gpu", "wsl1", "wsl2_no_dxg", "container_without_gpu"])
def test_no_gpu(command, tree, name, tmp_path):
    done = command("cdi", "generate", "--root", tree(name), "--output", tmp_path / "x.json")
    assert done.returncode == 69 and "anygpu doctor" in done.stderr and not (tmp_path / "x.json").exists()


def test_libraries_of_the_driver(command, tree):
    """What a driver needs comes along, but for what each image has in a version of its own."""
    root = tree("amd")
    folder = root / "usr/lib/x86_64-linux-gnu"
    (folder / "empty.c").write_text("int f(void) { return 0; }\n")

    def library(name, file, *needs):
        target = folder / file
        target.unlink(missing_ok=True)
        subprocess.run(
            [
                "cc",
                "-shared",
                "-fPIC",
                "-nostdlib",
                f"-Wl,-soname,{name}",
                "-Wl,--no-as-needed",
                "-o",
                target,
                folder / "empty.c",
                *(folder / n for n in needs),
            ],
            check=True,
        )
        if name != file:
            (folder / name).symlink_to(file)

    library("libz.so.1", "libz.so.1.2.13")
    library("libdrm.so.2", "libdrm.so.2.4.0", "libz.so.1.2.13")
    library("libdrm_amdgpu.so.1", "libdrm_amdgpu.so.1.0.0", "libdrm.so.2.4.0")
    library("libvulkan_radeon.so", "libvulkan_radeon.so", "libdrm_amdgpu.so.1.0.0", "libz.so.1.2.13")
    spec, notes = generate(command, root)
    mounts = places(edits(spec, "0"))
    lib = "/usr/lib/x86_64-linux-gnu/"
    assert mounts[lib + "libdrm_amdgpu.so.1"] == lib + "libdrm_amdgpu.so.1.0.0"
    assert mounts[lib + "libdrm.so.2"] == lib + "libdrm.so.2.4.0"
    assert not [m for m in mounts if "libz" in m] and "and have: libz.so.1;" in notes


def test_same_machine_same_bytes(command, tree):
    root = tree("base_two_gpus")
    first = command("cdi", "generate", "--root", root).stdout
    shutil.move(root, root.parent / "moved")
    assert command("cdi", "generate", "--root", root.parent / "moved").stdout == first


@pytest.mark.parametrize("name", WHOLE)
def test_yaml_says_the_same(command, tree, name):
    root = tree(name)
    spec, _ = generate(command, root)
    assert yaml.safe_load(command("cdi", "generate", "--root", root, "--format", "yaml").stdout) == spec


def test_writes_by_rename(command, tree, tmp_path):
    root = tree("amd")
    target = tmp_path / "new/folder/anygpu.json"
    for _ in range(2):
        done = command("cdi", "generate", "--root", root, "--output", target)
        assert done.returncode == 0 and f"written: {target}, with the devices anygpu.dev/gpu=0 " in done.stdout
        assert json.loads(target.read_text())["kind"] == "anygpu.dev/gpu"
        assert stat.S_IMODE(target.stat().st_mode) == 0o644
        assert os.listdir(target.parent) == ["anygpu.json"]
    before = target.stat().st_ino
    # A reader that has the old file open keeps the old file.
    with open(target) as old:
        command("cdi", "generate", "--root", root, "--output", target, "--drivers", "none")
        assert target.stat().st_ino != before and "mounts" in old.read() and "mounts" not in target.read_text()
    assert yaml.safe_load(
        (command("cdi", "generate", "--root", root, "--output", tmp_path / "y.yaml"), tmp_path / "y.yaml")[1].read_text()
    )["kind"]


def test_dry_run_writes_nothing(command, tree, tmp_path):
    root = tree("amd")
    done = command("cdi", "generate", "--root", root, "--output", tmp_path / "x.json", "--dry-run")
    assert (
        done.returncode == 0 and json.loads(done.stdout)["devices"] and "not written" in done.stderr and not (tmp_path / "x.json").exists()
    )
    assert command("cdi", "generate", "--root", root, "--output", "-").stdout == done.stdout


def test_cannot_write(command, tree, tmp_path):
    root = tree("amd")
    (tmp_path / "file").write_text("")
    done = command("cdi", "generate", "--root", root, "--output", tmp_path / "file/x.json")
    assert done.returncode == 73 and "its folder cannot be made" in done.stderr and "--output FILE" in done.stderr
    (tmp_path / "x.json").mkdir()
    done = command("cdi", "generate", "--root", root, "--output", tmp_path / "x.json")
    assert done.returncode == 73 and not [n for n in os.listdir(tmp_path) if n.startswith(".x.json")]
    done = command("cdi", "generate", "--root", root, "--output", tmp_path / "x.conf")
    assert done.returncode == 64 and ".json and .yaml only" in done.stderr
    assert command("cdi", "generate", "--root", root, "--format", "toml").returncode == 64
    assert command("cdi").returncode == 64


def test_two_files_of_one_kind_are_refused(command, tree, tmp_path):
    root = tree("amd")
    assert command("cdi", "generate", "--root", root, "--output", tmp_path / "anygpu.json").returncode == 0
    done = command("cdi", "generate", "--root", root, "--output", tmp_path / "anygpu.yaml")
    assert done.returncode == 73 and f"rm {tmp_path}/anygpu.json" in done.stderr and not (tmp_path / "anygpu.yaml").exists()


def test_list(command, tree):
    root = tree("stale_cdi")
    done = command("cdi", "list", "--root", root)
    assert done.stdout == "anygpu.dev/gpu=0\t/etc/cdi/anygpu.json\n"
    assert done.returncode == 2 and "/etc/cdi/vendor.json: it is not JSON" in done.stderr


def test_list_reads_others_yaml(command, tree):
    root = tree("nvidia")
    assert command("cdi", "list", "--root", root).stdout.splitlines() == [
        "nvidia.com/gpu=0\t/etc/cdi/nvidia.yaml",
        "nvidia.com/gpu=all\t/etc/cdi/nvidia.yaml",
    ]
    assert command.json("cdi", "list", "--root", root) == [
        {"file": "/etc/cdi/nvidia.yaml", "devices": ["nvidia.com/gpu=0", "nvidia.com/gpu=all"]}
    ]


def test_list_reads_what_generate_wrote(command, tree):
    root = tree("base_two_gpus")
    for name in ("anygpu.json", "anygpu.yaml"):
        command("cdi", "generate", "--root", root, "--output", root / "etc/cdi" / name)
        listed = command("cdi", "list", "--root", root).stdout.split()[::2]
        assert listed == [f"anygpu.dev/gpu={n}" for n in ("0", "0000:00:02.0", "1", "0000:03:00.0", "all")]
        (root / "etc/cdi" / name).unlink()


def test_command_for_root_names_the_file_that_sudo_would_not_find(command):
    """The doctor's and the list's advice can be typed as it is: this command is in a build tree, where sudo does not look."""
    done = command("cdi", "list")
    if done.stdout:
        pytest.skip("this machine has CDI files")
    assert f"type: sudo {command.path.resolve()} cdi generate\n" in done.stderr


def test_list_of_nothing(command, tree):
    done = command("cdi", "list", "--root", tree("amd"))
    assert done.returncode == 0 and done.stdout == "" and "anygpu cdi generate" in done.stderr


def test_doctor_is_content_with_the_file(command, tree):
    root = tree("amd")
    command("cdi", "generate", "--root", root, "--output", root / "etc/cdi/anygpu.json")
    report = command.json("doctor", "--root", root)
    (finding,) = [f for f in report["findings"] if f["link"] == "/etc/cdi/anygpu.json"]
    assert finding["status"] == "pass" and finding["found"] == "3 devices of anygpu.dev/gpu"
