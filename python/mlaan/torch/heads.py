"""Auxiliary networks: classifiers, InfoPro's decoder, leap chains (METHOD.md, sections 3 and 6)."""
from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def to_maps(x: Tensor, layout: str = "nchw", prefix: int | None = None) -> Tensor:
    """Features as maps [n, c, h, w]. Tokens [n, t, c] become a square grid without the first `prefix` (None: without the class
    token where t - 1 is a square); other counts become a column [n, c, t, 1]."""
    if x.ndim == 4:
        return x.permute(0, 3, 1, 2) if layout == "nhwc" else x
    t = x.shape[1]
    for skip in (0, 1) if prefix is None else (prefix,):
        side = math.isqrt(t - skip)
        if side > 0 and side * side == t - skip:
            return x[:, skip:].transpose(1, 2).reshape(len(x), -1, side, side)
    return x[:, prefix or 0:].transpose(1, 2).unsqueeze(3)


def classifier(config: str, c: int, size: Sequence[int], hidden: int, out: int, deepest: int) -> nn.Sequential:
    """The head `config` for maps of `c` channels. `deepest` is the channels of the network's last maps."""
    if config == "dgl":
        return _dgl(c, size, out)
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


def _dgl(c: int, size: Sequence[int], out: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.AdaptiveAvgPool2d((math.ceil(size[0] / 4), math.ceil(size[1] / 4)))]
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
    """Mirrors of later blocks. `twin`: beside the first a shadow of the same source, without gradients. `overwrites` says of
    each source whether it begins with a layer in place."""

    def __init__(self, sources: Sequence[nn.Module], tie: str, overwrites: Sequence[bool]) -> None:
        super().__init__()
        self._sources = tuple(sources)  # a tuple: the sources are the network's, not the chain's
        self.tie, self._overwrites = tie, tuple(overwrites)
        self.mirrors = nn.ModuleList(copy.deepcopy(s) for s in sources).requires_grad_(True)
        self.shadow = copy.deepcopy(sources[0]).requires_grad_(False) if tie == "twin" else None
        copies = [*zip(self.mirrors, self._sources), *([(self.shadow, sources[0])] if self.shadow is not None else [])]
        self._modes = [pair for m, s in copies for pair in zip(m.modules(), s.modules())]

    def forward(self, x: Tensor) -> Tensor:
        for i, mirror in enumerate(self.mirrors):
            copies = [x.clone(), x.clone()] if self._overwrites[i] else [x, x]
            y: Tensor = mirror(copies[0])
            x = y + self.shadow(copies[1]) if i == 0 and self.shadow is not None else y
        return x

    def follow(self) -> None:
        """Mirrors are in their sources' modes, so that a frozen BatchNorm stays one."""
        for mirror, source in self._modes:
            if mirror.training != source.training:
                mirror.training = source.training

    @torch.no_grad()
    def pull(self, ema: float) -> None:
        """p ← m·p + (1-m)·source; after the optimiser's step."""
        pairs = [(self.shadow, self._sources[0])] if self.shadow is not None else zip(self.mirrors, self._sources)
        for mirror, source in pairs:
            for p, q in zip(mirror.parameters(), source.parameters()):
                p.mul_(ema).add_(q, alpha=1 - ema)


class Auxiliary(nn.Module):
    """Chain (or none), classifier and decoder (or none) of one branch of one module. `as_maps` makes maps of its features."""

    def __init__(self, chain: Chain | None, head: nn.Module, decoder: Decoder | None,
                 as_maps: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.chain, self.head, self.decoder, self.as_maps = chain, head, decoder, as_maps

    def forward(self, x: Tensor) -> Tensor:
        """Maps that the classifier and the decoder see."""
        return self.as_maps(x if self.chain is None else self.chain(x))


def supervised_contrastive(features: Tensor, labels: Tensor, temperature: float = 0.07) -> Tensor:
    """Supervised contrastive loss of features [n, width], normalised here. Of one sample there is none: it is 0."""
    if labels.ndim != 1 or labels.is_floating_point():
        raise ValueError(f"the contrastive loss needs one class a sample, and targets are {labels.dtype} {list(labels.shape)}: "
                         "give `loss=\"cross_entropy\"`")
    if len(features) == 1:
        return features.sum() * 0.0
    f = F.normalize(features, dim=1)
    logits = f @ f.T / temperature
    logits = logits - logits.max(1, keepdim=True).values.detach()
    others = 1 - torch.eye(len(f), dtype=f.dtype, device=f.device)
    same = (labels[:, None] == labels[None, :]).to(f.dtype) * others
    log_prob = logits - torch.log((torch.exp(logits) * others).sum(1, keepdim=True))
    return -((same * log_prob).sum(1) / same.sum(1).clamp(min=1)).mean()
