"""What a caller gives, looked at before it is computed with: errors say what was given and what is taken."""
from __future__ import annotations

import difflib
import numbers
from collections.abc import Callable, Collection, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .blocks import Blocks
from .networks import blocks_of

Params = list[nn.Parameter]
_FACTORY = "optimizer= is a function that makes one of the parameters it is given, since every module has its own: " \
           "optimizer=lambda params: torch.optim.SGD(params, lr=0.1)"
_WHOLE = ("DistributedDataParallel", "FullyShardedDataParallel", "FSDPModule", "DataParallel")
_ELSEWHERE = {"lr": "rates are the optimizer's", "momentum": "it is the optimizer's", "weight_decay": "it is the optimizer's",
              "scheduler": "make one of each of trainer.optimizers, or give it to fit"}

_OPTIONS = ("cuts", "optimizer", "example", "criterion", "sources", "clip", "amp", "scaler", "compile", "shards", "check", "scheduler",
            "per_step", "on_epoch", "pixels")


def nearest(name: str, names: Collection[str]) -> str:
    """A hint at what was meant, or nothing."""
    lower = name.lower()
    found = [n for n in names if n.startswith(lower)][:2] or difflib.get_close_matches(lower, names, 1)
    return f" (did you mean {' or '.join(found)}?)" if found else ""


def network(model: Any) -> Blocks:
    """The blocks of what is to be trained."""
    if isinstance(model, Blocks):
        blocks = model
    elif isinstance(model, nn.ModuleList) or isinstance(model, Iterable) and not isinstance(model, (nn.Module, str, type)):
        listed = list(model)
        wrong = next((b for b in listed if not isinstance(b, nn.Module)), None)
        if wrong is not None:
            raise TypeError(f"blocks are nn.Modules, and one of these is a {type(wrong).__name__}")
        blocks = Blocks(listed)
    elif isinstance(model, nn.Module):
        _refuse_parallel(model.modules())
        blocks = blocks_of(model)
    else:
        raise TypeError(f"{model!r} is no network: give an nn.Module, or its blocks in order as a list of modules")
    if not blocks:
        raise ValueError("a network needs at least one block")
    _refuse_parallel(blocks.modules())
    return blocks


def _refuse_parallel(modules: Iterable[nn.Module]) -> None:
    for m in modules:
        if any(c.__name__ in _WHOLE for c in type(m).__mro__):
            raise TypeError(f"{type(m).__name__} reduces gradients in one backward pass of the whole network, which "
                            "local training does not have: give the network inside it (`.module`), on one device")


def options(optimizer: Any, criterion: Any, clip: Any, amp: Any, scaler: Any, shards: Any) -> None:
    """Raises where an option of LocalTrainer is not what it takes."""
    if isinstance(optimizer, Optimizer) or not callable(optimizer):
        raise TypeError(_FACTORY)
    if isinstance(criterion, type) or not callable(criterion):
        raise TypeError(f"criterion is a function of outputs and targets, as nn.CrossEntropyLoss(), not {criterion!r}")
    if amp is not None and not isinstance(amp, torch.dtype):
        raise TypeError(f"amp {amp!r}: give the type of autocast, as torch.bfloat16")
    if scaler is not None and not hasattr(scaler, "scale"):
        raise TypeError(f"scaler {scaler!r}: give a torch.amp.GradScaler")
    if isinstance(clip, bool) or not isinstance(clip, numbers.Real) or clip < 0:
        raise ValueError(f"clip {clip!r}: give the largest norm, or 0 for none")
    if isinstance(shards, bool) or not isinstance(shards, numbers.Integral) or shards < 1:
        raise ValueError(f"shards {shards!r}: a batch has at least one")


def unknown(name: str, names: Collection[str]) -> TypeError:
    """Of an option that neither the trainer nor a method has."""
    why = f" ({_ELSEWHERE[name]})" if name in _ELSEWHERE else nearest(name, [*names, *_OPTIONS])
    return TypeError(f"there is no option {name!r}{why}; of a method {', '.join(names)} can be changed")


