"""What moves elements, picks them or reduces them, against TensorFlow's CPU."""

import numpy as np
import pytest
import tensorflow as tf
from frontend import check


@pytest.fixture
def x(rng):
    return rng.standard_normal((4, 5, 6)).astype("float32")


def test_slices(x):
    check(lambda x: (x[1:3], x[..., 0], x[:, ::2, ::-1], x[::-2, 1, tf.newaxis]), x)
    check(lambda x: tf.slice(x, [1, 0, 2], [2, -1, 3]), x)

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(x[::2, 1:, ::-3] ** 2)
        return tape.gradient(y, x)

    check(gradient, x)


def test_joins_and_splits(x):
    check(lambda x: (tf.concat([x, x[:1]], 0), tf.concat([x, x], -1), tf.stack([x, x], 1), tf.unstack(x, axis=1)), x)
    check(lambda x: (tf.split(x, 2, 0), tf.split(x, [1, -1, 2], 1)), x)


def test_rearrangement(x):
    check(lambda x: (tf.transpose(x, [2, 0, 1]), tf.reverse(x, [0, 2]), tf.tile(x, [2, 1, 3]), tf.broadcast_to(x[:1], [3, 5, 6])), x)
    check(lambda x: (tf.pad(x, [[1, 0], [0, 2], [3, 1]]), tf.pad(x, [[1, 0], [0, 2], [3, 1]], constant_values=2.5)), x)
    check(lambda x: (tf.reshape(x, [-1, 3]), tf.expand_dims(x, 1), tf.squeeze(x[:1], 0), tf.bitcast(x, tf.int32)), x)
    check(lambda: (tf.range(0.0, 3.0, 0.25), tf.range(tf.constant(2, tf.int64), 9, 3)))


def test_reductions(x):
    for f in (tf.reduce_sum, tf.reduce_mean, tf.reduce_max, tf.reduce_min, tf.reduce_prod):
        check(lambda x: (f(x), f(x, 1), f(x, [0, 2], keepdims=True), f(x[:0], 0)), x)  # noqa: B023
    check(lambda x: (tf.reduce_any(x > 1, 1), tf.reduce_all(x > -2, [0, 1]), tf.argmax(x, 1), tf.argmin(x, -1, tf.int32)), x)
    check(
        lambda x: (tf.cumsum(x, 1), tf.cumsum(x, 0, exclusive=True), tf.cumsum(x, 2, reverse=True, exclusive=True), tf.math.cumprod(x, 1)),
        x,
    )
    check(lambda x: (tf.nn.softmax(x), tf.nn.log_softmax(x), tf.nn.l2_loss(x)), x)


def test_products(rng):
    a, b = rng.standard_normal((3, 4)).astype("float32"), rng.standard_normal((4, 5)).astype("float32")
    check(lambda a, b: (a @ b, tf.matmul(b, a, transpose_a=True, transpose_b=True), tf.matmul(a[:, :0], b[:0])), a, b)
    c, d = rng.standard_normal((2, 1, 3, 4)).astype("float32"), rng.standard_normal((3, 4, 2)).astype("float32")
    check(lambda c, d: (c @ d, tf.matmul(d, c, transpose_a=True, transpose_b=True)), c, d)
    check(lambda a, b: tf.nn.bias_add(a @ b, b[0]), a, b)


@pytest.mark.parametrize(
    "equation", ["ab,bc->ac", "ab,bc->ca", "abc,dbe->adce", "a...b,b...->...a", "abc,abd->bcd", "ab,c->ab", "...ab,...bc->...ac"]
)
def test_einsum(rng, equation):
    sizes = {"a": 2, "b": 3, "c": 4, "d": 5, "e": 2}
    shapes = [[sizes[c] if c != "." else 2 for c in part.replace("...", ".")] for part in equation.split("->")[0].split(",")]
    arrays = [rng.standard_normal(s).astype("float32") for s in shapes]

    def gradients(*xs):
        with tf.GradientTape() as tape:
            tape.watch(xs)
            y = tf.einsum(equation, *xs)
            loss = tf.reduce_sum(y * y)
        return [y, *tape.gradient(loss, xs)]

    check(gradients, *arrays, tolerance=1e-4)


def test_einsum_of_one_operand(rng, x):
    check(lambda x: (tf.einsum("abc->cb", x), tf.einsum("aab->ab", x[:, :4]), tf.einsum("abc->a", x)), x)


def test_losses(rng):
    logits, labels = rng.standard_normal((6, 5)).astype("float32"), rng.integers(0, 5, 6)
    check(lambda x, t: tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(features=x, labels=t), logits, labels)
    soft = rng.dirichlet(np.ones(5), 6).astype("float32")
    check(lambda x, t: tf.raw_ops.SoftmaxCrossEntropyWithLogits(features=x, labels=t), logits, soft)


def test_indexing(rng, x):
    i = rng.integers(0, 5, (2, 3))
    check(lambda x, i: (tf.gather(x, i, axis=1), tf.gather(x, i % 4), tf.gather(x[:2], i, axis=1, batch_dims=1)), x, i)
    check(lambda x, i: tf.gather(x[:2], i, axis=2, batch_dims=1), x, i)
    check(lambda x, i: tf.gather_nd(x, i % 4), x, i[:, :2])
    check(lambda x, i: tf.tensor_scatter_nd_update(x, i, x[:2, 0]), x, np.array([[0, 1], [3, 2]]))
    check(lambda x, i: tf.tensor_scatter_nd_add(x, i, x[:3]), x, np.array([[0], [3], [0]]))
    check(lambda x, i: tf.math.unsorted_segment_sum(x, i, 3), x, np.array([2, -1, 0, 2], "int32"))
    check(lambda x, n: tf.reverse_sequence(x, n, seq_axis=1, batch_axis=0), x, np.array([0, 2, 5, 3], "int32"))
    check(lambda x, n: tf.reverse_sequence(x, n, seq_axis=0, batch_axis=2), x, np.array([0, 2, 4, 3, 1, 1]))
    check(lambda x: (tf.linalg.diag_part(x), tf.linalg.diag_part(x, k=1), tf.linalg.diag_part(x, k=-2)), x)
    check(lambda i: (tf.one_hot(i, 4), tf.one_hot(i, 4, 2.0, -1.0, axis=0)), i)


def test_integers_of_shapes_stay_in_host_memory(on_device):
    @tf.function
    def f(x):
        n = tf.shape(x)
        return tf.reshape(x, tf.stack([n[0] * n[1], tf.reduce_prod(n[2:])])), n[1:]

    y, n = f(tf.zeros([2, 3, 4, 5]))
    assert y.shape == (6, 20) and n.numpy().tolist() == [3, 4, 5]
