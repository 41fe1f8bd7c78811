"""What a module's output depends on: nothing but its own parameters and its input."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn


class LocalityError(ValueError):
    """A module's output depends, with gradients, on another module than its own: found where the network is cut, or in a step."""


def leaves(value: Any) -> Iterator[Tensor]:
    """The leaves of the graph behind a tensor, or behind several."""
    if isinstance(value, (tuple, list)):
        for v in value:
            yield from leaves(v)
    elif isinstance(value, dict):
        yield from leaves(list(value.values()))
    elif isinstance(value, Tensor) and value.grad_fn is None:
        if value.requires_grad:
            yield value
    elif isinstance(value, Tensor):
        seen, nodes = {value.grad_fn}, [value.grad_fn]
        while nodes:
            node = nodes.pop()
            if node is None:
                continue
            leaf = getattr(node, "variable", None)
            if leaf is not None:
                yield leaf
            elif node.name() == "CheckpointFunctionBackward":
                raise LocalityError("a block has a checkpoint whose gradients cannot be taken in parts: give "
                                    "torch.utils.checkpoint `use_reentrant=False`")
            for before, _ in node.next_functions:
                if before is not None and before not in seen:
                    seen.add(before)
                    nodes.append(before)


def check(modules: Sequence[nn.Module], j: int, x: Tensor, out: Tensor) -> None:
    """Raises if the output of module `j` depends on anything but its parameters and its input `x`."""
    own = {id(p) for p in modules[j].parameters()} | {id(x)}
    for leaf in leaves(out):
        if id(leaf) not in own:
            raise LocalityError(f"module {j} reaches {_owner(modules, leaf)} past its own input: no cut may lie between "
                                "blocks that hand tensors on in other ways (skip connections)")


def _owner(modules: Sequence[nn.Module], leaf: Tensor) -> str:
    for i, m in enumerate(modules):
        for name, p in m.named_parameters():
            if p is leaf:
                return f"{name} of module {i}"
    return f"a tensor of shape {list(leaf.shape)} that is no module's parameter"
