"""Epochs of local training."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from . import inputs
from .trainer import LocalTrainer


def fit(model: nn.Module | Sequence[nn.Module], loader: Iterable[tuple[Tensor, Tensor]], *, epochs: int,
        scheduler: Callable[[Optimizer], Any] | None = None, per_step: bool = False,
        on_epoch: Callable[[int, float], None] | None = None, pixels: Callable[[Tensor], Tensor] | None = None,
        **options: Any) -> LocalTrainer:
    """Trains for `epochs`; `options` are LocalTrainer's. Batches go to the network's device. `scheduler` makes one of an
    optimiser, stepped per epoch, or `per_step`. `on_epoch` is told the epoch, from 1, and the mean loss of the network's
    classifier. `pixels` makes images in [0, 1] of a batch, for InfoPro."""
    trainer = LocalTrainer(model, **options)
    device = next((p.device for b in trainer.blocks for p in b.parameters()), torch.device("cpu"))
    schedulers: list[Any] | None = None
    for epoch in range(1, epochs + 1):
        trainer.train()
        total, count = torch.zeros((), device=device), 0
        for loaded in loader:
            images, targets = inputs.pair(loaded)
            images, targets = images.to(device, non_blocking=True), targets.to(device, non_blocking=True)
            if not trainer.modules:
                trainer.build(images)
            if schedulers is None:  # before the first step: a warm-up sets its rate
                schedulers = [inputs.scheduler(scheduler, o) for o in trainer.optimizers] if scheduler is not None else []
            losses = trainer.step(images, targets, pixels(images) if pixels else None)
            total += losses[f"ind/{len(trainer.modules) - 1}"] * len(images)
            count += len(images)
            for s in schedulers if per_step else []:
                s.step()
        if count == 0:
            raise ValueError(f"the loader gave no batch in epoch {epoch}: give a list or a DataLoader, not an iterator")
        for s in (schedulers or []) if not per_step else []:
            s.step()
        if on_epoch is not None:
            on_epoch(epoch, float(total) / count)
    return trainer
