"""What the command says of itself: devices, version, help, completion in each shell, manual page."""

import json
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]
VERBS = ["doctor", "devices", "bench", "cdi", "cdi generate", "cdi list", "completion"]


def options(command, verb):
    """Long options by --help."""
    return re.findall(r"^\s+(?:-\w,)?(--[a-z-]+)", command(*verb.split(), "--help").stdout, re.M)


def version():
    return re.search(r"project\(anygpu VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text())[1]


def test_version(command):
    done = command("--version")
    assert done.returncode == 0 and done.stdout == f"anygpu {version()}\n"


def test_devices(command):
    found = command.json("devices", env={"ANYGPU_DEVICES": "cpu,reference"})
    assert [d["backend"] for d in found["anygpu"]] == ["cpu", "reference"]
    assert [d["pytorch"] for d in found["anygpu"]] == ["anygpu:0", "anygpu:1"]
    assert all(d["memory_bytes"] > 2**20 for d in found["anygpu"])
    # There is no frontend for TensorFlow: no name there, and the text says why.
    assert [d["tensorflow"] for d in found["anygpu"]] == [None, None]
    text = command("devices", env={"ANYGPU_DEVICES": "cpu,reference"})
    assert text.returncode == 0 and 'torch.device("anygpu:1")' in text.stdout and found["anygpu"][0]["name"] in text.stdout
    assert text.stdout.count("in TensorFlow: no name: its frontend is not built") == 2


def test_devices_that_cannot_be_opened(command):
    done = command("devices", env={"ANYGPU_DEVICES": "nonsense"})
    assert done.returncode == 69 and "nonsense" in done.stdout


def test_command_without_its_library(command, tmp_path):
    """The command starts where anygpu's own library cannot be loaded, and says what is wrong."""
    program = shutil.copy(command.path, tmp_path / "anygpu")
    done = subprocess.run([program, "devices"], capture_output=True, text=True, timeout=1800)
    assert done.returncode == 69 and "libanygpu_command.so: cannot open shared object file" in done.stdout
    report = json.loads(subprocess.run([program, "doctor", "--json"], capture_output=True, text=True, timeout=1800).stdout)
    (finding,) = [f for f in report["findings"] if f["chain"] == "anygpu"]
    assert finding["status"] == "fail" and finding["guide"].endswith("#own-library")


@pytest.mark.parametrize("verb", [""] + VERBS)
def test_help(command, verb):
    done = command(*verb.split(), "--help")
    assert done.returncode == 0 and done.stderr == "" and "Usage: anygpu" in done.stdout
    assert "probe" not in done.stdout, "the children's verb is not for people"


def test_full_disk(command):
    with open("/dev/full", "w") as full:
        done = subprocess.run([command.path, "completion", "bash"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=1800)
    assert done.returncode == 73 and "could not be written" in done.stderr


# ---- manual page ----


def manual():
    return (ROOT / "docs/man/anygpu.1").read_text().replace("\\-", "-")


@pytest.mark.parametrize("verb", VERBS)
def test_manual_names_every_verb_and_option(command, verb):
    text = manual()
    names = options(command, verb)
    assert "--help" in names, "no options were found in the help: this test tests nothing"
    if verb == "cdi":
        section = text
    else:
        assert f".SS anygpu {verb}\n" in text
        section = text.split(f".SS anygpu {verb}\n")[1].split("\n.S")[0] + "--help"
    for name in names:
        assert re.search(rf"{name}(?![a-z-])", section), f"{name} is not in the manual's section on {verb}"


def test_manual_names_nothing_else(command):
    known = {"--version"} | {name for verb in VERBS for name in options(command, verb)}
    assert set(re.findall(r"--[a-z-]+", manual())) == known


def test_manual_has_each_exit_status_and_the_version():
    text = manual()
    header = (ROOT / "src/cli/verbs.h").read_text()
    statuses = re.findall(r"k[A-Z]\w+ = (\d+)", header)
    assert len(statuses) == 7
    assert re.findall(r"^\.B (\d+)$", text.split(".SH EXIT STATUS")[1].split(".SH")[0], re.M) == statuses
    assert f'"anygpu {version()}"' in text


@pytest.mark.parametrize("checker", [["mandoc", "-T", "lint", "-W", "warning"], ["man", "--warnings", "-l"]])
def test_manual_can_be_shown(checker):
    if not shutil.which(checker[0]):
        pytest.skip(f"needs {checker[0]}")
    done = subprocess.run(
        [*checker, str(ROOT / "docs/man/anygpu.1")], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "MANWIDTH": "120"}
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr + done.stdout


# ---- completion ----

# What was typed, with the cursor at its end: some of what must be offered, and some of what must not.
TYPED = [
    ("anygpu ", {"doctor", "devices", "bench", "cdi", "completion"}, {"generate"}),
    ("anygpu do", {"doctor"}, {"devices"}),
    ("anygpu cdi ", {"generate", "list"}, {"doctor"}),
    ("anygpu cdi generate --f", {"--format"}, {"--output", "--root"}),
    ("anygpu cdi generate --format ", {"json", "yaml"}, {"--output"}),
    ("anygpu cdi generate --drivers h", {"host"}, {"none"}),
    ("anygpu cdi list --", {"--root", "--json"}, {"--output"}),
    ("anygpu doctor --", {"--root", "--json", "--verbose", "--no-color"}, {"--output"}),
    ("anygpu doctor --root /us", {"/usr"}, {"--json"}),
    ("anygpu bench --", {"--device", "--seconds", "--plot", "--python"}, {"--root"}),
    ("anygpu bench --python /us", {"/usr"}, {"--json"}),
    ("anygpu bench --seconds ", set(), {"N", "--json"}),
    ("anygpu completion ", {"bash", "zsh", "fish"}, {"doctor"}),
]


def offered_bash(command, typed):
    words = typed.split(" ")
    script = (
        f"source <('{command.path}' completion bash); COMP_WORDS=({' '.join(repr(w) for w in words)}); COMP_CWORD={len(words) - 1};"
        ' _anygpu; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    return subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, timeout=1800)


def offered_zsh(command, typed):
    # compadd outside of a completion is an error: one of ours says what it would offer.
    words = typed.split(" ")
    script = (
        f"compdef() {{ }}; source <('{command.path}' completion zsh); compadd() {{ shift; print -l -- ${{(M)@:#{words[-1]}*}} }};"
        f" _files() {{ print -l -- {words[-1]}*(/N) }}; words=({' '.join(repr(w) for w in words)}); CURRENT={len(words)}; _anygpu"
    )
    return subprocess.run(["zsh", "-f", "-c", script], capture_output=True, text=True, timeout=1800)


def offered_fish(command, typed):
    script = f"'{command.path}' completion fish | source; complete -C '{typed}'"
    done = subprocess.run(["fish", "--no-config", "-c", script], capture_output=True, text=True, timeout=1800)
    done.stdout = "\n".join(line.split("\t")[0].rstrip("/") for line in done.stdout.splitlines())
    return done


@pytest.mark.parametrize("shell, offered", [("bash", offered_bash), ("zsh", offered_zsh), ("fish", offered_fish)])
def test_completion(command, shell, offered):
    if not shutil.which(shell):
        pytest.skip(f"needs {shell}")
    for typed, some, none in TYPED:
        done = offered(command, typed)
        found = set(done.stdout.split())
        assert done.stderr == "" and some <= found and not none & found, f"{typed!r}: {found} {done.stderr}"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_option(command, shell):
    script = command("completion", shell).stdout
    for verb in VERBS:
        assert verb.split()[-1] in script
        for option in options(command, verb):
            assert (f"-l {option[2:]} " if shell == "fish" else option) in script, option


def test_completion_for_an_unknown_shell(command):
    done = command("completion", "tcsh")
    assert done.returncode == 64 and "bash" in done.stderr
