"""Random state of the devices: a seed and an offset each, 16 bytes on the host."""

from anygpu import _torch

from .._devices import index as _index


def _generator(device):
    return _torch.default_generator(_index(device))


def _all():
    return [_torch.default_generator(i) for i in range(_torch.device_count())]


def get_rng_state(device="anygpu"):
    """A ByteTensor on the CPU."""
    return _generator(device).get_state()


def set_rng_state(new_state, device="anygpu"):
    _generator(device).set_state(new_state)


def get_rng_state_all():
    return [g.get_state() for g in _all()]


def set_rng_state_all(new_states):
    for g, state in zip(_all(), new_states, strict=True):
        g.set_state(state)


def manual_seed(seed):
    """Of the current device."""
    _generator(None).manual_seed(int(seed))


def manual_seed_all(seed):
    for g in _all():
        g.manual_seed(int(seed))


def seed():
    return _generator(None).seed()


def seed_all():
    random_seed = 0
    for i, g in enumerate(_all()):
        if i == 0:
            random_seed = g.seed()
        else:
            g.manual_seed(random_seed)


def initial_seed():
    return _generator(None).initial_seed()
