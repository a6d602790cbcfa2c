"""Libraries with one function that chooses: stable-baselines3, fastai, ultralytics. (Keras's torch backend reads KERAS_TORCH_DEVICE.)"""

from anygpu.integrations import replace, tell_once, when_imported


@when_imported("stable_baselines3.common.utils")
def stable_baselines3(module):
    import torch

    @replace(module, "get_device")
    def get_device(original, device="auto"):
        found = original(device)
        wanted = device == "auto" or torch.device(device).type == "cuda"
        return torch.device("anygpu") if wanted and found.type == "cpu" else found


@when_imported("fastai.torch_core")
def fastai(module):
    import torch

    @replace(module, "default_device")
    def default_device(original, use=-1):
        found = original(use)
        return torch.device("anygpu", 0) if found.type == "cpu" and module.defaults.use_cuda is not False else found


@when_imported("ultralytics.utils.torch_utils")
def ultralytics(module):
    """It takes a torch.device as it is, and reads a string as CUDA's indices."""

    @replace(module, "select_device")
    def select_device(original, device="", *args, **kw):
        found = original(device, *args, **kw)
        if found.type == "cpu" and str(device or "") in ("", "None"):
            tell_once("ultralytics", 'device=torch.device("anygpu") moves it there')
        return found
