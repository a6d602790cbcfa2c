"""Keras 3 on its torch backend, stable-baselines3."""

import os

os.environ["KERAS_BACKEND"] = "torch"

import keras  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402


def test_keras():
    g = np.random.default_rng(0)
    x = g.normal(size=(64, 4)).astype("float32")
    y = x.sum(1, keepdims=True)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Dense(16, activation="relu"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    history = model.fit(x, y, epochs=4, verbose=0).history["loss"]
    assert {w.value.device.type for w in model.weights} == {"anygpu"}
    assert history[-1] < history[0]
    assert model.predict(x, verbose=0).shape == (64, 1)


def test_stable_baselines3():
    from stable_baselines3 import PPO

    agent = PPO("MlpPolicy", "CartPole-v1", n_steps=32, batch_size=32, n_epochs=1)
    agent.learn(32)
    assert agent.device.type == "anygpu" and {p.device.type for p in agent.policy.parameters()} == {"anygpu"}
    assert PPO("MlpPolicy", "CartPole-v1", device="cpu").device.type == "cpu"
    assert torch.anygpu.is_available()
