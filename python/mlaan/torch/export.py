"""To `mlaan train`: weights, a recipe, and how much faster it would be."""
from __future__ import annotations

import copy
import json
import shutil
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .networks import blocks_of
from .resnet import Spec, State, by_names, by_order, difference, spec_of
from .trainer import LocalTrainer


@dataclass
class Export:
    """What `to_mlaan` wrote, and what it measured; `print` it."""

    weights: Path
    recipe: Path
    network: str
    remarks: list[str]                                # what the recipe does not say
    batch: int
    seconds_here: float | None = None                 # a step of this batch, here
    seconds_mlaan: float | None = None                # and in `mlaan`
    bytes_mlaan: int | None = None                    # its memory

    @property
    def faster(self) -> float | None:
        """How many times faster `mlaan` is."""
        return self.seconds_here / self.seconds_mlaan if self.seconds_here and self.seconds_mlaan else None

    def __str__(self) -> str:
        lines = [f"{self.network}: {self.weights} and {self.recipe}"]
        if self.faster is not None and self.bytes_mlaan is not None:
            lines.append(f"A step of {self.batch} images takes {self.seconds_here:.3f} s here and {self.seconds_mlaan:.3f} s in "
                         f"mlaan, {self.faster:.2f} times as fast, in {self.bytes_mlaan / 2**20:.0f} MiB.")
        return "\n".join([*lines, *self.remarks, f"Train: mlaan train {self.recipe} --data DIR",
                          f"Use as it is: mlaan import {self.weights} --out runs/{self.network}"])


