"""Libraries over PyTorch choose a device from lists of their own, and take the CPU without a word where theirs names none of the machine's.

Each module here teaches one library about this device, by what the library offers where it offers something. Nothing of a library is
imported for it: a part runs when the library imports what it is about (`when_imported`), and an error in it is a warning, never the
library's failure. ANYGPU_INTEGRATIONS=0 leaves all libraries as they are.
"""

import functools
import importlib
import importlib.abc
import importlib.machinery
import os
import sys
import warnings

_waiting = {}  # module name: functions of the module


class _Spec(importlib.machinery.ModuleSpec):
    """Python clears `_initializing` when a module has been executed, before whoever imports it goes on."""

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name == "_initializing" and not value and self.name in sys.modules:
            _run(self.name, sys.modules[self.name])


class _Finder(importlib.abc.MetaPathFinder):
    """Lets the other finders find, and watches what is waited for."""

    def find_spec(self, name, path=None, target=None):
        if name not in _waiting:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self or not hasattr(finder, "find_spec") else finder.find_spec(name, path, target)
            if spec is not None:
                spec.__class__ = _Spec
                return spec
        return None


def _run(name, module):
    for function in _waiting.pop(name, ()):
        try:
            function(module)
        except Exception as error:
            warnings.warn(f"anygpu does not know this version of {name.partition('.')[0]}: {error}", RuntimeWarning, stacklevel=2)


def when_imported(name):
    """Decorator: calls function(module) right after the module of this name is first imported; at once if it has been."""

    def register(function):
        _waiting.setdefault(name, []).append(function)
        module = sys.modules.get(name)
        if module is not None and getattr(module.__spec__, "_initializing", False):
            module.__spec__.__class__ = _Spec  # it imports PyTorch, and is not ready yet
        elif module is not None:
            _run(name, module)
        return function

    return register


def replace(owner, name, static=False):
    """Decorator: puts function(original, *args, **kw) in the place of owner.name."""
    original = getattr(owner, name)

    def register(function):
        replaced = functools.wraps(original)(functools.partial(function, original) if static else _method(function, original))
        setattr(owner, name, staticmethod(replaced) if static and isinstance(owner, type) else replaced)
        return function

    return register


def _method(function, original):
    def call(*args, **kw):
        return function(original, *args, **kw)

    return call


@functools.cache
def chosen():
    """Whether libraries that choose for themselves shall choose this device: there is no other accelerator that PyTorch can use."""
    import torch

    return not (torch.cuda.is_available() or torch.backends.mps.is_available() or torch.xpu.is_available())


def tell_once(what, type_this):
    """A library keeps a model on the CPU, and nothing can be done about it from here."""
    if what not in _told:
        _told.add(what)
        warnings.warn(f"{what} runs on the CPU though there is an anygpu device; {type_this}", RuntimeWarning, stacklevel=3)


_told = set()


def install():
    if os.environ.get("ANYGPU_INTEGRATIONS") == "0" or not chosen():
        return
    for name, default in (("ACCELERATE_TORCH_DEVICE", "anygpu"), ("KERAS_TORCH_DEVICE", "anygpu")):
        os.environ.setdefault(name, default)
    sys.meta_path.insert(0, _Finder())
    for library in ("hugging_face", "lightning", "others"):
        importlib.import_module(f"anygpu.integrations.{library}")
