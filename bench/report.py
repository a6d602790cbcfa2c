"""What a run prints, draws and writes: a header, aligned rows, ratios (above 1: anygpu is better), out/bench.json, a plot."""

import json
import os
import pathlib
import re
import sys

import torch

import anygpu

WIDTH = 40


def machine():
    """Model name as lscpu says it."""
    text = pathlib.Path("/proc/cpuinfo").read_text()
    found = re.search(r"model name\s*:\s*(.+)", text)
    return found[1].strip() if found else "unknown processor"


def header(triad):
    """Lines about the machine; a loaded one is told so, for its figures are worth little."""
    device = anygpu.devices()[0]
    lines = [
        f"{machine()}, {os.cpu_count()} cores; PyTorch {torch.__version__} on {torch.get_num_threads()} threads",
        f"anygpu {anygpu.__version__}: {device['name']}; {device['driver']}",
    ]
    if triad:
        lines.append(f"STREAM triad {triad / 1e9:.1f} GB/s (torch.add(b, c, alpha=s, out=a), 64 MiB each)")
    load = os.getloadavg()[0]
    if load > 0.7:
        lines.append(f"the machine is busy: load {load:.1f} before the first problem")
    return lines


def _bold(text):
    return f"\x1b[1m{text}\x1b[0m" if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text


def title(group, about):
    columns = f"{'anygpu':>10} {'eager':>10} {'compile':>10} {'x eager':>8} {'x compile':>9}"
    return f"\n{_bold(group)}: {about}\n{'':{WIDTH}} {columns}"


def amount(value, unit):
    """Seconds as ms or us, bytes as MiB."""
    if unit == "MiB":
        return f"{value / (1 << 20):.1f} MiB"
    if value >= 10:
        return f"{value:.1f} s"
    return f"{value * 1e6:.2f} us" if value < 1e-4 else f"{value * 1e3:.2f} ms"


def ratio(result, rival):
    return result[rival] / result["anygpu"] if rival in result else None


def note(result, triad):
    """Bandwidth against the triad's, or what the problem says."""
    if "bytes" not in result:
        return result.get("note", "")
    speeds = {w: result["bytes"] / result[w] for w in ("anygpu", "eager") if w in result}
    text = f"{speeds['anygpu'] / 1e9:.1f} GB/s"
    if triad:
        text += f", {100 * speeds['anygpu'] / triad:.0f} % of triad (eager {100 * speeds['eager'] / triad:.0f} %)"
    return text


def row(name, result, triad=None):
    unit = result.get("unit", "s")
    cells = [f"{amount(result[w], unit) if w in result else '-':>10}" for w in ("anygpu", "eager", "compile")]
    for rival, width in (("eager", 8), ("compile", 9)):
        r = ratio(result, rival)
        cells.append(f"{r:{width}.2f}" if r is not None else f"{'-':>{width}}")
    return f"{name:{WIDTH}} {' '.join(cells)}  {note(result, triad)}".rstrip()


def mean_row(name, results):
    """Geometric means over a group."""
    from kinds import geometric_mean

    cells = []
    for rival, width in (("eager", 8), ("compile", 9)):
        ratios = [r for r in (ratio(x, rival) for x in results) if r is not None]
        cells.append(f"{geometric_mean(ratios):{width}.2f}" if ratios else f"{'-':>{width}}")
    return _bold(f"{name:{WIDTH}} {'':>10} {'':>10} {'':>10} {' '.join(cells)}".rstrip())


def write(path, lines, triad, results):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": lines, "triad": triad, "results": results}, indent=1) + "\n")


def plot(path, lines, results):
    """results: {group: {problem: result}}. A panel a group, on one logarithmic axis of ratios."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    heights = [len(r) + 1 for r in results.values()]
    fig, axes = plt.subplots(
        len(results), 1, figsize=(9, 0.3 * sum(heights) + 1.2), sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    for ax, (group, problems) in zip(axes[:, 0], results.items(), strict=True):
        names = list(problems)[::-1]
        for k, (rival, colour) in enumerate((("eager", "tab:blue"), ("compile", "tab:orange"))):
            at = [(i + 0.2 - 0.4 * k, ratio(problems[n], rival)) for i, n in enumerate(names)]
            at = [(y, r - 1) for y, r in at if r is not None]
            ax.barh([y for y, _ in at], [w for _, w in at], 0.38, left=1, color=colour, label=f"against {rival}")
        ax.axvline(1, color="black", lw=0.8)
        ax.set(yticks=range(len(names)), yticklabels=names, xscale="log")
        ax.tick_params(axis="y", labelsize=7)
        ax.set_ylabel(group, fontsize=8)
        ax.grid(axis="x", which="both", lw=0.3)
    axes[0, 0].set_title(lines[0], fontsize=9)
    axes[0, 0].legend(fontsize=7, loc="best")
    axes[-1, 0].set_xlabel("times as good as the rival (right of 1: anygpu is)")
    fig.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, dpi=110)
    plt.close(fig)
