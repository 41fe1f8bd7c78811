"""Running statistics of BatchNorm move once a step, whatever is computed again."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase


def norms(nets: Iterable[nn.Module]) -> list[_NormBase]:
    """Layers with running statistics."""
    return [m for net in nets for m in net.modules() if isinstance(m, _NormBase) and m.track_running_stats]


@contextmanager
def held(layers: Sequence[_NormBase]) -> Iterator[None]:
    """During a backward pass: checkpoints run forward again, and statistics have moved already."""
    moving = [(m, m.momentum, m._buffers.get("num_batches_tracked")) for m in layers if m.training]
    for m, _, _ in moving:
        m.momentum, m._buffers["num_batches_tracked"] = 0.0, None
    try:
        yield
    finally:
        for m, momentum, count in moving:
            m.momentum, m._buffers["num_batches_tracked"] = momentum, count


class OverShards:
    """Statistics of a batch in shards: the mean over shards of mean and unbiased variance."""

    def __init__(self, layers: Iterable[_NormBase]) -> None:
        self.layers = [m for m in layers if m.training]
        self.before = [(m.momentum, [b.clone() for b in self._running(m)]) for m in self.layers]
        self.sums = [[torch.zeros_like(b) for b in self._running(m)] for m in self.layers]
        self.shards = 0
        for m in self.layers:
            m.momentum = 1.0                          # what then runs is the shard's own

    @staticmethod
    def _running(m: _NormBase) -> list[Tensor]:
        return [b for b in (m.running_mean, m.running_var) if b is not None]

    @torch.no_grad()
    def add(self) -> None:
        """Takes over what a shard left."""
        self.shards += 1
        for m, sums in zip(self.layers, self.sums):
            for total, b in zip(sums, self._running(m)):
                total.add_(b)

    @torch.no_grad()
    def close(self) -> None:
        """Moves the statistics; momentum and counts are again as after one batch."""
        for m, (momentum, before), sums in zip(self.layers, self.before, self.sums):
            m.momentum = momentum
            if m.num_batches_tracked is not None:
                m.num_batches_tracked.sub_(max(self.shards - 1, 0))
            rate = 1.0 / max(int(m.num_batches_tracked or 1), 1) if momentum is None else momentum
            for b, old, total in zip(self._running(m), before, sums):
                b.copy_(old if self.shards == 0 else (1 - rate) * old + rate * total / self.shards)
