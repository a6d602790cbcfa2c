"""Tests of the TensorFlow frontend, in .venv-tensorflow. Soft placement is off: what has no kernel on the device is an error here."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("ANYGPU_DEVICES", "cpu")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import tensorflow as tf  # noqa: E402
from frontend import DEVICE  # noqa: E402

tf.config.set_soft_device_placement(False)


def pytest_sessionstart(session):
    assert tf.config.list_physical_devices("GPU"), "TensorFlow did not find the plugin: ./run setup-tensorflow"


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def on_device():
    with tf.device(DEVICE):
        yield
