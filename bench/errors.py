"""What an error says: its first line. What follows is advice (CUDA's is always the same), what comes last its echo."""
import re

# A panic and an error of Rust programs, and what else begins a message.
BEGINNINGS = re.compile(r"^(error\b|Stopped: |thread '.*' .*panicked at |gpu\.sh: |[\w.]*(Error|Exception|Interrupt|Killed)\b)")
LENGTH = 300


def cause(error):
    """The error that came first: others may have come while it was handled."""
    seen = set()
    while id(error) not in seen:
        seen.add(id(error))
        error = error.__cause__ or error.__context__ or error
    return error


def of(error):
    """An exception's first line, and that of what it led to where that is another."""
    def line(e):
        text = next((l.strip() for l in str(e).splitlines() if l.strip()), "")
        return f"{type(e).__name__}: {text}"[:LENGTH]
    first, last = line(cause(error)), line(error)
    return first if first == last else f"{first} (then {last})"


def first_line(text):
    """Of what a process wrote: of Python's traceback the error, else the first line that reads like one, else the last."""
    lines = [l.rstrip() for l in text.splitlines() if l.strip()]
    begin = next((i for i, l in enumerate(lines) if l.startswith("Traceback (most recent call last)")), None)
    if begin is not None:
        # What is indented are the places, outermost first.
        after = next((l for l in lines[begin + 1:] if not l[0].isspace()), None)
        if after:
            return after[:LENGTH]
    for i, l in enumerate(lines):
        if BEGINNINGS.match(l):
            # Rust says where on one line and what on the next.
            follows = lines[i + 1] if "panicked at" in l and i + 1 < len(lines) else ""
            return f"{l} {follows}".strip()[:LENGTH]
    return lines[-1].strip()[:LENGTH] if lines else ""
