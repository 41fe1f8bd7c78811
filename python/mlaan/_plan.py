"""What a run will need, before it runs."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ._call import ask
from ._data import Data, names_of, numbered, split
from ._settings import Recipe, flags, named, settings

if TYPE_CHECKING:
    import pandas


class Plan:
    """What a run will need. `rows` are the modules, or with `memory=` the settings that fit, best first; all bytes are bytes.

    Bytes are those of the command: tensors, images, and the process that it is. An interpreter and its packages come on top."""

    def __init__(self, about: dict[str, Any]) -> None:
        #: All of it, as `mlaan plan --json` prints it.
        self.about: dict[str, Any] = about
        #: A dictionary per module, or per setting that fits.
        self.rows: list[dict[str, Any]] = about["fits"] if "fits" in about else about["modules"]

    @property
    def memory_bytes(self) -> int:
        """Bytes that the run will need: of the recipe, or of the first setting that fits."""
        return int(self.rows[0]["memory_bytes"] if "fits" in self.about else self.about["local"]["memory_bytes"])

    @property
    def backpropagation_bytes(self) -> int | None:
        """Bytes that the same network needs under backpropagation; not with `memory=`."""
        return None if "fits" in self.about else int(self.about["backpropagation"]["memory_bytes"])

    def to_pandas(self) -> pandas.DataFrame:
        """A row per module, or per setting that fits."""
        from ._values import frame
        return frame(self.rows)

    def _columns(self) -> Sequence[str]:
        if "fits" in self.about:
            return ["learning", "modules", "batch", "recompute", "precision", "memory_bytes", "relative_time", "settings"]
        return ["first", "blocks", "parameters", "auxiliary_parameters", "activation_bytes", "peak_bytes"]

    def _head(self) -> str:
        a = self.about
        if "fits" in a:
            return f"{len(self.rows)} settings fit into {a['memory_limit_bytes'] / 2**20:,.0f} MiB on {a['device']}"
        return (f"{a['recipe']}: {a['network']}, {len(self.rows)} modules, {a['batch']} images per step, {self.memory_bytes / 2**20:,.0f} MiB "
                f"({a['memory_ratio']:.2f} times backpropagation's), {a['compute_ratio']:.2f} times its operations")

    def __repr__(self) -> str:
        return f"Plan({self._head()})"

    def _repr_html_(self) -> str:
        from html import escape

        from ._values import table
        return f"<p>{escape(self._head())}</p>{table(self.rows, self._columns())}"


def plan(recipe: Recipe = None, *, data: Data = None, memory: str | int | None = None, host_memory: str | int | None = None,
         classes: Sequence[str] | int | None = None, device: str = "cpu", threads: int | None = None, stages: int | None = None,
         overrides: Mapping[str, Any] | None = None, **tables: Any) -> Plan:
    """What a run of `recipe` needs: bytes and operations, module by module, beside backpropagation. Nothing is computed.

    recipe: a name of `recipes()`, or a TOML file; without one, what suits `data`, or the demo's.
    data: images that count too (`train` says which forms they may have).
    memory: bytes, or text as "2GiB": the plan's rows are the settings that fit into it. `MemoryBudgetError` if none does.
    host_memory: likewise, what the host has beside a GPU of `memory`; else this machine's where it has a GPU.
    classes: number or names of the classes without `data`; names of the classes with arrays.
    device: "cpu", "cuda" or "cuda:N"; a plan for a GPU needs none.
    overrides, **tables: keys of the recipe: `train={"batch": 64}`, `seed=3`, `overrides={"data": {"size": 32}}`.
    """
    number, names = numbered(classes), None
    if number is None and classes is not None:
        names = names_of(classes)
        if data is None:
            number, names = len(names), None
    source, keys, given = split(data, names)
    args = flags(data=source, memory=memory, host_memory=host_memory, classes=number, device=device, threads=threads, stages=stages)
    return Plan(ask(["plan", *named(recipe), *args, *settings(keys, {}), *settings(overrides, tables)], given))
