"""How a run is told: as the command's text, or in a notebook as a table and a curve that follow it."""
from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, Protocol

from . import _errors

Step = Mapping[str, Any]
log = logging.getLogger("mlaan")


class Telling(Protocol):
    """Who is told of a run."""

    #: What the command is to print.
    arguments: tuple[str, ...]

    def print(self, text: str) -> None: ...
    def step(self, step: Step) -> None: ...
    def event(self, event: Mapping[str, Any]) -> None: ...
    def close(self) -> None: ...


class Silent:
    """Nobody."""

    arguments: tuple[str, ...] = ("--quiet",)

    def print(self, text: str) -> None:
        """Nothing is printed."""

    def step(self, step: Step) -> None:
        """Nothing is shown."""

    def event(self, event: Mapping[str, Any]) -> None:
        """Nothing is shown."""

    def close(self) -> None:
        """Nothing is left to be done."""


class Text(Silent):
    """The command's own lines, on `sys.stdout`."""

    arguments: tuple[str, ...] = ("--plain",)

    def print(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


class Notebook(Silent):
    """A table of epochs, and a curve of the held-out accuracy, that follow the run."""

    def __init__(self, display: Callable[[Any], Any]) -> None:
        self._rows: list[Mapping[str, Any]] = []
        self._start: Mapping[str, Any] = {}
        self._step: Step = {}
        self._said = ""
        self._handle = display(self)
        if self._handle is None:
            raise _errors.RecipeError('progress="notebook": no notebook shows it here; progress="text" prints lines')

    def step(self, step: Step) -> None:
        self._step = step
        self._handle.update(self)

    def event(self, event: Mapping[str, Any]) -> None:
        kind = event["event"]
        if kind == "epoch":
            self._rows.append(event)
            self._step = {}
        elif kind == "start":
            self._start = event
        elif kind == "interrupted":
            self._said = f"Stopped and saved after {event['epoch']} whole epochs"
        elif kind == "end":
            accuracy, seconds = number(event.get("test_accuracy"), ".2f", " %"), number(event.get("seconds"), ".0f", " s")
            self._said = f"Test accuracy {accuracy} after {event['epochs']} epochs, in {seconds}"
        self._handle.update(self)

    def close(self) -> None:
        self._step = {}
        self._handle.update(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": self._text(), "text/html": self._html()}

    def _held(self) -> str:
        return "val" if any("val_accuracy" in r for r in self._rows) else "test"

    def _text(self) -> str:
        held = self._held()
        lines = [f"epoch {r['epoch']}: train loss {number(r.get('train_loss'), '.4f')}, "
                 f"{held} accuracy {number(r.get(f'{held}_accuracy'), '.2f', ' %')}" for r in self._rows]
        return "\n".join([*lines, self._said] if self._said else lines) or "training"

    def _html(self) -> str:
        from ._values import table
        held, s = self._held(), self._step
        about = f"<p>{escape(self._start['description'])}: {self._start['train_images']:,} images</p>" if self._start else ""
        bar = ""
        if s:
            part = s["step"] / max(s["steps"], 1)
            bar = (f'<p><progress value="{part:.3f}"></progress> epoch {s["epoch"]}, step {s["step"]} of {s["steps"]}: '
                   f'loss {number(s["loss"], ".3f")}, accuracy {number(s["accuracy"], ".1f", " %")}, {number(s["images_per_second"], ".0f")} images/s, '
                   f'{number(s["peak_bytes"], ".0f", " MiB", 2**20)}</p>')
        columns = ["epoch", "train_loss", "train_accuracy", f"{held}_loss", f"{held}_accuracy", "seconds"]
        rows = table(self._rows[-10:], columns) if self._rows else ""
        return about + curve([r.get(f"{held}_accuracy") for r in self._rows], f"{held} accuracy, %") + rows + bar + f"<p>{escape(self._said)}</p>"


def number(value: float | None, form: str, unit: str = "", over: float = 1) -> str:
    """A number as text; a dash where it was not measured, or is not finite, which JSON has no word for."""
    return "–" if value is None else f"{value / over:{form}}{unit}"


def curve(values: Sequence[float | None], label: str, width: int = 420, height: int = 140) -> str:
    """A curve over epochs, as SVG; nothing of fewer than two."""
    known = [(i, v) for i, v in enumerate(values) if v is not None and v == v]
    if len(known) < 2:
        return ""
    low, high = min(v for _, v in known), max(v for _, v in known)
    spread = high - low or 1.0

    def at(i: int, v: float) -> str:
        return f"{40 + (width - 50) * i / (len(values) - 1):.1f},{height - 20 - (height - 34) * (v - low) / spread:.1f}"
    points = " ".join(at(i, v) for i, v in known)
    words = [(4, 18, f"{high:.1f}"), (4, height - 18, f"{low:.1f}"), (40, height - 4, "1"), (width - 24, height - 4, str(len(values))),
             (48, 12, label)]
    texts = "".join(f'<text x="{x}" y="{y}" font-size="10" fill="currentColor">{escape(t)}</text>' for x, y, t in words)
    return (f'<svg width="{width}" height="{height}" role="img" aria-label="{escape(label)} over epochs">'
            f'<polyline points="{points}" fill="none" stroke="#4078c0" stroke-width="2"/>{texts}</svg>')


def telling(progress: bool | str) -> Telling:
    """`True`: as a notebook shows it, where this is one, else text; `False`: silent; or "text" or "notebook"."""
    if progress is False:
        return Silent()
    if progress not in (True, "text", "notebook"):
        raise _errors.RecipeError(f'progress={progress!r}: possible are True, False, "text" and "notebook"')
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if progress == "notebook" or (progress is True and type(shell).__name__ == "ZMQInteractiveShell"):
        try:
            from IPython.display import display
        except ImportError as e:
            raise ImportError('progress="notebook" needs IPython, which notebooks have: pip install ipython') from e
        show: Callable[..., Any] = display
        return Notebook(lambda shown: show(shown, display_id=True))
    return Text()


class Shown:
    """Tells of a run as long as that can be done: what cannot be shown is logged once, and does not stop what computes."""

    def __init__(self, tell: Telling) -> None:
        self._tell: Telling = tell
        self._fails = False

    def show(self, what: Callable[[Telling], None]) -> None:
        """Does `what`."""
        if self._fails:
            return
        try:
            what(self._tell)
        except Exception as e:
            self._fails = True
            log.warning("the run goes on, but its progress cannot be shown any more: %s: %s", type(e).__name__, e, exc_info=e)


class Hearer:
    """What the compiled part calls with its messages."""

    def __init__(self, tell: Telling, on_epoch: Callable[[Any], object] | None) -> None:
        self._shown, self._on_epoch = Shown(tell), on_epoch
        #: The run's folder, once it is known.
        self.folder: str | None = None
        #: Whether the command did all that it was to do, saving among it.
        self.ended = False

    def __call__(self, kind: str, text: str) -> None:
        if kind == "print":
            self._shown.show(lambda tell: tell.print(text))
        elif kind == "begun":
            self.folder = text
        elif kind == "ended":
            self.ended = True
        elif kind == "step":
            self._shown.show(lambda tell: tell.step(json.loads(text)))
        elif kind == "event":
            event = json.loads(text)
            self._shown.show(lambda tell: tell.event(event))
            if self._on_epoch is not None and event["event"] == "epoch":
                # What has raised is not called again, for epochs that end before the run stops.
                called, self._on_epoch = self._on_epoch, None
                called({k: v for k, v in event.items() if k != "event"})
                self._on_epoch = called

    def close(self) -> None:
        """Takes back what is shown only while it runs."""
        self._shown.show(lambda tell: tell.close())
