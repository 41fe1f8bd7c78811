"""
The compiled part of `mlaan`; not for use by itself.
"""

from _typeshed import SupportsGetItem
from os import PathLike
from typing import Any, Final, SupportsIndex, final

__all__ = ["__version__", "Images", "Predictor", "after_fork", "call", "checkpoint", "finish", "main", "metrics"]

__version__: Final[str]
"""
The version of the package.
"""

@final
class Images:
    """
    A split of images with labels.

    `pixels` is an object with the buffer protocol, uint8 `[n, height, width, 3]`, which is not copied, or a function that
    gives image number `i` as such an object of shape `[1, height, width, 3]`.
    """
    def __len__(self, /) -> int: ...
    def __new__(cls, /, pixels: Any, labels: SupportsGetItem[int, SupportsIndex], classes: SupportsGetItem[int, str]) -> Images: ...
    @property
    def address(self, /) -> int | None:
        """
        Where the bytes of an array lie; `None` for items.
        """

@final
class Predictor:
    """
    A trained network that classifies. Its threads are given back with it.
    """
    def __new__(cls, /, path: str | PathLike[str], *, best: bool = False, device: str = "cpu", threads: SupportsIndex | None = None) -> Predictor: ...
    @property
    def classes(self, /) -> list[str]:
        """
        Names of the classes.
        """
    def classify(self, /, images: Any, out: Any, *, batch: SupportsIndex, logits: bool = False) -> None:
        """
        Writes the probabilities of images, uint8 `[n, height, width, 3]`, or their logits, into `out`, float32 `[n, classes]`,
        `batch` at a time.
        """

def after_fork() -> None:
    """
    To be called in a process that was forked.
    """

def call(args: SupportsGetItem[int, str], on_message: Any, *, name: str = "own", train: Images | None = None, validation: Images | None = None, test: Images | None = None) -> str:
    """
    Runs a command with `args`, of which the first is its name, and returns what it prints.

    `on_message(kind, text)` is called in this thread with what it tells: `print`, `note`, `begun` (a folder), as JSON `step`,
    `evaluating` and `event`, and `ended` when all was done. `train`, `validation` and `test` are images that stand in for the path
    `(given)`. Ctrl-C, and what `on_message` raises, stop it: a run saves first, if it has begun.
    """

def checkpoint(path: str | PathLike[str], best: bool = False) -> tuple[str, str]:
    """
    What a checkpoint says, as JSON: its epoch, step, classes, size of images, mean and standard deviation, recipe and source of
    its images; and the file of its network.
    """

def finish() -> None:
    """
    To be called before the interpreter ends: stops calls that were left, and waits for those that save, and for those that
    are within an item of Python.
    """

def main(args: SupportsGetItem[int, str]) -> int:
    """
    The command line: does what `args` say, of which the first is the program's name; returns the status to end with.
    """

def metrics(path: str | PathLike[str]) -> str:
    """
    The events of a run's metrics file, as a JSON list.
    """
