"""The device itself: placement, copies, memory, errors."""

import numpy as np
import pytest
import tensorflow as tf
from frontend import DEVICE, explain, stats


def test_it_is_a_gpu():
    assert [d.device_type for d in tf.config.list_physical_devices("GPU")] == ["GPU"]
    x = tf.constant([1.0, 2.0]) + 1
    assert x.device.endswith("GPU:0")  # placed there by itself


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"])
def test_round_trip(rng, dtype):
    with tf.device("/CPU:0"):
        x = tf.cast(rng.integers(0, 2 if dtype == "bool" else 100, (3, 5)), dtype)
    with tf.device(DEVICE):
        y = tf.identity(x)
    assert np.array_equal(x.numpy(), y.numpy())


def test_what_is_computed_is_fused():
    with tf.device(DEVICE):
        x = tf.random.normal([1000])
        float(tf.reduce_sum(x))

        @tf.function
        def f(x):
            return tf.reduce_sum(tf.nn.relu(x * 2.0 + 1.0) ** 2)

        float(f(x))
        before = stats()
        float(f(x))
        after = stats()
    assert after["kernels_run"] - before["kernels_run"] <= 2 and after["operators"] - before["operators"] >= 4
    assert "relu" in explain()


def test_random_numbers_follow_the_seed():
    with tf.device(DEVICE):

        def draw():
            tf.random.set_seed(3)
            return np.concatenate(
                [tf.random.normal([1000]).numpy(), tf.random.uniform([1000]).numpy(), tf.random.truncated_normal([1000]).numpy()]
            )

        a, b = draw(), draw()
        assert np.array_equal(a, b)
        assert abs(a[:1000].mean()) < 0.2 and 0.9 < a[:1000].std() < 1.1
        assert 0 <= a[1000:2000].min() and a[1000:2000].max() < 1 and abs(a[1000:2000].mean() - 0.5) < 0.05
        assert np.abs(a[2000:]).max() <= 2
        s = [tf.random.stateless_uniform([100], [1, i]).numpy() for i in (2, 2, 3)]
        assert np.array_equal(s[0], s[1]) and not np.array_equal(s[0], s[2])


def test_errors_leave_the_device_usable():
    with tf.device(DEVICE):
        with pytest.raises(tf.errors.InvalidArgumentError):
            tf.linalg.matmul(tf.zeros([2, 3]), tf.zeros([2, 3]))

        @tf.function
        def f(x):
            return tf.raw_ops.Reshape(tensor=x, shape=[3, 3])

        with pytest.raises((tf.errors.InvalidArgumentError, ValueError)):
            f(tf.zeros([4]))
        assert float(tf.reduce_sum(tf.ones([3]))) == 3
