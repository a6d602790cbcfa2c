"""Sizes are parameters of kernels: another length makes another Plan, not another kernel."""

import pytest
from test_vulkan import needs_driver

LENGTHS = """
    import torch, anygpu

    def results(n, device):
        torch.manual_seed(n)
        x, g = torch.randn(6, n), torch.randn(6, n)
        weight, bias, index, columns = torch.randn(n), torch.randn(n), torch.randint(0, n, (6, n)), torch.randint(0, n, (n,))
        x, g, weight, bias, index, columns = (t.to(device) for t in (x, g, weight, bias, index, columns))
        x.requires_grad_(), weight.requires_grad_(), bias.requires_grad_()
        got = [torch.gather(g, 1, index), torch.zeros(6, n, device=device).index_add_(1, columns, g)]
        for y in (x.mean(-1), torch.softmax(x, -1), torch.nn.functional.layer_norm(x, (n,), weight, bias)):
            y.backward(g if y.dim() == 2 else g[:, 0])
            got += [y.detach(), x.grad.clone()]
            x.grad = None
        return [t.cpu() for t in got + [weight.grad, bias.grad]]

    def kernels(lengths, checked):
        for k, n in enumerate(lengths):
            got = results(n, "anygpu")
            if n in checked:
                torch.testing.assert_close(got, results(n, "cpu"), rtol=1e-4, atol=1e-5)
            if k == 2:
                first = anygpu.stats()["kernels_compiled"]
        return anygpu.stats()["kernels_compiled"] - first

    assert anygpu.devices()[0]["backend"] == "{backend}"
    for lengths in {lengths}:
        made = kernels(lengths, (100, 112, 128, 257, 1000, 1003, 1280))
        print(lengths, made)
        assert made <= 12, f"{{made}} kernels for {{lengths}}"
"""


def test_300_lengths_on_cpu(python):
    script = LENGTHS.format(backend="cpu", lengths="range(100, 400), range(1000, 1300)")
    print(python(script, ANYGPU_DEVICES="cpu", ANYGPU_CACHE_DIR=""))


@needs_driver
@pytest.mark.parametrize("start", [100, 1000])
def test_300_lengths_on_vulkan(python, start):
    script = LENGTHS.format(backend="vulkan", lengths=f"[range({start}, {start + 300})]")
    print(python(script, ANYGPU_DEVICES="vulkan:0", ANYGPU_CACHE_DIR=""))
