"""Comparisons, analyses, and pages about both."""
from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _errors
from ._call import ask, call
from ._data import Data
from ._run import Run
from ._settings import flags, place, plain, settings

if TYPE_CHECKING:
    import pandas


class _Table:
    """A dictionary per row."""

    columns: Sequence[str] = ()

    def __init__(self, about: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        #: All of it, as the command prints it as JSON.
        self.about: dict[str, Any] = about
        self.rows: list[dict[str, Any]] = rows

    def to_pandas(self) -> pandas.DataFrame:
        """A table of pandas; without whole recipes, which `rows` have."""
        from ._values import frame
        return frame([{k: v for k, v in row.items() if k != "recipe"} for row in self.rows])

    def _repr_html_(self) -> str:
        from ._values import table
        return table(self.rows, self.columns)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.rows)} rows)"


class Comparison(_Table):
    """Methods side by side: `rows` are cells of the table, with `test_error` (mean and standard deviation over seeds, percent), `seconds`,
    `memory` and `operations` beside backpropagation's, and the paper's result. `runs` are single runs."""

    columns = ("name", "test_error_mean", "test_error_std", "seconds_mean", "peak_bytes", "memory", "operations", "paper")

    def __init__(self, about: dict[str, Any], path: Path | None = None) -> None:
        #: The folder of runs and tables, where it is known.
        self.path: Path | None = path

        def row(cell: dict[str, Any]) -> dict[str, Any]:
            found = {k: cell.get(k) for k in ("name", "row", "columns", "recipe", "peak_bytes", "paper", "to_paper")}
            for name in ("test_error", "best_test_error", "test_loss", "seconds"):
                moments = cell.get(name) or {}
                found |= {f"{name}_mean": moments.get("mean"), f"{name}_std": moments.get("std")}
            ratios = cell.get("to_plain") or {}
            return found | {k: ratios.get(k) for k in ("memory", "operations")}
        super().__init__(about, [row(cell) for cell in about["cells"]])
        #: A dictionary per run: cell, seed, state, errors (percent), seconds, bytes.
        self.runs: list[dict[str, Any]] = [{"cell": cell["name"], **run} for cell in about["cells"] for run in cell["runs"]]


class Analysis(_Table):
    """What networks hold at each depth: a row per network and place, with the test error of a linear classifier there (`separability`) and
    of the auxiliary classifier that ends there (`independent` and `cascaded` level), percent, as far as they were asked for; CKA and pictures are in `about`."""

    columns = ("network", "place", "separability", "independent", "cascaded")

    def __init__(self, about: dict[str, Any], path: Path | None = None) -> None:
        #: The folder of numbers and pictures.
        self.path: Path | None = path
        super().__init__(about, [row for subject in about["subjects"] for row in _places(subject)])


def _places(subject: dict[str, Any]) -> list[dict[str, Any]]:
    missing = dict.fromkeys(("separability", "independent", "cascaded"))
    rows = [{"network": subject["name"], "place": place["name"], **missing} for place in subject["places"]]
    by_name = {row["place"]: row for row in rows}
    for found in (subject["separability"] or {}).get("places", []):
        by_name[found["name"]]["separability"] = found["test_error"]
    for head in (subject["heads"] or {}).get("modules", []):
        rows[head["place"]] |= {"independent": head["independent"], "cascaded": head["cascaded"]}
    return rows


