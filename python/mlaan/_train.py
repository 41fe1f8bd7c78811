"""Training."""
from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ._data import Data, split
from ._run import Run
from ._running import Epoch, Execution, Progress, run
from ._settings import Recipe, flags, named, settings


def train(recipe: Recipe = None, *, data: Data = None, classes: Sequence[str] | None = None, out: str | os.PathLike[str] | None = None,
          on_epoch: Callable[[Epoch], object] | None = None, progress: Progress = True, memory: str | int | None = None,
          time: str | None = None, device: str = "cpu", threads: int | None = None, stages: int | None = None,
          init: Run | str | os.PathLike[str] | None = None, tensorboard: bool | str | os.PathLike[str] = False,
          overrides: Mapping[str, Any] | None = None, **tables: Any) -> Run:
    """Trains, and returns the finished run, or what of it was done in `time`.

    recipe: a name of `recipes()`, or a TOML file; without one, what suits `data`, or the demo's.
    data: where images come from. A path; `(images, labels)`, uint8 `[n, height, width, 3]` that is not copied and whole numbers `[n]`; a
        sequence of `(image, label)`, as `torch.utils.data.Dataset`; a `Dataset` of Hugging Face. Of splits a mapping with "train",
        "test" and perhaps "validation", or a tuple `(train, test)`. Without a test split a fifth of every class is held out;
        `overrides={"data": {"test": 0.1}}` sets another fraction.
        A mapping without "train" is the recipe's table `data`.
    classes: names of the classes of arrays and sequences, by label. Where the data have names of their own, labels are taken by name.
    out: folder of the run; by default one in `runs/` that is free.
    on_epoch: called with an `Epoch` after each, in this thread, beside the run; what it raises stops the run, which is saved.
    progress: `True` shows a table and a curve in notebooks and text elsewhere, `False` nothing.
    memory: bytes that may be used, or text as "2GiB": where the recipe needs more, settings are chosen that fit; `MemoryBudgetError` if none.
    time: begins no epoch that is not expected to end in this time, as "8h".
    init: weights to start from: a run, or the path of a state dict that `torch.save` or safetensors wrote.
    overrides, **tables: keys of the recipe: `train={"epochs": 3}`, `seed=3`; unknown ones raise `RecipeError` with the nearest spelling. Tables are
        over `overrides`.

    Ctrl-C, or interrupting the kernel, stops after the step, saves, and raises `KeyboardInterrupt`; `Run(out).resume()` goes on from there,
    to the bit (on images that a program gave with the same `data`). Where saving fails, that is the exception's `__cause__`.
    """
    source, keys, given = split(data, classes)
    if isinstance(init, Run):
        init = init.path
    elif init is not None and not isinstance(init, (str, os.PathLike)):
        raise TypeError(f"init: expected a run or a path, found {type(init).__name__}; torch.save(module.state_dict(), \"init.pth\") writes weights")
    execution = Execution(progress, device, threads, stages)
    args = flags(data=source, out=out, memory=memory, time=time, init=init, tensorboard=tensorboard if tensorboard else None)
    args = ["train", *named(recipe), *args, *settings(keys, {}), *settings(overrides, tables)]
    return Run(run(args, given, execution, on_epoch))._with(given, execution)
