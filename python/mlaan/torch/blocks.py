"""Blocks of known networks, and where a network may be cut."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


class Part(nn.Module):
    """Some layers of a network as one block: what `run` computes with `owned`, which stay the network's own."""

    def __init__(self, run: Callable[[Tensor], Tensor], *owned: nn.Module) -> None:
        super().__init__()
        self.owned, self._run = nn.ModuleList(owned), run

    def forward(self, x: Tensor) -> Tensor:
        return self._run(x)


class TokenStem(Part):
    """A stem that has parameters of the network's own beside its layers (class token, positions)."""

    def __init__(self, run: Callable[[Tensor], Tensor], owned: Iterable[nn.Module], own: Iterable[Any]) -> None:
        super().__init__(run, *owned)
        self.own = nn.ParameterList(p for p in own if isinstance(p, nn.Parameter))


class Blocks(list[nn.Module]):
    """Blocks in order. `layout` is of their maps: "nchw", or "nhwc" (Swin)."""

    def __init__(self, blocks: Iterable[nn.Module], layout: str = "nchw") -> None:
        super().__init__(blocks)
        self.layout = layout


def _flat(stages: Iterable[Any]) -> list[nn.Module]:
    """Blocks of stages; a stage of timm has its down-sampling first."""
    found: list[nn.Module] = []
    for stage in stages:
        if hasattr(stage, "blocks"):
            down = getattr(stage, "downsample", None)
            found += [down] * (down is not None and not isinstance(down, nn.Identity)) + list(stage.blocks)
        else:
            found += list(stage) if isinstance(stage, nn.Sequential) else [stage]
    return found


def blocks_of(model: nn.Module) -> Blocks:
    """Blocks of an `nn.Sequential`, or of a ResNet, ConvNeXt, ViT or Swin of torchvision or timm, told by attributes."""
    m: Any = model

    def has(*names: str) -> bool:
        return all(hasattr(m, n) for n in names)
    if isinstance(model, nn.Sequential):
        return Blocks(model)
    if has("conv1", "bn1", "layer1", "fc"):
        act, pool = getattr(m, "relu", None) or m.act1, getattr(m, "maxpool", nn.Identity())
        tail = [m.global_pool] if has("global_pool") else [m.avgpool, nn.Flatten()]
        stages = [getattr(m, f"layer{i}") for i in range(1, 9) if hasattr(m, f"layer{i}")]
        return Blocks([nn.Sequential(m.conv1, m.bn1, act, pool), *_flat(stages), nn.Sequential(*tail, m.fc)])
    if has("conv_proj", "encoder", "heads", "class_token"):
        def stem(x: Tensor) -> Tensor:
            x = m._process_input(x)
            x = torch.cat([m.class_token.expand(len(x), -1, -1), x], 1)
            y: Tensor = m.encoder.dropout(x + m.encoder.pos_embedding)
            return y
        return Blocks([TokenStem(stem, [m.conv_proj], [m.class_token, m.encoder.pos_embedding]), *m.encoder.layers,
                       Part(lambda x: m.heads(m.encoder.ln(x)[:, 0]), m.encoder.ln, m.heads)])
    if has("patch_embed", "blocks", "_pos_embed", "forward_head"):
        own = [getattr(m, n, None) for n in ("cls_token", "reg_token", "pos_embed")]
        late = [getattr(m, n) for n in ("norm", "fc_norm", "head_drop", "head") if hasattr(m, n)]
        return Blocks([TokenStem(lambda x: m.norm_pre(m.patch_drop(m._pos_embed(m.patch_embed(x)))),
                                 [m.patch_embed, m.pos_drop, m.norm_pre], own),
                       *m.blocks, Part(lambda x: m.forward_head(m.norm(x)), *late)])
    if has("features", "norm", "permute", "head"):  # torchvision's Swin
        last = nn.Sequential(m.norm, m.permute, m.avgpool, m.flatten, m.head)
        return Blocks([*_flat(m.features), last], "nhwc")
    if has("features", "avgpool", "classifier") and isinstance(m.classifier[0], nn.Module):  # ConvNeXt, VGG
        flatten = [] if any(isinstance(c, nn.Flatten) for c in m.classifier) else [nn.Flatten()]
        return Blocks([*_flat(m.features), nn.Sequential(m.avgpool, *flatten, m.classifier)])
    if has("stem", "stages", "norm_pre", "head"):  # timm's ConvNeXt
        return Blocks([m.stem, *_flat(m.stages), nn.Sequential(m.norm_pre, m.head)])
    if has("patch_embed", "layers", "norm", "head"):  # timm's Swin
        return Blocks([m.patch_embed, *_flat(m.layers), nn.Sequential(m.norm, m.head)], "nhwc")
    raise TypeError(f"{type(model).__name__} is no network whose blocks are known: give an nn.Sequential, or its blocks "
                    "in order as a list of modules, the last with the classifier")


