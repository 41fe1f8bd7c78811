"""Auxiliary networks: classifiers, InfoPro's decoder, leap chains (METHOD.md, sections 3 and 6)."""
from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def to_maps(x: Tensor, layout: str = "nchw") -> Tensor:
    """Features as maps [n, c, h, w]. Tokens [n, t, c] become a square grid; where t - 1 is a square the first is the
    class token, which is left out; other counts become a column [n, c, t, 1]."""
    if x.ndim == 4:
        return x.permute(0, 3, 1, 2) if layout == "nhwc" else x
    t = x.shape[1]
    for skip in (0, 1):
        side = math.isqrt(t - skip)
        if side > 0 and side * side == t - skip:
            return x[:, skip:].transpose(1, 2).reshape(len(x), -1, side, side)
    return x.transpose(1, 2).unsqueeze(3)


def classifier(config: str, c: int, side: int, hidden: int, out: int, deepest: int) -> nn.Sequential:
    """The head `config` for maps of `c` channels. `deepest` is the channels of the network's last maps."""
    if config == "dgl":
        return _dgl(c, side, out)
    layers: list[nn.Module] = []
    wide, first = (c, 1) if c == deepest else (2 * c, 2)
    for i in range(int(config[0])):
        layers += [nn.Conv2d(c, wide, 3, first if i == 0 else 1, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU()]
        c = wide
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    for _ in range(int(config[2]) - 1):
        layers += [nn.Linear(c, hidden), nn.ReLU()]
        c = hidden
    return _initialised(nn.Sequential(*layers, nn.Linear(c, out)))


def _dgl(c: int, side: int, out: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.AdaptiveAvgPool2d(math.ceil(side / 4))]
    for _ in range(3):
        layers += [nn.Conv2d(c, c, 1, bias=False), nn.BatchNorm2d(c), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    for _ in range(2):
        layers += [nn.Linear(4 * c, 4 * c, bias=False), nn.BatchNorm1d(4 * c), nn.ReLU()]
    return _initialised(nn.Sequential(*layers, nn.Linear(4 * c, out)))


def _initialised(net: nn.Sequential) -> nn.Sequential:
    """METHOD.md, section 2; linear weights are as PyTorch draws them already."""
    for m in net:
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
    return net


class Decoder(nn.Module):
    """InfoPro's decoder: the mean binary cross-entropy of the image made of maps against `pixels` in [0, 1]."""

    def __init__(self, c: int, image: Sequence[int]) -> None:
        super().__init__()
        self.size = tuple(image[-2:])
        self.net = nn.Sequential(nn.Conv2d(c, 12, 3, 1, 1), nn.BatchNorm2d(12), nn.ReLU(),
                                 nn.Conv2d(12, image[0], 3, 1, 1))

    def forward(self, x: Tensor, pixels: Tensor) -> Tensor:
        x = F.interpolate(x, size=self.size, mode="bilinear", align_corners=True)
        # With logits: the same loss, which autocast allows too.
        return F.binary_cross_entropy_with_logits(self.net(x).to(pixels.dtype), pixels)


class Chain(nn.Module):
    """Mirrors of later blocks. `twin`: beside the first a shadow of the same source, without gradients."""

    def __init__(self, sources: Sequence[nn.Module], tie: str) -> None:
        super().__init__()
        self._sources = tuple(sources)  # a tuple: the sources are the network's, not the chain's
        self.tie = tie
        self.mirrors = nn.ModuleList(copy.deepcopy(s) for s in sources).requires_grad_(True)
        self.shadow = copy.deepcopy(sources[0]).requires_grad_(False) if tie == "twin" else None

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.mirrors[0](x)
        if self.shadow is not None:
            y = y + self.shadow(x)
        for mirror in list(self.mirrors)[1:]:
            y = mirror(y)
        return y

    def _pairs(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        if self.shadow is not None:
            yield self.shadow, self._sources[0]
        else:
            yield from zip(self.mirrors, self._sources)

    @torch.no_grad()
    def pull(self, ema: float) -> None:
        """p ← m·p + (1-m)·source; after the optimiser's step."""
        for mirror, source in self._pairs():
            for p, q in zip(mirror.parameters(), source.parameters()):
                p.mul_(ema).add_(q, alpha=1 - ema)


class Auxiliary(nn.Module):
    """Chain (or none), classifier and decoder (or none) of one branch of one module."""

    def __init__(self, chain: Chain | None, head: nn.Module, decoder: Decoder | None, layout: str) -> None:
        super().__init__()
        self.chain, self.head, self.decoder, self.layout = chain, head, decoder, layout

    def forward(self, x: Tensor) -> Tensor:
        """Maps that the classifier and the decoder see."""
        return to_maps(x if self.chain is None else self.chain(x), self.layout)


def supervised_contrastive(features: Tensor, labels: Tensor, temperature: float = 0.07) -> Tensor:
    """Supervised contrastive loss of features [n, width], normalised here."""
    f = F.normalize(features, dim=1)
    logits = f @ f.T / temperature
    logits = logits - logits.max(1, keepdim=True).values.detach()
    others = 1 - torch.eye(len(f), dtype=f.dtype, device=f.device)
    same = (labels[:, None] == labels[None, :]).to(f.dtype) * others
    log_prob = logits - torch.log((torch.exp(logits) * others).sum(1, keepdim=True))
    return -((same * log_prob).sum(1) / same.sum(1).clamp(min=1)).mean()
