"""A trainer of any network: options, what is built of them, saved states."""
from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from .blocks import Blocks, cuts_of, measure
from .heads import Auxiliary, Chain, Decoder, classifier, to_maps
from .methods import Method, method_of
from .named import Sources, by_name
from .networks import blocks_of
from .sources import by_rule
from .statistics import norms
from .step import Stepper

Params = list[nn.Parameter]


class LocalTrainer(Stepper):
    """Trains `model` (an nn.Sequential, blocks in order, or a network that `blocks_of` knows) by a local method.

    `cuts`: numbers of blocks below each cut, a number of modules, or "memory". `optimizer` makes an optimiser of a list
    of parameters; every module and every auxiliary network has one, stepped as soon as its gradients are complete.
    `example` are images [n, c, h, w] to build with; without, the first step's are taken. `criterion` is the task loss, a mean
    over samples. `sources`: blocks that chains mirror, by number or name: one list of which every module takes those behind
    it, or a list per module. `clip` bounds the gradient norm of each module and of each auxiliary network. `amp` is autocast's
    type, `scaler` a GradScaler. `compile` compiles modules. `shards` parts of a batch go forward and back one after the other
    (gradient accumulation). `changes` are of the method, such as `span=3`.
    """

    def __init__(self, model: nn.Module | Sequence[nn.Module], cuts: int | str | Sequence[int] = "memory",
                 method: str | Method = "mlaan-released", *, optimizer: Callable[[Params], Optimizer],
                 example: Tensor | None = None, criterion: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
                 sources: Sources | None = None, clip: float = 0.0, amp: torch.dtype | None = None, scaler: Any = None,
                 compile: bool = False, shards: int = 1, check: bool = True, **changes: Any) -> None:
        self.method = method_of(method, **changes)
        for m in (n for whole in ([model] if isinstance(model, nn.Module) else model) for n in whole.modules()):
            if any(c.__name__ in ("DistributedDataParallel", "FullyShardedDataParallel", "FSDPModule", "DataParallel")
                   for c in type(m).__mro__):
                raise TypeError(f"{type(m).__name__} reduces gradients in one backward pass of the whole network, which "
                                "local training does not have: give the network inside it (`.module`), on one device")
        self.blocks = blocks_of(model) if isinstance(model, nn.Module) else (
            model if isinstance(model, Blocks) else Blocks(model))
        if not self.blocks:
            raise ValueError("a network needs at least one block")
        if shards < 1:
            raise ValueError(f"shards {shards}: a batch has at least one")
        self.cuts, self.make, self.criterion, self.sources = cuts, optimizer, criterion, sources
        self.clip, self.amp, self.scaler, self.compile, self.check, self.shards = clip, amp, scaler, compile, check, shards
        self.modules: list[nn.Sequential] = []
        self.aux = nn.ModuleDict()
        if example is not None:
            self.build(example)

    # -------------------------------------------------------------- building

    def build(self, images: Tensor) -> None:
        """Cuts the network and makes auxiliary networks and optimisers, by the shapes of `images`."""
        with self._autocast(images):
            self.shapes = measure(self.blocks, images[:2])
        cuts = cuts_of(self.cuts, self.shapes) if self.method.local else []
        if self.method.local and self.cuts == "memory" and not cuts:
            warnings.warn("one block keeps as much as all others: no cut saves memory, and this is plain training", stacklevel=3)
        self.edges = edges = [0, *cuts, len(self.blocks)]
        self.modules = [nn.Sequential(*self.blocks[a:b]) for a, b in zip(edges, edges[1:])]
        self.learns = [any(p.requires_grad for p in m.parameters()) for m in self.modules]
        self.runners: list[Any] = list(self.modules)
        if self.compile:
            config: Any = importlib.import_module("torch._functorch.config")
            if self.method.span > 1 and hasattr(config, "donated_buffer"):
                config.donated_buffer = False         # cascades walk a graph more than once
            self.runners = [torch.compile(m) for m in self.modules]
        self.chains: list[list[int]] = [[] for _ in self.modules[:-1]]  # the blocks that each module's chain mirrors
        for j in range(len(self.modules) - 1):
            for branch in self.method.branches():
                if self._taught(branch, j):
                    self.aux[f"{branch}_{j}"] = self._auxiliary(branch, j, images)
        self.optimizer_of: dict[str, Optimizer] = {}
        parts = {**{f"module_{j}": m for j, m in enumerate(self.modules)}, **self.aux}
        self.norms_of = {name: norms([m]) for name, m in parts.items()}
        for name, m in parts.items():
            params = [p for p in m.parameters() if p.requires_grad]
            if params:
                self.optimizer_of[name] = self.make(params)

    @property
    def optimizers(self) -> list[Optimizer]:
        """One of every module and auxiliary network: give each a scheduler."""
        if not self.modules:
            raise RuntimeError("nothing is built yet: give LocalTrainer `example=` images, or take a step first")
        return list(self.optimizer_of.values())

    def _taught(self, branch: str, j: int) -> bool:
        """Whether a loss reaches a module that learns; others are not taken."""
        return any(self.learns[j if branch == "ind" else max(0, j - self.method.span + 1):j + 1])

    def _auxiliary(self, branch: str, j: int, images: Tensor) -> Auxiliary:
        method, last, chain = self.method, self.edges[j + 1] - 1, None
        if len(self.shapes[-1].given) != 1:
            raise ValueError(f"the network gives [n, {', '.join(map(str, self.shapes[-1].given))}], and auxiliary classifiers "
                             "[n, classes]: only networks that give the same can be cut")
        if method.leaps(branch):
            named = by_rule(last, self.shapes, method.depth) if self.sources is None else by_name(
                self.sources, j, len(self.modules), last, self.shapes, self.blocks.names)
            self.chains[j] = named
            last = named[-1] if named else last
            try:
                chain = Chain([self.blocks[s] for s in named], method.leap,
                              [self.shapes[s].overwrites for s in named]) if named else None
            except Exception as e:
                names = ", ".join(self.shapes[s].name for s in named)
                raise ValueError(f"of {names} one cannot be copied as a mirror: {e}; name others as `sources`") from e

        def as_maps(x: Tensor) -> Tensor:
            return to_maps(x, self.blocks.layout, self.blocks.prefix)

        def maps(block: int) -> torch.Size:
            return as_maps(torch.empty(1, *self.shapes[block].given, device="meta")).shape
        _, c, *size = maps(last)
        deepest = maps(max(i for i, s in enumerate(self.shapes[:-1]) if not s.fault))[1]
        out = method.hidden if method.loss == "contrastive" else self.shapes[-1].given[0]
        head = classifier(method.head, c, size, method.hidden, out, deepest)
        decoder = Decoder(c, images.shape[1:]) if max(method.reconstruct) > 0 else None
        like = next((p for m in (self.modules[j], *self.modules) for p in m.parameters()), images)
        return Auxiliary(chain, head, decoder, as_maps).to(like.device, like.dtype)

    # -------------------------------------------------------------- the rest

    def train(self, mode: bool = True) -> None:
        """Training or evaluation mode of the network."""
        self.blocks.train(mode)

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """Logits [n, classes], in evaluation mode."""
        modes = [(m, m.training) for m in self.blocks.modules()]
        self.train(False)
        with self._autocast(images):
            for b in self.blocks:
                images = b(images)
        for m, mode in modes:
            m.training = mode
        return images

    def state_dict(self) -> dict[str, Any]:
        """All that a run goes on from: network, auxiliary networks, optimisers, loss scale. Random numbers and schedulers are
        the caller's."""
        return {"edges": self.edges, "method": asdict(self.method), "blocks": [b.state_dict() for b in self.blocks],
                "aux": self.aux.state_dict(), "optimizers": {n: o.state_dict() for n, o in self.optimizer_of.items()},
                "scaler": None if self.scaler is None else self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from `state`; the trainer must be built (`example=`) with the same cuts and method."""
        if not self.modules:
            raise RuntimeError("nothing is built yet: give LocalTrainer `example=` images before a state is loaded")
        if state["edges"] != self.edges:
            raise ValueError(f"the state has its cuts at {state['edges'][1:-1]}, this trainer at {self.edges[1:-1]}")
        if state["method"] != asdict(self.method):
            raise ValueError(f"the state is of the method {state['method']}, this trainer has {asdict(self.method)}")
        for b, s in zip(self.blocks, state["blocks"], strict=True):
            b.load_state_dict(s)
        self.aux.load_state_dict(state["aux"])
        for n, o in self.optimizer_of.items():
            o.load_state_dict(state["optimizers"][n])
        if self.scaler is not None and state["scaler"] is not None:
            self.scaler.load_state_dict(state["scaler"])
