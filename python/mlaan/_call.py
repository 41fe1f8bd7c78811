"""Commands of the compiled part: what they say goes to `logging`, under the name `mlaan`."""
from __future__ import annotations

import atexit
import json
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

from . import _core, _cuda
from ._data import Given
from ._words import spoken, words_of

log = logging.getLogger("mlaan")
atexit.register(_core.finish)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_core.after_fork)


def call(args: Sequence[str], hear: Callable[[str, str], None] | None = None, given: Given | None = None) -> str:
    """Runs a command, without the interpreter's lock; returns what it prints. `hear(kind, text)` is called in this thread."""
    def told(kind: str, text: str) -> None:
        if kind == "note":
            word, _, rest = text.partition(": ")
            levels = {"warning": logging.WARNING, "note": logging.INFO}
            log.log(levels.get(word, logging.INFO), "%s", spoken(rest if word in levels else text, command, given is not None))
        elif hear is not None:
            hear(kind, spoken(text, command, given is not None) if kind == "print" else text)
    command = "resume" if "--resume" in args else args[0]
    _cuda.find(args)
    images = {} if given is None else {"train": given.train, "validation": given.validation, "test": given.test}
    with words_of(command, given is not None):
        return _core.call(args, told, name="own" if given is None else given.name, **images)


def ask(args: Sequence[str], given: Given | None = None) -> Any:
    """What a command answers as JSON."""
    return json.loads(call([*args, "--json"], given=given))
