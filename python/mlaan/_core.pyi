"""The compiled part of `mlaan`; not for use by itself. `python/tests/package/test_stubs.py` compares this file with it."""
import os
from collections.abc import Callable, Sequence
from typing import Any, final

__version__: str

class Error(Exception):
    """What mlaan refuses or cannot do; its text is that of the command."""

class RecipeError(Error):
    """A key of a recipe, or an argument, is unknown or impossible."""

class DataError(Error):
    """Images that are not there, or not as expected."""

class MemoryBudgetError(Error):
    """More memory is needed than there is: `planned` bytes, of which `available` are there."""

    planned: int
    available: int

@final
class Images:
    """A split of images with labels."""

    def __new__(cls, pixels: Any, labels: Sequence[int], classes: Sequence[str]) -> Images: ...
    def __len__(self) -> int: ...
    @property
    def address(self) -> int | None:
        """Where the bytes of an array lie; `None` for items."""

@final
class Predictor:
    """A trained network that classifies. Its threads are given back with it."""

    def __new__(cls, path: str | os.PathLike[str], *, best: bool = False, device: str = "cpu", threads: int | None = None) -> Predictor: ...
    def classify(self, images: Any, out: Any, *, batch: int, logits: bool = False) -> None:
        """Writes the probabilities of images, uint8 `[n, height, width, 3]`, or their logits, into `out`, float32 `[n, classes]`,
        `batch` at a time."""
    @property
    def classes(self) -> list[str]:
        """Names of the classes."""

def after_fork() -> None:
    """To be called in a process that was forked."""

def call(args: Sequence[str], on_message: Callable[[str, str], object], *, name: str = "own", train: Images | None = None,
         validation: Images | None = None, test: Images | None = None) -> str:
    """Runs a command with `args`, of which the first is its name, and returns what it prints."""

def finish() -> None:
    """To be called before the interpreter ends: stops and waits for calls that were left while they saved."""

def checkpoint(path: str | os.PathLike[str], best: bool = False) -> str:
    """What a checkpoint says, as JSON."""

def main(args: Sequence[str]) -> int:
    """The command line: does what `args` say, of which the first is the program's name; returns the status to end with."""

def metrics(path: str | os.PathLike[str]) -> str:
    """The events of a run's metrics file, as a JSON list."""
