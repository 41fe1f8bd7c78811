"""Trained networks as modules of PyTorch."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    import os

    from torch import nn


def load(path: str | os.PathLike[str]) -> nn.Module:
    """The network of a state dict that `Run.export("safetensors", …)` or `mlaan export` wrote, as `Run.to_torch()` gives it: an `nn.Module` in
    evaluation mode. Its attribute `metadata` says how images are prepared, as the file does (`size`, `short_side`, `mean`, `std`, `classes`, …).
    `DataError` where the file is no such state dict."""
    from ._errors import DataError
    from ._tensors import metadata, views
    place = Path(path)
    if place.is_dir():
        raise DataError(f"{path}: this is a folder: mlaan.Run(…).to_torch() gives the network of a run")
    try:
        counters: dict[str, int] = {}
        tensors = views(place, counters)
    except OSError as e:
        raise DataError(f"{path}: {e.strerror or e}") from e
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        written = ": torch.save wrote it, whose weights train(init=…) takes" if _is_zip(place) else ""
        raise DataError(f"{path}: this is no safetensors file of float32{written}") from e
    try:
        found: nn.Module = module(tensors, max(counters.values(), default=0))
    except ValueError as e:
        raise DataError(f"{path}: this is no network of mlaan: {e}") from e
    setattr(found, "metadata", metadata(place))      # not typed as one of a module's own
    return found


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def module(state: Mapping[str, NDArray[Any]], steps: int) -> Any:
    """The network with this state, which is copied; `steps` moved BatchNorm's running statistics."""
    try:
        import torch
    except ImportError as e:
        raise ImportError("to_torch() needs PyTorch: pip install torch") from e
    from ._tensors import COUNTER
    from .torch.resnet import ResNet, Spec, spec_of
    tensors = {name: torch.from_numpy(array.copy()) for name, array in state.items()}
    spec: Spec = spec_of(tensors)
    network: Any = None
    if spec.family == "imagenet" and spec.width == 64:
        try:
            from torchvision import models
        except ImportError:
            pass
        else:
            network = getattr(models, f"resnet{spec.depth}")(weights=None, num_classes=spec.classes)
    network = ResNet(spec) if network is None else network
    for name in network.state_dict():
        if name.endswith(COUNTER):
            tensors[name] = torch.tensor(steps)
    network.load_state_dict(tensors, strict=True)
    return network.eval()
