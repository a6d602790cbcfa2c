"""Recorded machines: a text file each, expanded into a folder that `anygpu --root` examines.

# what it is
include base_wsl2            the lines of another file first; later lines replace earlier ones
expect STATUS | chain | part of the link | part of what was found | part of the mend | anchor in the guide
expect exit N
/path = content              \\n and \\t are what they are in C
/path -> target              a link
/path node MODE UID GID      a device node, which only the tree's list holds: making one needs root
/path dir                    an empty folder
/path gone                   not there after all
"""

import dataclasses
import pathlib

FOLDER = pathlib.Path(__file__).parent / "layouts"


@dataclasses.dataclass
class Expectation:
    status: str
    chain: str
    link: str
    found: str
    mend: str
    guide: str


@dataclasses.dataclass
class Layout:
    name: str
    entries: dict
    expected: list
    exit_status: int | None


def names():
    return sorted(p.stem for p in FOLDER.glob("*.txt") if not p.stem.startswith("base_"))


def load(name):
    layout = Layout(name, {}, [], None)
    for number, line in enumerate((FOLDER / f"{name}.txt").read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("include "):
            layout.entries |= load(line.split()[1]).entries
        elif line.startswith("expect exit "):
            layout.exit_status = int(line.split()[2])
        elif line.startswith("expect "):
            fields = [field.strip() for field in line[7:].split("|")]
            layout.expected.append(Expectation(*(fields + [""] * (6 - len(fields)))))
        elif " = " in line or line.endswith(" ="):
            path, _, content = line.partition(" =")
            layout.entries[path] = ("file", content[1:].replace("\\n", "\n").replace("\\t", "\t"))
        elif " -> " in line:
            path, target = line.split(" -> ")
            layout.entries[path] = ("link", target)
        elif " node " in line:
            path, _, *owner = line.split()
            layout.entries[path] = ("node", " ".join(owner))
        elif line.endswith(" dir"):
            layout.entries[line[:-4]] = ("dir", "")
        elif line.endswith(" gone"):
            del layout.entries[line[:-5]]
        else:
            raise ValueError(f"{name}.txt:{number}: not a line of a layout: {line}")
    return layout


def expand(layout, folder):
    """Makes the tree in `folder`."""
    nodes = []
    for path, (kind, content) in layout.entries.items():
        at = folder / path.lstrip("/")
        if kind == "node":
            nodes.append(f"{path} {content}\n")
            continue
        at.parent.mkdir(parents=True, exist_ok=True)
        if kind == "dir":
            at.mkdir(exist_ok=True)
        elif kind == "link":
            at.symlink_to(content)
        else:
            at.write_text(content)
    if nodes:
        (folder / ".anygpu-nodes").write_text("".join(nodes))
    return folder
