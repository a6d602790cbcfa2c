"""Lightning and Fabric, under both names that they are installed by: an accelerator "anygpu" in their registries, which "auto" takes."""

from anygpu.integrations import replace, when_imported


def _accelerator(base):
    import torch

    class AnygpuAccelerator(base):
        """`accelerator="anygpu"`; devices: how many, "auto" (all), or a list of indices."""

        def setup_device(self, device):
            if device.type != "anygpu":
                raise ValueError(f"Device should be anygpu, got {device} instead.")
            torch.anygpu.set_device(device)

        def teardown(self):
            torch.anygpu.empty_cache()

        @staticmethod
        def parse_devices(devices):
            if isinstance(devices, str):
                devices = int(devices) if devices.strip().isdigit() else [int(d) for d in devices.split(",") if d.strip()]
            count = torch.anygpu.device_count()
            chosen = list(range(count if devices == -1 else devices)) if isinstance(devices, int) else list(devices)
            if not chosen or any(d >= count for d in chosen):
                raise ValueError(f"devices={devices!r}: there are {count} devices of anygpu")
            return chosen

        @staticmethod
        def get_parallel_devices(devices):
            return [torch.device("anygpu", i) for i in AnygpuAccelerator.parse_devices(devices)]

        @staticmethod
        def auto_device_count():
            """One: with more, Lightning would start processes. `devices=N` asks for them."""
            return 1

        @staticmethod
        def is_available():
            return torch.anygpu.is_available()

        @staticmethod
        def name():
            return "anygpu"

        def get_device_stats(self, device):
            return torch.anygpu.memory_stats(device)

    return AnygpuAccelerator


def _registered(package, registry):
    @when_imported(package)
    def register(module):
        accelerator = _accelerator(module.Accelerator)
        getattr(module, registry).register("anygpu", accelerator, description="Any GPU, through anygpu")
        module.AnygpuAccelerator = accelerator


def _connected(path, connector, flag):
    @when_imported(path)
    def connect(module):
        import torch

        cls = getattr(module, connector)

        @replace(cls, "_choose_auto_accelerator", static=True)
        def auto(original):
            found = original()
            return "anygpu" if found == "cpu" else found

        @replace(cls, "_choose_gpu_accelerator_backend", static=True)
        def gpu(original):
            try:
                return original()
            except Exception:
                return "anygpu"

        def ours(self):
            return getattr(self, "accelerator", None) is not None and self.accelerator.name() == "anygpu"

        @replace(cls, "_choose_strategy")
        def strategy(original, self):
            if ours(self) and len(self._parallel_devices) == 1 and self._num_nodes_flag == 1:
                return module.SingleDeviceStrategy(device=self._parallel_devices[0])
            return original(self)

        @replace(cls, "_check_and_init_precision")
        def precision(original, self):
            """Mixed precision is autocast for "cuda" where the accelerator is not one of two names."""
            plugin = original(self)
            if ours(self) and type(plugin) is module.MixedPrecision and getattr(self, flag, None) is None:
                scaler = torch.amp.GradScaler("anygpu") if plugin.scaler is not None else None
                plugin = module.MixedPrecision(plugin.precision, "anygpu", scaler)
            return plugin


for _package in ("lightning.pytorch", "pytorch_lightning"):
    _registered(f"{_package}.accelerators", "AcceleratorRegistry")
    _connected(f"{_package}.trainer.connectors.accelerator_connector", "_AcceleratorConnector", "_precision_plugin_flag")
for _package in ("lightning.fabric", "lightning_fabric"):
    _registered(f"{_package}.accelerators", "ACCELERATOR_REGISTRY")
    _connected(f"{_package}.connector", "_Connector", "_precision_instance")
