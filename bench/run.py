#!/usr/bin/env python3
"""anygpu against what you would run instead, interleaved in one run: ratios count, milliseconds do not.

  ./run bench                                 everything, against eager PyTorch and torch.compile (an hour)
  ./run bench --only mlp,matmul --no-compile  problems or groups whose names have one of these parts
  ./run bench --group training --rounds 9     the four training steps
  ./run bench --group distributed             several processes, against PyTorch on the CPU with Gloo
  ./run bench --group vulkan                  the Vulkan device against torchvulkan, which is installed into .venv-torchvulkan
  ./run bench --list                          what there is
  ./run bench --plot docs/bench.png           where the plot goes (default: OUT/bench.png)

Prints a table (above 1: anygpu is faster, or takes less memory), and writes OUT/bench.json. Problems are in bench/problems/*.json.
"""

import argparse
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

ORDER = "training matmul convolution attention normalise optimizer pointwise reduce index host".split()
ORDER += "dynamic memory first_step distributed vulkan".split()


def problems():
    """{group: (about, [problem, ...])} from the data files, known groups first."""
    files = sorted((HERE / "problems").glob("*.json"), key=lambda f: (ORDER.index(f.stem) if f.stem in ORDER else len(ORDER), f.stem))
    found = {}
    for f in files:
        text = json.loads(f.read_text())
        found[f.stem] = (text["about"], text["problems"])
    return found


def chosen(everything, groups, parts):
    """The problems of these groups (all, if none is named) whose own or group's name has one of these parts (all, if there is none).
    Those with a rival to be installed only where their group is named."""
    kept = {}
    for group, (about, ps) in everything.items():
        if groups and group not in groups:
            continue
        if any("against" in p for p in ps) and group not in (*groups, *parts):
            continue
        ps = [p for p in ps if not parts or any(w in p["name"] or w == group for w in parts)]
        if ps:
            kept[group] = (about, ps)
    return kept


def arguments():
    p = argparse.ArgumentParser(prog="./run bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = lambda s: [w for w in s.split(",") if w]
    p.add_argument("--only", type=words, default=[], metavar="PART,...", help="problems or groups with one of these in the name")
    p.add_argument("--group", type=words, default=[], metavar="GROUP,...", help="these groups (files of bench/problems) only")
    p.add_argument("--no-compile", action="store_true", help="leave out torch.compile, which takes minutes to compile")
    p.add_argument("--rounds", type=int, default=7, metavar="N", help="samples of each contestant; medians are shown (default 7)")
    p.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out"), metavar="DIR", help="where bench.json goes (default out)")
    p.add_argument("--plot", type=pathlib.Path, metavar="FILE", help="where the plot goes (default OUT/bench.png)")
    p.add_argument("--list", action="store_true", help="only say what there is")
    a = p.parse_args()
    if a.rounds < 1:
        p.error("--rounds wants a number from 1")
    a.wanted = chosen(problems(), a.group, a.only)
    if not a.wanted:
        p.error(f"nothing matches; groups are: {', '.join(problems())}. See --list")
    return a


def measure_all(a, triad, results, failed):
    """Prints a row a problem as it is measured, and fills {group: {problem: result}} and the names of those that failed."""
    import distributed
    import kinds
    import measure
    import report
    import special
    import versus

    def how(problem):
        return versus if "against" in problem else {"special": special, "distributed": distributed}.get(problem["kind"], kinds)

    for group, (about, ps) in a.wanted.items():
        against = report.rivals(ps)
        print(report.title(group, about, against), flush=True)
        results[group] = {}
        for p in ps:
            if p.get("bandwidth") and "against" not in p:
                triad = max(triad, measure.triad(3))  # the machine's best, measured beside what it is compared with
            try:
                result = how(p).run(p, a.rounds, not a.no_compile)
            except Exception as error:
                failed.append(p["name"])
                said = str(error).strip().splitlines() or [type(error).__name__]
                print(f"{p['name']:{report.WIDTH}} failed: {said[0]} {said[-1] if len(said) > 1 else ''}", flush=True)
                continue
            results[group][p["name"]] = result
            print(report.row(p["name"], result, against, triad), flush=True)
        if len(results[group]) > 1:
            print(report.mean_row("geometric mean", results[group].values(), against), flush=True)


def main():
    a = arguments()
    if a.list:
        for group, (about, ps) in (a.wanted if a.group or a.only else problems()).items():
            print(f"{group}: {about}")
            for p in ps:
                print(f"    {p['name']}")
        return 0

    import measure
    import report

    wants_triad = any(p.get("bandwidth") and "against" not in p for _, ps in a.wanted.values() for p in ps)
    triad = measure.triad(a.rounds) if wants_triad else None
    lines = report.header(triad)
    print("\n".join(lines))
    results, failed = {}, []
    try:
        measure_all(a, triad, results, failed)
    except KeyboardInterrupt:
        print("\nstopped; what was measured is written", file=sys.stderr)
        failed.append("the rest")
    results = {group: rows for group, rows in results.items() if rows}
    if results:
        report.write(a.out / "bench.json", lines, triad, results)
        report.plot(a.plot or a.out / "bench.png", lines, results)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
