"""Keys of recipes, as nested dictionaries, and arguments of the command."""
from __future__ import annotations

import json
import operator
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from . import _errors

Value: TypeAlias = "bool | int | float | str | os.PathLike[str] | None | Sequence[Value] | Mapping[str, Value]"
Recipe: TypeAlias = "str | os.PathLike[str] | None"


def utf8(path: str | os.PathLike[str], what: str) -> str:
    """A path that a recipe keeps, which is text."""
    text = os.fsdecode(path)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _errors.RecipeError(f"{what}: {text!r} is not UTF-8, which recipes are written in: rename it, or name a link to it") from None
    return text


def shown(value: Any) -> str:
    """A value in a message: short, whatever it is."""
    shape = getattr(value, "shape", None)
    if shape is not None and len(shape) > 0:
        return f"{type(value).__name__} {list(shape)}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


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
        return quoted(utf8(value, "a value of the recipe"))
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k if is_bare(k) else quoted(str(k))} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return "[" + ", ".join(toml(v) for v in value) + "]"
    raise TypeError(f"{type(value).__name__} is no value of a recipe: {value!r}")


def quoted(text: str) -> str:
    """A string of TOML."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def is_bare(key: object) -> bool:
    """Whether TOML takes it as a key as it is; all keys of recipes are such."""
    return isinstance(key, str) and re.fullmatch(r"[A-Za-z0-9_-]+", key) is not None


def assignments(keys: Mapping[str, Any], prefix: str = "") -> list[str]:
    """`key=value` for every key of nested tables: `{"train": {"epochs": 3}}` is `train.epochs=3`."""
    if not isinstance(keys, Mapping):
        raise TypeError(f"overrides: expected a dictionary of keys of the recipe, found {type(keys).__name__}")
    found: list[str] = []
    for key, value in keys.items():
        path = f"{prefix}{key}"
        if not (isinstance(key, str) and all(is_bare(part) for part in key.split("."))):
            raise _errors.RecipeError(f"unknown key {path!r}: keys of recipes are words, as `train.epochs`; mlaan.recipes() names recipes, and "
                                      "`mlaan recipes --schema` lists their keys")
        if isinstance(value, Mapping) and not all(is_bare(k) for k in value):
            # Whether the key takes such a table is said with its name.
            found.append(f"{path}={toml(value)}")
        elif isinstance(value, Mapping):
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
        if name == "out" and value is not None and not isinstance(value, (str, bytes, os.PathLike)):
            raise TypeError(f"out: expected a path, found {shown(value)}")
        name, value = "--" + name.replace("_", "-"), plain(value)
        if value is True:
            found.append(name)
        elif value is not None and value is not False:
            found.append(f"{name}={os.fsdecode(value) if isinstance(value, (bytes, os.PathLike)) else value}")
    return found


def count(value: Any, what: str) -> int:
    """A whole number from 1 on."""
    try:
        found = operator.index(plain(value))
    except TypeError:
        raise _errors.RecipeError(f"{what}: expected a whole number, found {value!r}") from None
    if found < 1:
        raise _errors.RecipeError(f"{what}: at least 1, found {found}")
    return found


def threads_of(threads: int | None) -> int | None:
    """Threads as the command takes them: no more than can run at once."""
    if threads is None:
        return None
    return min(count(threads, "threads"), len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def place(path: str | os.PathLike[str]) -> str:
    """A path as an argument without a flag."""
    text = os.fsdecode(path)
    return f".{os.sep}{text}" if text.startswith("-") else text


def named(recipe: Recipe) -> list[str]:
    """The recipe as an argument."""
    if recipe is not None and not isinstance(recipe, (str, os.PathLike)):
        raise TypeError(f"recipe: expected a name or a path, found {type(recipe).__name__}; images are data=(images, labels)")
    return [] if recipe is None else [utf8(recipe, "recipe")]
