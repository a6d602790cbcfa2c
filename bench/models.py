"""The models whose training steps are timed: a multilayer perceptron, a small residual network, a transformer, a recurrent network.

Each function gives (module, data): `data` is a list of (input, target) batches on the CPU, the same for the same seed.
"""

import torch
import torch.nn.functional as F
from torch import nn

BATCHES = 4


def _seeded(seed):
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed + 1)


def mlp(seed=0):
    """784-512-512-10 on 128 rows."""
    g = _seeded(seed)
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Dropout(0.0), nn.Linear(512, 512), nn.GELU(), nn.Linear(512, 10))
    return model, [(torch.randn(128, 784, generator=g), torch.randint(10, (128,), generator=g)) for _ in range(BATCHES)]


class _BasicBlock(nn.Module):
    def __init__(self, channels, out, stride):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(channels, out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        same = stride == 1 and channels == out
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels, out, 1, stride, bias=False)

    def forward(self, x):
        return F.relu(self.main(x) + self.shortcut(x))


class _GlobalMean(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


def cnn(seed=0):
    """Three residual blocks of 32, 64 and 128 channels on 32 images of 3 x 32 x 32."""
    g = _seeded(seed)
    blocks = [_BasicBlock(32, 32, 1), _BasicBlock(32, 64, 2), _BasicBlock(64, 128, 2)]
    model = nn.Sequential(nn.Conv2d(3, 32, 3, 1, 1), nn.ReLU(), *blocks, _GlobalMean(), nn.Linear(128, 10))
    return model, [(torch.randn(32, 3, 32, 32, generator=g), torch.randint(10, (32,), generator=g)) for _ in range(BATCHES)]


class _Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.into, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        q, k, v = self.into(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))


class _Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm_a, self.attention = nn.LayerNorm(width), _Attention(width, heads)
        self.norm_b, self.mlp = nn.LayerNorm(width), nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attention(self.norm_a(x))
        return x + self.mlp(self.norm_b(x))


class _GPT(nn.Module):
    def __init__(self, vocabulary, width, layers, heads, context):
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.layers = nn.Sequential(*(_Layer(width, heads) for _ in range(layers)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False))

    def forward(self, ids):
        x = self.tokens(ids) + self.places(torch.arange(ids.shape[-1], device=ids.device))
        return self.head(self.layers(x)).flatten(0, 1)


def _text(g, vocabulary, rows, length):
    ids = torch.randint(vocabulary, (rows, length + 1), generator=g)
    return ids[:, :-1].contiguous(), ids[:, 1:].flatten()


def gpt(seed=0, context=128, lengths=None):
    """Four layers of width 192 with 6 heads, 8 rows of 128 tokens of 512. `lengths`: a batch of each of these lengths instead."""
    g = _seeded(seed)
    return _GPT(512, 192, 4, 6, context), [_text(g, 512, 8, n) for n in lengths or [context] * BATCHES]


class _LSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.rnn, self.head = nn.Embedding(256, 128), nn.LSTM(128, 128, batch_first=True), nn.Linear(128, 256)

    def forward(self, ids):
        return self.head(self.rnn(self.embedding(ids))[0]).flatten(0, 1)


def lstm(seed=0):
    """One layer of 128 cells over 16 rows of 64 bytes."""
    g = _seeded(seed)
    return _LSTM(), [_text(g, 256, 16, 64) for _ in range(BATCHES)]


MODELS = {"mlp": mlp, "cnn": cnn, "gpt": gpt, "lstm": lstm}


class Training:
    """A model on a device with its data and AdamW; step(i) trains on batch i and returns the loss."""

    def __init__(self, name, device, compiled=False, **options):
        model, data = MODELS[name](**options)
        self.model = model.to(device)
        self.data = [(x.to(device), t.to(device)) for x, t in data]
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
        self.forward = torch.compile(self.model) if compiled else self.model

    def step(self, i):
        x, target = self.data[i % len(self.data)]
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.forward(x), target)
        loss.backward()
        self.optimizer.step()
        return loss
