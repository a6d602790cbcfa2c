"""Makes PyTorch know the device: its name, its module torch.anygpu, the methods of tensors, and a flush after optimizer steps."""

import atexit
import os
import threading

_lock = threading.RLock()
_done = False
_EXTENSIONS = []


def on_register(function):
    """Calls `function()` when the device is registered, at once if it is: for parts that live in modules of their own."""
    with _lock:
        _EXTENSIONS.append(function)
        if _done:
            function()
    return function


def register():
    """Registers the device once. Raises where the binary was built for another PyTorch, or another device took the only place."""
    global _done
    with _lock:
        if _done:
            return
        import torch
        from torch.optim.optimizer import register_optimizer_step_post_hook

        _load(torch)
        torch.utils.rename_privateuse1_backend("anygpu")
        from anygpu import _compile, _data_parallel, _dlpack, _optimizers, _process_groups, _processes, _torch, integrations, torch_device
        from anygpu.torch_device import profiler_results

        _torch.answer_for_python([os.path.dirname(package) + os.sep for package in (torch.__file__, __file__)])
        torch._register_device_module("anygpu", torch_device)
        torch.utils.generate_methods_for_privateuse1_backend(for_storage=True)
        register_optimizer_step_post_hook(torch._disable_dynamo(_flush_after_step))
        for part in (_optimizers, profiler_results, _compile, _process_groups, _data_parallel, _processes, _dlpack):
            part.install(torch)
        integrations.install()
        _print_from_host(torch)
        atexit.register(_settle)
        _done = True
        for function in _EXTENSIONS:
            function()


def _load(torch):
    taken = torch._C._get_privateuse1_backend_name()
    if taken not in ("privateuseone", "anygpu"):
        raise RuntimeError(
            f"PyTorch has room for one out-of-tree device, and '{taken}' took it; TORCH_DEVICE_BACKEND_AUTOLOAD=0 keeps it out"
        )
    try:
        from anygpu import _torch
    except ImportError as error:
        raise RuntimeError(f"anygpu's library does not load with PyTorch {torch.__version__}: {error}") from error
    built, found = _torch.torch_version(), torch.__version__
    if built.split(".")[:2] != found.split(".")[:2]:
        raise RuntimeError(f"anygpu was built for PyTorch {built}, and this is {found}: install the build for it")


def _flush_after_step(optimizer, args, kwargs):
    from anygpu import _torch

    if _torch.initialized():
        _torch.flush_all()


def _settle():
    """After backward() returns, autograd's device thread still lets go of what it held, for which it takes Python's lock; if Python has
    begun to finalise by then, the process aborts (2 of 12 scripts that ended with backward() did)."""
    from anygpu import _torch

    if _torch.initialized():
        try:
            _torch.await_backward()
        except Exception:  # in a forked child autograd has no threads: then there is nothing to wait for
            pass


def _print_from_host(torch):
    """Printing slices and compares elements: done here it would compile a kernel for each; the values are wanted on the host anyway."""
    from torch import _tensor_str

    original = _tensor_str._tensor_str

    def tensor_str(self, indent):
        if self.device.type == "anygpu" and type(self) is torch.Tensor:
            self = self.detach().cpu()
        return original(self, indent)

    _tensor_str._tensor_str = tensor_str
