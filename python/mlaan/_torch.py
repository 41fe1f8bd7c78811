"""Trained networks as modules of PyTorch."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray


def module(state: Mapping[str, NDArray[Any]], steps: int) -> Any:
    """The network with this state, which is copied; `steps` moved BatchNorm's running statistics."""
    try:
        import torch
    except ImportError as e:
        raise ImportError("to_torch() needs PyTorch: pip install torch") from e
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
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.tensor(steps)
    network.load_state_dict(tensors, strict=True)
    return network.eval()
