"""Equal steps make equal Plans, whatever order TensorFlow's threads run their kernels in."""

import models
import tensorflow as tf
from frontend import DEVICE, stats


def test_a_hundred_steps_of_parallel_branches_have_the_plans_of_three():
    seen = []
    models.train(DEVICE, models.branches, "adam", 100, models.weights_of(models.branches), after_step=lambda i: seen.append(stats()))
    assert seen[99]["operators"] - seen[98]["operators"] > 200  # each step is recorded
    assert seen[99]["plans_compiled"] == seen[2]["plans_compiled"]
    assert seen[99]["kernels_compiled"] == seen[2]["kernels_compiled"]


def test_reading_in_the_middle_of_a_step():
    """A loop whose condition is computed on the device reads it in every round, while other branches are under way."""

    @tf.function
    def f(x, y):
        while tf.reduce_sum(x) < 100.0:
            x = x * 1.5 + 1.0
            y = tf.nn.tanh(y @ y)
        return x, y, tf.nn.relu(y) + x

    with tf.device(DEVICE):
        x, y = tf.ones([4, 4]), tf.ones([4, 4]) * 0.1
        counts, results = [], []
        for _ in range(30):
            results.append([t.numpy().tolist() for t in f(x, y)])
            counts.append(stats()["plans_compiled"])
    assert all(r == results[0] for r in results)
    assert counts[-1] == counts[2]


def test_a_variable_keeps_what_was_read_before_it_changed():
    with tf.device(DEVICE):
        v = tf.Variable([1.0, 2.0])

        @tf.function
        def f():
            before = v.read_value()
            v.assign_add([10.0, 10.0])
            middle = v * 2.0
            v.assign_sub([1.0, 1.0])
            return before + 0.0, middle, v.read_value()

        for i in range(20):
            before, middle, after = (t.numpy() for t in f())
            assert before[0] == 1 + 9 * i and middle[0] == 2 * (11 + 9 * i) and after[0] == 10 + 9 * i
