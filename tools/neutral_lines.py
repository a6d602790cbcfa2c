#!/usr/bin/env python3
"""Lines of a frontend's code that name nothing of its framework: what could be shared.

usage: tools/neutral_lines.py [FOLDER]     (src/frontends/torch)

The code is in clang-format's form, so a definition begins in the first column and ends with a line that begins with a brace or ends with
a semicolon there. A definition (a function, a class, a table) counts as neutral where neither it nor its signature names at::, c10::,
torch::, one of their macros, or one of their types by an alias. Comments and blank lines do not count. Prints lines per file, and the
neutral definitions, longest first.
"""

import pathlib
import re
import sys

THEIRS = re.compile(
    r"\bat::|\bc10::|\btorch::|\bTORCH_|\bC10_|\bREGISTER_|\bANYGPU_(STUB|FACES|NAME)|\b_ops::|\bpy::"
    r"|\b(Opt|Opt_)?Tensor(Base|List|Iterator|IteratorBase|Options|Impl)?\b|\b(IntArrayRef|ScalarType|Generator|Gen|Storage|DataPtr"
    r"|DeviceIndex|MemoryFormat|DimVector|variable_list|AutogradContext|IValue|Refused|In|Into|OptDtype|Triple|BinaryFn|UnaryFn)\b"
)
SKIPPED = re.compile(r"^\s*(//.*)?$")
FRAME = re.compile(r"^(#|namespace|\}  // namespace|using namespace)")


def definitions(text):
    """Lists of lines that belong together, from one definition in the first column to the next."""
    chunk = []
    for line in text.splitlines():
        if SKIPPED.match(line) or (not chunk and FRAME.match(line)):
            continue
        chunk.append(re.sub(r"\s*//.*", "", line))
        at_margin = not line.startswith((" ", ")"))
        if (
            (at_margin and re.match(r"^\}", line))
            or (at_margin and chunk[-1].rstrip().endswith((";", "}")))
            or (len(chunk) > 1 and re.match(r"^ .*\);$", line) and not any("{" in x for x in chunk))
        ):
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "src/frontends/torch")
    total = neutral = 0
    found = []
    for path in sorted([*folder.rglob("*.cpp"), *folder.rglob("*.h")]):
        lines = own = 0
        for chunk in definitions(path.read_text()):
            lines += len(chunk)
            if not THEIRS.search("\n".join(chunk)):
                own += len(chunk)
                found.append((len(chunk), path.relative_to(folder), chunk[0].strip()))
        total += lines
        neutral += own
        print(f"{lines:6} {own:6}  {path.relative_to(folder)}")
    print(f"{total:6} {neutral:6}  all")
    for n, path, first in sorted(found, key=lambda x: -x[0])[:20]:
        print(f"       {n:6}  {path}: {first[:100]}")


if __name__ == "__main__":
    main()
