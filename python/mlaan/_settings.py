"""Keys of recipes, as nested dictionaries, and arguments of the command."""
from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Value: TypeAlias = "bool | int | float | str | os.PathLike[str] | None | Sequence[Value] | Mapping[str, Value]"
Recipe: TypeAlias = "str | os.PathLike[str] | None"


def plain(value: Any) -> Any:
    """Numbers and arrays of NumPy and tensors as those of Python: `np.float64` is a `float` that writes itself in another way."""
    return value.tolist() if callable(getattr(value, "tolist", None)) else value


def toml(value: Any) -> str:
    """A value as TOML writes it; `None` removes a key."""
    value = plain(value)
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)                    # without the names of enumerations
    if isinstance(value, float):
        return float.__repr__(value)
    if isinstance(value, (str, os.PathLike)):
        return json.dumps(os.fspath(value), ensure_ascii=False)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(toml(v) for v in value) + "]"
    raise TypeError(f"{type(value).__name__} is no value of a recipe: {value!r}")


def assignments(keys: Mapping[str, Any], prefix: str = "") -> list[str]:
    """`key=value` for every key of nested tables: `{"train": {"epochs": 3}}` is `train.epochs=3`."""
    found: list[str] = []
    for key, value in keys.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found += assignments(value, f"{path}.") if value else [f"{path}=on"]
        else:
            found.append(f"{path}={toml(value)}")
    return found


def settings(overrides: Mapping[str, Any] | None, tables: Mapping[str, Any]) -> list[str]:
    """Arguments that set keys; `tables` are over `overrides`."""
    return [f"--set={a}" for keys in (overrides or {}, tables) for a in assignments(keys)]


def flags(**values: Any) -> list[str]:
    """Arguments of these names; those that are `None` or `False` are left out."""
    found: list[str] = []
    for name, value in values.items():
        name, value = "--" + name.replace("_", "-"), plain(value)
        if value is True:
            found.append(name)
        elif value is not None and value is not False:
            found.append(f"{name}={os.fspath(value) if isinstance(value, os.PathLike) else value}")
    return found


def named(recipe: Recipe) -> list[str]:
    """The recipe as an argument."""
    return [] if recipe is None else [os.fspath(recipe)]
