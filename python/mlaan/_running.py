"""A run: `mlaan train` with what it tells."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NotRequired, TypedDict

from . import _errors
from ._call import call, log
from ._data import Given
from ._progress import Hearer, telling
from ._settings import flags

Progress = bool | Literal["text", "notebook"]


class Epoch(TypedDict):
    """What an epoch measured. Accuracies and errors are percent, `None` where they are not finite."""

    epoch: int
    lr: float
    train_loss: float | None
    train_accuracy: float | None
    train_error: float | None
    val_loss: NotRequired[float | None]
    val_accuracy: NotRequired[float | None]
    val_error: NotRequired[float | None]
    test_loss: NotRequired[float | None]
    test_accuracy: NotRequired[float | None]
    test_error: NotRequired[float | None]
    module_losses: list[float | None]
    module_errors: list[float | None]
    seconds: float
    images_per_second: float
    peak_memory_bytes: int | None
    peak_allocated_bytes: int


@dataclass(frozen=True)
class Execution:
    """How a run is computed and shown, which changes no result but by its device: a run that goes on keeps to it."""

    progress: Progress = True
    device: str = "cpu"
    threads: int | None = None
    stages: int | None = None

    def changed(self, **to: Any) -> Execution:
        """With what is named in place of it."""
        return replace(self, **{name: value for name, value in to.items() if value is not None})

    def flags(self) -> list[str]:
        """As arguments."""
        return flags(device=self.device, threads=self.threads, stages=self.stages)

    def words(self) -> list[str]:
        """As arguments of Python, without what is usual."""
        usual = Execution()
        return [f"{name}={value!r}" for name, value in vars(self).items() if value != getattr(usual, name)]


def run(args: Sequence[str], given: Given | None, execution: Execution, on_epoch: Callable[[Epoch], object] | None) -> str:
    """Runs `mlaan train` with these arguments; the run's folder."""
    if on_epoch is not None and not callable(on_epoch):
        raise TypeError(f"on_epoch: expected a function of an epoch, found {type(on_epoch).__name__}")
    tell = telling(execution.progress)
    hear = Hearer(tell, on_epoch)
    try:
        call([*args, *execution.flags(), *tell.arguments], hear, given)
    except KeyboardInterrupt as e:
        if hear.folder is not None and hear.ended:
            again = ", ".join([*([] if given is None else ["data=…"]), *execution.words()])
            same = "" if given is None else ", with the same images"
            said = f"stopped and saved: mlaan.Run({hear.folder!r}).resume({again}) goes on{same}"
            e.add_note(said)
            log.info("%s", said)
        raise
    finally:
        hear.close()
    if hear.folder is None:
        raise _errors.Error("a fault of mlaan itself: the run has no folder")
    return hear.folder
