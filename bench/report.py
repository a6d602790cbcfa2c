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


def rivals(problems):
    """Who stands in a group's columns beside anygpu."""
    return sorted({p["against"] for p in problems if "against" in p}) or [
        *(["compiled"] if any(p.get("compiled") for p in problems) else []),
        "eager",
        "compile",
    ]


def _cells(amounts, ratios, against):
    """Columns of one row: amounts of anygpu and its rivals, then the ratios."""
    cells = [f"{text:>{max(10, len(who))}}" for text, who in zip(amounts, ("anygpu", *against), strict=True)]
    cells += [f"{text:>{max(8, len(f'x {who}'))}}" for text, who in zip(ratios, against, strict=True)]
    return " ".join(cells)


def _times(r):
    return "-" if r is None else f"{r:.2f}"


def title(group, about, against):
    return f"\n{_bold(group)}: {about}\n{'':{WIDTH}} {_cells(['anygpu', *against], [f'x {w}' for w in against], against)}"


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


def row(name, result, against, triad=None):
    unit = result.get("unit", "s")
    amounts = [amount(result[w], unit) if w in result else "-" for w in ("anygpu", *against)]
    cells = _cells(amounts, [_times(ratio(result, w)) for w in against], against)
    return f"{name:{WIDTH}} {cells}  {note(result, triad)}".rstrip()


def mean_row(name, results, against):
    """Geometric means over a group."""
    from kinds import geometric_mean

    found = [[r for r in (ratio(x, rival) for x in results) if r is not None] for rival in against]
    means = [_times(geometric_mean(ratios) if ratios else None) for ratios in found]
    return _bold(f"{name:{WIDTH}} {_cells([''] * (1 + len(against)), means, against)}".rstrip())


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
        for rival, colour, up in (("eager", "tab:blue", 0.2), ("compile", "tab:orange", -0.2), ("torchvulkan", "tab:green", 0)):
            at = [(i + up, ratio(problems[n], rival)) for i, n in enumerate(names)]
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
