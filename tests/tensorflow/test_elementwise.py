"""Functions of elements against TensorFlow's CPU, over the types, broadcasts and special values."""

import numpy as np
import pytest
import tensorflow as tf
from frontend import check

FLOATS = ["float32", "float16", "bfloat16", "float64"]
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, np.inf, -np.inf, np.nan]

UNARY = (
    "Abs Neg Sign Square Sqrt Rsqrt Exp Expm1 Log Log1p Sin Cos Tan Asin Acos Atan Sinh Cosh Tanh Asinh Acosh Atanh Erf Erfc Sigmoid Relu "
    "Floor Ceil Rint Round Reciprocal IsFinite IsInf IsNan Lgamma Digamma Erfinv Ndtri ZerosLike OnesLike"
).split()
BINARY = (
    "AddV2 Sub Mul RealDiv FloorDiv FloorMod Maximum Minimum Pow Atan2 SquaredDifference Xlogy Xlog1py Xdivy DivNoNan MulNoNan Equal "
    "NotEqual Less LessEqual Greater GreaterEqual"
).split()
GRADIENTS = "SigmoidGrad TanhGrad RsqrtGrad SqrtGrad ReciprocalGrad".split()
NO_HALVES = {"Digamma", "Erfinv", "Lgamma", "Ndtri", "Rint"}  # on TensorFlow's CPU


def values(rng, dtype, shape=(5, 7)):
    return tf.cast(rng.uniform(0.1, 0.9, shape), dtype).numpy()


@pytest.mark.parametrize("name", UNARY)
def test_unary(rng, name):
    f = getattr(tf.raw_ops, name)
    key = "features" if name == "Relu" else "x"
    for dtype in ("float32", "float64") if name in NO_HALVES else FLOATS:
        x = values(rng, dtype)
        check(lambda x: f(**{key: x}), x, tolerance=1e-3 if name in ("Digamma", "Ndtri", "Erfinv") and dtype == "float32" else None)


@pytest.mark.parametrize("name", sorted(set(UNARY) - {"Ndtri", "Erfinv", "Digamma", "Lgamma"}))
def test_special_values(name):
    f = getattr(tf.raw_ops, name)
    key = "features" if name == "Relu" else "x"
    check(lambda x: f(**{key: x}), np.array(SPECIAL, "float32"))


@pytest.mark.parametrize("name", BINARY)
def test_binary(rng, name):
    f = getattr(tf.raw_ops, name)
    for dtype in FLOATS:
        x, y, z = values(rng, dtype, (4, 1, 3)), values(rng, dtype, (5, 1)), values(rng, dtype, (4, 5, 3))
        check(lambda x, y: f(x=x, y=y), x, y)
        check(lambda x, y: f(x=x, y=y), z, x)
        check(lambda x, y: f(x=x, y=y), z[:0], z[:0, :1])


@pytest.mark.parametrize(
    "name", "AddV2 Sub Mul FloorDiv FloorMod Maximum Minimum Equal NotEqual Less LessEqual Greater GreaterEqual".split()
)
def test_integers(rng, name):
    f = getattr(tf.raw_ops, name)
    for dtype in ("int8", "uint8", "int16", "int64"):
        low = 0 if dtype == "uint8" else -9
        x, y = rng.integers(low, 9, (4, 5)).astype(dtype), rng.integers(1, 9, (5,)).astype(dtype)
        check(lambda x, y: f(x=x, y=y), x, y)


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_by_the_result(rng, name):
    f = getattr(tf.raw_ops, name)
    for dtype in FLOATS:
        check(lambda y, dy: f(y=y, dy=dy), values(rng, dtype), values(rng, dtype))


def test_relus(rng):
    x, dy = rng.standard_normal((2, 30)).astype("float32")
    check(lambda dy, x: tf.raw_ops.ReluGrad(gradients=dy, features=x), dy, x)
    check(lambda x: tf.nn.leaky_relu(x, 0.3), x)
    check(lambda dy, x: tf.raw_ops.LeakyReluGrad(gradients=dy, features=x, alpha=0.3), dy, x)


@pytest.mark.parametrize("name", ["elu", "selu", "softplus", "softsign", "relu6", "gelu", "silu"])
def test_activations(rng, name):
    f = getattr(tf.nn, name)

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(f(x) * f(x))
        return tape.gradient(y, x)

    for dtype in FLOATS:
        x = tf.cast(rng.standard_normal(50) * 5, dtype).numpy()
        check(f, x)
        if dtype in ("float32", "float64"):
            check(gradient, x)


def test_casts(rng):
    names = FLOATS + ["int32", "int64", "uint8", "bool"]
    for a in names:
        x = tf.cast(rng.uniform(0, 100, (3, 4)), a).numpy()
        for b in names:
            check(lambda x: tf.cast(x, b), x)  # noqa: B023


def test_logic_and_selection(rng):
    a, b = rng.integers(0, 2, (2, 4, 5)).astype(bool)
    x, y = rng.standard_normal((2, 4, 5)).astype("float32")
    check(lambda a, b: (a & b, a | b, ~a, tf.math.logical_xor(a, b)), a, b)
    check(lambda a, x, y: tf.where(a, x, y), a, x, y)
    check(lambda a, x: tf.where(a, x, 0.0), a[:, :1], x)
    check(lambda a, x, y: tf.raw_ops.Select(condition=a, x=x, y=y), a[:, 0], x, y)
    check(lambda x, y: tf.add_n([x, y, x]), x, y)
    check(lambda x: tf.fill([2, 3], x), x[0, 0])


def test_nothing_to_compute():
    x = np.zeros((0, 3), "float32")
    check(lambda x: (tf.nn.relu(x), x + 1.0, tf.cast(x, tf.float16)), x)


def test_shapes_that_do_not_broadcast(on_device):
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.raw_ops.AddV2(x=tf.zeros([2]), y=tf.zeros([3]))
    assert float(tf.reduce_sum(tf.ones([2]) + 1)) == 4


def test_a_type_that_the_device_has_not(on_device):
    with pytest.raises((tf.errors.NotFoundError, tf.errors.InvalidArgumentError), match="Relu"):
        tf.raw_ops.Relu(features=tf.constant([1], tf.uint16))