@dataclass
class Shape:
    """One block, measured: shapes of input and output without the batch, bytes kept for its backward pass."""

    name: str
    taken: tuple[int, ...]
    given: tuple[int, ...]
    bytes: int
    fault: str                                        # why the network cannot be cut behind it; "" where it can


def measure(blocks: Sequence[nn.Module], images: Tensor) -> list[Shape]:
    """One forward of the blocks in evaluation mode, so that no running statistics move."""
    modes = [(m, m.training) for b in blocks for m in b.modules()]
    own = {p.data_ptr() for b in blocks for p in b.parameters()}
    shapes: list[Shape] = []
    x: Any = images
    try:
        for b in blocks:
            b.eval()
        for i, b in enumerate(blocks):
            kept: dict[int, int] = {}

            def pack(t: Tensor, kept: dict[int, int] = kept) -> Tensor:
                if t.data_ptr() not in own:
                    kept[t.data_ptr()] = t.numel() * t.element_size()
                return t
            name = f"block {i} ({type(b).__name__})"
            taken = tuple(x.shape[1:])
            with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
                y = b(x.detach().requires_grad_(x.is_floating_point()))
            if not isinstance(y, Tensor):
                raise ValueError(f"{name} cannot be cut from what follows: it gives a {type(y).__name__}, not one tensor. "
                                 "Join it with the next blocks into one module")
            if y.ndim not in (3, 4):
                fault = f"its output has shape {list(y.shape)}, neither maps [n, c, h, w] nor tokens [n, t, c]"
            else:
                fault = "" if y.is_floating_point() else f"its output is {y.dtype}, which has no gradient"
            shapes.append(Shape(name, taken, tuple(y.shape[1:]), sum(kept.values()), fault))
            x = y.detach()
    finally:
        for m, mode in modes:
            m.training = mode
    return shapes


def cuts_of(cuts: int | str | Sequence[int], shapes: Sequence[Shape]) -> list[int]:
    """Cuts as numbers of blocks below each. A count is of modules, as even as blocks allow; "memory" is the fewest
    modules of which none keeps more than the largest single block does."""
    n, fits = len(shapes), [i + 1 for i, s in enumerate(shapes[:-1]) if not s.fault]
    if isinstance(cuts, str):
        if cuts != "memory":
            raise ValueError(f"cuts {cuts!r}: give block numbers, a number of modules, or 'memory'")
        most, found, held = max(s.bytes for s in shapes), [], 0
        for i, s in enumerate(shapes):
            if i in fits and held + s.bytes > most:
                found.append(i)
                held = 0
            held += s.bytes
        return found
    if isinstance(cuts, int):
        if not 1 <= cuts <= len(fits) + 1:
            faults = "; ".join(f"not behind {s.name}: {s.fault}" for s in shapes[:-1] if s.fault)
            raise ValueError(f"{cuts} modules: the network has {n} blocks and can be cut into 1 to {len(fits) + 1}"
                             + (f" ({faults})" if faults else ""))
        return [fits[round((k + 1) * (len(fits) + 1) / cuts) - 1] for k in range(cuts - 1)]
    found = list(cuts)
    for c in found:
        if not 0 < c < n:
            raise ValueError(f"cut {c}: a network of {n} blocks is cut behind 1 to {n - 1} of them")
        if shapes[c - 1].fault:
            raise ValueError(f"{shapes[c - 1].name} cannot be cut from what follows: {shapes[c - 1].fault}")
    if found != sorted(set(found)):
        raise ValueError(f"cuts {found}: give them in rising order, each once")
    return found


def leap_sources(last: int, shapes: Sequence[Shape], depth: int) -> list[int]:
    """Blocks that a chain behind block `last` mirrors (METHOD.md, section 6). A stage begins where shapes change."""
    final = max((i for i, s in enumerate(shapes[:-1]) if not s.fault), default=0)
    firsts = [i for i in range(last + 1, final + 1) if shapes[i].taken != shapes[i].given][:depth]
    start = firsts[-1] + 1 if firsts else last + 1
    rest = [i for i in range(start, final + 1) if shapes[i].taken == shapes[i].given]
    count = min(depth - len(firsts) if firsts else min(depth, 3), len(rest))
    return firsts + [rest[(k + 1) * len(rest) // count - 1] for k in range(count)]
