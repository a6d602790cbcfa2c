"""What docs/guide/frameworks.md shows, one block after the other, prints what it says."""

import contextlib
import io
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "guide"))
import guides  # noqa: E402


def test_the_guide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, run = {"__name__": "__main__"}, 0
    for block in guides.blocks("frameworks.md"):
        if block.kind == "python library":
            text = io.StringIO()
            with contextlib.redirect_stdout(text):
                exec(compile("\n" * block.line + block.body, str(block), "exec"), names)
            assert block.prints and guides.matches(block.prints, text.getvalue()) is None, f"{block} printed:\n{text.getvalue()}"
            run += 1
    assert run > 5
