"""Trainer and Fabric: "auto", "gpu" and "anygpu" are the device, mixed precision mixes there, and a word for the CPU is kept."""

import lightning
import pytest
import torch
from lightning.fabric import Fabric
from torch import nn


class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer, self.seen = nn.Linear(4, 2), []

    def training_step(self, batch, index):
        y = self.layer(batch)
        self.seen.append((y.dtype, y.device.type))
        return y.float().square().mean()

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.1)


QUIET = dict(max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
DTYPES = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16, "bf16-true": torch.bfloat16}


@pytest.mark.parametrize(
    "how", [{}, {"accelerator": "gpu"}, {"accelerator": "anygpu", "devices": 1}, *({"precision": p} for p in DTYPES)], ids=str
)
def test_trainer(how):
    model = Module()
    before = model.layer.weight.detach().clone()
    trainer = lightning.Trainer(**QUIET, **how)
    dtype = DTYPES[how.get("precision", "32-true")]
    data = [torch.randn(4, dtype=dtype if "true" in how.get("precision", "") else torch.float32) for _ in range(8)]
    trainer.fit(model, torch.utils.data.DataLoader(data, batch_size=4))
    assert set(model.seen) == {(dtype, "anygpu")}
    assert not torch.equal(before, model.layer.weight.detach().cpu().float())


def test_trainer_that_wants_the_cpu():
    torch.ones(1, device="anygpu").add_(1)
    assert type(lightning.Trainer(**QUIET, accelerator="cpu").accelerator).__name__ == "CPUAccelerator"


def test_devices_that_are_not_there():
    torch.ones(1, device="anygpu").add_(1)
    with pytest.raises(ValueError, match="there are"):
        lightning.Trainer(**QUIET, accelerator="anygpu", devices=[99])


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_fabric(precision):
    fabric = Fabric(precision=precision)
    fabric.launch()
    model = nn.Linear(4, 2)
    model, optimizer = fabric.setup(model, torch.optim.AdamW(model.parameters(), lr=0.1))
    seen = []
    model.module.register_forward_hook(lambda m, args, y: seen.append(y.dtype))
    for _ in range(2):
        optimizer.zero_grad()
        fabric.backward(model(torch.randn(2, 4, device=fabric.device)).float().square().mean())
        optimizer.step()
    assert fabric.device == torch.device("anygpu", 0) and seen[0] == DTYPES[precision]
