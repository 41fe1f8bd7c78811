"""Networks as users write them, and the published form of a step."""
import torch
from torch import nn


def conv(a, b, stride=1):
    return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())


def unet_encoder(w=8):
    down = [nn.Sequential(conv(a, b), conv(b, b), nn.MaxPool2d(2)) for a, b in ((3, w), (w, 2 * w), (2 * w, 2 * w))]
    return nn.Sequential(*down, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * w, 10)))


def vgg(w=8):
    return nn.Sequential(conv(3, w), nn.Sequential(conv(w, w), nn.MaxPool2d(2)), conv(w, 2 * w),
                         nn.Sequential(conv(2 * w, 2 * w), nn.MaxPool2d(2)), nn.Flatten(),
                         nn.Linear(2 * w * 64, 4 * w), nn.ReLU(), nn.Linear(4 * w, 10))


class Patches(nn.Module):
    def __init__(self, width=16, patch=8):
        super().__init__()
        self.proj, self.position = nn.Conv2d(3, width, patch, patch), nn.Parameter(torch.zeros((32 // patch) ** 2, width))

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2) + self.position


class Mean(nn.Module):
    def forward(self, x):
        return x.mean(1)


def vit(width=16, patch=8, depth=3, heads=2, norm_first=False):
    layers = [nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, batch_first=True, norm_first=norm_first)
              for _ in range(depth)]
    return nn.Sequential(Patches(width, patch), *layers, nn.Sequential(Mean(), nn.Linear(width, 10)))


def published_step(trainer, images, targets, update=True):
    """A step of a built trainer as published: every module and every cascade runs forward on its own, and all optimisers step at
    the end. Losses by name."""
    t, inputs, losses = trainer, [images], {}
    for j, module in enumerate(t.modules):
        x = module(inputs[j])
        inputs.append(x.detach())
        begin = max(0, j - t.method.span + 1)
        z = inputs[begin]
        for m in t.modules[begin:j + 1] if t.method.span > 1 else []:
            z = m(z)
        for branch, weight, y in zip(t.method.branches(), t.method.weights, (x, z)):
            last = j == len(t.modules) - 1
            loss = t.criterion(y, targets) if last else t._branch_loss(f"{branch}_{j}", j, y, targets, None)
            losses[f"{branch}/{j}"] = loss.detach()
            (loss * weight).backward(retain_graph=branch == "ind" and t.method.span > 1)
    if update:
        for o in t.optimizers:
            o.step()
            o.zero_grad()
        for a in t.aux.values():
            if a.chain is not None:
                a.chain.pull(t.method.ema)
    return losses
