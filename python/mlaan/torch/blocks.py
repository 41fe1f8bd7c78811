"""Blocks of a network, what they take and give, and where the network may be cut."""
from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .locality import LocalityError, leaves


class Blocks(list[nn.Module]):
    """Blocks in order, the last with the classifier. `layout` is of their maps: "nchw", or "nhwc" (Swin). `prefix` is how many
    tokens in front are no part of the image (class token); told by their number where it is not given. `model` is the network
    that they are of, if there is one: its forward pass must be the blocks in order."""

    def __init__(self, blocks: Iterable[nn.Module], layout: str = "nchw", *, prefix: int | None = None,
                 names: Sequence[str] | None = None, model: nn.Module | None = None) -> None:
        super().__init__(blocks)
        self.layout, self.prefix, self.model = layout, prefix, model
        known = {id(m): name for name, m in model.named_modules() if name} if model is not None else {}

        def name(i: int, block: nn.Module) -> str:
            return next((known[id(m)] for m in block.modules() if id(m) in known), str(i))
        self.names = list(names) if names is not None else [name(i, b) for i, b in enumerate(self)]

    def train(self, mode: bool = True) -> None:
        """Training or evaluation mode of all."""
        for m in [self.model] if self.model is not None else self:
            m.train(mode)

    def modules(self) -> Iterator[nn.Module]:
        """All modules, the network too."""
        for m in [self.model] if self.model is not None else self:
            yield from m.modules()


@dataclass
class Shape:
    """One block, measured: shapes of input and output without the batch, bytes kept for its backward pass."""

    name: str
    taken: tuple[int, ...]
    given: tuple[int, ...]
    bytes: int = 0
    fault: str = ""                                   # why the network cannot be cut behind it; "" where it can
    alone: str = ""                                   # why it cannot be mirrored; "" where it can
    overwrites: bool = False                          # whether its input is another one afterwards (in-place layers)
    learns: bool = False                              # whether it has parameters
    crossed: bool = False                             # whether what forbids the cut goes past it to a later block


def _each(f: Callable[[Tensor], Tensor], value: Any) -> Any:
    """`value` with `f` of every tensor in it."""
    if isinstance(value, Tensor):
        return f(value)
    if isinstance(value, (tuple, list)):
        made = [_each(f, v) for v in value]
        return type(value)(*made) if hasattr(value, "_fields") else type(value)(made)
    return {k: _each(f, v) for k, v in value.items()} if isinstance(value, dict) else value


@contextmanager
def untouched(blocks: Blocks, like: Tensor) -> Iterator[None]:
    """Evaluation mode; afterwards modes, buffers and random numbers are as they were."""
    modes = [(m, m.training) for m in blocks.modules()]
    buffers = [(m, name, b, b.clone()) for b_ in blocks for m in b_.modules() for name, b in m._buffers.items() if b is not None]
    blocks.train(False)
    try:
        with torch.random.fork_rng([like.device] if like.is_cuda else []):
            yield
    finally:
        for m, mode in modes:
            m.training = mode
        with torch.no_grad():
            for m, name, b, before in buffers:
                m._buffers[name] = b
                b.copy_(before)


