"""docs/guide/not-seen.md and the doctor: each anchor that it names is there, and the report shown is what it prints. The commands of the
guides are run by tests/guide."""

import pathlib
import re

import guides
import layouts

ROOT = pathlib.Path(__file__).parents[2]
GUIDE = "not-seen.md"


def named_by_the_doctor():
    """The last argument of each finding that has a mend: an anchor, or a choice of two."""
    found = set()
    for source in (ROOT / "src/cli/doctor").glob("*.cpp"):
        for call in re.findall(r"findings\.(?:warn|fail)\((.*?)\);", source.read_text(), re.S):
            last = call.rsplit(",", 1)[1]
            names = re.findall(r'"([a-z0-9-]+)"', last)
            assert names, f"{source.name}: a finding without a guide: {call}"
            found |= set(names)
    return found


def test_anchors():
    names = guides.explicit_anchors(GUIDE)
    assert len(names) == len(set(names)) > 20
    assert set(names) == named_by_the_doctor()


def test_every_recorded_failure_leads_into_the_guide(command, tmp_path):
    for name in layouts.names():
        (tmp_path / name).mkdir()
        report = command.json("doctor", "--root", layouts.expand(layouts.load(name), tmp_path / name))
        for finding in report["findings"]:
            if finding["status"] in ("warn", "fail"):
                path, _, anchor = finding["guide"].partition("#")
                assert ROOT / path == guides.FOLDER / GUIDE and anchor in guides.explicit_anchors(GUIDE)


def test_report_in_the_guide_is_what_is_printed(command, tree):
    done = command("doctor", "--root", tree("amd_no_permission"))
    assert ("text", done.stdout) in [(b.kind, b.body) for b in guides.blocks(GUIDE)]
