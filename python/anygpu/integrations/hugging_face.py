"""transformers, accelerate and safetensors. `Accelerator()` and `Trainer` take the device that ACCELERATE_TORCH_DEVICE names; what is left
are lists of devices that may compute in halves, of memory to place layers in, and pipeline's own choice."""

import os

from anygpu.integrations import replace, when_imported


def _ours(device):
    return str(device).partition(":")[0] == "anygpu"


# ---- accelerate ----


@when_imported("accelerate.state")
def explicit_cpu(module):
    """Accelerator(cpu=True), TrainingArguments(use_cpu=True): accelerate would let the variable overrule them."""

    @replace(module.PartialState, "__init__")
    def init(original, self, cpu=False, **kw):
        variable = os.environ.get("ACCELERATE_TORCH_DEVICE", "")
        if not (cpu and _ours(variable)):
            return original(self, cpu, **kw)
        del os.environ["ACCELERATE_TORCH_DEVICE"]
        try:
            original(self, cpu, **kw)
        finally:
            os.environ["ACCELERATE_TORCH_DEVICE"] = variable


@when_imported("accelerate.utils.modeling")
def memory(module):
    """device_map="auto": bytes free by index. On the processor's own memory there is none beside it to offload to."""
    import torch

    @replace(module, "get_max_memory")
    def get_max_memory(original, max_memory=None):
        found = original(max_memory)
        if max_memory is not None or any(type(k) is int for k in found):
            return found
        devices = [torch.anygpu.get_device_properties(i) for i in range(torch.anygpu.device_count())]
        free = {i: torch.anygpu.mem_get_info(i)[0] for i in range(len(devices))}
        shared = any(d.backend in ("cpu", "reference") for d in devices)
        return free if shared else {**free, **found}


@when_imported("accelerate.accelerator")
def half_precision(module):
    """mixed_precision="fp16" is refused where Accelerator.__init__ does not list the device: it is made without, then told."""
    import inspect

    import torch

    signature = inspect.signature(module.Accelerator.__init__)
    shared = module.AcceleratorState._shared_state

    @replace(module.Accelerator, "__init__")
    def init(original, self, *args, **kw):
        bound = signature.bind(self, *args, **kw)
        asked = bound.arguments.get("mixed_precision") or shared.get("_mixed_precision") or os.environ.get("ACCELERATE_MIXED_PRECISION")
        on_cpu = bound.arguments.get("cpu") or not _ours(os.environ.get("ACCELERATE_TORCH_DEVICE", ""))
        if str(asked) != "fp16" or on_cpu:
            return original(self, *args, **kw)
        if "_mixed_precision" in shared:
            shared["_mixed_precision"] = "no"
        bound.arguments["mixed_precision"] = "no"
        before = os.environ.pop("ACCELERATE_MIXED_PRECISION", None)
        try:
            original(*bound.args, **bound.kwargs)
        finally:
            if before is not None:
                os.environ["ACCELERATE_MIXED_PRECISION"] = before
        if _ours(self.device):
            shared["_mixed_precision"] = "fp16"
            self.native_amp = True
            options = self.scaler_handler.to_kwargs() if self.scaler_handler is not None else {}
            self.scaler = torch.amp.GradScaler("anygpu", **options)


# ---- transformers ----


@when_imported("transformers.utils.import_utils")
def bf16(module):
    @replace(module, "is_torch_bf16_gpu_available", static=True)
    def is_torch_bf16_gpu_available(original):
        return original() or _ours(os.environ.get("ACCELERATE_TORCH_DEVICE", ""))


@when_imported("transformers.pipelines.base")
def pipelines(module):
    """pipeline() with no device, or with an index: this device's, as it would be CUDA's."""
    import torch

    @replace(module.Pipeline, "__init__")
    def init(original, self, *args, device=None, **kw):
        if device is None and getattr(kw.get("model", args[0] if args else None), "hf_device_map", None) is None:
            device = torch.device("anygpu", torch.anygpu.current_device())
        elif type(device) is int and device >= 0:
            device = torch.device("anygpu", device)
        original(self, *args, device=device, **kw)


# ---- safetensors ----


@when_imported("safetensors")
def files(module):
    """safe_open and load_file know devices by name; by index they ask PyTorch, whose accelerator is this one."""
    import torch

    @replace(module, "safe_open")
    def safe_open(original, filename, framework, device="cpu", *args, **kw):
        if _ours(device):
            device = torch.device(device).index
            device = torch.anygpu.current_device() if device is None else device
        return original(filename, framework, device, *args, **kw)
