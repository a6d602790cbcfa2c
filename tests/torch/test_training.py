"""Whole training steps: the CPU's losses, no operator leaves the device, and a warm loop plans and compiles nothing."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn


class Transformer(nn.Module):
    def __init__(self, vocab=32, d=32):
        super().__init__()
        self.emb = nn.Embedding(vocab, d)
        self.norm = nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.mlp = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 4 * d), nn.GELU(), nn.Dropout(0.0), nn.Linear(4 * d, d))
        self.head = nn.Linear(d, vocab)

    def forward(self, ids):
        x = self.emb(ids)
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm(x)).view(b, t, 3, 4, d // 4).permute(2, 0, 3, 1, 4)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, d))
        return self.head(x + self.mlp(x)).flatten(0, 1)


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.emb = nn.Embedding(32, 16)
        self.rnn = kind(16, 24, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(48, 32)

    def forward(self, ids):
        return self.head(self.rnn(self.emb(ids))[0]).flatten(0, 1)


def images():
    return torch.randn(8, 3, 12, 12), torch.randint(0, 10, (8,))


def tokens():
    return torch.randint(0, 32, (4, 9)), torch.randint(0, 32, (36,))


MODELS = {
    "mlp": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(432, 64), nn.ReLU(), nn.Linear(64, 10)), images),
    "cnn": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, stride=2),
            nn.GroupNorm(4, 16), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
        ),
        images,
    ),
    "transformer": (Transformer, tokens),
    "lstm": (lambda: Recurrent(nn.LSTM), tokens),
    "gru": (lambda: Recurrent(nn.GRU), tokens),
    "rnn": (lambda: Recurrent(nn.RNN), tokens),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_training_steps(name):
    make, batch = MODELS[name]
    torch.manual_seed(0)
    reference = make()
    data = [batch() for _ in range(2)]
    losses, warm = {}, None
    for device in ("cpu", "anygpu"):
        model = copy.deepcopy(reference).to(device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        losses[device] = []
        for step in range(8):
            if device == "anygpu" and step == 3:
                torch.anygpu.synchronize()
                warm = torch.anygpu.stats()
            x, y = (t.to(device) for t in data[step % 2])
            for group in optimizer.param_groups:
                group["lr"] = 1e-3 / (1 + step)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses[device].append(loss.item())
    torch.anygpu.synchronize()
    now = torch.anygpu.stats()
    torch.testing.assert_close(torch.tensor(losses["anygpu"]), torch.tensor(losses["cpu"]), rtol=1e-3, atol=1e-4)
    assert now["plans_compiled"] == warm["plans_compiled"], "a warm step was planned anew"
    assert now["kernels_compiled"] == warm["kernels_compiled"], "a warm step compiled a kernel"
