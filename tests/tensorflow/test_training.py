"""Keras models, unchanged, against TensorFlow's CPU."""

import pathlib
import subprocess
import sys

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
    # By SGD from these weights, stock TensorFlow itself is 2.5e-3 away from a run whose weights differ by 1e-7: a ReLU is at its kink.
    compare(models.resnet, "adam")


@pytest.mark.parametrize("name", ["lstm", "gru", "bidirectional", "transformer"])
def test_sequences(name):
    compare(getattr(models, name), "adam", 40)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_mixed_precision(name, policy):
    keras.config.set_dtype_policy(policy)
    try:
        compare(getattr(models, name), "sgd", 30, tolerance=2e-2)
    finally:
        keras.config.set_dtype_policy("float32")


def compare(make, optimizer, steps=STEPS, tolerance=1e-3):
    weights = models.weights_of(make)
    wanted = models.train("/CPU:0", make, optimizer, steps, weights, jit_compile=False)
    got = models.train(DEVICE, make, optimizer, steps, weights)  # jit_compile="auto", as Keras has it
    assert wanted[-10:].mean() < wanted[:10].mean()  # it learns
    np.testing.assert_allclose(got, wanted, atol=tolerance, rtol=0)


def test_fit_with_a_dataset():
    x, y = models.batches(models.mlp, 8, 16)
    data = tf.data.Dataset.from_tensor_slices((x, y)).prefetch(2)
    model = models.mlp()
    assert all("GPU:0" in v.value.device for v in model.weights)  # placed there by itself; the data's operators stay on the CPU
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


def test_the_example(tmp_path):
    example = pathlib.Path(__file__).parents[2] / "examples" / "train_digits_keras.py"
    done = subprocess.run([sys.executable, example, "--epochs", "3", "--out", tmp_path], capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-2000:]
    accuracy = float(done.stdout.split("test accuracy")[1].split("%")[0])
    assert accuracy > 85, done.stdout
    assert (tmp_path / "digits_keras_gpu.keras").exists() and (tmp_path / "digits_keras_gpu.png").exists()
