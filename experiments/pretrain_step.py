"""The training step of `pretrain_step.rs` in PyTorch, on one thread; started by that benchmark.

`pretrain_step.py FOLDER VARIANT` reads the batch and the weights, and prints the version of
PyTorch. For each line on its standard input it runs one turn, and prints its CPU seconds and
losses. Variants:

- conv1d: every layer as its `torch.nn` module, `[batch, channels, time]`, the usual form;
- channels-last: `[batch, time, channels]`, pointwise layers as `Linear`, the depthwise one as shifted
  products;
- either with `+compile`: through `torch.compile`.
"""

import json
import pathlib
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(1)
torch.set_num_interop_threads(1)
folder = pathlib.Path(sys.argv[1])
variant, _, compiled = sys.argv[2].partition("+")
meta = json.loads((folder / "meta.json").read_text())
schedule = meta["schedule"]


def load(name, shape):
    return torch.from_numpy(np.fromfile(folder / name, dtype="<f4").reshape(shape))


weights = {name: load(name, shape) for name, shape in meta["shapes"]}
features = load("features", meta["features"])
segments = meta["segments"]


def norm(name):
    layer = nn.BatchNorm1d(len(weights[name + ".gamma"]), eps=1e-5, momentum=0.02)
    layer.weight.data.copy_(weights[name + ".gamma"])
    layer.bias.data.copy_(weights[name + ".beta"])
    return layer


class Conv1dBlock(nn.Module):
    def __init__(self, name, dilation):
        super().__init__()
        taps = weights[name + ".depthwise.weight"]
        count, channels = taps.shape
        self.padding = (count - 1) * dilation
        self.depthwise = nn.Conv1d(channels, channels, count, groups=channels, dilation=dilation, bias=False)
        self.depthwise.weight.data.copy_(taps.flip(0).t().unsqueeze(1))
        self.norm1 = norm(name + ".depthwise")
        self.pointwise = nn.Conv1d(channels, channels, 1, bias=False)
        self.pointwise.weight.data.copy_(weights[name + ".pointwise.weight"].t().unsqueeze(2))
        self.norm2 = norm(name + ".pointwise")

    def forward(self, x):
        y = F.relu(self.norm1(self.depthwise(F.pad(x, (self.padding, 0)))))
        return F.relu(x + self.norm2(self.pointwise(y)))


class Conv1d(nn.Module):
    def __init__(self):
        super().__init__()
        stem = weights["trunk.stem.weight"]
        self.stem = nn.Conv1d(*stem.shape, 1, bias=False)
        self.stem.weight.data.copy_(stem.t().unsqueeze(2))
        self.norm = norm("trunk.stem")
        names = enumerate(meta["dilations"])
        self.blocks = nn.ModuleList(Conv1dBlock(f"trunk.{i:02}", d) for i, d in names)
        self.head = nn.Conv1d(*weights["ctc.weight"].shape, 1)
        self.head.weight.data.copy_(weights["ctc.weight"].t().unsqueeze(2))
        self.head.bias.data.copy_(weights["ctc.bias"])

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return self.head(x).transpose(1, 2)


def rows(norm, x):
    return norm(x.reshape(-1, x.shape[-1])).view_as(x)


def linear(name, bias=False):
    layer = nn.Linear(*weights[name + ".weight"].shape, bias=bias)
    layer.weight.data.copy_(weights[name + ".weight"].t())
    return layer


class ChannelsLastBlock(nn.Module):
    def __init__(self, name, dilation):
        super().__init__()
        self.dilation = dilation
        self.taps = nn.Parameter(weights[name + ".depthwise.weight"].clone())
        self.norm1 = norm(name + ".depthwise")
        self.pointwise = linear(name + ".pointwise")
        self.norm2 = norm(name + ".pointwise")

    def forward(self, x):
        steps, reach = x.shape[1], (len(self.taps) - 1) * self.dilation
        padded = F.pad(x, (0, 0, reach, 0))
        y = x * self.taps[0]
        for k in range(1, len(self.taps)):
            start = reach - k * self.dilation
            y = torch.addcmul(y, padded[:, start : start + steps], self.taps[k])
        return F.relu(x + rows(self.norm2, self.pointwise(F.relu(rows(self.norm1, y)))))


class ChannelsLast(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = linear("trunk.stem")
        self.norm = norm("trunk.stem")
        names = enumerate(meta["dilations"])
        self.blocks = nn.ModuleList(ChannelsLastBlock(f"trunk.{i:02}", d) for i, d in names)
        self.head = linear("ctc", bias=True)
        self.head.bias.data.copy_(weights["ctc.bias"])

    def forward(self, x):
        x = F.relu(rows(self.norm, self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return self.head(x)


index = torch.tensor([[row, start] for row, start, _, _ in segments])
lengths = torch.tensor([end - start for _, start, end, _ in segments])
label_lengths = torch.tensor([len(labels) for *_, labels in segments])
labels = torch.tensor([labels for *_, labels in segments])
longest = int(lengths.max())
model_class = {"conv1d": Conv1d, "channels-last": ChannelsLast}[variant]
inputs = features.transpose(1, 2).contiguous() if variant == "conv1d" else features


def ctc(logits):
    stretches = torch.stack([logits[row, start : start + longest] for row, start in index.tolist()])
    nats = F.log_softmax(stretches, -1).transpose(0, 1)
    return F.ctc_loss(nats, labels, lengths, label_lengths, reduction="mean")


def turn(run):
    """Fresh weights and a fresh optimizer, then the training steps; CPU seconds and losses."""
    model = model_class()
    forward = run(model)
    parameters = list(model.parameters())
    decayed = [p for p in parameters if p.dim() > 1]
    others = [p for p in parameters if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": schedule["weight_decay"]}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-8, fused=True)
    average = [p.detach().clone() for p in parameters]
    losses = []
    start = time.process_time()
    for rate in meta["rates"]:
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        loss = ctc(forward(inputs))
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, schedule["clip_norm"])
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(average, parameters, 1.0 - schedule["average_decay"])
        losses.append(loss.item())
    return time.process_time() - start, losses


if compiled:
    shared = model_class()
    fast = torch.compile(shared)

    def run(model):
        """Compiled once; each turn's weights go into the same module."""
        shared.load_state_dict(model.state_dict())
        model.parameters = shared.parameters
        return fast

else:

    def run(model):
        return model


print(f"PyTorch {torch.__version__} ({sys.argv[2]})", flush=True)
for _ in sys.stdin:
    seconds, losses = turn(run)
    print(seconds, *losses, flush=True)