def measure(blocks: Blocks, images: Tensor) -> list[Shape]:
    """One forward of the blocks in evaluation mode, which leaves them as they were."""
    own = {p.untyped_storage().data_ptr() for b in blocks for p in b.parameters()}
    shapes: list[Shape] = []
    reached: dict[int, tuple[int, str]] = {}          # first block of every parameter and input
    inputs: list[Any] = []                            # kept, so that no other tensor takes their place
    x: Any = images
    with untouched(blocks, images):
        torch.manual_seed(0)
        for i, b in enumerate(blocks):
            shape = Shape(f"block {i} ({type(b).__name__})" if blocks.names[i] == str(i) else
                          f"block {i} ({blocks.names[i]}, {type(b).__name__})",
                          tuple(x.shape[1:]) if isinstance(x, Tensor) else (), (), learns=any(True for _ in b.parameters()))
            taken = _each(lambda t: t.detach().requires_grad_(t.is_floating_point()), x)
            inputs.append(taken)
            _each(lambda t, i=i: reached.setdefault(id(t), (i, "its input")) and t, taken)  # type: ignore[misc]
            for name, p in b.named_parameters():
                at, _ = reached.setdefault(id(p), (i, name))
                _forbid(shapes, at, i, f"{shape.name} shares its parameter {name}")
            y = _run(b, taken, shape, own)
            if not isinstance(x, Tensor):
                shape.alone = "it takes several tensors"
            shape.overwrites |= _begins_in_place(b)
            mine = {id(p) for p in b.parameters()}
            for leaf in leaves(y):
                at, what = reached.get(id(leaf), (i, ""))
                if at < i and id(leaf) not in mine:
                    shape.alone = f"it takes {what} of {shapes[at].name} past its own input"
                    _forbid(shapes, at, i, f"{shape.name} takes {what} of {shapes[at].name} past the cut (skip connection)")
            _given(shape, y, len(images))
            shapes.append(shape)
            x = _each(lambda t: t.detach(), y)
        _same_as_model(blocks, images, x)
    return shapes


def _run(block: nn.Module, taken: Any, shape: Shape, own: set[int]) -> Any:
    """The block's output; what it keeps for its backward pass goes into `shape`."""
    kept: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return t
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        fed = _each(lambda t: t.clone(), taken)       # layers in place refuse leaves
        version = fed._version if isinstance(fed, Tensor) else 0
        try:
            y = block(fed)
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as e:
            raise ValueError(f"{shape.name} fails on {_what_it_takes(block, taken, shape)}: {e}") from e
    shape.overwrites = isinstance(fed, Tensor) and fed._version != version
    shape.bytes = sum(kept.values())
    return y


def _what_it_takes(block: nn.Module, taken: Any, shape: Shape) -> str:
    sizes = f"[n, {', '.join(map(str, shape.taken))}]"
    if not shape.name.startswith("block 0 ") or not isinstance(taken, Tensor):
        return f"what the blocks before it give, of shape {sizes}"
    own = next((p.dtype for p in block.parameters()), taken.dtype)
    other = f", and its parameters are {own}" if own != taken.dtype else ""
    alone = "; if that is one image, give images[None]" if taken.ndim == 3 else ""
    return f"the images, {taken.dtype} {sizes}{other}{alone}"


def _begins_in_place(block: nn.Module) -> bool:
    """Whether its first layer says that it works in place: dropout does so in training mode only."""
    while type(block) is nn.Sequential and len(block) > 0:
        block = block[0]
    return bool(getattr(block, "inplace", False))


def _given(shape: Shape, y: Any, n: int) -> None:
    if not isinstance(y, Tensor):
        shape.fault = f"it gives a {type(y).__name__}, not one tensor"
        shape.alone = shape.alone or shape.fault
        return
    shape.given = tuple(y.shape[1:])
    if not shape.fault:
        if y.ndim not in (3, 4):
            shape.fault = f"its output has shape {list(y.shape)}, neither maps [n, c, h, w] nor tokens [n, t, c]"
        elif not y.is_floating_point():
            shape.fault = f"its output is {y.dtype}, which has no gradient"
        elif len(y) != n:
            shape.fault = f"its output has {len(y)} rows for {n} images"


def _forbid(shapes: list[Shape], first: int, last: int, why: str) -> None:
    """No cut may lie between these blocks."""
    for s in shapes[first:last]:
        s.crossed |= not s.fault
        s.fault = s.fault or why


