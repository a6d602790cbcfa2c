"""Every command and snippet of the guides is run, and what they are said to print is printed. guides.py tells the kinds of blocks."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import guides
import pytest

ROOT = guides.ROOT
ALL = [block for name in guides.names() for block in guides.blocks(name)]
RUN = [b for b in ALL if b.kind in ("sh", "python") and not b.name]


def those(kind):
    return pytest.mark.parametrize("block", [b for b in ALL if b.kind == kind], ids=str)


# ---- both languages ----


@pytest.mark.parametrize("name", guides.names())
def test_russian_guide_has_the_same_blocks_and_anchors(name):
    ours, theirs = guides.blocks(name), guides.blocks(f"ru/{name}")
    for a, b in zip(ours, theirs):
        assert (a.kind, a.name, a.body) == (b.kind, b.name, b.body), f"{a} and {b} differ"
    assert len(ours) == len(theirs)
    assert guides.explicit_anchors(name) == guides.explicit_anchors(f"ru/{name}")


def test_russian_guides_are_of_guides():
    assert {p.name for p in (guides.FOLDER / "ru").glob("*.md")} == set(guides.names())


@pytest.mark.parametrize("path", ["../../README.md", *guides.names(), *(f"ru/{n}" for n in guides.names())])
def test_links_lead_somewhere(path):
    text = re.sub(r"^```.*?^```$", "", (guides.FOLDER / path).read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if re.match(r"https?://", target):
            continue
        file, _, anchor = target.partition("#")
        at = (guides.FOLDER / path).parent / file if file else guides.FOLDER / path
        assert at.exists(), f"{path} links to {target}"
        if anchor:
            assert anchor in guides.anchors(os.path.relpath(at, guides.FOLDER)), f"{path} links to {target}"


@pytest.mark.parametrize("name", guides.names())
def test_readme_links_to_it(name):
    readme = (ROOT / "README.md").read_text()
    assert f"(docs/guide/{name})" in readme and f"(docs/guide/ru/{name})" in readme


# ---- settings ----


def settings_of_the_source():
    """Names of variables that the program reads: whole string literals, and what ./run takes from its environment."""
    found = set(re.findall(r"\$\{(ANYGPU_[A-Z0-9_]+):-", (ROOT / "run").read_text()))
    for folder in ("src", "python"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".cpp", ".h", ".py"):
                found |= set(re.findall(r'"(ANYGPU_[A-Z0-9_]+)"', path.read_text()))
    return found


@pytest.mark.parametrize("guide", ["workflow.md", "ru/workflow.md"])
def test_workflow_has_every_setting_and_no_other(guide):
    tables = (guides.FOLDER / guide).read_text().split('<a id="settings">')[1]
    named = set(re.findall(r"`(ANYGPU_[A-Z0-9_]+)", tables))  # ANYGPU_VULKAN_<FEATURE> is the prefix ANYGPU_VULKAN_
    source = settings_of_the_source()
    assert len(source) > 15 and named == source


# ---- commands ----


def test_every_block_is_of_a_known_kind():
    assert {b.kind for b in ALL} <= guides.KINDS | {"elsewhere"}
    assert len(RUN) > 10


def program(path, text):
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


@pytest.fixture(scope="session")
def typed(command, tmp_path_factory):
    """typed(guide): what its blocks did, by number, typed in a folder with an empty home. Three things are not what a reader has: sudo
    does nothing but go on, `git clone` of the guide's ADDRESS makes links to this tree, and `./run` leaves out the set-up, which is done
    before tests run."""
    known = {}

    def once(guide):
        if guide in known:
            return known[guide]
        folder = tmp_path_factory.mktemp(guide.removesuffix(".md"))
        made, programs, environment, home = (folder / n for n in ("made", "programs", "environment", "home"))
        for part in (made, programs, environment / "bin", home):
            part.mkdir(parents=True)
        program(programs / "sudo", 'exec "$@"\n')
        (programs / "anygpu").symlink_to(command.path)
        # The environment that `./run setup` makes: this Python, and the command.
        program(environment / "bin/python", f'exec {sys.executable} "$@"\n')
        (environment / "bin/anygpu").symlink_to(command.path)
        (environment / "bin/activate").write_text(f"export PATH={environment}/bin:$PATH\n")
        (folder / "run").write_text(
            f"""#!/bin/sh
verb=$1; shift
case $verb in
  train) exec {sys.executable} {ROOT}/examples/train_digits.py "$@" ;;
  bench) exec {sys.executable} {ROOT}/bench/run.py "$@" ;;
  setup) echo "set up already" ;;
  *) exec {ROOT}/run "$verb" "$@" ;;
esac
"""
        )
        (folder / "run").chmod(0o755)
        program(
            programs / "git",
            f"""[ "$1 $2" = "clone ADDRESS" ] || exec {shutil.which("git")} "$@"
mkdir "$3" && cd "$3"
ln -s {folder}/run run
ln -s {environment} .venv
for name in {ROOT}/*; do
  case $name in */run | */out) ;; *) ln -s "$name" . ;; esac
