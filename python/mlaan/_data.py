"""Images from where Python has them: paths, arrays, sequences of items, data sets of Hugging Face."""
from __future__ import annotations

import logging
import operator
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from . import _core, _errors, _labels, _pixels
from ._settings import plain, utf8


class Items(Protocol):
    """What has items by number: sequences, arrays, data sets."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: Any, /) -> Any: ...


#: A path, `(images, labels)`, a sequence of items, a mapping or tuple of splits, or keys of the recipe's table `data`.
Data: TypeAlias = str | os.PathLike[str] | Items | Mapping[str, Any] | None

#: What recipes call images that lie in no file.
GIVEN = "(given)"
#: And what they call such a set.
OWN = "own"
#: Classes without names; more are labels of another kind.
MOST_CLASSES = 100_000
log = logging.getLogger("mlaan")
_warned = False


@dataclass(frozen=True)
class Given:
    """Images for the compiled part."""

    name: str
    train: _core.Images
    validation: _core.Images | None = None
    test: _core.Images | None = None


def split(data: Data, classes: Sequence[str] | None, usual: Sequence[str] | None = None) -> tuple[str | None, dict[str, Any], Given | None]:
    """Source, keys of recipes, and images, of what a user calls data; `usual` are classes of images where no others are named."""
    if data is None or isinstance(data, (str, os.PathLike)):
        _unnamed(classes)
        return None if data is None else utf8(data, "data"), {}, None
    if isinstance(data, Mapping) and {"images", "labels"} <= set(data):
        raise _errors.DataError("data: images with labels are a tuple, as data=(images, labels)")
    if isinstance(data, Mapping) and "train" not in data:
        splits = [k for k in ("validation", "val", "test") if isinstance(data.get(k), (str, os.PathLike)) or hasattr(data.get(k), "__len__")]
        if splits:
            raise _errors.DataError(f'data: a mapping of splits needs "train"; found {", ".join(splits)}')
        _unnamed(classes)
        return None, {"data": dict(data)}, None
    return GIVEN, {}, given(_splits(data), classes if classes is not None else usual)


def _unnamed(classes: Sequence[str] | None) -> None:
    """Refuses names for images that have their own."""
    if classes is not None:
        raise _errors.RecipeError("classes: names are of arrays and sequences, as data=(images, labels); images that a path or a recipe names "
                                  "have names of their own")


def numbered(classes: Any) -> int | None:
    """The number of classes, where it is one."""
    number = plain(classes)
    return operator.index(number) if hasattr(number, "__index__") else None


def names_of(classes: Any) -> list[str]:
    """Names of classes, of any type."""
    if isinstance(classes, (str, bytes)):
        raise _errors.DataError(f'classes: expected a list of names, as ["cat", "dog"], found {classes!r}')
    names = plain(classes)
    if not hasattr(names, "__iter__"):
        raise _errors.RecipeError(f'classes: expected a list of names, as ["cat", "dog"], found {names!r}; labels themselves say how many there are')
    return [str(c) for c in names]


def _named(data: Data, function: str) -> Data:
    """The path of a mapping that has the recipe's keys, where no other is among them."""
    if not isinstance(data, Mapping) or "source" not in data:
        return data
    others = [str(key) for key in data if key != "source"]
    if others:
        raise _errors.RecipeError(f"data: {function}() takes images as the run had them: of the keys of the recipe's table data only source, not "
                                  f"{', '.join(others)}")
    source: Data = data["source"]
    return source


def analysed(data: Data, classes: Sequence[str]) -> tuple[str | None, Given | None]:
    """Source and images that a trained network is analysed on: training and test images, with the network's classes."""
    data = _named(data, "analyze")
    if data is None:
        return None, None
    if isinstance(data, (str, os.PathLike)):
        return utf8(data, "data"), None
    splits = _splits(data)
    if "train" not in splits:
        raise _errors.DataError(f'data: a mapping of splits needs "train"; found {", ".join(splits)}')
    return GIVEN, given(splits, classes)


