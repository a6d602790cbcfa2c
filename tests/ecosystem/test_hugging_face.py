"""transformers, accelerate and safetensors take the device by themselves, in halves too, and train to the CPU's losses."""

import accelerate
import pytest
import torch
import transformers
from torch import nn


@pytest.fixture(autouse=True)
def _fresh():
    accelerate.state.AcceleratorState._reset_state(True)
    accelerate.state.GradientState._reset_state()
    yield
    torch.compiler.reset()


def bert():
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=32, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return transformers.BertForSequenceClassification(config)


def losses(tmp_path, **arguments):
    g = torch.Generator().manual_seed(0)
    data = [{"input_ids": torch.randint(5, 90, (16,), generator=g), "labels": torch.tensor(i % 2)} for i in range(48)]
    arguments = transformers.TrainingArguments(
        str(tmp_path), max_steps=6, per_device_train_batch_size=8, logging_steps=1, learning_rate=1e-3, seed=1,
        report_to=[], save_strategy="no", disable_tqdm=True, **arguments,
    )  # fmt: skip
    trainer = transformers.Trainer(bert(), arguments, train_dataset=data)
    trainer.train()
    found = [float(e["loss"]) for e in trainer.state.log_history if "loss" in e]
    return found, next(trainer.model.parameters()).device.type


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory):
    accelerate.state.AcceleratorState._reset_state(True)
    found, device = losses(tmp_path_factory.mktemp("cpu"), use_cpu=True)
    accelerate.state.AcceleratorState._reset_state(True)
    assert device == "cpu"
    return found


@pytest.mark.parametrize(
    "how, within", [({}, 2e-4), ({"bf16": True}, 2e-2), ({"fp16": True}, 2e-2), ({"torch_compile": True}, 2e-4)], ids=str
)
def test_trainer(tmp_path, on_cpu, how, within):
    found, device = losses(tmp_path, **how)
    assert device == "anygpu"
    assert found == pytest.approx(on_cpu, abs=within)


class Net(nn.Module):
    """Keeps what it computed in, which accelerate's outputs, always f32, do not tell."""

    def __init__(self):
        super().__init__()
        self.layer, self.seen = nn.Linear(4, 2), []

    def forward(self, x):
        y = self.layer(x)
        self.seen.append(y.dtype)
        return y


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_accelerator(tmp_path, precision):
    accelerator = accelerate.Accelerator(mixed_precision=precision)
    model = Net()
    data = torch.utils.data.DataLoader([torch.randn(4) for _ in range(8)], batch_size=4)
    model, optimizer, data = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), lr=0.1), data)
    before = [p.detach().clone() for p in model.parameters()]
    for x in data:
        optimizer.zero_grad()
        accelerator.backward(model(x).float().square().mean())
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert accelerator.device.type == x.device.type == "anygpu"
    assert model.seen[0] == {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    assert accelerator.mixed_precision == precision
    assert not torch.equal(before[0], next(model.parameters()))
    accelerator.save_state(tmp_path)
    accelerator.load_state(tmp_path)
    again = accelerate.Accelerator(mixed_precision=precision)
    assert again.mixed_precision == precision and again.device == accelerator.device


def test_accelerator_that_wants_the_cpu():
    torch.ones(1, device="anygpu").add_(1)
    assert accelerate.Accelerator(cpu=True).device.type == "cpu"


@pytest.fixture
def tokenizer(tmp_path):
    file = tmp_path / "vocab.txt"
    file.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(95))]))
    return transformers.BertTokenizerFast(str(file))


@pytest.mark.parametrize("device", [None, 0, "anygpu"])
def test_pipeline(tokenizer, device):
    chosen = {} if device is None else {"device": device}
    text = transformers.pipeline("text-classification", model=bert().eval(), tokenizer=tokenizer, **chosen)
    found = text("w1 w2 w3")
    assert text.model.device.type == "anygpu"
    cpu = transformers.pipeline("text-classification", model=bert().eval(), tokenizer=tokenizer, device="cpu")
    assert cpu.model.device.type == "cpu"
    assert found[0]["score"] == pytest.approx(cpu("w1 w2 w3")[0]["score"], abs=1e-5)


@pytest.mark.parametrize("device_map", ["auto", "balanced", "sequential", "anygpu", 0], ids=str)
def test_device_map(tmp_path, device_map):
    bert().save_pretrained(tmp_path)
    model = transformers.BertForSequenceClassification.from_pretrained(tmp_path, device_map=device_map)
    assert {p.device.type for p in model.parameters()} == {"anygpu"}
    assert model(torch.ones(1, 4, dtype=torch.long, device=model.device)).logits.isfinite().all().item()


@pytest.mark.parametrize("device", ["anygpu", "anygpu:0", torch.device("anygpu")], ids=str)
def test_safetensors(tmp_path, device):
    from safetensors.torch import load_file, save_file

    saved = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(3, dtype=torch.bfloat16)}
    save_file(saved, tmp_path / "x.safetensors")
    loaded = load_file(tmp_path / "x.safetensors", device=device)
    assert all(t.device == torch.device("anygpu", 0) for t in loaded.values())
    save_file({k: t + 0 for k, t in loaded.items()}, tmp_path / "y.safetensors")
    for name, t in load_file(tmp_path / "y.safetensors").items():
        assert torch.equal(t, saved[name])