def compare(*what: str | os.PathLike[str], data: str | os.PathLike[str] | Sequence[str] | None = None, out: str | os.PathLike[str] | None = None,
            seeds: int | str | Sequence[int] | None = None, epochs: int | None = None, limit: int | None = None, only: str | Sequence[str] = (),
            memory: str | int | None = None, time: str | None = None, show: bool = False, progress: bool = True, device: str = "cpu",
            threads: int | None = None, overrides: Mapping[str, Any] | None = None, **tables: Any) -> Comparison:
    """Runs methods side by side with several seeds: a suite (its name or a TOML file) and recipes beside it, or recipes alone. What is done
    already counts; Ctrl-C saves, and the same call goes on.

    data: a path, or "NAME=PATH" for each set of a suite with several; by default what the recipes name, of a suite the built-in images.
    out: folder of the runs and tables; by default `runs/` and the suite's name.
    seeds: how many, or which: `[0, 3]`, "3-5".
    only: rows, columns or cells.
    show: the tables of what is there, without running anything; without a suite or recipes those that the folder `out` keeps, as they were
        written last.
    """
    if not what and not (show and out is not None):
        raise _errors.RecipeError("compare() needs a suite or recipes, as compare(\"small\") or compare(\"bp-resnet20\", \"dgl-resnet20-5\")")
    if isinstance(data, Mapping):
        raise _errors.RecipeError("data: compare() takes a path, or \"NAME=PATH\" for each of a suite's sets; keys of the recipe go into overrides={\"data\": …}")
    sources = [] if data is None else [data] if isinstance(data, (str, os.PathLike)) else list(data)
    if not all(isinstance(source, (str, os.PathLike)) for source in sources):
        raise _errors.DataError("data: compare() takes paths, as data=\"cifar10/\"; images that a program gives are trained on by train()")
    seeds = plain(seeds)
    wanted = seeds if seeds is None or isinstance(seeds, (int, str)) else ",".join(map(str, seeds)) + ","
    only = [only] if isinstance(only, str) else only
    args = flags(out=out, seeds=wanted, epochs=epochs, limit=limit, memory=memory, time=time, show=show, device=device, threads=threads)
    args += [f"--data={os.fsdecode(source)}" for source in sources] + [f"--only={name}" for name in only]
    args = ["compare", *map(place, what), *args, *settings(overrides, tables)]
    folder = [None if out is None else Path(os.fsdecode(out))]

    def hear(kind: str, text: str) -> None:
        if kind == "begun":
            folder[0] = Path(text)
        elif kind == "print" and progress:
            import sys
            sys.stdout.write(text)
            sys.stdout.flush()
    if not progress:
        return Comparison(json.loads(call([*args, "--json"], hear)), folder[0])
    call(args, hear)
    # What was run is read from the folder.
    return Comparison(ask([*args, "--show"] if not show else args), folder[0])


def analyze(*runs: Run | str | os.PathLike[str], against: Run | str | os.PathLike[str] | None = None, separability: bool = False,
            cka: bool = False, features: bool = False, heads: bool = False, data: Data = None, limit: int | None = None,
            out: str | os.PathLike[str] | None = None, device: str = "cpu", threads: int | None = None) -> Analysis:
    """What trained networks hold at each depth: separability by linear classifiers, similarity (CKA) with the network `against`, pictures of
    features, auxiliary classifiers. Without a choice, all that apply. Numbers and pictures are written to `out` (by default `analysis/` in the
    first run's folder).

    data: training and test images, in any form that `train` takes; by default those of the first run. Linear classifiers learn on the
        training images; labels of data with names for the classes are taken by name.
    limit: at most this many training and this many test images.
    """
    if not runs:
        raise _errors.RecipeError("analyze() needs a run, as analyze(run) or analyze(\"runs/a\", \"runs/b\")")
    first = runs[0] if isinstance(runs[0], Run) else Run(runs[0])
    source, given = first._analysed(data)
    args = flags(against=None if against is None else _path(against), separability=separability, cka=cka, features=features, heads=heads,
                 data=source, limit=limit, out=out, device=device, threads=threads)
    return Analysis(ask(["analyze", *map(_path, runs), *args], given), Path(first.path, "analysis") if out is None else Path(os.fsdecode(out)))


def report(*paths: Run | Comparison | Analysis | str | os.PathLike[str], out: str | os.PathLike[str] = "report.html", title: str | None = None) -> Path:
    """Writes one HTML page, which needs no network, about runs, comparisons and analyses: these themselves, or folders with some. Returns
    `out`."""
    if not paths:
        raise _errors.RecipeError("report() needs runs or folders with some, as report(run) or report(\"runs/\")")
    call(["report", *map(_path, paths), *flags(out=out, title=title)])
    return Path(out)


def _path(run: Run | Comparison | Analysis | str | os.PathLike[str]) -> str:
    if isinstance(run, (str, os.PathLike)):
        return place(run)
    path = getattr(run, "path", None)
    if path is None:
        raise TypeError(f"expected a run, or the path of its folder, found {type(run).__name__}")
    return place(path)
