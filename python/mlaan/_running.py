"""A run: `mlaan train` with what it tells."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NotRequired, TypedDict

from . import _errors
from ._call import call, log
from ._data import Given
from ._progress import Hearer, telling

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


def run(args: Sequence[str], given: Given | None, progress: bool | str, on_epoch: Callable[[Epoch], object] | None) -> str:
    """Runs `mlaan train` with these arguments; the run's folder."""
    if on_epoch is not None and not callable(on_epoch):
        raise TypeError(f"on_epoch: expected a function of an epoch, found {type(on_epoch).__name__}")
    tell = telling(progress)
    hear = Hearer(tell, on_epoch)
    try:
        call([*args, *tell.arguments], hear, given)
    except KeyboardInterrupt as e:
        if hear.folder is not None and hear.ended:
            again = "" if given is None else "data=…"
            said = f"stopped and saved: mlaan.Run({hear.folder!r}).resume({again}) goes on{', with the same images' if again else ''}"
            e.add_note(said)
            log.info("%s", said)
        raise
    finally:
        hear.close()
    if hear.folder is None:
        raise _errors.Error("a fault of mlaan itself: the run has no folder")
    return hear.folder