def tested(data: Data, classes: Sequence[str]) -> tuple[str | None, Given | None]:
    """Source and images that a trained network is tested on: one split, or a mapping or tuple whose test split it is."""
    data = _named(data, "evaluate")
    if data is None:
        return None, None
    if isinstance(data, (str, os.PathLike)):
        return utf8(data, "data"), None
    splits = {"test": data["test"]} if isinstance(data, Mapping) and data.get("test") is not None else _splits(data)
    one = next((splits[name] for name in ("test", "train") if name in splits), None)
    if one is None and isinstance(data, Mapping):
        raise _errors.DataError(f'data: a mapping of splits needs "test"; found {", ".join(splits) or "none"}. Another split is tested by itself, '
                                "as evaluate((images, labels))")
    images = _images({"test": one}, classes)["test"]
    return GIVEN, Given(OWN, images, None, images)


def _splits(data: Data) -> dict[str, Any]:
    if isinstance(data, Mapping):
        names = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
        unknown = [str(k) for k in data if k not in names]
        if unknown:
            raise _errors.DataError(f'data: a mapping has "train", "validation" and "test", not {", ".join(unknown)}')
        return {names[k]: v for k, v in data.items() if v is not None}
    if isinstance(data, list) and len(data) in (2, 3) and all(map(_is_split, data)):
        data = tuple(data)                            # as torch.utils.data.random_split gives them
    if isinstance(data, tuple) and data and not _is_pair(data):
        names_of = {1: ["train"], 2: ["train", "test"], 3: ["train", "validation", "test"]}
        if len(data) not in names_of:
            raise _errors.DataError(f"data: a tuple is (images, labels), (train, test) or (train, validation, test); found {len(data)} parts")
        return dict(zip(names_of[len(data)], data))
    return {"train": data}


def _is_split(data: Any) -> bool:
    """Whether it is images with labels, and no image with its label."""
    if isinstance(data, (tuple, list)):
        return len(data) == 2 and (getattr(data[0], "ndim", 0) == 4 or isinstance(data[0], (list, tuple)))
    return hasattr(data, "__len__") and hasattr(data, "__getitem__") and not hasattr(data, "ndim") and not isinstance(data, (str, bytes, dict))


def _is_pair(data: Any) -> bool:
    """Whether it is `(images, labels)`, of which images are an array or a list."""
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        return False
    return getattr(data[0], "ndim", 0) >= 3 or (isinstance(data[0], (list, tuple)) and _is_numbers(data[1]))


def without_labels(images: Any) -> Any:
    """The images of `(images, labels)`; a list of two images is no such pair."""
    if isinstance(images, (tuple, list)) and len(images) == 2 and _is_numbers(images[1]):
        if getattr(images[0], "ndim", 0) == 4 or isinstance(images[0], (list, tuple)):
            return images[0]
    return images


def _is_numbers(labels: Any) -> bool:
    if hasattr(labels, "ndim"):
        return bool(labels.ndim == 1)
    return isinstance(labels, (list, tuple)) and all(getattr(k, "ndim", 1 if hasattr(k, "__len__") else 0) == 0 for k in labels[:1])


@dataclass
class _Split:
    pixels: Any                                       # an array [n, h, w, 3], or a function of a number
    labels: list[int]
    classes: list[str] | None = None


def given(splits: Mapping[str, Any], classes: Sequence[str] | None) -> Given:
    """Splits as images with the same classes: those with names for them are taken by name. Arrays are not copied."""
    return Given(OWN, **_images(splits, classes))


def _images(splits: Mapping[str, Any], classes: Sequence[str] | None) -> dict[str, _core.Images]:
    names = None if classes is None else names_of(classes)
    found = {name: _read(name, data) for name, data in splits.items()}
    # Those of what is trained on, wherever it stands among the splits.
    known = [found[n].classes for n in ("train", "validation", "test") if n in found]
    names = next((k for k in known if k), None) if names is None else names
    if names is None:
        most = max((max(s.labels, default=0) for s in found.values()), default=0)
        if most >= MOST_CLASSES:
            raise _errors.DataError(f"data: label {most}: labels count classes from 0, and {MOST_CLASSES:,} are the most; "
                                    "numpy.unique(labels, return_inverse=True)[1] numbers those that there are")
        names = [str(k) for k in range(most + 1)]
        if "train" in found:
            _labels.warn_of_missing(found["train"].labels, len(names))
    return {name: _core.Images(s.pixels, _numbered(_labels.by_name(s.labels, s.classes, names, name), names, name), names)
            for name, s in found.items()}