def _same_as_model(blocks: Blocks, images: Tensor, out: Any) -> None:
    """Raises unless the network's own forward pass is its blocks in order, and all its parameters are theirs."""
    model = blocks.model
    if model is None:
        return
    held = {id(p) for b in blocks for p in b.parameters()}
    missing = [name for name, p in model.named_parameters() if id(p) not in held]
    torch.manual_seed(0)                              # as the blocks had it
    with torch.no_grad():
        whole = model(images.clone())
    tolerance = 1e-4 if images.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled(images.device.type) else 0.1
    same = isinstance(whole, Tensor) and isinstance(out, Tensor) and whole.shape == out.shape and bool(
        (whole - out).abs().max() <= tolerance * whole.abs().max().clamp(min=1.0))
    if not same or missing:
        what = f"its parameters {', '.join(missing[:3])} are in none of its blocks" if missing else \
            "its forward pass does something else than its blocks in order"
        name = type(model).__name__
        raise ValueError(f"{name}: {what}. Give blocks that hold all that it does (a ReLU, a skip connection, a flatten), as "
                         "Blocks([net.stem, ..., net.head], model=net), which are compared with the network")


def cuts_of(cuts: int | str | Sequence[int], shapes: Sequence[Shape]) -> list[int]:
    """Cuts as numbers of blocks below each. A count is of modules, as even as blocks allow; "memory" is the fewest
    modules of which none keeps more than the largest block does (with what follows it without parameters)."""
    n, fits = len(shapes), places(shapes)
    behind: dict[str, list[str]] = {}
    for s in (s for s in shapes[:-1] if s.fault):
        behind.setdefault(s.fault, []).append(s.name)
    faults = "; ".join(f"not behind {', '.join(names)}: {fault}" for fault, names in behind.items())
    if isinstance(cuts, bool) or not isinstance(cuts, (numbers.Integral, str, Iterable)):
        raise TypeError(f"cuts {cuts!r}: give block numbers, a number of modules, or 'memory'")
    if isinstance(cuts, str):
        if cuts != "memory":
            raise ValueError(f"cuts {cuts!r}: give block numbers, a number of modules, or 'memory'")
        return _by_memory(shapes, fits)
    if isinstance(cuts, numbers.Integral):
        cuts = int(cuts)
        if not 1 <= cuts <= len(fits) + 1:
            raise ValueError(f"{cuts} modules: the network has {n} blocks and can be cut into 1 to {len(fits) + 1}"
                             + (f" ({faults})" if faults else ""))
        return [fits[round((k + 1) * (len(fits) + 1) / cuts) - 1] for k in range(cuts - 1)]
    if not all(isinstance(c, numbers.Integral) and not isinstance(c, bool) for c in cuts):
        raise TypeError(f"cuts {list(cuts)!r}: give numbers of blocks, as [2, 5]")
    found = [int(c) for c in cuts]
    for c in found:
        if not 0 < c < n:
            raise ValueError(f"cut {c}: a network of {n} blocks is cut behind 1 to {n - 1} of them")
        if shapes[c - 1].fault:
            error = LocalityError if shapes[c - 1].crossed else ValueError
            raise error(f"{shapes[c - 1].name} cannot be cut from what follows: {shapes[c - 1].fault}")
    if found != sorted(set(found)):
        raise ValueError(f"cuts {found}: give them in rising order, each once")
    return found


def places(shapes: Sequence[Shape]) -> list[int]:
    """Where a network may be cut: between two blocks with parameters once, and activations and pools stay with what they follow."""
    found: list[int] = []
    last = None                                       # the last place since a block with parameters
    for i, s in enumerate(shapes):
        if s.learns and last is not None:
            found.append(last)
        if s.learns:
            last = None
        if not s.fault and any(t.learns for t in shapes[:i + 1]):
            last = i + 1
    return found


def _by_memory(shapes: Sequence[Shape], fits: Sequence[int]) -> list[int]:
    edges = [0, *fits, len(shapes)]
    pieces = [sum(s.bytes for s in shapes[a:b]) for a, b in zip(edges, edges[1:])]
    most, found, held = max(pieces), list[int](), 0
    for edge, piece in zip(edges, pieces):
        if held > 0 and held + piece > most:
            found.append(edge)
            held = 0
        held += piece
    return found
