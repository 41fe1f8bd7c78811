"""Labels of images, and the names of their classes."""
from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import _errors, _pixels
from ._settings import shown

log = logging.getLogger("mlaan")
#: Items whose label is compared with what the data set says that it is.
COMPARED = 5


def whole(labels: Any, name: str) -> list[int]:
    """An array of labels as whole numbers."""
    import numpy as np
    if hasattr(labels, "__dlpack__") and not isinstance(labels, np.ndarray):
        labels = _pixels.own(labels)
    try:
        found = np.asarray(labels)
    except (TypeError, ValueError) as e:
        raise _errors.DataError(f"data, {name}: labels must be whole numbers [n], found no array of numbers: {e}") from e
    listed: list[Any] = found.tolist() if found.ndim == 1 else []
    numbers = [_whole(label) for label in listed]
    if found.ndim != 1 or None in numbers:
        raise _errors.DataError(f"data, {name}: labels must be whole numbers [n], found {found.dtype} {list(found.shape)}{_remedy(found)}")
    whole_ = [number for number in numbers if number is not None]
    least = min(whole_, default=0)
    if least < 0:
        raise _errors.DataError(f"data, {name}: label {least} is negative: labels count classes from 0")
    return whole_


def warn_of_missing(labels: Sequence[int], classes: int) -> None:
    """Says which of so many classes no label names: one that is mistyped makes many of them."""
    there = set(labels)
    missing = [k for k in range(classes) if k not in there]
    if not missing or not labels:
        return
    listed = ", ".join(map(str, missing[:5])) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
    most = classes - 1
    where = f" (label {most} is that of image {labels.index(most)})" if most in there else ""
    log.warning("data, train: there are %d classes, since labels count them from 0%s, but no training image of %s: "
                "numpy.unique(labels, return_inverse=True)[1], of all splits together, numbers those that there are, and classes=[…] names all",
                classes, where, listed)


def _remedy(labels: Any) -> str:
    """How labels of another form become whole numbers."""
    import numpy as np
    if labels.ndim == 1 and labels.dtype.kind in "USO" and all(isinstance(label, str) for label in labels.tolist()):
        return ": names, labels = numpy.unique(labels, return_inverse=True) numbers them, and classes=names names them"
    if labels.ndim == 2 and labels.shape[1] == 1:
        return ": labels[:, 0] has them so"
    if labels.ndim == 2:
        return ": labels.argmax(1) makes them of one-hot vectors"
    if labels.ndim == 1 and np.issubdtype(labels.dtype, np.floating):
        index = next((i for i, label in enumerate(labels.tolist()) if _whole(label) is None), None)
        return "" if index is None else f"; that of image {index} is {labels[index]}"
    return ""


def _whole(label: Any) -> int | None:
    """A label as a number of Python, where it is a whole one."""
    try:
        number = int(label)
        return number if number == label else None
    except (TypeError, ValueError, OverflowError):
        return None


def _number(label: Any, index: int, name: str) -> int:
    """An item's label: a whole number, or a tensor of one."""
    number = _whole(label)
    if number is None:
        raise _errors.DataError(f"data, {name}: item {index}: a label must be a whole number, found {shown(label)}")
    return number


def of_items(n: int, known: Sequence[Any] | None, ask: Callable[[int], Any], name: str) -> list[int]:
    """Labels of `n` items: those that the data set tells, where its items have them as well; else every item is asked, by `ask(index)`."""
    def asked(index: int) -> int:
        try:
            label = ask(index)
        except Exception as e:
            said = str(e) if isinstance(e, _errors.DataError) else f"{type(e).__name__}: {e}"
            raise _errors.DataError(f"data, {name}: item {index}: {said}") from e
        return _number(label, index, name)
    if known is not None and len(known) == n:
        found = [label if type(label) is int else _number(label, i, name) for i, label in enumerate(known)]
        for i in sorted({k * (n - 1) // max(COMPARED - 1, 1) for k in range(COMPARED)} if n else ()):
            own = asked(i)
            if own != found[i]:
                log.warning("data, %s: item %d has the label %d, where the data set's own list has %d: every item is asked for its label, "
                            "and the list is not used", name, i, own, found[i])
                break
        else:
            return whole(found, name)
    else:
        log.info("data, %s: every item is asked for once to learn its label; an attribute `targets` would tell them", name)
    return whole([asked(i) for i in range(n)], name)


def known(data: Any) -> Sequence[Any] | None:
    """Labels that a data set tells without its items, as those of torchvision do, and parts of them (`torch.utils.data.Subset`)."""
    if any(getattr(t, "target_transform", None) is not None for t in (data, getattr(data, "transforms", None))):
        return None                                   # what it tells is before the transform
    whole_, indices = getattr(data, "dataset", None), getattr(data, "indices", None)
    if whole_ is not None and indices is not None:
        labels = known(whole_)
        return None if labels is None else [labels[i] for i in indices]
    for attribute in ("targets", "labels"):
        found = getattr(data, attribute, None)
        if found is not None and hasattr(found, "__len__") and len(found) == len(data):
            return found.tolist() if hasattr(found, "tolist") else list(found)
    return None


def class_names(data: Any, name: str) -> list[str] | None:
    """Names of the classes that a data set tells, or of what it is a part of, or made of."""
    found: Any = getattr(data, "classes", None)
    found = found.tolist() if hasattr(found, "tolist") else found
    if isinstance(found, Sequence) and not isinstance(found, str):
        return [str(c) for c in found]
    if getattr(data, "dataset", None) is not None and getattr(data, "indices", None) is not None:
        return class_names(data.dataset, name)
    parts = getattr(data, "datasets", None)           # torch.utils.data.ConcatDataset
    if not isinstance(parts, (list, tuple)):
        return None
    names = [class_names(part, name) for part in parts]
    if any(n != names[0] for n in names):
        raise _errors.DataError(f"data, {name}: parts that are put together have other classes, or in another order: {names}")
    return names[0] if names else None


def _numbers(names: Sequence[str]) -> bool:
    """Whether they are the numbers of the classes, which name nothing."""
    return list(names) == [str(k) for k in range(len(names))]


def by_name(labels: list[int], own: Sequence[str] | None, names: Sequence[str], name: str) -> list[int]:
    """Labels of a split with the classes `own` as those of `names`, which are the network's."""
    if own is None or list(own) == list(names):
        return labels
    if (_numbers(own) or _numbers(names)) and not set(own) & set(names):
        return labels
    used = sorted(set(labels))
    if used and used[-1] >= len(own):
        raise _errors.DataError(f"data, {name}: label {used[-1]} is out of range: the split has the classes {_listed(own)}")
    missing = [own[k] for k in used if own[k] not in names]
    if missing:
        raise _errors.DataError(f"data, {name}: no class is called {_listed(missing)}; the classes are {_listed(names)}. Labels of data with names "
                                "are taken by name: give the split the same names (or leave out `classes=`, if that gave others)")
    twice = [own[k] for k in used if names.count(own[k]) > 1]
    if twice:
        raise _errors.DataError(f"data, {name}: several classes are called {_listed(twice)}, so that labels cannot be taken by name")
    numbers: Mapping[int, int] = {k: names.index(own[k]) for k in used}
    return [numbers[label] for label in labels]


def _listed(names: Sequence[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"`{n}`" for n in names[:most]) + more
