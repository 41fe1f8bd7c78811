"""Training module by module: one forward of every module a step (METHOD.md, section 5)."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from .blocks import Blocks, Shape, blocks_of, cuts_of, leap_sources, measure
from .heads import Auxiliary, Chain, Decoder, classifier, supervised_contrastive, to_maps
from .methods import Method, method_of

Params = list[nn.Parameter]


class LocalityError(RuntimeError):
    """A module's output depends, with gradients, on another module than its own."""


class _Open:
    """A module whose graph is alive: its input, its output, and the sum of gradients that reached the output."""

    def __init__(self, x: Tensor, out: Tensor) -> None:
        self.x, self.out = x, out
        self.total: Tensor | None = None

    def add(self, grad: Tensor) -> None:
        self.total = grad if self.total is None else self.total + grad


class LocalTrainer:
    """Trains `model` (an nn.Sequential, blocks in order, or a network that `blocks_of` knows) by a local method.

    `cuts`: numbers of blocks below each cut, a number of modules, or "memory". `optimizer` makes an optimiser of a list
    of parameters; every module and every auxiliary network has one, stepped as soon as its gradients are complete.
    `example` are images [n, c, h, w] to build with; without, the first step's are taken. `criterion` is the task loss.
    `sources`: per module the numbers of the blocks that its chain mirrors. `clip` bounds the gradient norm of each
    module and of each auxiliary network. `amp` is autocast's type, `scaler` a GradScaler. `compile` compiles modules.
    """

    def __init__(self, model: nn.Module | Sequence[nn.Module], cuts: int | str | Sequence[int] = "memory",
                 method: str | Method = "mlaan-released", *, optimizer: Callable[[Params], Optimizer],
                 example: Tensor | None = None, criterion: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
                 sources: Sequence[Sequence[int]] | None = None, clip: float = 0.0, amp: torch.dtype | None = None,
                 scaler: Any = None, compile: bool = False, check: bool = True, **changes: Any) -> None:
        for whole in [model] if isinstance(model, nn.Module) else model:
            if type(whole).__name__ in ("DistributedDataParallel", "FullyShardedDataParallel", "DataParallel"):
                raise TypeError(f"{type(whole).__name__} reduces gradients in one backward pass of the whole network, which "
                                "local training does not have: give the network inside it (`.module`)")
        self.method = method_of(method, **changes)
        self.blocks = blocks_of(model) if isinstance(model, nn.Module) else (
            model if isinstance(model, Blocks) else Blocks(model))
        if not self.blocks:
            raise ValueError("a network needs at least one block")
        self.cuts, self.make, self.criterion, self.sources = cuts, optimizer, criterion, sources
        self.clip, self.amp, self.scaler, self.compile, self.check = clip, amp, scaler, compile, check
        self.modules: list[nn.Sequential] = []
        self.aux = nn.ModuleDict()
        if example is not None:
            self.build(example)

    # -------------------------------------------------------------- building

    def build(self, images: Tensor) -> None:
        """Cuts the network and makes auxiliary networks and optimisers, by the shapes of `images`."""
        with self._autocast(images):
            shapes = measure(self.blocks, images[:2])
        edges = [0, *(cuts_of(self.cuts, shapes) if self.method.local else []), len(self.blocks)]
        self.edges, self.shapes = edges, shapes
        self.modules = [nn.Sequential(*self.blocks[a:b]) for a, b in zip(edges, edges[1:])]
        self._refuse_shared()
        self.learns = [any(p.requires_grad for p in m.parameters()) for m in self.modules]
        self.runners: list[Any] = list(self.modules)
        if self.compile:
            # Cascades walk a graph more than once, so its buffers cannot be given away.
            config = torch._functorch.config
            if hasattr(config, "donated_buffer"):
                config.donated_buffer = False
            self.runners = [torch.compile(m) for m in self.modules]
        for j in range(len(self.modules) - 1):
            for branch in self.method.branches():
                if self._taught(branch, j):
                    self.aux[f"{branch}_{j}"] = self._auxiliary(branch, j, images)
        self.optimizer_of: dict[str, Optimizer] = {}
        for name, m in [*((f"module_{j}", m) for j, m in enumerate(self.modules)), *self.aux.items()]:
            params = [p for p in m.parameters() if p.requires_grad]
            if params:
                self.optimizer_of[name] = self.make(params)

    @property
    def optimizers(self) -> list[Optimizer]:
        """One of every module and auxiliary network: give each a scheduler."""
        if not self.modules:
            raise RuntimeError("nothing is built yet: give LocalTrainer `example=` images, or take a step first")
        return list(self.optimizer_of.values())

    def _refuse_shared(self) -> None:
        owner: dict[int, int] = {}
        for j, m in enumerate(self.modules):
            for name, p in m.named_parameters():
                if owner.setdefault(id(p), j) != j:
                    raise ValueError(f"parameter {name} of module {j} is module {owner[id(p)]}'s too: no cut may lie "
                                     "between blocks that share parameters")

    def _taught(self, branch: str, j: int) -> bool:
        """Whether a loss reaches a module that learns; others are not taken."""
        return any(self.learns[j if branch == "ind" else max(0, j - self.method.span + 1):j + 1])

    def _auxiliary(self, branch: str, j: int, images: Tensor) -> Auxiliary:
        method, last, chain = self.method, self.edges[j + 1] - 1, None
        shape = self.shapes[last].given
        if method.leaps(branch):
            named = self.sources[j] if self.sources is not None else leap_sources(last, self.shapes, method.depth)
            for s in named:
                if self.shapes[s].taken != shape:
                    raise ValueError(f"the chain of module {j} mirrors {self.shapes[s].name}, which takes "
                                     f"{list(self.shapes[s].taken)}, but is given {list(shape)}")
                shape = self.shapes[s].given
            chain = Chain([self.blocks[s] for s in named], method.leap) if named else None

        def maps(s: tuple[int, ...]) -> torch.Size:
            return to_maps(torch.empty(1, *s, device="meta"), self.blocks.layout).shape
        features = [s for s in self.shapes[:-1] if not s.fault]
        c, side = maps(shape)[1], maps(shape)[2]
        out = method.hidden if method.loss == "contrastive" else self.shapes[-1].given[0]
        head = classifier(method.head, c, side, method.hidden, out, maps(features[-1].given)[1])
        decoder = Decoder(c, images.shape[1:]) if max(method.reconstruct) > 0 else None
        like = next((p for b in self.blocks for p in b.parameters()), images)
        return Auxiliary(chain, head, decoder, self.blocks.layout).to(like.device, like.dtype)

    # -------------------------------------------------------------- one step

    def step(self, images: Tensor, targets: Tensor, pixels: Tensor | None = None) -> dict[str, Tensor]:
        """One step on images [n, c, h, w]; the losses by name, such as "ind/0" and "cas/0" of module 0, unweighted.
        `pixels` are the images in [0, 1], which InfoPro's decoders make."""
        if not self.modules:
            self.build(images)
        if max(self.method.reconstruct) > 0 and pixels is None:
            raise ValueError("this method's decoders make the images: give `pixels`, the images in [0, 1]")
        self.aux.train(any(m.training for m in self.modules))
        losses: dict[str, Tensor] = {}
        live: dict[int, _Open] = {}
        x = images
        for j, run in enumerate(self.runners):
            lowest = max(0, j - self.method.span + 1)
            # Only a cascade of a later module takes gradients below this one's input, and only to one that learns.
            x = x.detach().requires_grad_(any(self.learns[lowest:j]))
            with self._autocast(images):
                out = run(x)
            self._check(j, x, out)
            live[j] = _Open(x, out)
            self._teach(live, j, lowest, self._losses(j, out, targets, pixels, losses))
            x = out
            if lowest == j - self.method.span + 1:  # no later cascade reaches it
                self._close(lowest, live.pop(lowest))
        for i in sorted(live):
            self._close(i, live.pop(i))
        for a in self.aux.values():
            if isinstance(a, Auxiliary) and a.chain is not None:
                a.chain.pull(self.method.ema)
        if self.scaler is not None:
            self.scaler.update()
        return losses

    def _losses(self, j: int, out: Tensor, targets: Tensor, pixels: Tensor | None,
                losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """The losses on a module's output, and by branch their gradients there. Auxiliary networks step here."""
        grads: dict[str, Tensor] = {}
        last = j == len(self.modules) - 1
        for branch, weight in zip(self.method.branches(), self.method.weights if self.method.local else (1.0, 0.0)):
            if not last and f"{branch}_{j}" not in self.aux:
                continue
            leaf = out.detach().requires_grad_(out.requires_grad)
            with self._autocast(out):
                loss = self.criterion(leaf, targets) if last else self._branch_loss(branch, j, leaf, targets, pixels)
            losses[f"{branch}/{j}"] = loss.detach()
            if loss.requires_grad:
                (loss * weight if self.scaler is None else self.scaler.scale(loss * weight)).backward()
            if leaf.grad is not None:
                grads[branch] = leaf.grad
            self._update(f"{branch}_{j}")
        return grads

    def _branch_loss(self, branch: str, j: int, x: Tensor, targets: Tensor, pixels: Tensor | None) -> Tensor:
        a = self.aux[f"{branch}_{j}"]
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
            if g is None or not live[i].x.requires_grad:
                return
            below: Tensor = torch.autograd.grad(live[i].out, live[i].x, g, retain_graph=True)[0]
            live[i - 1].add(below)
            g = below

    def _close(self, i: int, module: _Open) -> None:
        """Weight gradients, once, of the sum of all gradients; then the optimiser's step. The graph goes with `module`."""
        params = [p for p in self.modules[i].parameters() if p.requires_grad]
        if params and module.total is not None and module.out.requires_grad:
            torch.autograd.backward(module.out, module.total, inputs=params)
            self._update(f"module_{i}")

    def _update(self, name: str) -> None:
        optimizer = self.optimizer_of.get(name)
        if optimizer is None:
            return
        if self.clip > 0:
            if self.scaler is not None:
                self.scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], self.clip)
        if self.scaler is not None:
            self.scaler.step(optimizer)
        else:
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def _check(self, j: int, x: Tensor, out: Tensor) -> None:
        """Raises if the output depends, with gradients, on anything but the module's own parameters and its input."""
        if not self.check or out.grad_fn is None:
            return
        own = {id(p) for p in self.modules[j].parameters()} | {id(x)}
        seen, nodes = set(), [out.grad_fn]
        while nodes:
            node = nodes.pop()
            leaf = getattr(node, "variable", None)
            if leaf is not None and id(leaf) not in own:
                raise LocalityError(f"module {j} reaches {self._owner(leaf)} past its own input: no cut may lie between "
                                    "blocks that hand tensors on in other ways (skip connections)")
            for before, _ in node.next_functions:
                if before is not None and before not in seen:
                    seen.add(before)
                    nodes.append(before)

    def _owner(self, leaf: Tensor) -> str:
        for i, m in enumerate(self.modules):
            for name, p in m.named_parameters():
                if p is leaf:
                    return f"{name} of module {i}"
        return f"a tensor of shape {list(leaf.shape)} that is no module's parameter"

    def _autocast(self, like: Tensor) -> AbstractContextManager[Any]:
        return nullcontext() if self.amp is None else torch.autocast(like.device.type, self.amp)

    # -------------------------------------------------------------- the rest

    def train(self, mode: bool = True) -> None:
        """Training or evaluation mode of the network."""
        for b in self.blocks:
            b.train(mode)

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """Logits [n, classes], in evaluation mode."""
        modes = [(m, m.training) for b in self.blocks for m in b.modules()]
        self.train(False)
        with self._autocast(images):
            for b in self.blocks:
                images = b(images)
        for m, mode in modes:
            m.training = mode
        return images

    def state_dict(self) -> dict[str, Any]:
        """All that a run goes on from: network, auxiliary networks, optimisers, loss scale."""
        return {"edges": self.edges, "blocks": [b.state_dict() for b in self.blocks], "aux": self.aux.state_dict(),
                "optimizers": {n: o.state_dict() for n, o in self.optimizer_of.items()},
                "scaler": None if self.scaler is None else self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from `state`; the trainer must be built (`example=`) with the same cuts and method."""
        if not self.modules:
            raise RuntimeError("nothing is built yet: give LocalTrainer `example=` images before a state is loaded")
        if state["edges"] != self.edges:
            raise ValueError(f"the state has its cuts at {state['edges'][1:-1]}, this trainer at {self.edges[1:-1]}")
        for b, s in zip(self.blocks, state["blocks"], strict=True):
            b.load_state_dict(s)
        self.aux.load_state_dict(state["aux"])
        for n, o in self.optimizer_of.items():
            o.load_state_dict(state["optimizers"][n])
        if self.scaler is not None and state["scaler"] is not None:
            self.scaler.load_state_dict(state["scaler"])
