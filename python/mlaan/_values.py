"""Tables of numbers, for programs, pandas and notebooks."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas


def frame(columns: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> pandas.DataFrame:
    """A table of pandas."""
    try:
        import pandas
    except ImportError as e:
        raise ImportError("to_pandas() needs pandas: pip install pandas") from e
    return pandas.DataFrame(columns if isinstance(columns, Mapping) else list(columns))


def written(value: Any) -> str:
    """A cell for people."""
    if value is None or isinstance(value, float) and value != value:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, (list, tuple)):
        return ", ".join(written(v) for v in value)
    return str(value)


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """HTML of some columns."""
    head = "".join(f"<th>{escape(c.replace('_', ' '))}</th>" for c in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(written(r.get(c)))}</td>" for c in columns) + "</tr>" for r in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


class Metrics(Mapping[str, NDArray[Any]]):
    """What a run measured after every epoch: columns by name, arrays `[epochs]`, or `[epochs, modules]` for `module_losses` and
    `module_errors`. Accuracies and errors are percent, `seconds` seconds, memory bytes; what was not measured is NaN."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        names = dict.fromkeys(k for row in rows for k in row if k not in ("event", "tested"))
        self._columns = {name: _column([row.get(name) for row in rows]) for name in names}
        self._rows = [{k: v for k, v in row.items() if k != "event"} for row in rows]

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def to_pandas(self) -> pandas.DataFrame:
        """A row per epoch; columns of modules hold lists."""
        return frame({k: c if c.ndim == 1 else c.tolist() for k, c in self._columns.items()})

    def __repr__(self) -> str:
        return f"Metrics({len(self._rows)} epochs: {', '.join(self._columns)})"

    def _repr_html_(self) -> str:
        held = [c for c in ("val_accuracy", "val_loss", "test_accuracy", "test_loss") if c in self._columns]
        return table(self._rows, ["epoch", "lr", "train_loss", "train_accuracy", *held, "seconds"])


def _column(values: list[Any]) -> NDArray[Any]:
    if all(isinstance(v, int) for v in values):
        return np.array(values, dtype=np.int64)
    if any(isinstance(v, list) for v in values):
        width = max(len(v) for v in values if isinstance(v, list))
        missing = [float("nan")] * width
        return np.array([[float("nan") if x is None else x for x in (v or missing)] for v in values], dtype=np.float64)
    return np.array([float("nan") if v is None else v for v in values], dtype=np.float64)


class Evaluation:
    """What a network is worth over labelled images. All shares are percent."""

    #: Images.
    images: int
    #: Images whose class has the largest logit, percent.
    accuracy: float
    #: The rest, percent.
    error: float
    #: Mean cross-entropy.
    loss: float
    #: Images whose class is among the five largest logits, percent; only with more than five classes.
    top5_accuracy: float | None
    #: Expected calibration error over 15 bins, percent.
    calibration_error: float | None
    #: Names of the classes.
    classes: list[str]
    #: `[classes, classes]`: how many images of a class (row) were taken for a class (column).
    confusion: NDArray[np.int64]
    #: Precision, recall and F1 of every class.
    per_class: list[dict[str, Any]]
    #: The mistakes with the highest loss, as many as were asked for.
    mistakes: list[dict[str, Any]]
    #: All of it, as `mlaan eval --json` prints it.
    about: dict[str, Any]

    def __init__(self, about: dict[str, Any]) -> None:
        def number(name: str) -> float:
            return float("nan") if about[name] is None else float(about[name])
        self.about, self.images = about, about["images"]
        self.accuracy, self.error, self.loss = number("accuracy"), number("error"), number("loss")
        self.top5_accuracy, self.calibration_error = about["top5_accuracy"], about["calibration_error"]
        self.per_class, self.mistakes = about["classes"], about["mistakes"]
        self.classes = [c["name"] for c in self.per_class]
        self.confusion = np.zeros((len(self.classes),) * 2, dtype=np.int64)
        for row, column, n in about["confusion"]:
            self.confusion[row, column] = n

    def to_pandas(self) -> pandas.DataFrame:
        """A row per class."""
        return frame(self.per_class)

    def __repr__(self) -> str:
        return f"Evaluation({self.images} images: accuracy {self.accuracy:.2f} %, loss {self.loss:.4f})"

    def _repr_html_(self) -> str:
        most = max(int(self.confusion.max(initial=0)), 1)
        head = "".join(f"<th>{escape(c)}</th>" for c in self.classes)
        rows = ""
        for name, counts in zip(self.classes, self.confusion.tolist()):
            cells = "".join(f'<td style="background: rgba(64, 120, 192, {n / most:.2f})">{n or ""}</td>' for n in counts)
            rows += f"<tr><th>{escape(name)}</th>{cells}</tr>"
        confusion = f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>" if len(self.classes) <= 30 else ""
        return f"<p>{escape(repr(self))}</p>{confusion}"
