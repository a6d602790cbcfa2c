"""nn.DataParallel and torch.nn.parallel.comm on one device and on two."""

ON_TWO = {"ANYGPU_DEVICES": "cpu,cpu"}

TRAIN = """
    import torch
    from torch import nn

    def steps(model, device, wrap):
        torch.manual_seed(0)
        model = wrap(model().to(device))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        g, losses = torch.Generator().manual_seed(1), []
        for _ in range(3):
            x, y = torch.randn(6, 5, generator=g).to(device), torch.randn(6, 2, generator=g).to(device)
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x, scale=2.0), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return torch.tensor(losses)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(5, 8), nn.Linear(8, 2)
            self.register_buffer("shift", torch.ones(8))

        def forward(self, x, scale):
            return self.b(torch.relu(self.a(x)) * scale + self.shift)

    def check(devices):
        wanted = steps(Net, "cpu", lambda m: m)
        found = steps(Net, "anygpu", lambda m: nn.DataParallel(m))
        torch.testing.assert_close(found, wanted)
        model = nn.DataParallel(Net().to("anygpu:0"))
        assert model.device_ids == list(range(devices)), model.device_ids
        out = model(torch.ones(7, 5), scale=1.0)  # from the CPU, and in parts that are not equal
        assert out.shape == (7, 2) and out.device == torch.device("anygpu:0"), out
        with torch.no_grad():
            torch.testing.assert_close(model(torch.ones(7, 5), scale=1.0), out.detach())
        print("ok")
"""


def test_one_device(python):
    assert python(TRAIN + "\n    check(1)", ANYGPU_DEVICES="cpu") == "ok\n"


def test_two_devices(python):
    assert python(TRAIN + "\n    check(2)", **ON_TWO) == "ok\n"


def test_functions(python):
    out = python(
        """
        import torch
        from torch.nn.parallel import comm

        x = torch.arange(6.0, device="anygpu:0").reshape(3, 2)
        a, b = comm.broadcast(x, [0, 1])
        assert a.device.index == 0 and b.device.index == 1 and torch.equal(b.cpu(), x.cpu())
        (a, c), (b, d) = comm.broadcast_coalesced([x, x + 1], [0, 1])
        assert d.device.index == 1 and torch.equal(d.cpu(), x.cpu() + 1)
        a, b = comm.scatter(x, [0, 1], [1, 2])
        assert a.shape == (1, 2) and b.shape == (2, 2) and b.device.index == 1
        try:
            comm.scatter(x, [0, 1], [1, 1])
        except RuntimeError as e:
            assert "sum up" in str(e)
        else:
            raise AssertionError
        out = [torch.empty(1, 2, device="anygpu:1"), torch.empty(2, 2, device="anygpu:0")]
        comm.scatter(x, out=out)
        assert torch.equal(torch.cat([o.cpu() for o in out]), x.cpu())
        assert torch.equal(comm.gather([a, b], destination="cpu"), x.cpu())
        assert comm.gather([a, b], destination=1).device.index == 1
        whole = torch.empty(3, 2)
        comm.gather([a, b], out=whole)
        assert torch.equal(whole, x.cpu())
        y = comm.reduce_add([x, x.to("anygpu:1")], destination=0)
        assert y.device.index == 0 and torch.equal(y.cpu(), 2 * x.cpu())
        print("ok")
        """,
        **ON_TWO,
    )
    assert out == "ok\n"