def _numbered(labels: list[int], names: Sequence[str], name: str) -> list[int]:
    """Labels of these classes."""
    if max(labels, default=0) >= max(len(names), 1):
        index = next(i for i, label in enumerate(labels) if label >= len(names))
        raise _errors.DataError(f"data, {name}: image {index}: label {labels[index]} is out of range: labels are 0 to {len(names) - 1}")
    return labels


def _read(name: str, data: Any) -> _Split:
    if _is_pair(data):
        images, labels = data[0], _labels.whole(data[1], name)
        if hasattr(images, "ndim") or hasattr(images, "__dlpack__"):
            return _Split(_pixels.array(images, f"data, {name}"), labels)
        if len(images) != len(labels):
            raise _errors.DataError(f"data, {name}: {len(images)} images with {len(labels)} labels: each image has one")
        return _Split(_fetch(lambda i: images[i]), labels)
    if isinstance(data, (str, os.PathLike)):
        raise _errors.DataError(f"data, {name}: found the path {os.fsdecode(data)!r}: splits of files are not given one by one. Put them into one "
                                'folder, as train/ and test/, and give its path: data="folder/"')
    features = getattr(data, "features", None)
    if isinstance(features, Mapping) and hasattr(data, "column_names"):
        return _hugging_face(data, features, name)
    if hasattr(data, "__len__") and hasattr(data, "__getitem__") and not hasattr(data, "ndim"):
        return _items(data, name)
    raise _errors.DataError(f"data, {name}: expected a path, (images, labels), or a sequence of (image, label), found {type(data).__name__}"
                            f"{_pixels.remedy(data)}")


def _hugging_face(data: Any, features: Mapping[str, Any], name: str) -> _Split:
    def column(kind: str, usual: Sequence[str]) -> str:
        typed = [c for c, f in features.items() if type(f).__name__ == kind]
        found = [*typed, *(c for c in usual if c in features)]
        if not found:
            raise _errors.DataError(f"data, {name}: no column of type {kind}, nor called {' or '.join(usual)}, among {', '.join(features)}")
        return found[0]
    image, label = column("Image", _pixels.COLUMNS), column("ClassLabel", ("label", "labels", "fine_label"))
    names = getattr(features[label], "names", None)
    listed = list(data[label])
    labels = _labels.of_items(len(data), listed, lambda i: data[i].get(label, listed[i]), name)
    return _Split(_fetch(lambda i: data[i][image]), labels, None if names is None else [str(n) for n in names])


def _items(data: Any, name: str) -> _Split:
    _say_once(data)
    labels = _labels.of_items(len(data), _labels.known(data), lambda i: _parts(data, i)[1], name)
    return _Split(_fetch(lambda i: _parts(data, i)[0]), labels, _labels.class_names(data, name))


def _parts(data: Any, index: int) -> tuple[Any, Any]:
    """Image and label of an item."""
    item = data[index]
    try:
        return item[0], item[1]
    except (TypeError, LookupError):
        raise _errors.DataError(f"expected (image, label), found {type(item).__name__}") from None


def _say_once(data: Any) -> None:
    global _warned
    transforms = any(getattr(data, a, None) is not None for a in ("transform", "transforms"))
    if not _warned:
        _warned = True
        log.log(logging.WARNING if transforms else logging.INFO,
                "items are asked for in the order that mlaan draws, which the seed decides; what is random in the items themselves (random "
                "transforms) it does not decide, and makes runs that do not repeat. The recipe's own augmentation repeats")


def _fetch(item: Callable[[int], Any]) -> Callable[[int], Any]:
    return lambda index: _pixels.one(item(index))
