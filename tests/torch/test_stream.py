"""Streams and events: one queue under many numbers."""

import threading
import time

import pytest
import torch


def test_event_orders_and_times():
    start, end = torch.Event("anygpu", enable_timing=True), torch.Event("anygpu", enable_timing=True)
    start.record()
    x = torch.ones(1 << 20).to("anygpu")
    for _ in range(10):
        y = torch.empty_like(x).copy_(x)
    end.record()
    end.synchronize()
    assert start.query() and end.query()
    elapsed = start.elapsed_time(end)
    assert elapsed >= 0
    assert torch.equal(y.cpu(), torch.ones(1 << 20))


def test_elapsed_time_needs_timing():
    a, b = torch.Event("anygpu"), torch.Event("anygpu", enable_timing=True)
    a.record()
    b.record()
    with pytest.raises((RuntimeError, ValueError), match="timing"):
        a.elapsed_time(b)


def test_elapsed_time_measures():
    a, b = torch.Event("anygpu", enable_timing=True), torch.Event("anygpu", enable_timing=True)
    a.record()
    a.synchronize()
    time.sleep(0.05)
    b.record()
    b.synchronize()  # PyTorch wants both to be reached
    assert a.elapsed_time(b) > 40


def test_unrecorded_event_is_done():
    e = torch.Event("anygpu")
    assert e.query()
    e.synchronize()


def test_stream_context():
    s = torch.anygpu.Stream()
    before = torch.anygpu.current_stream()
    assert before == torch.anygpu.default_stream()
    with torch.anygpu.stream(s):
        assert torch.anygpu.current_stream() == s != before
        x = torch.ones(10).to("anygpu")
        y = torch.empty_like(x).copy_(x)
    assert torch.anygpu.current_stream() == before
    torch.anygpu.current_stream().wait_stream(s)
    assert torch.equal(y.cpu(), torch.ones(10))
    s.synchronize()
    assert s.query()
    with torch.anygpu.stream(None):
        pass


def test_streams_differ():
    a, b = torch.anygpu.Stream(), torch.Stream("anygpu")
    assert a != b and a.device == b.device == torch.device("anygpu:0")


def test_wait_event_across_streams():
    s = torch.Stream("anygpu")
    x = torch.ones(10).to("anygpu")
    e = torch.anygpu.current_stream().record_event()
    s.wait_event(e)
    with torch.anygpu.stream(s):
        y = torch.empty_like(x).copy_(x)
        done = s.record_event()
    done.synchronize()
    assert torch.equal(y.cpu(), torch.ones(10))
    y.record_stream(s)


def test_current_stream_belongs_to_a_thread():
    s = torch.anygpu.Stream()
    seen = []
    with torch.anygpu.stream(s):
        t = threading.Thread(target=lambda: seen.append(torch.anygpu.current_stream()))
        t.start()
        t.join()
    assert seen == [torch.anygpu.default_stream()]


def test_synchronize_everywhere():
    torch.ones(10).to("anygpu")
    torch.anygpu.synchronize()
    torch.anygpu.synchronize("anygpu:0")
    torch.anygpu.synchronize(torch.device("anygpu"))
    torch.accelerator.synchronize()


def test_waiting_lets_other_threads_run():
    """synchronize() releases Python's lock: another thread makes progress while the device works."""
    x = torch.ones(1 << 22).to("anygpu")
    ticks, stop = [0], threading.Event()

    def tick():
        while not stop.is_set():
            ticks[0] += 1
            time.sleep(0.001)

    t = threading.Thread(target=tick)
    t.start()
    try:
        during = 0
        for _ in range(2000):  # until it is seen, however slow the other thread
            for _ in range(20):
                x = torch.empty_like(x).copy_(x)
            before = ticks[0]
            torch.anygpu.synchronize()
            during += ticks[0] - before
            if during > 5:
                break
        assert during > 5
    finally:
        stop.set()
        t.join()


def test_backward_on_its_own_thread():
    """Autograd runs on a thread of its own and compares streams there."""
    x = torch.ones(3).to("anygpu").requires_grad_()
    with torch.anygpu.stream(torch.anygpu.Stream()):
        y = x.expand(2, 3).transpose(0, 1).clone()
    y.backward(torch.ones(3, 2).to("anygpu"))
    assert torch.equal(x.grad.cpu(), torch.full((3,), 2.0))


def test_event_of_the_module_is_one_of_pytorchs():
    start, end = (torch.anygpu.Event(enable_timing=True) for _ in range(2))
    start.record()
    torch.anygpu.current_stream().record_event(end)
    end.synchronize()
    assert start.elapsed_time(end) >= 0
    assert isinstance(start, torch.anygpu.Event) and isinstance(start, torch.Event)
    assert not isinstance(torch.Event("cpu"), torch.anygpu.Event)
