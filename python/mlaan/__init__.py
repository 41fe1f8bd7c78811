"""MLAAN: deep image classifiers trained module by module.

`plan`, `train` and `Run` are the command `mlaan` for Python, over the same compiled library; PyTorch is not needed. `mlaan.torch` is
the method for any PyTorch network, in plain PyTorch, and needs nothing compiled.

    import mlaan

    print(mlaan.plan("mlaan-paper-resnet32-16", memory="2GiB"))
    run = mlaan.train("quickstart", data=(images, labels), train={"epochs": 3})
    probabilities = run.predict(images)             # float32 [n, classes]
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._core import __version__
    from ._errors import DataError, Error, MemoryBudgetError, RecipeError
    from ._plan import Plan, plan
    from ._recipes import recipes
    from ._run import Run
    from ._tables import Analysis, Comparison, analyze, compare, report
    from ._torch import load
    from ._running import Epoch
    from ._train import train
    from ._values import Evaluation, Metrics

__all__ = ["Analysis", "Comparison", "DataError", "Epoch", "Error", "Evaluation", "MemoryBudgetError", "Metrics", "Plan", "RecipeError",
           "Run", "__version__", "analyze", "compare", "load", "plan", "recipes", "report", "train"]

# Loaded when they are asked for: the command line does without NumPy, and `mlaan.torch` without the compiled part.
_PLACES = {
    "_core": ("__version__",),
    "_errors": ("DataError", "Error", "MemoryBudgetError", "RecipeError"),
    "_plan": ("Plan", "plan"),
    "_recipes": ("recipes",),
    "_run": ("Run",),
    "_tables": ("Analysis", "Comparison", "analyze", "compare", "report"),
    "_running": ("Epoch",),
    "_torch": ("load",),
    "_train": ("train",),
    "_values": ("Evaluation", "Metrics"),
}


def __getattr__(name: str) -> Any:
    place = next((place for place, names in _PLACES.items() if name in names), None)
    if place is None:
        raise AttributeError(f"module 'mlaan' has no attribute {name!r}")
    from importlib import import_module
    try:
        value = getattr(import_module(f".{place}", __name__), name)
    except ImportError as e:
        from importlib.util import find_spec
        if find_spec("mlaan._core") is not None:
            raise
        raise ImportError(f"mlaan.{name} needs the compiled part of mlaan, which is not in {__path__[0]}: `pip install .` in the source "
                          "tree builds it. mlaan.torch works without") from e
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    # What users need, and what modules have; not what this one imports.
    return sorted({*__all__, "torch", *(name for name in globals() if name.startswith("__"))})
