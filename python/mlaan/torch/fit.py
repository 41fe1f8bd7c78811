"""Epochs of local training."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .trainer import LocalTrainer


def fit(model: nn.Module | Sequence[nn.Module], loader: Iterable[tuple[Tensor, Tensor]], *, epochs: int,
        scheduler: Callable[[Optimizer], Any] | None = None, on_epoch: Callable[[int, float], None] | None = None,
        pixels: Callable[[Tensor], Tensor] | None = None, **options: Any) -> LocalTrainer:
    """Trains for `epochs`; `options` are LocalTrainer's. `scheduler` makes one of an optimiser, stepped per epoch.
    `on_epoch` is told the epoch, from 1, and the mean loss of the network's classifier."""
    trainer = LocalTrainer(model, **options)
    schedulers: list[Any] | None = None
    for epoch in range(1, epochs + 1):
        trainer.train()
        total, count = torch.zeros(()), 0
        for images, targets in loader:
            losses = trainer.step(images, targets, pixels(images) if pixels else None)
            total = total.to(images.device) + losses[f"ind/{len(trainer.modules) - 1}"]
            count += 1
            if schedulers is None:
                schedulers = [scheduler(o) for o in trainer.optimizers] if scheduler else []
        for s in schedulers or []:
            s.step()
        if on_epoch is not None:
            on_epoch(epoch, float(total) / max(count, 1))
    return trainer