done
""",
        )
        numbered = [(i, b) for i, b in enumerate(guides.blocks(guide)) if b.kind in ("sh", "python")]
        text, files = guides.script(numbered, made)
        for name, content in files.items():
            (made / name).write_text(content if isinstance(content, str) else json.dumps(content))
        start = folder / "start"
        start.mkdir()
        # None of the tests' own settings: a reader has none.
        env = {k: v for k, v in os.environ.items() if not k.startswith("ANYGPU_") and k not in ("NO_COLOR", "VIRTUAL_ENV")}
        env |= {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
        if not guides.clones(guide):
            subprocess.run(["git", "clone", "ADDRESS", home / "anygpu"], env=env, check=True)
        done = subprocess.run(["bash", "-c", text], cwd=start, env=env, capture_output=True, text=True, timeout=1800)
        assert (made / "done").exists(), f"{guide}: the shell ended early\n{done.stdout}\n{done.stderr}"
        known[guide] = {i: guides.result(i, made) for i, _ in numbered}
        return known[guide]

    return once


def allowed(block, result):
    """Statuses that are findings, not failures."""
    for status, words in result.failed:
        if words.startswith("anygpu doctor") or words.startswith("anygpu cdi list"):
            assert status in (1, 2), f"{words}: {status}"
        elif "cdi generate" in words and status == 69:
            assert "lavapipe is not installed here" in result.printed
        else:
            pytest.fail(f"{block}: exit status {status} of: {words}\n{result.printed}")


@pytest.mark.parametrize("block", RUN, ids=str)
def test_block(typed, block):
    result = typed(block.guide)[guides.blocks(block.guide).index(block)]
    assert result, f"{block} was not run"
    allowed(block, result)
    if "--json" in block.body:
        json.loads(result.output)
    missing = guides.matches(block.prints, result.printed)
    assert missing is None, f"{block} does not print: {missing}\nIt prints:\n{result.printed}"


@those("sh install")
def test_install(tmp_path, block):
    """apt knows the packages and what they need; nothing is installed."""
    apt = shutil.which("apt-get")
    if not apt:
        pytest.skip("needs apt")
    program(tmp_path / "sudo", 'exec "$@"\n')
    program(tmp_path / "apt-get", f'[ "$1" = update ] || exec {apt} --simulate "$@"\n')
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LC_ALL": "C"}
    done = subprocess.run(["bash", "-uec", block.body], capture_output=True, text=True, timeout=1800, env=env)
    if "Unable to locate package" in done.stderr and not list(pathlib.Path("/var/lib/apt/lists").glob("*Packages*")):
        pytest.skip("needs the lists of packages: apt-get update")
    assert done.returncode == 0, done.stderr


@those("sh long")
def test_long_command_has_these_options(block):
    """Its program, asked for help, knows each long option."""
    verbs = subprocess.run(["bash", ROOT / "run"], capture_output=True, text=True).stdout
    for line in block.body.splitlines():
        if line.startswith("./run "):
            assert re.search(rf"^  {line.split()[1]}\b", verbs, re.M), f"{block}: ./run knows no such verb"
        words = line.replace("./run bench", f"{sys.executable} bench/run.py").replace("python -m", f"{sys.executable} -m").split()
        options = [w.split("=")[0] for w in words if w.startswith("--")]
        if not options:
            continue
        until = next((i for i, w in enumerate(words) if w.startswith("-") and w != "-m"), len(words))
        help_text = subprocess.run([*words[:until], "--help"], cwd=ROOT, capture_output=True, text=True, timeout=1800).stdout
        for option in options:
            assert re.search(rf"{option}(?![a-z-])", help_text), f"{block}: {option} is not in the help of {' '.join(words[:until])}"


# ---- the mechanism itself ----


def test_matches():
    printed = "device   anygpu (some CPU)\nsteps  35.5\nfallbacks  0\n"
    assert guides.matches("device anygpu (…)\nfallbacks 0\n", printed) is None
    assert guides.matches("steps 99\n", printed) is None
    assert guides.matches("fallbacks 7\n", printed.replace(" 0", " 3")) is None
    assert guides.matches("fallbacks 0\n", printed.replace(" 0", " 3")) == "fallbacks 0"
    assert guides.matches("fallbacks 0\nsteps 35\n", printed) == "steps 35", "out of order"
    assert guides.matches("device cpu\n", printed) == "device cpu"


def test_a_failing_command_and_a_failing_snippet_are_seen(tmp_path):
    chosen = [
        (0, guides.Block("g", 1, "sh", "cd /\nfalse\nexport WORD=kept\n")),
        (1, guides.Block("g", 5, "sh", "echo $WORD $PWD\n")),
        (2, guides.Block("g", 7, "python", "x = 1 / 0\n")),
        (3, guides.Block("g", 9, "python", "print('after')\n")),
    ]
    text, files = guides.script(chosen, tmp_path)
    for name, content in files.items():
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    (tmp_path / "python").symlink_to(sys.executable)
    subprocess.run(["bash", "-c", text], env=env, timeout=1800)
    results = [guides.result(i, tmp_path) for i in range(4)]
    assert results[0].failed == [(1, "false")] and results[2].failed == [(1, "g:7")]
    assert results[1].printed == "kept /\n" and results[1].failed == []
    assert "ZeroDivisionError" in results[2].printed and results[3].printed == "after\n"
