"""Small Keras models, and training them on one device from given weights."""

import keras
import numpy as np
import tensorflow as tf

L = keras.layers


def mlp():
    return keras.Sequential([keras.Input((16,)), L.Dense(32, activation="relu"), L.Dense(32, activation="tanh"), L.Dense(5)])


def cnn():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            L.Conv2D(8, 3, padding="same", activation="relu"),
            L.MaxPooling2D(),
            L.Conv2D(16, 3, strides=2, padding="same"),
            L.BatchNormalization(),
            L.ReLU(),
            L.DepthwiseConv2D(3, padding="same"),
            L.LeakyReLU(),
            L.AveragePooling2D(2),
            L.Flatten(),
            L.Dense(5),
        ]
    )


def resnet():
    x = inputs = keras.Input((8, 8, 4))
    for width, stride in ((4, 1), (8, 2)):
        y = L.Conv2D(width, 3, strides=stride, padding="same", use_bias=False)(x)
        y = L.ReLU()(L.BatchNormalization()(y))
        y = L.BatchNormalization()(L.Conv2D(width, 3, padding="same", use_bias=False)(y))
        x = L.ReLU()(y + (L.Conv2D(width, 1, strides=stride, use_bias=False)(x) if stride > 1 else x))
    return keras.Model(inputs, L.Dense(5)(L.GlobalAveragePooling2D()(x)))


def lstm():
    return keras.Sequential([keras.Input((6, 8)), L.LSTM(12, return_sequences=True), L.LSTM(12), L.Dense(5)])


def gru():
    return keras.Sequential([keras.Input((6, 8)), L.GRU(12, return_sequences=True), L.GRU(12, go_backwards=True), L.Dense(5)])


def bidirectional():
    return keras.Sequential([keras.Input((6, 8)), L.Bidirectional(L.LSTM(8, return_sequences=True)), L.Bidirectional(L.GRU(8)), L.Dense(5)])


def transformer():
    x = inputs = keras.Input((6, 16))
    for _ in range(2):
        x = L.LayerNormalization()(x + L.MultiHeadAttention(2, 8)(x, x))
        x = L.LayerNormalization()(x + L.Dense(16)(L.Dense(32, activation="gelu")(x)))
    return keras.Model(inputs, L.Dense(5)(L.GlobalAveragePooling1D()(x)))


def branches():
    """Eight parallel branches: what TensorFlow's threads may run in any order."""
    inputs = keras.Input((16,))
    parts = [L.Dense(8, activation=a)(inputs) for a in ("relu", "tanh", "sigmoid", "softplus", "elu", "relu", "tanh", "sigmoid")]
    parts = [L.Dense(8)(L.LayerNormalization()(p)) for p in parts]
    return keras.Model(inputs, L.Dense(5)(L.Concatenate()(parts)))


OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(1e-3),
    "adamw": lambda: keras.optimizers.AdamW(1e-3),
    "sgd": lambda: keras.optimizers.SGD(0.02, momentum=0.9, nesterov=True),
    "rmsprop": lambda: keras.optimizers.RMSprop(1e-3),
}


def weights_of(make):
    keras.utils.set_random_seed(1)
    with tf.device("/CPU:0"):
        return [np.array(w) for w in make().get_weights()]


def batches(make, steps, size=16):
    """The same for all: images or vectors whose class can be learnt."""
    rng = np.random.default_rng(2)
    with tf.device("/CPU:0"):
        shape = make().input_shape[1:]
    y = rng.integers(0, 5, (steps, size))
    x = rng.standard_normal((steps, size, *shape)) + y.reshape((steps, size) + (1,) * len(shape)) * 0.3
    return x.astype("float32"), y


def train(device, make, optimizer, steps, weights, after_step=None, **compile_options):
    """The losses of so many steps."""
    x, y = batches(make, steps)
    with tf.device(device):
        model = make()
        model.set_weights(weights)
        model.compile(OPTIMIZERS[optimizer](), keras.losses.SparseCategoricalCrossentropy(from_logits=True), **compile_options)
        losses = []
        for i in range(steps):
            losses.append(float(model.train_on_batch(x[i], y[i])))
            model.reset_metrics()
            if after_step:
                after_step(i)
    return np.array(losses)
