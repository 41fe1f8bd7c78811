"""Blocks of networks of torchvision and timm, told by their attributes. Not the method: `LocalTrainer` takes any list of blocks."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .blocks import Blocks


class Part(nn.Module):
    """Some layers of a network as one block: what `run` computes with `owned`, which stay the network's own."""

    def __init__(self, run: Callable[[Tensor], Tensor], *owned: nn.Module, own: Sequence[Any] = ()) -> None:
        super().__init__()
        self.owned, self._run = nn.ModuleList(owned), run
        self.own = nn.ParameterList(p for p in own if isinstance(p, nn.Parameter))

    def forward(self, x: Tensor) -> Tensor:
        return self._run(x)

    def __deepcopy__(self, memo: object) -> Part:
        # A copy would still compute with the parameters of the network.
        raise TypeError("it is part of the network's own forward pass")


def _flat(stages: Iterable[Any]) -> list[nn.Module]:
    """Blocks of stages. A stage of timm has its down-sampling first; a Sequential of unlike layers is one block."""
    found: list[nn.Module] = []
    for stage in stages:
        if hasattr(stage, "blocks"):
            down = getattr(stage, "downsample", None)
            if isinstance(down, nn.Module) and not isinstance(down, nn.Identity):
                found.append(down)
            found += list(stage.blocks)
        elif type(stage) is nn.Sequential and len({type(b) for b in stage}) == 1:
            found += list(stage)
        else:
            found.append(stage)
    return found


def _by_convolutions(layers: Iterable[nn.Module]) -> list[nn.Module]:
    """Plain layers in a row as blocks, each from a convolution to before the next."""
    groups: list[list[nn.Module]] = []
    for layer in layers:
        if isinstance(layer, nn.Conv2d) or not groups:
            groups.append([])
        groups[-1].append(layer)
    return [g[0] if len(g) == 1 else nn.Sequential(*g) for g in groups]


def _resnet(m: Any) -> Blocks:
    """torchvision's, timm's, and those for CIFAR that are written after them (`linear` for `fc`, ReLU as a function)."""
    act = getattr(m, "relu", None) or getattr(m, "act1", None) or nn.ReLU()
    stem = nn.Sequential(m.conv1, m.bn1, act, getattr(m, "maxpool", nn.Identity()))
    stages = [getattr(m, f"layer{i}") for i in range(1, 9) if hasattr(m, f"layer{i}")]
    if hasattr(m, "global_pool") and hasattr(m, "forward_head"):
        last: nn.Module = Part(lambda x: m.forward_head(x), m.global_pool, m.fc)
    else:
        last = nn.Sequential(getattr(m, "avgpool", nn.AdaptiveAvgPool2d(1)), nn.Flatten(), m.fc if hasattr(m, "fc") else m.linear)
    return Blocks([stem, *_flat(stages), last], model=m)


def _torchvision_vit(m: Any) -> Blocks:
    def stem(x: Tensor) -> Tensor:
        x = m._process_input(x)
        x = torch.cat([m.class_token.expand(len(x), -1, -1), x], 1)
        y: Tensor = m.encoder.dropout(x + m.encoder.pos_embedding)
        return y
    own = [m.class_token, m.encoder.pos_embedding]
    return Blocks([Part(stem, m.conv_proj, m.encoder.dropout, own=own), *m.encoder.layers,
                   Part(lambda x: m.heads(m.encoder.ln(x)[:, 0]), m.encoder.ln, m.heads)], prefix=1, model=m)


def _timm_vit(m: Any) -> Blocks:
    own = [getattr(m, n, None) for n in ("cls_token", "reg_token", "dist_token", "pos_embed")]
    late = [getattr(m, n) for n in ("norm", "attn_pool", "fc_norm", "head_drop", "head", "head_dist")
            if isinstance(getattr(m, n, None), nn.Module)]
    early = [getattr(m, n) for n in ("patch_embed", "pos_drop", "patch_drop", "norm_pre")]
    stem = Part(lambda x: m.norm_pre(m.patch_drop(m._pos_embed(m.patch_embed(x)))), *early, own=own)
    return Blocks([stem, *m.blocks, Part(lambda x: m.forward_head(m.norm(x)), *late)],
                  prefix=int(getattr(m, "num_prefix_tokens", 1)), model=m)


def _features(m: Any) -> Blocks:
    """torchvision's ConvNeXt, VGG, AlexNet, EfficientNet, MobileNetV3."""
    plain = any(isinstance(layer, nn.Conv2d) for layer in m.features)
    flatten = [] if any(isinstance(c, nn.Flatten) for c in m.classifier) else [nn.Flatten()]
    return Blocks([*(_by_convolutions(m.features) if plain else _flat(m.features)),
                   nn.Sequential(m.avgpool, *flatten, m.classifier)], model=m)


def blocks_of(model: nn.Module) -> Blocks:
    """Blocks of an `nn.Sequential`, or of a ResNet, ConvNeXt, ViT or Swin of torchvision or timm, a VGG, AlexNet, EfficientNet
    or MobileNetV3 of torchvision."""
    m: Any = model

    def has(*names: str) -> bool:
        return all(hasattr(m, n) for n in names)
    if hasattr(model, "_orig_mod"):
        raise TypeError("this network was compiled as a whole: give the network itself, and `compile=True`")
    if isinstance(model, nn.Sequential):
        return Blocks(model, model=model)
    if has("conv1", "bn1", "layer1") and (has("fc") or has("linear")):
        return _resnet(m)
    if has("conv_proj", "encoder", "heads", "class_token"):
        return _torchvision_vit(m)
    if has("patch_embed", "blocks", "_pos_embed", "forward_head", "norm_pre"):
        return _timm_vit(m)
    if has("features", "norm", "permute", "head"):  # torchvision's Swin
        last = nn.Sequential(m.norm, m.permute, m.avgpool, m.flatten, m.head)
        return Blocks([*_flat(m.features), last], "nhwc", model=m)
    if has("features", "avgpool", "classifier") and isinstance(m.classifier, nn.Sequential):
        return _features(m)
    if has("stem", "stages", "norm_pre", "head"):  # timm's ConvNeXt
        return Blocks([m.stem, *_flat(m.stages), nn.Sequential(m.norm_pre, m.head)], model=m)
    if has("patch_embed", "layers", "norm", "head"):  # timm's Swin
        return Blocks([m.patch_embed, *_flat(m.layers), nn.Sequential(m.norm, m.head)], "nhwc", model=m)
    raise TypeError(f"{type(model).__name__} is no network whose blocks are known: give an nn.Sequential, or its blocks in order as a "
                    "list of modules, the last with the classifier. Blocks([net.stem, ..., net.head], model=net) compares them with "
                    "the network")
