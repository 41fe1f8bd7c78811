"""The recipes that are built in."""
from __future__ import annotations

from ._call import ask


def recipes() -> dict[str, str]:
    """The recipes that are built in: names, as `plan` and `train` take them, and what they are. A method and a network make one
    (`mlaan-paper-resnet32-16`); `+` joins others (`mlaan-released+resnet110-55+stl10`)."""
    return {r["name"]: r["description"] for r in ask(["recipes"])["recipes"]}
