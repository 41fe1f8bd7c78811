"""The networks that `mlaan train` has, in PyTorch: CIFAR's and ImageNet's ResNets (METHOD.md, section 2), and whether another
network is one of them."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import Blocks

IMAGENET: dict[tuple[bool, tuple[int, ...]], int] = {
    (False, (2, 2, 2, 2)): 18, (False, (3, 4, 6, 3)): 34, (True, (3, 4, 6, 3)): 50, (True, (3, 4, 23, 3)): 101,
    (True, (3, 8, 36, 3)): 152}
State = dict[str, Tensor]


@dataclass(frozen=True)
class Spec:
    """A network of `mlaan train`."""

    family: str                                       # "cifar" or "imagenet"
    depth: int
    stages: tuple[int, ...]
    bottleneck: bool
    width: int
    classes: int


class _Block(nn.Module):
    def __init__(self, c: int, w: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        out = 4 * w if bottleneck else w
        kernels = [1, 3, 1] if bottleneck else [3, 3]
        widths, strides = [c, *[w] * (len(kernels) - 1), out], [1, stride, 1] if bottleneck else [stride, 1]
        self.n = len(kernels)
        for i, k in enumerate(kernels):
            self.add_module(f"conv{i + 1}", nn.Conv2d(widths[i], widths[i + 1], k, strides[i], k // 2, bias=False))
            self.add_module(f"bn{i + 1}", nn.BatchNorm2d(widths[i + 1]))
        self.downsample = nn.Sequential() if stride == 1 and c == out else nn.Sequential(
            nn.Conv2d(c, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for i in range(1, self.n + 1):
            y = self.get_submodule(f"bn{i}")(self.get_submodule(f"conv{i}")(y))
            y = F.relu(y) if i < self.n else y
        return F.relu(y + self.downsample(x))


class ResNet(nn.Module):
    """Under torchvision's names."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.imagenet, c = spec.family == "imagenet", spec.width
        self.conv1 = nn.Conv2d(3, c, 7 if self.imagenet else 3, 2 if self.imagenet else 1, 3 if self.imagenet else 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c)
        self.stages = len(spec.stages)
        for s, n in enumerate(spec.stages):
            w, blocks = spec.width * 2 ** s, []
            for i in range(n):
                blocks.append(_Block(c, w, 2 if i == 0 and s > 0 else 1, spec.bottleneck))
                c = 4 * w if spec.bottleneck else w
            self.add_module(f"layer{s + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(c, spec.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(x, 3, 2, 1) if self.imagenet else x
        for s in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{s}")(x)
        y: Tensor = self.fc(x.mean((2, 3)))
        return y


def spec_of(state: Mapping[str, Tensor]) -> Spec:
    """The network of a state dict with torchvision's names. Raises ValueError with what is there instead."""
    stem, fc = state.get("conv1.weight"), state.get("fc.weight")
    if stem is None or fc is None or stem.ndim != 4 or stem.shape[1] != 3:
        raise ValueError("it has no first convolution of 3 channels and linear classifier as ResNets have")

    def count(stage: int) -> int:
        return next(i for i in range(10_000) if f"layer{stage}.{i}.conv1.weight" not in state)
    stages = tuple(n for n in map(count, range(1, 9)) if n)
    bottleneck, width, kernel = "layer1.0.conv3.weight" in state, stem.shape[0], stem.shape[2]
    if kernel == 3 and len(stages) == 3 and len(set(stages)) == 1 and not bottleneck:
        return Spec("cifar", 6 * stages[0] + 2, stages, False, width, fc.shape[0])
    if kernel == 7 and (bottleneck, stages) in IMAGENET:
        return Spec("imagenet", IMAGENET[bottleneck, stages], stages, bottleneck, width, fc.shape[0])
    raise ValueError(f"it has stages of {list(stages)} {'bottleneck' if bottleneck else 'basic'} blocks behind a {kernel}x{kernel} "
                     "convolution; there are CIFAR's (3x3, three equal stages of basic blocks) and ResNet-18, 34, 50, 101, 152 (7x7)")


def by_names(model: nn.Module) -> State:
    """A network's state under torchvision's names, as its own names suggest."""
    found: State = {}
    for name, t in model.state_dict().items():
        for wrapper in ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone."):
            name = name.removeprefix(wrapper)
        if not name.endswith("num_batches_tracked"):
            name = name.replace(".shortcut.", ".downsample.")
            found["fc." + name.removeprefix("linear.") if name.startswith("linear.") else name] = t
    return found


def by_order(blocks: Blocks) -> State:
    """The state under torchvision's names, by the order of layers in the blocks: stem, residual blocks, classifier."""
    found: State = {}

    def take(prefix: str, block: nn.Module) -> bool:
        convs = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
        bns = [m for m in block.modules() if isinstance(m, nn.BatchNorm2d)]
        threes = [i for i, m in enumerate(convs) if m.kernel_size == (3, 3)]
        if prefix == "":
            main = [0]
        else:
            main = [threes[0] - 1, threes[0], threes[0] + 1] if len(threes) == 1 else threes
        rest = [i for i in range(len(convs)) if i not in main]
        if len(convs) != len(bns) or not main or min(main) < 0 or max(main) >= len(convs) or len(rest) > 1:
            raise ValueError(f"its block {prefix or 'stem'} has {len(convs)} convolutions and {len(bns)} BatchNorms")
        for names, i in [*((f"conv{k + 1} bn{k + 1}", i) for k, i in enumerate(main)),
                         *(("downsample.0 downsample.1", i) for i in rest)]:
            for name, m in zip(names.split(), (convs[i], bns[i])):
                found.update({f"{prefix}{name}.{k}": t for k, t in m.state_dict().items() if k != "num_batches_tracked"})
        return convs[main[1] if len(main) == 3 else main[0]].stride != (1, 1)
    if len(blocks) < 3:
        raise ValueError(f"it has {len(blocks)} blocks")
    take("", blocks[0])
    stage, i = 1, 0
    for b, block in enumerate(blocks[1:-1]):
        if b == 0:
            take("layer1.0.", block)
        else:
            before = dict(found)
            if take(f"layer{stage}.{i + 1}.", block):
                found.clear()
                found.update(before)
                stage, i = stage + 1, -1
                take(f"layer{stage}.0.", block)
            i += 1
    last = [m for m in blocks[-1].modules() if isinstance(m, nn.Linear)]
    if len(last) != 1:
        raise ValueError(f"its last block has {len(last)} linear layers, not one")
    found.update({f"fc.{k}": t for k, t in last[0].state_dict().items()})
    return found


@contextmanager
def _moved(blocks: Blocks) -> Iterator[None]:
    """BatchNorm is not as it was initialised: a scale of 0 hides what is before it."""
    tensors = [t for m in blocks.modules() if isinstance(m, nn.BatchNorm2d)
               for t in (m.weight, m.bias, m.running_mean, m.running_var) if t is not None]
    before = [t.clone() for t in tensors]
    g = torch.Generator().manual_seed(1)
    try:
        with torch.no_grad():
            for t in tensors:
                t.copy_(torch.rand(t.shape, generator=g).to(t) + 0.5)
        yield
    finally:
        with torch.no_grad():
            for t, b in zip(tensors, before):
                t.copy_(b)


def difference(blocks: Blocks, state: State, spec: Spec, size: int) -> float:
    """How far the logits of the network of `mlaan train` with this state are from the blocks', of the largest, also with other
    values of BatchNorm."""
    first = next(iter(state.values()))
    twin = ResNet(spec).to(first.device, first.dtype).eval()
    g = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, size, size, generator=g).to(first)
    modes, worst = [(m, m.training) for m in blocks.modules()], 0.0
    blocks.train(False)
    try:
        with torch.no_grad():
            for moved in (False, True):
                if moved:
                    with _moved(blocks):
                        worst = max(worst, _apart(twin, blocks, state, images))
                else:
                    worst = _apart(twin, blocks, state, images)
    finally:
        for m, mode in modes:
            m.training = mode
    return worst


def _apart(twin: ResNet, blocks: Blocks, state: State, images: Tensor) -> float:
    twin.load_state_dict({**twin.state_dict(), **state})
    a, b = twin(images), images
    for block in blocks:
        b = block(b)
    return float((a - b).abs().max() / b.abs().max().clamp(min=1e-6))
