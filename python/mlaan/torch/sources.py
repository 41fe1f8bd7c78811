"""Which later blocks a leap chain mirrors (METHOD.md, section 6)."""
from __future__ import annotations

from collections.abc import Sequence

from .blocks import Shape


def by_rule(last: int, shapes: Sequence[Shape], depth: int) -> list[int]:
    """Blocks that a chain behind block `last` mirrors: the first of every later stage, which bring the shape down (a stage begins
    where shapes change), then others spread evenly, the last always among them, `depth` in all; in the last stage up to 3."""
    final = max((i for i, s in enumerate(shapes[:-1]) if not s.fault), default=0)
    firsts = [i for i in range(last + 1, final + 1) if shapes[i].taken != shapes[i].given]
    start = firsts[-1] + 1 if firsts else last + 1
    rest = [i for i in range(start, final + 1) if shapes[i].taken == shapes[i].given and shapes[i].learns]
    count = min(max(depth - len(firsts) if firsts else min(depth, 3), 1), len(rest))
    chain = firsts + [rest[(k + 1) * len(rest) // count - 1] for k in range(count)]
    # In a network whose blocks are not all alike the chain ends where one does not fit.
    shape, fitting = shapes[last].given, list[int]()
    for i in chain:
        if shapes[i].alone or shapes[i].taken != shape:
            break
        fitting.append(i)
        shape = shapes[i].given
    return fitting
