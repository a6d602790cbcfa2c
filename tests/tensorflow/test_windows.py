"""Convolutions and pooling against TensorFlow's CPU, with their gradients."""

import pytest
import tensorflow as tf
from frontend import check


def with_gradients(f):
    def both(*xs):
        with tf.GradientTape() as tape:
            tape.watch(xs)
            y = f(*xs)
            loss = tf.reduce_sum(y * tf.cast(tf.reshape(tf.range(float(tf.size(y))), tf.shape(y)) % 7.0 - 3.0, y.dtype))
        return [y, *tape.gradient(loss, xs)]

    return both


@pytest.mark.parametrize("padding", ["SAME", "VALID", [[0, 0], [1, 2], [0, 1], [0, 0]]])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolution(rng, padding, stride):
    x, w = rng.standard_normal((2, 9, 8, 4)).astype("float32"), rng.standard_normal((3, 2, 4, 6)).astype("float32")
    check(with_gradients(lambda x, w: tf.nn.conv2d(x, w, stride, padding)), x, w, tolerance=2e-3)


def test_dilation_and_groups(rng):
    x, w = rng.standard_normal((2, 9, 8, 4)).astype("float32"), rng.standard_normal((3, 3, 4, 6)).astype("float32")
    check(with_gradients(lambda x, w: tf.nn.conv2d(x, w, 1, "SAME", dilations=2)), x, w, tolerance=2e-3)
    check(lambda x, w: tf.nn.conv2d(x, w[:, :, :2], 1, "SAME"), x, w, tolerance=2e-3)


@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise(rng, stride):
    x, w = rng.standard_normal((2, 8, 8, 3)).astype("float32"), rng.standard_normal((3, 3, 3, 2)).astype("float32")
    check(with_gradients(lambda x, w: tf.nn.depthwise_conv2d(x, w, [1, stride, stride, 1], "SAME")), x, w, tolerance=2e-3)


@pytest.mark.parametrize("pool", [tf.nn.max_pool2d, tf.nn.avg_pool2d])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("kernel, stride", [(2, 2), (3, 2), (3, 1)])
def test_pooling(rng, pool, padding, kernel, stride):
    x = rng.standard_normal((2, 8, 7, 3)).astype("float32")
    check(with_gradients(lambda x: pool(x, kernel, stride, padding)), x, tolerance=1e-4)


def test_half_precision(rng):
    x, w = rng.standard_normal((2, 6, 6, 4)), rng.standard_normal((3, 3, 4, 2))
    for dtype in ("float16", "bfloat16"):
        check(lambda x, w: tf.nn.conv2d(tf.cast(x, dtype), tf.cast(w, dtype), 1, "SAME"), x, w, tolerance=0.1)  # noqa: B023
