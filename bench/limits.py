"""Time: what is left of it, and how much of it each of several parts may take."""
import time
from dataclasses import dataclass


class Clock:
    """Seconds until something must have ended, and no later than another clock."""

    def __init__(self, seconds, outer=None, now=time.monotonic):
        self.now, self.begin = (outer.now if outer else now), (outer.now if outer else now)()
        self.end = self.begin + seconds
        self.end = min(self.end, outer.end) if outer else self.end

    def left(self):
        return self.end - self.now()

    def gone(self):
        return self.now() - self.begin


@dataclass(frozen=True)
class Part:
    """Seconds below which a part is of no use, and after which it is stopped; None is all that is left. For an optional one
    no other part keeps time."""
    name: str
    floor: float
    most: float = None
    optional: bool = False


def limit(part, later, left):
    """Seconds for a part when `later` ones are still to come: their floors are kept for them, but never at the cost of its own.

    None if less than its floor is left: then it is left out, and a shorter one may still fit.
    """
    if left < part.floor or left <= 0:
        return None
    kept = left - sum(p.floor for p in later if not p.optional)
    most = left if part.most is None else min(part.most, left)
    return max(min(most, kept), part.floor)
