"""What the tests share: running on both devices, comparing, and what the device says of itself."""

import ctypes
import pathlib
import sysconfig

import numpy as np
import tensorflow as tf

DEVICE = "/GPU:0"
TOLERANCE = {"float32": 2e-5, "float64": 1e-10, "float16": 4e-3, "bfloat16": 3e-2}


def _library():
    # TensorFlow has loaded it: this only finds it again.
    return ctypes.CDLL(str(pathlib.Path(sysconfig.get_path("platlib")) / "tensorflow-plugins" / "libanygpu_tensorflow.so"))


def stats(device=0):
    """Counters since the start, by name."""
    five = (ctypes.c_int64 * 5)()
    _library().anygpu_tensorflow_stats(device, five)
    return dict(zip(["flushes", "plans_compiled", "kernels_compiled", "kernels_run", "operators"], five))


def explain(plans=1, device=0):
    f = _library().anygpu_tensorflow_explain
    f.restype = ctypes.c_char_p
    return f(device, plans).decode()


def run_on(device, f, *arrays):
    """f of tensors that lie on the device, as arrays of NumPy; what f returns may be nested."""
    with tf.device(device):
        result = f(*[tf.constant(a) if isinstance(a, np.ndarray) else a for a in arrays])
    return [r.numpy() for r in tf.nest.flatten(result)]


def check(f, *arrays, tolerance=None, where=DEVICE):
    """f gives on the device what it gives on TensorFlow's CPU, called from Python and in a graph."""
    wanted = run_on("/CPU:0", f, *arrays)
    for call in (f, tf.function(f, jit_compile=False)):
        got = run_on(where, call, *arrays)
        assert len(got) == len(wanted)
        for g, w in zip(got, wanted):
            assert g.dtype == w.dtype and g.shape == w.shape, f"{g.dtype} {g.shape}, wanted {w.dtype} {w.shape}"
            if w.dtype.kind in "biu":
                np.testing.assert_array_equal(g, w)
            else:
                t = tolerance or TOLERANCE[w.dtype.name]
                np.testing.assert_allclose(g.astype("float64"), w.astype("float64"), rtol=t, atol=t)
