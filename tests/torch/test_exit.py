"""Scripts that end while autograd's device thread may still be at work leave cleanly."""

import pytest

ENDS_AFTER_BACKWARD = """
    import torch

    class Held(torch.autograd.Function):  # a Python object in the graph, which the device thread frees with Python's lock
        @staticmethod
        def forward(ctx, x):
            ctx.held = [object() for _ in range(20000)]
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    x = torch.ones(100, device="anygpu", requires_grad=True)
    y = x
    for _ in range({depth}):
        y = Held.apply(y)
    y.sum().backward()
    {end}
"""


@pytest.mark.parametrize("end", ["", "del y", "print(x.grad.sum().item())"])
def test_script_that_ends_with_backward(python, end):
    for depth in (1, 5, 10, 20):
        printed = python(ENDS_AFTER_BACKWARD.format(depth=depth, end=end))
        if "print" in end:
            assert float(printed) == 100.0 * 4.0**depth / 2.0**depth


def test_linear_layer_ends_with_backward(python):
    for _ in range(10):
        python("""
            import torch
            model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)).to("anygpu")
            model(torch.ones(4, 8, device="anygpu")).sum().backward()
        """)


def test_waiting_at_exit_in_a_forked_child(python):
    python("""
        import os, sys, torch
        x = torch.ones(3, device="anygpu", requires_grad=True)
        (x * 2).sum().backward()
        if os.fork() == 0:
            sys.exit(0)  # runs the same exit functions, without autograd's threads
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
    """)


def test_backward_can_be_awaited_at_any_time():
    import torch

    from anygpu import _torch

    for _ in range(3):
        _torch.await_backward()
    with torch.no_grad(), torch.inference_mode():
        _torch.await_backward()
