"""anygpu: train PyTorch models on any GPU.

    import torch                    # an installed anygpu is found by itself; from a build tree, `import anygpu` too
    model.to("anygpu")

The functions here speak of what the device did: `fallbacks()`, `explain()`, `stats()`. Those that PyTorch expects of a device
are in `torch.anygpu`.
"""

import importlib.util as _importlib_util

__version__ = "0.1.0"


def _autoload():
    """Entry point `torch.backends`: PyTorch calls it at the end of `import torch`. An error here would make `import torch` fail, so it
    is reported as a warning, and raised by `import anygpu` instead."""
    try:
        _register()
    except Exception as error:
        import warnings

        warnings.warn(f"the anygpu device is not available: {error}", RuntimeWarning, stacklevel=2)


def _register():
    from anygpu import _registration

    _registration.register()


def _index_of(device):
    from anygpu._devices import index

    return index(device)


def devices():
    """What each device is: a list of dicts with name, backend, driver, total_memory and features, in the order of their indices."""
    from anygpu import _torch

    return [_torch.info(i) for i in range(_torch.device_count())]


def synchronize(device=None):
    """Waits until all that was recorded on the device has run. Raises the first error that no one has been told of."""
    from anygpu import _torch

    _torch.synchronize(_index_of(device))


def flush(device=None):
    """Hands what is recorded to the device, without waiting."""
    from anygpu import _torch

    _torch.flush(_index_of(device))


def fallbacks(reset=False):
    """How often each operator ran on the CPU for want of an implementation here: {name: calls}."""
    from anygpu import _torch

    counts = _torch.fallback_counts()
    if reset:
        _torch.reset_fallback_counts()
    return counts


def stats(device=None):
    """Counters of the device since the start: flushes, plans_compiled, kernels_compiled, kernels_run, operators."""
    from anygpu import _torch

    return _torch.run_stats(_index_of(device))


def keep_stacks(yes=True):
    """Whether each operator keeps the Python stack that recorded it for explain() and what is raised later; ANYGPU_STACKS=1 has it
    from the start. It costs about as much as recording the operator. Else operators that may fail keep one line. Returns what was."""
    from anygpu import _torch

    return _torch.keep_stacks(yes)


def explain(n=1, device=None, colour=None):
    """What the last `n` Plans did, latest first, as a table for people: kernels, library calls, bytes, the time of each step (a running
    mean) and its share, and why fusion was cut.

    colour: whether to mark it up for a terminal; None: where standard output is one, and NO_COLOR is not set."""
    import os
    import sys

    from anygpu import _torch

    text = _torch.explain(_index_of(device), n)
    if colour is None:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return "\n".join(map(_coloured, text.split("\n"))) if colour else text


def _coloured(line):
    """Plans bold, reasons dim, and a tenth of the time or more in yellow."""
    words = line.split()
    if line.startswith("Plan:"):
        return f"\x1b[1m{line}\x1b[0m"
    if words[:2] == ["not", "fused:"]:
        return f"\x1b[2m{line}\x1b[0m"
    if len(words) > 4 and words[4] == "%" and float(words[3]) >= 10:
        return f"\x1b[33m{line}\x1b[0m"
    return line


if _importlib_util.find_spec("torch") is not None:
    import torch as _torch_package  # noqa: F401  (before registration; it may call _autoload, which is defined by now)

    _register()
