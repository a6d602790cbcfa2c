"""torch.distributed: groups of processes serve tensors of anygpu over Gloo. `_distributed` is the C++ of it."""

import functools


def install(torch):
    """Makes every group that is asked for without a backend, by "gloo" or by "anygpu" one that serves CPU tensors and those of anygpu."""
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        return
    from torch.distributed import distributed_c10d as c10d
    from torch.distributed.distributed_c10d import Backend, BackendConfig

    Backend.register_backend("anygpu", _make, extended_api=True, devices=["anygpu"])

    # PyTorch gives a group without a named backend one for the accelerator only, and CPU users of this process would have none.
    plain = BackendConfig.__init__

    @functools.wraps(plain)
    def init(self, backend):
        plain(self, backend)
        if str(backend).lower() in (Backend.UNDEFINED, Backend.GLOO, "anygpu"):
            kinds = self.device_backend_map
            kinds.update(cpu=Backend.GLOO, anygpu=Backend("anygpu"))
            if str(backend) == Backend.UNDEFINED and torch.cuda.is_available():
                kinds["cuda"] = Backend.default_device_backend_map["cuda"]

    BackendConfig.__init__ = init

    # Where any plugin is registered, PyTorch gives a group of "cpu:gloo,..." no default backend, and warns at its end that there is none.
    make = c10d._new_process_group_helper

    @functools.wraps(make)
    def made(*args, **kwargs):
        group, store = make(*args, **kwargs)
        kind = c10d.ProcessGroup.BackendType
        if isinstance(group, c10d.ProcessGroup) and list(Backend._plugins) == ["ANYGPU"] and group.name() == kind.UNDEFINED.name.lower():
            group._set_default_backend(kind.GLOO)
        return group, store

    c10d._new_process_group_helper = made


def _make(options, backend_options):
    """Called by PyTorch for each group: options has its store, rank, size and timeout. All ranks meet here."""
    from torch.distributed.distributed_c10d import ProcessGroupGloo

    from anygpu import _distributed

    gloo = ProcessGroupGloo(options.store, options.group_rank, options.group_size, timeout=options.timeout)
    gloo.options.global_ranks_in_group = options.global_ranks_in_group
    gloo.options.group_name = options.group_id
    gloo._set_sequence_number_for_group()
    return _distributed.over(gloo)
