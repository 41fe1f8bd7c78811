"""A run's folder, and its trained network."""
from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _core, _cuda, _errors
from ._call import ask, call
from ._data import GIVEN, Data, Given, Items, analysed, split, tested, without_labels
from ._pixels import batches
from ._running import Epoch, Execution, Progress, run
from ._settings import count, flags, place, threads_of
from ._tensors import views
from ._values import Evaluation, Metrics
from ._words import words_of

if TYPE_CHECKING:
    from torch import nn


def _is_run(folder: Path) -> bool:
    """Whether there is a run, what it measured, its recipe, or its checkpoints; or whether it is the folder of these."""
    return any((folder / name).exists() for name in ("metrics.jsonl", "recipe.toml", "checkpoints", "last.json", "best.json"))


def _runs_below(folder: Path) -> list[str]:
    """Runs in it, as `runs/` has them, or in folders of it, as comparisons do."""
    return sorted(str(p) for pattern in ("*", "*/*") for p in folder.glob(pattern) if p.is_dir() and _is_run(p) and p.name != "checkpoints")


class Run:
    """A run's folder: `path`. A checkpoint's manifest in it (`checkpoints/best.json`) is one as well, to be used but not gone on with."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        #: The folder.
        self.path: Path = Path(path)
        if not self.path.exists():
            raise _errors.Error(f"{self.path}: there is no such run")
        if self.path.is_file() and self.path.suffix != ".json":
            raise _errors.Error(f"{self.path}: this file is no run; give its folder, or a checkpoint's manifest in it (checkpoints/best.json)")
        if self.path.is_dir() and not _is_run(self.path):
            runs = _runs_below(self.path)
            there = f"runs in it are {', '.join(runs[:5])}{' and others' if len(runs) > 5 else ''}" if runs else "give the one that train() wrote into"
            raise _errors.Error(f"{self.path}: this folder is no run; {there}")
        # What this run was trained on, where a program gave it here.
        self._given: Given | None = None
        self._execution = Execution()

    def _with(self, given: Given | None, execution: Execution) -> Run:
        self._given, self._execution = given, execution
        return self

    def __reduce__(self) -> tuple[type[Run], tuple[Path]]:
        return Run, (self.path,)                      # images stay where they are

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def metrics(self) -> Metrics:
        """What was measured after every epoch so far, as columns; `Metrics` says their units."""
        return Metrics([e for e in self._events() if e["event"] == "epoch"])

    @property
    def summary(self) -> dict[str, Any] | None:
        """What the finished run achieved (`test_accuracy` and errors in percent, `seconds`, `peak_memory_bytes`, …); `None` before."""
        events = self._events()
        ended = events[-1] if events and events[-1]["event"] == "end" else None
        return None if ended is None else {k: v for k, v in ended.items() if k != "event"}

    def _events(self) -> list[dict[str, Any]]:
        with words_of("metrics"):
            found: list[dict[str, Any]] = json.loads(_core.metrics(self.path))
        return found

    def _repr_html_(self) -> str:
        from html import escape

        from ._progress import curve
        metrics = self.metrics()
        held = next((k for k in ("val_accuracy", "test_accuracy") if k in metrics), None)
        drawn = curve(metrics[held].tolist(), held.replace("_", " ") + ", %") if held else ""
        return f"<p>{escape(repr(self))}</p>{drawn}{metrics._repr_html_()}"

    def about(self, *, best: bool = False) -> dict[str, Any]:
        """What the checkpoint says: `classes`, `size` and `short_side` (pixels), `mean` and `std` of pixels in 0 to 1, `epoch`, `step`, `recipe`
        (TOML), …"""
        with words_of("about"):
            told, model = _core.checkpoint(self.path, best)
        found: dict[str, Any] = {"model": model, **json.loads(told)}
        return found

    @property
    def classes(self) -> list[str]:
        """Names of the classes, in the order of the outputs."""
        return list(self.about()["classes"])

    def evaluate(self, data: Data = None, *, split: str = "test", best: bool = False, batch: int | None = None, mistakes: int | None = None,
                 device: str = "cpu", threads: int | None = None) -> Evaluation:
        """Tests the network on a split of the run's images, or of `data` (a path, or what `train` takes; one split of arrays or items is
        tested as it is, and labels of data with names for the classes are taken by name). Arrays and items that this run was trained on are
        known to the `Run` that `train` returned, not to `Run(path)`.

        split: "test", "val" (or "validation") or "train"; of images that are given here it is their test split.
        best: the checkpoint of the best epoch instead of the last.
        mistakes: list this many, those with the highest loss first.
        """
        split = "val" if split == "validation" else split
        about = self.about(best=best)
        source, given = tested(data, about["classes"])
        asked = flags(split=split, best=best, batch=batch, mistakes=mistakes, device=device, threads=threads)
        if data is None and about["source"] == GIVEN and self._given is not None:
            return Evaluation(ask(["eval", place(self.path), *asked], self._given))
        if given is not None and split != "test":
            raise _errors.DataError(f"split={split!r}: images that are given are tested as they are; give those of that split")
        if source is None and about["source"] == GIVEN:
            raise _errors.DataError("the run was trained on images that a program gave, which lie in no file: give some, as "
                                    "evaluate((images, labels))")
        return Evaluation(ask(["eval", place(self.path), *asked, *flags(data=source)], given))

    def _analysed(self, data: Data) -> tuple[str | None, Given | None]:
        """Source and images for an analysis, by default those that this run was trained on."""
        about = self.about()
        if data is not None:
            return analysed(data, about["classes"])
        if about["source"] == GIVEN and self._given is None:
            raise _errors.DataError("the run was trained on images that a program gave, which lie in no file: give some, as "
                                    "analyze(run, data=((images, labels), (test_images, test_labels)))")
        return None, self._given if about["source"] == GIVEN else None

    def predict(self, images: Items | Iterable[Any], *, logits: bool = False, best: bool = False, batch: int | None = None,
                device: str = "cpu", threads: int | None = None) -> NDArray[np.float32]:
        """Probabilities of the classes, float32 `[n, classes]`, or with `logits=True` their logits.

        images: uint8 `[n, height, width, 3]`, or a sequence of images of any sizes (arrays, PIL's), or of pairs (image, label) as data sets
            have them, whose labels are left out. Their shorter side is scaled and the centre cut out, as in evaluation.
        batch: images at a time, by default 64; changes speed and memory, not the result.
        """
        most = 64 if batch is None else count(batch, "batch")
        _cuda.find([device])
        with words_of("predict"):
            network = _core.Predictor(self.path, best=best, device=device, threads=threads_of(threads))
            try:
                classes = len(network.classes)
                found = [np.empty((0, classes), dtype=np.float32)]
                for part in batches(without_labels(images), most):
                    found.append(np.empty((len(part), classes), dtype=np.float32))
                    network.classify(part, found[-1], batch=most, logits=logits)
            finally:
                # As long as it is there the process computes, and an exception's traceback keeps what is in this frame.
                del network
        return found[1] if len(found) == 2 else np.concatenate(found)

    def export(self, format: str, path: str | os.PathLike[str], *, best: bool = False) -> Path:
        """Writes the network for other programs: "onnx", or "safetensors", a state dict under torchvision's names. Returns `path`."""
        call(["export", place(self.path), *flags(format=format, out=path, best=best)])
        return Path(path)

    def state_dict(self, *, best: bool = False) -> dict[str, NDArray[np.float32]]:
        """The network's parameters and buffers by torchvision's names, float32: read-only views of the mapped checkpoint."""
        return self._network(best)[1]

    def _network(self, best: bool) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
        """What the checkpoint says, and its tensors. A run that saves in between takes the file away: there is another then."""
        about = self.about(best=best)
        try:
            return about, views(Path(about["model"]))
        except FileNotFoundError:
            about = self.about(best=best)
            return about, views(Path(about["model"]))

    def to_torch(self, *, best: bool = False) -> nn.Module:
        """The network as an `nn.Module` with its weights, in evaluation mode: torchvision's ResNet where it is one and torchvision is there,
        else the same under torchvision's names. It takes images `[n, 3, size, size]` of `about()["size"]`, pixels from 0 to 1 minus
        `about()["mean"]`, over `about()["std"]`, and gives logits `[n, classes]`, those of `predict`. Images of other sizes `predict` scales so that the
        shorter side is `about()["short_side"]`, and cuts out the centre, as torchvision's `Resize` and `CenterCrop`."""
        from ._torch import module
        about, tensors = self._network(best)
        found: nn.Module = module(tensors, int(about["step"]))
        return found

    def resume(self, *, epochs: int | None = None, data: Data = None, classes: Sequence[str] | None = None,
               on_epoch: Callable[[Epoch], object] | None = None, progress: Progress | None = None, time: str | None = None,
               device: str | None = None, threads: int | None = None, stages: int | None = None) -> Run:
        """Goes on where the run stopped, to the bit, up to `epochs` in all. A run on arrays or items needs the same `data` again, unless
        this is the `Run` that `train` returned; `classes` are by default those of the checkpoint. Labels, and the colours of some images,
        are compared with those that it was trained on.

        progress, device, threads, stages: where they are `None`, as in the call that returned this `Run`; of `Run(path)` as in `train`.
        """
        saved = self._saved()
        source, _, given = split(data, classes, None if saved is None else saved["classes"])
        if data is None and (saved is None or saved["source"] == GIVEN):
            given = self._given
        if source is None and given is None and saved is not None and saved["source"] == GIVEN:
            raise _errors.DataError("the run was trained on images that a program gave, which lie in no file: give the same again, as "
                                    "resume(data=(images, labels))")
        execution = self._execution.changed(progress=progress, device=device, threads=threads, stages=stages)
        args = flags(resume=True, out=self.path, epochs=epochs, data=source, time=time)
        return Run(run(["train", *args], given, execution, on_epoch))._with(given, execution)

    def _saved(self) -> dict[str, Any] | None:
        try:
            return self.about()
        except _errors.Error:
            return None                               # nothing was saved yet
