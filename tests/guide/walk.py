#!/usr/bin/env python3
"""Walks through guides as a stranger: a fresh Debian, a user who owns nothing, every command typed, and what was printed shown.

  ./run walk                          first-model.md, workflow.md and not-seen.md
  ./run walk first-model.md           one of them
  ./run walk --keep                   in the system of the last walk, as it was left

Needs root and debootstrap. The fresh system takes over how this one reaches its packages (apt's and pip's settings, certificates,
and folders that they name). Blocks that only other machines can run are left out, and said so."""

import argparse
import getpass
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import guides

USER = "student"
# A status that is not 0 is what these found, not that they failed.
FINDINGS = re.compile(r"anygpu (doctor|cdi list|cdi generate --software)")
# What a fresh WSL or server image has and a minimal Debian lacks.
GIVEN = ["ca-certificates", "sudo", "passwd"]


def run(*words, **options):
    return subprocess.run([str(w) for w in words], check=True, **options)


def make(root, release):
    """A fresh Debian at `root`, with a user who may use sudo."""
    if root.exists():
        shutil.rmtree(root)
    print(f"making {release} in {root}", flush=True)
    run("debootstrap", "--variant=minbase", f"--include={','.join(GIVEN)}", release, root, stdout=subprocess.DEVNULL)
    for file in ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt"):
        if os.path.exists(file):
            shutil.copy(file, root / file[1:])
    run("chroot", root, "useradd", "--create-home", "--shell", "/bin/bash", USER)
    (root / "etc/sudoers.d/student").write_text(f"{USER} ALL=(ALL) NOPASSWD: ALL\n")


def pip_settings():
    """This machine's settings of pip as variables, and the folders that they name."""
    settings, folders = {}, []
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    for name, value in re.findall(r"^(?:global|:env:)\.([\w-]+)='(.*)'$", listed, re.M):
        settings[f"PIP_{name.upper().replace('-', '_')}"] = value
        for word in value.split():
            path = pathlib.Path(word.removeprefix("file://"))
            if path.is_absolute() and path.is_dir():
                folders.append(path.parent if path.name == "simple" else path)
            elif path.is_file() and "ssl" not in path.parts:
                folders.append(path.parent)
    return settings, sorted(set(folders))


def enter(root, folders, text, environment):
    """Types `text` in the system at `root` as its user. Mounts are seen by nobody else and end with it."""
    mounts = [f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev", f"mount --rbind /sys {root}/sys"]
    for folder in folders:
        (root / str(folder)[1:]).mkdir(parents=True, exist_ok=True)
        mounts.append(f"mount --bind {folder} {root}{folder}")
    words = " ".join(f"{k}={json.dumps(v)}" for k, v in environment.items())
    (root / "guide/type.sh").write_text(f"cd ~\n{text}")
    inner = " && ".join([*mounts, f"exec chroot --userspec={USER}:{USER} {root} env -i {words} bash /guide/type.sh"])
    return subprocess.run(["unshare", "--mount", "bash", "-c", inner])


def shortened(text):
    lines = text.rstrip().splitlines()
    return "\n".join(lines if len(lines) <= 40 else [*lines[:12], f"[{len(lines) - 24} lines]", *lines[-12:]])


def walk(guide, root):
    """Types a guide, and prints what happened. Returns whether all went well."""
    made = root / "guide"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    run("git", "-C", guides.ROOT, "bundle", "create", "-q", made / "anygpu.bundle", "HEAD", "--branches")
    # A clone for each guide; what was compiled before comes from ccache.
    shutil.rmtree(root / f"home/{USER}/anygpu", ignore_errors=True)
    numbered = [(i, b) for i, b in enumerate(guides.blocks(guide))]
    typed = [(i, b) for i, b in numbered if b.kind in (*guides.TYPED, "python")]
    text, files = guides.script(typed, "/guide")
    for name, content in files.items():
        (made / name).write_text(content if isinstance(content, str) else json.dumps(content))
    run("chmod", "-R", "a+rwX", made)
    settings, folders = pip_settings()
    if not guides.clones(guide):
        text = "git clone -q ADDRESS anygpu && anygpu/run setup\n" + text
    environment = {"HOME": f"/home/{USER}", "USER": USER, "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "TERM": "dumb"}
    enter(root, folders, re.sub("(git clone.*) ADDRESS", r"\1 /guide/anygpu.bundle", text), environment | settings)
    good = True
    for i, block in numbered:
        if block.kind == "elsewhere":
            print(f"---- {block}: left out: {block.body.splitlines()[0]}\n")
        if (i, block) not in typed or block.name:
            continue
        result = guides.result(i, made)
        missing = result and guides.matches(block.prints, result.printed)
        print(f"---- {block}" + (f" ({result.seconds:.1f} s)" if result else ": NOT REACHED"))
        print("\n".join(f"  > {line}" for line in block.body.splitlines()))
        if result:
            print(shortened(result.printed))
            failed = [f for f in result.failed if not FINDINGS.match(f[1])]
            for status, words in failed:
                print(f"FAILED: exit status {status} of: {words}")
            if missing:
                print(f"NOT PRINTED: {missing}")
        print(flush=True)
        good = good and result is not None and not missing and not failed
    return good


def main():
    p = argparse.ArgumentParser(prog="./run walk", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("guide", nargs="*", default=["first-model.md", "workflow.md", "not-seen.md"], help="files of docs/guide")
    p.add_argument("--keep", action="store_true", help="in the system of the last walk")
    p.add_argument("--release", default="bookworm", help="of Debian (default bookworm)")
    p.add_argument("--root", type=pathlib.Path, default=guides.ROOT / "build/walk", help="where the system is made (default build/walk)")
    a = p.parse_args()
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        sys.exit(f"error: needs root (this is {getpass.getuser()}) and debootstrap")
    if not a.keep or not a.root.exists():
        make(a.root, a.release)
    good = [walk(guide, a.root) for guide in a.guide]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