def made(optimizer: Any, params: Params, name: str) -> Optimizer:
    """What the caller's function made of `params`."""
    if not all(hasattr(optimizer, name) for name in ("param_groups", "step", "zero_grad", "state_dict", "load_state_dict")):
        raise TypeError(f"optimizer= gave a {type(optimizer).__name__}, not a torch.optim.Optimizer. {_FACTORY}")
    given, taken = {id(p) for p in params}, {id(p) for g in optimizer.param_groups for p in g["params"]}
    if taken - given:
        raise ValueError(f"optimizer= made one of other parameters than those of {name}: use the list it is given, not "
                         "model.parameters()")
    if given - taken:
        raise ValueError(f"optimizer= left out {len(given - taken)} of the parameters of {name}: take all it is given, and "
                         "requires_grad_(False) what is not to learn")
    made_one: Optimizer = optimizer
    return made_one


def example(images: Any) -> None:
    """Raises unless these are images to build with."""
    if not isinstance(images, Tensor):
        raise TypeError(f"example= is a tensor of images [n, c, h, w], not a {type(images).__name__}")
    if images.ndim == 0 or len(images) == 0:
        raise ValueError(f"example= has shape {list(images.shape)}, and is at least one image [n, c, h, w]")


def batch(images: Tensor, targets: Any, shards: int) -> None:
    """Raises unless there is a target for every image. Targets of another kind are the criterion's."""
    if len(images) == 0:
        raise ValueError("a batch without images")
    if isinstance(targets, Tensor) and (targets.ndim == 0 or len(targets) != len(images)):
        raise ValueError(f"{len(images)} images and targets of shape {list(targets.shape)}: give one for every image")
    if not isinstance(targets, Tensor) and shards > 1:
        raise TypeError(f"shards={shards} cuts targets with the images, and a {type(targets).__name__} cannot be cut: give a tensor")


def pixels(given: Tensor | None, images: Tensor, first: bool) -> None:
    """Raises unless these are the images in [0, 1]. Their range is looked at in the first step: it waits for a GPU."""
    if given is None:
        raise ValueError("this method's decoders make the images: give `pixels`, the images in [0, 1]")
    if given.shape != images.shape or not given.is_floating_point():
        raise ValueError(f"pixels are {given.dtype} {list(given.shape)}: give floats of the images' shape {list(images.shape)}")
    if first:
        low, high = (float(v) for v in given.detach().float().aminmax())
        # Rounded on the way there and back.
        if low < -0.01 or high > 1.01:
            raise ValueError(f"pixels go from {low:.3g} to {high:.3g}, and not from 0 to 1: give the images as they were before "
                             "normalization, as images * std + mean")


def pair(loaded: Any) -> tuple[Tensor, Tensor]:
    """Images and targets of a loader's batch."""
    found = [] if isinstance(loaded, (dict, str, Tensor)) or not isinstance(loaded, Iterable) else list(loaded)
    if len(found) != 2:
        kind = f"{type(loaded).__name__} of {len(loaded)}" if hasattr(loaded, "__len__") else type(loaded).__name__
        raise TypeError(f"a batch is (images, targets), and the loader gave a {kind}: write the loop with LocalTrainer.step")
    return found[0], found[1]


def scheduler(make: Callable[[Optimizer], Any] | None, optimizer: Optimizer) -> Any:
    """A scheduler of an optimizer."""
    if not callable(make):
        raise TypeError("scheduler= is a function that makes one of an optimizer, since every module has its own: "
                        "scheduler=lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, epochs)")
    one = make(optimizer)
    if isinstance(one, torch.optim.lr_scheduler.ReduceLROnPlateau):
        raise TypeError("ReduceLROnPlateau wants a metric, which fit does not have: write the loop with LocalTrainer.step")
    return one
