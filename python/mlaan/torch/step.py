"""One step: one forward of every module, gradients no further than the method says (METHOD.md, sections 4 to 6)."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from . import inputs
from .blocks import Shape
from .heads import Auxiliary, supervised_contrastive
from .locality import check
from .methods import Method
from .statistics import OverShards, held


class _Open:
    """A module whose graph is alive: its input, its output, and the sum of gradients that reached the output."""

    def __init__(self, x: Tensor, out: Tensor) -> None:
        self.x, self.out = x, out
        self.total: Tensor | None = None

    def add(self, grad: Tensor) -> None:
        self.total = grad if self.total is None else self.total + grad


class Stepper(ABC):
    """What a step needs; `LocalTrainer` builds it."""

    method: Method
    modules: list[nn.Sequential]                     # the network, cut
    runners: list[Any]                               # what runs them: they, or compiled
    edges: list[int]                                 # first block of every module, and the number of blocks
    shapes: list[Shape]                              # of the blocks
    learns: list[bool]                               # whether a module has parameters that learn
    aux: nn.ModuleDict                               # auxiliary networks by branch and module: "ind_0", "cas_0"
    optimizer_of: dict[str, Optimizer]               # of "module_0" and so on, and of auxiliary networks
    norms_of: dict[str, Sequence[Any]]               # their layers with running statistics
    criterion: Callable[[Tensor, Tensor], Tensor]
    shards: int
    clip: float
    amp: torch.dtype | None
    scaler: Any
    check: bool
    optimizer_steps = 0                              # so far

    @abstractmethod
    def build(self, images: Tensor) -> None:
        """Makes all of these."""

    def step(self, images: Tensor, targets: Tensor, pixels: Tensor | None = None) -> dict[str, Tensor]:
        """One step on images [n, c, h, w]; the losses by name, such as "ind/0" and "cas/0" of module 0, unweighted. That of the
        network's own classifier is "ind/" and the last module (and "cas/" the same).
        `pixels` are the images in [0, 1], which InfoPro's decoders make."""
        first = not self.optimizer_steps
        inputs.batch(images, targets, self.shards)
        if not self.modules:
            self.build(images)
        if max(self.method.reconstruct) > 0 and len(self.modules) > 1:
            inputs.pixels(pixels, images, first)
        if not torch.is_grad_enabled():
            raise RuntimeError("a step needs gradients, and they are switched off (torch.no_grad)")
        chains = [a.chain for a in self.aux.values() if isinstance(a, Auxiliary) and a.chain is not None]
        for chain in chains:
            chain.follow()
        losses: dict[str, Tensor] = {}
        n, shards = len(images), max(min(self.shards, len(images)), 1)
        over = OverShards(m for layers in self.norms_of.values() for m in layers) if shards > 1 else None
        end = 0
        for v in range(shards):
            begin, end = end, end + n // shards + (v < n % shards)
            part = slice(begin, end)
            share = (end - begin) / n if shards > 1 else 1.0
            self._pass(images[part], targets[part], None if pixels is None else pixels[part], share, v == shards - 1, losses)
            if over is not None:
                over.add()
        if over is not None:
            over.close()
        for chain in chains:
            chain.pull(self.method.ema)
        if self.scaler is not None and self.optimizer_of:
            self.scaler.update()
        self.optimizer_steps += 1
        return losses

    def _pass(self, images: Tensor, targets: Tensor, pixels: Tensor | None, share: float, update: bool,
              losses: dict[str, Tensor]) -> None:
        """Forward and backward of `share` of a step's images; the last such pass updates."""
        live: dict[int, _Open] = {}
        x = images
        for j, run in enumerate(self.runners):
            lowest = max(0, j - self.method.span + 1)
            # Only a cascade of a later module takes gradients below this one's input, and only to one that learns.
            x = x.detach().requires_grad_(any(self.learns[lowest:j]))
            with self._autocast(images):
                # What works in place gets a copy: the input is the output of the module below, whose graph is alive.
                out = run(x.clone() if j > 0 and self.shapes[self.edges[j]].overwrites else x)
            if self.check:
                check(self.modules, j, x, out)
            live[j] = _Open(x, out)
            grads = self._losses(j, out, targets, pixels, share, losses)
            for name in [f"{branch}_{j}" for branch in self.method.branches()] if update else []:
                self._update(name)
            self._teach(live, j, lowest, grads)
            x = out
            if lowest == j - self.method.span + 1:  # no later cascade reaches it
                self._close(lowest, live.pop(lowest), update)
        for i in sorted(live):
            self._close(i, live.pop(i), update)

    def _losses(self, j: int, out: Tensor, targets: Tensor, pixels: Tensor | None, share: float,
                losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """The losses on a module's output, and by branch their gradients there."""
        grads: dict[str, Tensor] = {}
        last = j == len(self.modules) - 1
        for branch, weight in zip(self.method.branches(), self.method.weights if self.method.local else (1.0, 0.0)):
            name = f"{branch}_{j}"
            if not last and name not in self.aux:
                continue
            leaf = out.detach().requires_grad_(out.requires_grad)
            with self._autocast(out):
                loss = self.criterion(leaf, targets) if last else self._branch_loss(name, j, leaf, targets, pixels)
            if loss.numel() != 1:
                raise ValueError(f"criterion gives {list(loss.shape)} numbers: it has to give one, the mean over samples")
            loss = loss.reshape(())
            key = f"{branch}/{j}"
            losses[key] = losses.get(key, 0.0) + loss.detach() * share
            if loss.requires_grad:
                loss = loss * (weight * share)
                with held(self.norms_of.get(name, [])):
                    (loss if self.scaler is None else self.scaler.scale(loss)).backward()
            if leaf.grad is not None:
                grads[branch] = leaf.grad
        return grads

    def _branch_loss(self, name: str, j: int, x: Tensor, targets: Tensor, pixels: Tensor | None) -> Tensor:
        a = self.aux[name]
        assert isinstance(a, Auxiliary)
        reconstruction, task = self.method.lambdas(j, len(self.modules))
        x = a(x)
        f = a.head(x)
        loss = task * (supervised_contrastive(f, targets) if self.method.loss == "contrastive"
                       else self.criterion(f, targets))
        if a.decoder is not None and pixels is not None:
            loss = loss + reconstruction * a.decoder(x, pixels)
        return loss

    def _teach(self, live: dict[int, _Open], j: int, lowest: int, grads: dict[str, Tensor]) -> None:
        """Adds a loss's gradients to the modules it teaches: the cascaded one down to module `lowest`."""
        for grad in grads.values():
            live[j].add(grad)
        g = grads.get("cas")
        for i in range(j, lowest, -1):
            if g is None or not live[i].x.requires_grad or not live[i].out.requires_grad:
                return
            with held(self.norms_of[f"module_{i}"]):
                g = torch.autograd.grad(live[i].out, live[i].x, g, retain_graph=True, allow_unused=True)[0]
            if g is not None:
                live[i - 1].add(g)

    def _close(self, i: int, module: _Open, update: bool) -> None:
        """Weight gradients, once, of the sum of all gradients; then the optimiser's step. The graph goes with `module`."""
        params = [p for p in self.modules[i].parameters() if p.requires_grad]
        if params and module.total is not None and module.out.requires_grad:
            with held(self.norms_of[f"module_{i}"]):
                torch.autograd.backward(module.out, module.total, inputs=params)
        if update:
            self._update(f"module_{i}")

    def _update(self, name: str) -> None:
        optimizer = self.optimizer_of.get(name)
        params = [p for g in optimizer.param_groups for p in g["params"] if p.grad is not None] if optimizer else []
        if optimizer is None or not params:
            return
        if self.clip > 0:
            if self.scaler is not None:
                self.scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(params, self.clip)
        if self.scaler is not None:
            self.scaler.step(optimizer)
        else:
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def _autocast(self, like: Tensor) -> AbstractContextManager[Any]:
        return nullcontext() if self.amp is None else torch.autocast(like.device.type, self.amp)
