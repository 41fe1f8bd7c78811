"""Blocks that leap chains mirror, named by the caller."""
from __future__ import annotations

import difflib
from collections.abc import Sequence

from .blocks import Shape

# Blocks by number or name: one list of which every module takes those behind it, or a list of every module but the last.
Sources = Sequence[int | str] | Sequence[Sequence[int | str]]


def by_name(sources: Sources, j: int, modules: int, last: int, shapes: Sequence[Shape], names: Sequence[str]) -> list[int]:
    """The blocks that `sources` names for module `j` of `modules`, which ends with block `last`."""
    single = [s for s in sources if isinstance(s, (int, str))]
    lists = [s for s in sources if not isinstance(s, (int, str))]
    if single:
        found = [s for s in (_number(s, names) for s in single) if s > last]
        if not found:
            raise ValueError(f"sources: none is behind {shapes[last].name}, where module {j} ends; name a later block too")
    else:
        if len(lists) != modules - 1:
            raise ValueError(f"sources: {len(lists)} lists for {modules} modules; each but the last needs one")
        found = [_number(s, names) for s in lists[j]]
        if not found:
            raise ValueError(f"sources: module {j} mirrors nothing; name at least one block")
    shape = shapes[last].given
    for s in found:
        if shapes[s].alone:
            raise ValueError(f"sources: {shapes[s].name} cannot be mirrored: {shapes[s].alone}")
        if shapes[s].taken != shape:
            raise ValueError(f"sources: the chain of module {j} mirrors {shapes[s].name}, which takes {list(shapes[s].taken)}, "
                             f"but is given {list(shape)}; name the blocks that change the shape too")
        shape = shapes[s].given
    return found


def _number(source: int | str, names: Sequence[str]) -> int:
    if isinstance(source, str):
        if source not in names:
            near = difflib.get_close_matches(source, names, 2)
            raise ValueError(f"sources: no block is called {source!r}; " + (f"did you mean {' or '.join(near)}?" if near else
                             f"there are {', '.join(names)}"))
        source = names.index(source)
    if not 0 <= source < len(names) - 1:
        raise ValueError(f"sources: block {source}; there are blocks 0 to {len(names) - 2} before the classifier")
    return source
