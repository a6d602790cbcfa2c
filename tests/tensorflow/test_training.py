"""Keras models, unchanged, against TensorFlow's CPU."""

import keras
import models
import numpy as np
import pytest
import tensorflow as tf
from frontend import DEVICE

STEPS = 100


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adamw", "rmsprop"])
def test_mlp(optimizer):
    compare(models.mlp, optimizer)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_cnn(optimizer):
    compare(models.cnn, optimizer)


def test_resnet():
    compare(models.resnet, "sgd")


def compare(make, optimizer):
    weights = models.weights_of(make)
    wanted = models.train("/CPU:0", make, optimizer, STEPS, weights, jit_compile=False)
    got = models.train(DEVICE, make, optimizer, STEPS, weights)  # jit_compile="auto", as Keras has it
    assert wanted[-10:].mean() < wanted[:10].mean()  # it learns
    np.testing.assert_allclose(got, wanted, atol=1e-3)


def test_fit_with_a_dataset():
    x, y = models.batches(models.mlp, 8, 16)
    data = tf.data.Dataset.from_tensor_slices((x, y)).prefetch(2)
    with tf.device(DEVICE):
        model = models.mlp()
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        history = model.fit(data, epochs=3, verbose=0, validation_data=data)
        assert history.history["loss"][-1] < history.history["loss"][0]
        assert model.predict(x[0], verbose=0).shape == (16, 5)


def test_a_loop_of_ones_own():
    x, y = models.batches(models.mlp, 20, 16)
    weights = models.weights_of(models.mlp)

    def losses(device, wrap):
        with tf.device(device):
            model = models.mlp()
            model.set_weights(weights)
            optimizer = keras.optimizers.SGD(0.05)

            @wrap
            def step(x, y):
                with tf.GradientTape() as tape:
                    loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(y, model(x), from_logits=True))
                optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
                return loss

            return [float(step(tf.constant(a), tf.constant(b))) for a, b in zip(x, y)]

    wanted = losses("/CPU:0", lambda f: f)
    for wrap in (lambda f: f, tf.function, lambda f: tf.function(f, jit_compile=True)):
        np.testing.assert_allclose(losses(DEVICE, wrap), wanted, atol=1e-3)
