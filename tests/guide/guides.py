"""The guides of docs/guide as a reader meets them: blocks, typed one after the other in one shell that begins in an empty folder.

The words after a block's fence say what it is:

    sh              typed; what it does to the shell (cd, export, an activated environment) stays for the blocks after it
    sh install      the same; a test only asks apt whether it would work
    sh long         the same; takes minutes, so a test only asks each command whether it knows these options. `./run walk` runs it
    sh container    run by tests/cli/test_podman.py
    sh image        run by `./run container` (container_guide.py), where its engine is there
    powershell      for Windows
    python NAME     saved as NAME
    python library  the same, where libraries are: by tests/ecosystem
    python          run when all else was typed, one after the other in one process
    text prints     what the block before it (plain text aside) prints: see `matches`
    text            anything else

A `sh` block that begins with `# only in WSL`, `# only with a GPU` and so on (ELSEWHERE) is for machines that a test is not."""

import dataclasses
import pathlib
import re
import shlex

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / "docs/guide"
KINDS = {"sh", "sh install", "sh long", "sh container", "sh image", "powershell", "python", "python library", "text", "text prints"}
ELSEWHERE = ("in WSL", "with a GPU", "with two GPUs", "with an NVIDIA GPU", "on a cluster", "with docker")
TYPED = ("sh", "sh install", "sh long")
PRINTING = (*TYPED, "sh image", "python", "python library", "elsewhere")


@dataclasses.dataclass(frozen=True)
class Block:
    guide: str
    line: int
    kind: str
    body: str
    name: str = ""
    prints: str = ""

    def __str__(self):
        return f"{self.guide}:{self.line}"


def names():
    return sorted(p.name for p in FOLDER.glob("*.md"))


def blocks(guide):
    """The blocks of a guide, by its path under docs/guide. Kind `elsewhere` is for other machines."""
    text = (FOLDER / guide).read_text()
    found = []
    for match in re.finditer(r"^```([^`\n]*)\n(.*?)^```$", text, re.M | re.S):
        kind, body, name = match[1], match[2], ""
        if kind.startswith("python ") and kind not in KINDS:
            kind, name = kind.split()
        only = re.match(r"# only (.*)\n", body)
        if kind == "sh" and only:
            assert only[1] in ELSEWHERE, f"{guide}: '# only {only[1]}' is none of {ELSEWHERE}"
            kind = "elsewhere"
        line = text[: match.start()].count("\n") + 1
        if kind == "text prints":
            last = next((i for i, b in reversed(list(enumerate(found))) if b.kind != "text"), None)
            assert last is not None and found[last].kind in PRINTING, f"{guide}:{line} follows nothing that prints"
            found[last] = dataclasses.replace(found[last], prints=body)
        found.append(Block(guide, line, kind, body, name))
    return found


def clones(guide):
    """Whether the guide has its reader fetch anygpu; else it is there already, set up, in ~/anygpu."""
    return any("git clone ADDRESS" in b.body for b in blocks(guide))


def anchors(guide):
    """Explicit ones, and GitHub's of headings."""
    text = re.sub(r"^```.*?^```$", "", (FOLDER / guide).read_text(), flags=re.M | re.S)
    headings = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.M)]
    return explicit_anchors(guide) + headings


def explicit_anchors(guide):
    return re.findall(r'^<a id="([a-z0-9-]+)"></a>\n#', (FOLDER / guide).read_text(), re.M)


def matches(expected, printed):
    """The first line of `expected` that `printed` does not have after those before it, or None. `…` stands for any text, a number
    for any number, though 0 only for 0, and spaces for any spaces."""
    lines = iter(re.sub(r"\x1b\[[0-9;]*m", "", printed).splitlines())
    for line in expected.splitlines():
        words = re.split(r"(…|\d[\d.,]*|\s+)", line.strip())
        pattern = "".join(_pattern(word) for word in words)
        if line.strip() and not any(re.fullmatch(pattern, candidate.strip()) for candidate in lines):
            return line
    return None


def _pattern(word):
    if word == "…":
        return ".*"
    if re.fullmatch(r"\d[\d.,]*", word) and word != "0":
        return r"\d[\d.,]*"
    return r"\s+" if word.isspace() else re.escape(word)


PYTHON = """
import contextlib, io, json, pathlib, traceback
names = {"__name__": "__main__"}
for number, file, line, body in json.loads(pathlib.Path(FOLDER, "python.json").read_text()):
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        try:
            exec(compile("\\n" * line + body, file, "exec"), names)
        except BaseException:
            traceback.print_exc()
            pathlib.Path(FOLDER, f"{number}.failed").write_text("1 " + file)
    pathlib.Path(FOLDER, f"{number}.out").write_text(text.getvalue())
"""


def script(chosen, folder):
    """A bash script that types the chosen blocks (numbered), and writes into `folder`, per number: out, err, seconds, and failed (status
    and command of each that failed). And Python's part: {file name: text} to be put there."""
    files = {"python.py": f"FOLDER = {str(folder)!r}\n" + PYTHON, "python.json": []}
    lines = ["set -E", f"W={shlex.quote(str(folder))}", "trap 'echo \"$? $BASH_COMMAND\" >>$W/$N.failed' ERR"]
    for number, block in chosen:
        files[f"{number}.body"] = block.body
        if block.kind == "python" and not block.name:
            files["python.json"].append((number, str(block), block.line, block.body))
        elif block.name:
            lines += [f"cp $W/{number}.body {shlex.quote(block.name)}"]
        else:
            lines += [f"N={number} T=$EPOCHREALTIME", "{", block.body.rstrip("\n"), f"}} >$W/{number}.out 2>$W/{number}.err </dev/null"]
            lines += [f'echo "$T $EPOCHREALTIME" >$W/{number}.seconds']
    if files["python.json"]:
        lines += ["N=python", "python $W/python.py >$W/python.out 2>$W/python.err </dev/null"]
    lines.append("touch $W/done")
    return "\n".join(lines) + "\n", files


@dataclasses.dataclass
class Result:
    printed: str
    output: str
    failed: list
    seconds: float


def result(number, folder):
    """What the block of this number did; None where it was never reached."""
    texts = {}
    for part in ("out", "err", "failed", "seconds"):
        path = pathlib.Path(folder, f"{number}.{part}")
        texts[part] = path.read_text(errors="replace") if path.exists() else ""
    if not pathlib.Path(folder, f"{number}.out").exists():
        return None
    seconds = 0.0
    if texts["seconds"]:
        begin, end = map(float, texts["seconds"].replace(",", ".").split())
        seconds = end - begin
    failed = [(int(line.split(" ", 1)[0]), line.split(" ", 1)[1]) for line in texts["failed"].splitlines() if re.match(r"\d+ ", line)]
    return Result(texts["out"] + texts["err"], texts["out"], failed, seconds)