def to_mlaan(network: nn.Module | LocalTrainer, folder: str | Path, *, size: int | None = None,
             classes: Sequence[str] | None = None, mean: Sequence[float] | None = None, std: Sequence[float] | None = None,
             batch: int = 64, compare: bool = True, command: str | None = None) -> Export:
    """Writes `weights.safetensors` and `recipe.toml` of a ResNet that `mlaan train` has: torchvision's and timm's of 18, 34, 50, 101
    and 152 layers, and those for CIFAR. Its logits are compared first. Of a `LocalTrainer` the recipe has the method, too.

    `classes` names the outputs; `mean` and `std` are what images were normalised with; `size` is their side. `compare` measures a
    step of `batch` images here and with `mlaan bench` (`command`: where it is, if not on the path)."""
    trainer = network if isinstance(network, LocalTrainer) else None
    blocks = network.blocks if isinstance(network, LocalTrainer) else blocks_of(network)
    state, spec, size = _recognised(blocks, size)
    if classes is not None and len(classes) != spec.classes:
        raise ValueError(f"{len(classes)} classes are named, and the network has {spec.classes}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    said = Export(folder / "weights.safetensors", folder / "recipe.toml", f"resnet{spec.depth}", [], batch)
    _write_weights(said.weights, state, size, classes, mean, std)
    said.recipe.write_text(_recipe(said, spec, trainer, size, mean, std))
    if any(isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0 or type(m).__name__ == "DropPath" for m in blocks.modules()):
        said.remarks.append("Dropout is not taken over: mlaan has none.")
    if compare:
        _compare(said, network, size, command)
    return said


def _recognised(blocks: Any, size: int | None) -> tuple[State, Spec, int]:
    """State under torchvision's names, network, side of images."""
    faults, found = [], [by_order] + ([lambda b: by_names(b.model)] if blocks.model is not None else [])
    for names in reversed(found):
        try:
            state = names(blocks)
            spec = spec_of(state)
            side = size or (224 if spec.family == "imagenet" else 32)
            apart = difference(blocks, state, spec, side)
        except (ValueError, RuntimeError, StopIteration, IndexError) as e:
            faults.append(str(e).splitlines()[0] if str(e) else type(e).__name__)
            continue
        if apart <= 1e-3:
            return {k: t for k, t in state.items()}, spec, side
        faults.append(f"it has the weights of a resnet{spec.depth}, but its logits are {apart:.1%} apart: another order of layers, "
                      "stride, activation or shortcut")
    raise ValueError(f"mlaan train has no such network: {faults[-1]}")


def _write_weights(path: Path, state: State, size: int, classes: Sequence[str] | None, mean: Sequence[float] | None,
                   std: Sequence[float] | None) -> None:
    try:
        from safetensors.torch import save_file
    except ImportError as e:
        raise ImportError("weights are written with safetensors: pip install safetensors") from e
    from importlib.metadata import PackageNotFoundError, version
    try:
        producer = version("mlaan")
    except PackageNotFoundError:
        producer = "of a source tree"
    about = {"producer": f"mlaan {producer}", "size": json.dumps(size)}
    about |= {k: json.dumps(list(v)) for k, v in (("classes", classes), ("mean", mean), ("std", std)) if v is not None}
    # Copies, since state dicts may share storages.
    save_file({k: t.detach().float().cpu().contiguous().clone() for k, t in state.items()}, path, metadata=about)


def _recipe(said: Export, spec: Spec, trainer: LocalTrainer | None, size: int, mean: Sequence[float] | None,
            std: Sequence[float] | None) -> str:
    data = "imagenet" if spec.family == "imagenet" else "cifar10"
    local, train = _local(trainer, said), _train(trainer, said)
    lines = ["# Written by mlaan.torch: a network of PyTorch, its weights beside this file.",
             f'description = "resnet{spec.depth} from PyTorch"',
             f'extends = ["{"dgl" if local else "bp"}", "{data}"]', "", "[model]", f'backbone = "resnet{spec.depth}"',
             f'family = "{spec.family}"', f"width = {spec.width}", f"init = {json.dumps(str(said.weights.resolve()))}",
             *local, "", "[train]", f"batch = {said.batch}", *train, "", "[data]", f"size = {size}"]
    if mean is not None and std is not None:
        lines.append(f"normalise = {{ mean = {[float(v) for v in mean]}, std = {[float(v) for v in std]} }}")
    return "\n".join(lines) + "\n"


def _local(trainer: LocalTrainer | None, said: Export) -> list[str]:
    """[local] of a trainer's method; nothing of backpropagation."""
    if trainer is None or len(trainer.modules) < 2:
        if trainer is not None and not trainer.modules:
            said.remarks.append("The trainer is not built yet (`example=`), so the recipe is of backpropagation.")
        return []
    m = trainer.method
    # The engine's blocks are counted without the stem.
    lines = ["", "[local]", f"modules = {len(trainer.modules)}", f"cuts = {[e - 1 for e in trainer.edges[1:-1]]}",
             f'head = "{m.head}"', f"hidden = {m.hidden}", f'loss = "{m.loss}"', f"reconstruct = {list(m.reconstruct)}",
             f"task = {list(m.task)}"]
    if m.span > 1:
        lines += ["", "[local.cascade]", f"span = {min(m.span, len(trainer.modules))}", f"independent = {m.weights[0]}",
                  f"cascaded = {m.weights[1]}"]
    if m.leap != "off":
        lines += ["", "[local.leap]", f'tie = "{m.leap}"', f'on = "{m.leap_on}"', f"depth = {m.depth}", f"ema = {m.ema}"]
        if trainer.sources is not None:
            lines.append(f"sources = {[[s - 1 for s in chain] for chain in trainer.chains]}")
    return lines


def _train(trainer: LocalTrainer | None, said: Export) -> list[str]:
    """[train] of a trainer's optimiser, where it is one that mlaan has."""
    if trainer is None or not trainer.modules:
        return []
    optimizer = trainer.optimizers[0]
    rates, lines = optimizer.param_groups[0], [f"shards = {trainer.shards}"] if trainer.shards > 1 else []
    if trainer.clip > 0:
        lines.append(f"clip_grad_norm = {trainer.clip}")
    if type(optimizer) is torch.optim.SGD:
        lines += [f"lr = {float(rates['lr'])}", f"momentum = {float(rates['momentum'])}", f"nesterov = {str(rates['nesterov']).lower()}"]
    elif type(optimizer) is torch.optim.AdamW:
        lines += ['optimizer = "adamw"', f"lr = {float(rates['lr'])}", f"betas = {[float(b) for b in rates['betas']]}"]
    else:
        said.remarks.append(f"mlaan has SGD, AdamW and LARS, not {type(optimizer).__name__}: the recipe has the data set's SGD.")
        return lines
    return [*lines, f"weight_decay = {float(rates['weight_decay'])}"]


def _compare(said: Export, network: nn.Module | LocalTrainer, size: int, command: str | None) -> None:
    """Measures steps; where that is not possible a remark says how to."""
    program = command or shutil.which("mlaan")
    threads = torch.get_num_threads()
    arguments = ["bench", str(said.recipe), "--threads", str(threads), "--json"]
    if program is None:
        said.remarks.append(f"mlaan is not on the path, so its speed is not known: mlaan {' '.join(arguments)}")
        return
    like = next(p for b in (network.blocks if isinstance(network, LocalTrainer) else [network]) for p in b.parameters())
    if like.is_cuda:
        arguments += ["--device", str(like.device)]
    done = subprocess.run([program, *arguments, "--rounds", "3", "--steps", "1"], capture_output=True, text=True)
    if done.returncode != 0:
        said.remarks.append(f"mlaan bench fails: {done.stderr.strip()}")
        return
    found = json.loads(done.stdout)
    said.seconds_mlaan, said.bytes_mlaan = float(found["seconds"]), int(found["used_bytes"])
    said.seconds_here = _seconds(network, said.batch, size, like)


def _seconds(network: nn.Module | LocalTrainer, batch: int, size: int, like: nn.Parameter) -> float:
    """The median of three steps of a copy, after one."""
    options: dict[str, Any] = {"method": "bp", "optimizer": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9)}
    model: Any = network
    if isinstance(network, LocalTrainer):
        t, model = network, network.blocks.model if network.blocks.model is not None else list(network.blocks)
        options = {"method": t.method, "optimizer": t.make, "amp": t.amp, "shards": t.shards, "sources": t.sources, "clip": t.clip,
                   "cuts": t.edges[1:-1] if t.modules else t.cuts}
    with torch.random.fork_rng([like.device] if like.is_cuda else []):
        images, targets = torch.randn(batch, 3, size, size).to(like), torch.zeros(batch, dtype=torch.long, device=like.device)
        trainer, times = LocalTrainer(copy.deepcopy(model), **options), []
        pixels = images.sigmoid()
        for _ in range(4):
            start = time.perf_counter()
            trainer.step(images, targets, pixels)
            if like.is_cuda:
                torch.cuda.synchronize(like.device)
            times.append(time.perf_counter() - start)
    return statistics.median(times[1:])
