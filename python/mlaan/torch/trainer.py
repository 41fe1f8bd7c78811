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

from . import inputs
from .blocks import cuts_of, measure, places
from .heads import Auxiliary, Chain, Decoder, classifier, to_maps
from .methods import Method, method_of
from .named import Sources, by_name
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
    (gradient accumulation). `check=False` leaves out that every step looks whether a module's output depends on its own
    parameters and its input alone. `changes` are of the method, such as `span=3`. `print(trainer)` shows where it was cut.
    """

    def __init__(self, model: nn.Module | Sequence[nn.Module], cuts: int | str | Sequence[int] = "memory",
                 method: str | Method = "mlaan-released", *, optimizer: Callable[[Params], Optimizer],
                 example: Tensor | None = None, criterion: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
                 sources: Sources | None = None, clip: float = 0.0, amp: torch.dtype | None = None, scaler: Any = None,
                 compile: bool = False, shards: int = 1, check: bool = True, **changes: Any) -> None:
        self.method = method_of(method, **changes)
        inputs.options(optimizer, criterion, clip, amp, scaler, shards)
        if sources is not None and self.method.leap == "off":
            raise ValueError("sources= names blocks for leap chains, and this method has none: leave it out, or give leap='pulled'")
        self.blocks = inputs.network(model)
        self.cuts, self.make, self.criterion, self.sources = cuts, optimizer, criterion, sources
        self.clip, self.amp, self.scaler, self.compile, self.check, self.shards = clip, amp, scaler, compile, check, shards
        self.modules: list[nn.Sequential] = []
        self.aux = nn.ModuleDict()
        if example is not None:
            self.build(example)

    # -------------------------------------------------------------- building

    def build(self, images: Tensor) -> None:
        """Cuts the network and makes auxiliary networks and optimisers, by the shapes of `images`."""
        inputs.example(images)
        try:
            self._build(images)
        except BaseException:                         # what is built half does not train
            self.modules, self.aux = [], nn.ModuleDict()
            raise

    def _build(self, images: Tensor) -> None:
        with self._autocast(images):
            self.shapes = measure(self.blocks, images[:2])
        self.measured = len(images[:2])
        cuts = cuts_of(self.cuts, self.shapes) if self.method.local else []
        if self.method.local and isinstance(self.cuts, str) and not cuts:
            fault = next((f" ({s.fault})" for s in self.shapes[:-1] if s.fault), "")
            why = "one block keeps as much as all others, so no cut saves memory" if places(self.shapes) else \
                f"this network cannot be cut{fault}"
            warnings.warn(f"{why}: this is plain training", stacklevel=4)
        if self.method.task[0] == 0 and len(cuts) == 1:
            warnings.warn("the weight of the task loss begins at 0 with the first module, which of two is the only one with an auxiliary "
                          "network: it sees no labels. Give more modules, or task=(0.5, 1.0)", stacklevel=4)
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
                self.optimizer_of[name] = inputs.made(self.make(params), params, name)

    @property
    def optimizers(self) -> list[Optimizer]:
        """One of every module and auxiliary network: give each a scheduler."""
        self._must_be_built()
        return list(self.optimizer_of.values())

    def _must_be_built(self) -> None:
        if not self.modules:
            raise RuntimeError("nothing is built yet: give LocalTrainer `example=` images, or take a step first")

    def __repr__(self) -> str:
        if not self.modules:
            return "LocalTrainer: not built yet"
        lines = [f"LocalTrainer: {len(self.blocks)} blocks in {len(self.modules)} modules"]
        for j, (a, b) in enumerate(zip(self.edges, self.edges[1:])):
            kept = sum(s.bytes for s in self.shapes[a:b]) / self.measured / 1024
            chain = self.chains[j] if j < len(self.chains) else []
            behind = f", behind it copies of blocks {', '.join(map(str, chain))}" if chain else ""
            names = self.shapes[a].name if b == a + 1 else f"{self.shapes[a].name} to {self.shapes[b - 1].name}"
            lines.append(f"  module {j}: {names}, keeps {kept:.0f} KiB an image{behind}")
        return "\n".join(lines)

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
        """Network, auxiliary networks, optimisers, loss scale. Save schedulers and random numbers beside it: they are the
        caller's."""
        self._must_be_built()
        return {"edges": self.edges, "method": asdict(self.method), "blocks": [b.state_dict() for b in self.blocks],
                "made": {n: type(o).__name__ for n, o in self.optimizer_of.items()},
                "aux": self.aux.state_dict(), "optimizers": {n: o.state_dict() for n, o in self.optimizer_of.items()},
                "scaler": None if self.scaler is None else self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from `state`; the trainer must be built (`example=`) with the same cuts and method."""
        self._must_be_built()
        if not {"edges", "method", "blocks", "aux", "optimizers"} <= state.keys():
            raise ValueError("this is no state of a LocalTrainer: give what its state_dict() gave. Weights alone go into the network's own "
                             "load_state_dict")
        if state["edges"] != self.edges:
            raise ValueError(f"the state has its cuts at {state['edges'][1:-1]}, this trainer at {self.edges[1:-1]}")
        mine = asdict(self.method)
        other = {k: v for k, v in state["method"].items() if k not in mine or mine[k] != v}
        if other:
            raise ValueError(f"the state is of the method with {other}, this trainer has {({k: mine.get(k) for k in other})}")
        if state["optimizers"].keys() != self.optimizer_of.keys():
            raise ValueError(f"the state has optimizers of {', '.join(state['optimizers'])}, this trainer of "
                             f"{', '.join(self.optimizer_of)}: other parameters were frozen then")
        for n, o in self.optimizer_of.items():
            was = state.get("made", {}).get(n, type(o).__name__)
            if was != type(o).__name__:
                raise ValueError(f"the state is of the optimizer {was}, this trainer has {type(o).__name__}")
        for b, s in zip(self.blocks, state["blocks"], strict=True):
            b.load_state_dict(s)
        self.aux.load_state_dict(state["aux"])
        for n, o in self.optimizer_of.items():
            o.load_state_dict(state["optimizers"][n])
        if self.scaler is not None and state["scaler"] is not None:
            self.scaler.load_state_dict(state["scaler"])
