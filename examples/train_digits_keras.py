#!/usr/bin/env python3
"""Train a small CNN on scikit-learn's 1,797 real handwritten digits, with Keras.

    ./run train-keras                     on anygpu
    ./run train-keras --device cpu        the same on stock TensorFlow
    ./run train-keras --epochs 3 --out /tmp/digits

Nothing in it knows anygpu: the device is an ordinary GPU of TensorFlow's. Writes the model, the loss curve as JSON and a plot of it.
"""

import argparse
import json
import os
import pathlib
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from tqdm import tqdm

BATCH = 64
WARM_UP_EPOCHS = 1


def digits():
    """Train and test images ([n, 8, 8, 1], 0 to 1) and labels, split 4 to 1 in an order that is always the same."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(len(images))
    x = (images[order] / 16).astype("float32").reshape(-1, 8, 8, 1)
    y = labels[order]
    n = len(x) * 4 // 5
    return (x[:n], y[:n]), (x[n:], y[n:])


def digit_net():
    """8 x 8 grey images to 10 classes: two convolutions with batch norm, one hidden layer."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(32, 3, padding="same"), layers.BatchNormalization(), layers.ReLU(),
            layers.Conv2D(64, 3, padding="same"), layers.BatchNormalization(), layers.ReLU(), layers.MaxPooling2D(),
            layers.Flatten(), layers.Dense(64, activation="relu"), layers.Dense(10),
        ]
    )  # fmt: skip


class Progress(keras.callbacks.Callback):
    """A bar, the losses of all steps, and the time without the first epoch's."""

    def __init__(self, steps, epochs, device):
        super().__init__()
        self.bar = tqdm(total=steps * epochs, unit="step", disable=None, desc=f"training on {device}")
        self.losses, self.started, self.measured = [], 0.0, 0

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["loss"]))
        self.measured += bool(self.started)
        self.bar.update()

    def on_epoch_end(self, epoch, logs=None):
        self.bar.set_postfix(loss=f"{logs['loss']:.4f}", accuracy=f"{logs['val_accuracy']:.1%}")
        if epoch + 1 == WARM_UP_EPOCHS:
            self.started = time.perf_counter()

    def on_train_end(self, logs=None):
        self.seconds = time.perf_counter() - self.started
        self.bar.close()


def plot(losses, path, title):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots(figsize=(7, 3.5))
    ax.semilogy(losses, lw=1)
    ax.set(xlabel="step", ylabel="cross-entropy", title=title)
    ax.grid(alpha=0.3)
    fig.tight_layout()
    fig.savefig(path, dpi=120)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--device", default="gpu", help="gpu (anygpu's) or cpu")
    p.add_argument("--epochs", type=int, default=12)
    p.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out"))
    a = p.parse_args()
    if a.device == "gpu" and not tf.config.list_physical_devices("GPU"):
        raise SystemExit("TensorFlow sees no anygpu device: ./run setup-tensorflow")

    train, test = digits()
    keras.utils.set_random_seed(0)
    with tf.device(f"/{a.device.upper()}:0"):
        model = digit_net()
        model.compile(keras.optimizers.AdamW(2e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        progress = Progress(-(-len(train[0]) // BATCH), a.epochs, a.device)
        model.fit(*train, batch_size=BATCH, epochs=a.epochs, validation_data=test, callbacks=[progress], verbose=0)
        accuracy = model.evaluate(*test, verbose=0)[1]

    a.out.mkdir(parents=True, exist_ok=True)
    model.save(a.out / f"digits_keras_{a.device}.keras")
    (a.out / f"digits_keras_{a.device}.json").write_text(json.dumps(progress.losses))
    plot(progress.losses, a.out / f"digits_keras_{a.device}.png", f"1,797 handwritten digits with Keras on {a.device}")

    name = (
        tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0]).get("device_name")
        if a.device == "gpu"
        else None
    )
    rate = f"{progress.measured / progress.seconds:.1f}" if progress.measured else f"- (known from {WARM_UP_EPOCHS + 1} epochs on)"
    rows = {"device": f"{a.device} ({name})" if name else a.device, "test accuracy": f"{accuracy:.2%}", "steps per second": rate}
    for key, value in rows.items():
        print(f"{key:<18} {value}")
    print(f"written to {a.out}")


if __name__ == "__main__":
    main()
