"""Images as arrays of pixels."""
from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from typing import Any

from . import _errors

#: What columns of images are usually called.
COLUMNS = ("image", "img")
log = logging.getLogger("mlaan")


def remedy(data: Any) -> str:
    """What to give instead of something that has no items by number."""
    if hasattr(data, "dataset") and hasattr(data, "batch_size"):
        return ": a DataLoader draws batches itself; give its `.dataset`"
    if hasattr(data, "__iter__") and not hasattr(data, "__len__"):
        return ", which has no length: list(…) of it has one, if it fits into memory"
    return ""


def own(images: Any) -> Any:
    """An array of another library as one of NumPy, where it lies."""
    import numpy as np
    try:
        return np.from_dlpack(images)
    except (BufferError, RuntimeError, TypeError, ValueError) as e:
        where = f" on {images.device}" if hasattr(images, "device") else ""
        raise _errors.DataError(f"an array{where} of type {type(images).__name__} cannot be read where it lies ({e}): give it in the "
                                "processor's memory, as tensor.detach().cpu()") from e


def array(images: Any, place: str) -> Any:
    """Images `[n, h, w, 3]` one behind the other, not copied where they lie so already."""
    import numpy as np
    tensor = type(images).__module__.partition(".")[0] == "torch"
    if not isinstance(images, np.ndarray):
        images = own(images) if hasattr(images, "__dlpack__") else np.asarray(images)
    rgb = _as_rgb(images.shape, tensor)
    if images.dtype != np.uint8:
        cast, said = _as_bytes(images, tensor)
        if cast is not None:
            said = f": {cast if rgb is None else rgb[0].replace('images', cast, 1)} has them so{said}"
        raise _errors.DataError(f"{place}: images must be of type uint8 (pixels from 0 to 255), found {images.dtype}{said}")
    if images.ndim != 4 or images.shape[3] != 3:
        said = "" if rgb is None else f": {rgb[0]} {rgb[1]}"
        raise _errors.DataError(f"{place}: images must be [n, height, width, 3], found {list(images.shape)}{said}")
    if not images.flags.c_contiguous:
        log.info("%s: the array is copied, since its images do not lie one behind the other", place)
        images = np.ascontiguousarray(images)
    return images


def _as_bytes(images: Any, tensor: bool) -> tuple[str | None, str]:
    """How pixels of another type become bytes, of a tensor in PyTorch's words; and what is to be said of them."""
    import numpy as np
    cast = ".byte()" if tensor else '.astype("uint8")'
    floats, whole = np.issubdtype(images.dtype, np.floating), np.issubdtype(images.dtype, np.integer)
    if images.dtype == np.bool_:
        return f"(images{cast} * 255)", ""
    if not (floats or whole) or images.size == 0:
        return None, ""
    low, high = images.min(), images.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        return None, ", with some that are no finite numbers"
    if floats and -1e-6 <= low and high <= 1 + 1e-6:
        return f"(images * 255).round(){cast}", ""
    if low >= 0 and high <= 255:
        return f"images{'.round()' if floats else ''}{cast}", ""
    if images.dtype == np.uint16:
        return f"(images // 257){cast}", ", where they are from 0 to 65535"
    if whole:
        return None, f", from {low} to {high}"
    return None, f", from {low:.4g} to {high:.4g}: give pixels as they were before they were normalized, which the recipe does"


def _as_rgb(shape: tuple[int, ...], tensor: bool) -> tuple[str, str] | None:
    """How images of another shape become those of three channels, of a tensor in PyTorch's words; and what that does."""
    last = "images.permute(0, 2, 3, 1)" if tensor else "images.transpose(0, 2, 3, 1)"

    def grey(images: str) -> tuple[str, str]:
        repeated = f"{images}.repeat(1, 1, 1, 3)" if tensor else f"numpy.repeat({images}, 3, axis=3)"
        return repeated, "makes RGB of grey images"
    match shape:
        case (_, _, _, 3):
            return None
        case (_, _, _, 1):
            return grey("images")
        case (_, 3, _, _):
            return last, "puts channels last"
        case (_, 1, _, _):
            return grey(last)
        case (_, _, _, 4):
            return "images[..., :3]", "leaves out the fourth channel"
        case (_, 4, _, _):
            return f"{last}[..., :3]", "puts channels last, and leaves out the fourth"
        case (_, _, 3):
            return "images[None]", "holds one image"
        case (3, _, _):
            return f"{'images.permute(1, 2, 0)' if tensor else 'images.transpose(1, 2, 0)'}[None]", "holds one image"
        case (_, _, _):
            return grey("images[..., None]")
    return None


def _found(pixels: Any) -> str:
    return f", found {pixels.min():.4g} to {pixels.max():.4g}" if pixels.size else ""


def one(image: Any) -> Any:
    """An image as uint8 `[1, height, width, 3]`: of PIL, or an array or tensor `[h, w, 3]`, `[3, h, w]` or `[h, w]`, uint8 or from 0 to 1."""
    import numpy as np
    if isinstance(image, (str, bytes, os.PathLike)):
        raise _errors.DataError(f"found the path {os.fsdecode(image)!r} for an image: PIL.Image.open reads it")
    if hasattr(image, "convert"):
        return np.asarray(image.convert("RGB"))[None]
    found = np.asarray(image)
    if np.issubdtype(found.dtype, np.floating):
        if not np.isfinite(found).all():
            raise _errors.DataError("some pixels are no finite numbers")
        if not (found.size and -1e-6 <= found.min() and found.max() <= 1 + 1e-6):
            raise _errors.DataError(f"floating-point pixels must be from 0 to 1{_found(found)}: give uint8 for 0 to 255, and leave normalization to "
                                    "the recipe")
        found = np.rint(found * 255).astype(np.uint8)
    elif found.dtype != np.uint8:
        raise _errors.DataError(f"pixels must be uint8, or floating-point from 0 to 1, found {found.dtype}")
    if found.ndim == 3 and found.shape[2] not in (1, 3) and found.shape[0] in (1, 3):
        found = found.transpose(1, 2, 0)
    if found.ndim == 2:
        found = found[:, :, None]
    if found.ndim != 3 or found.shape[2] not in (1, 3):
        raise _errors.DataError(f"an image is [height, width, 3], [3, height, width] or [height, width], found {list(found.shape)}")
    return np.ascontiguousarray(np.broadcast_to(found, (*found.shape[:2], 3)))[None]


def batches(images: Any, batch: int) -> Iterator[Any]:
    """Images that a network is asked about, in arrays `[n, h, w, 3]`: an array whole, a sequence as it is read, `batch` of one size at
    a time."""
    import numpy as np
    if isinstance(images, (str, bytes, os.PathLike)):
        raise _errors.DataError(f"images: found the path {os.fsdecode(images)!r}: give arrays or PIL's images; `mlaan predict` reads files")
    if hasattr(images, "ndim") or hasattr(images, "__dlpack__"):
        if getattr(images, "ndim", None) == 3 and images.shape[2] == 3:
            raise _errors.DataError("this is one image: predict(images[None]) classifies one")
        yield array(images, "images")
        return
    if hasattr(images, "convert"):
        raise _errors.DataError("this is one image: predict([image]) classifies one")
    if not hasattr(images, "__iter__") and not hasattr(images, "__getitem__") or remedy(images) and hasattr(images, "dataset"):
        raise _errors.DataError(f"images: expected an array or a sequence of images, found {type(images).__name__}{remedy(images)}")
    alike: list[Any] = []
    for index, item in enumerate(_items(images)):
        try:
            found = one(_image(item))
        except Exception as e:
            said = str(e) if isinstance(e, _errors.DataError) else f"{type(e).__name__}: {e}"
            raise _errors.DataError(f"images, item {index}: {said}") from e
        if alike and (len(alike) == batch or found.shape != alike[0].shape):
            yield np.concatenate(alike)
            alike = []
        alike.append(found)
    if alike:
        yield np.concatenate(alike)


def _items(images: Any) -> Iterable[Any]:
    """Items by number where there are so many; a data set need not be iterable."""
    if hasattr(images, "__len__") and hasattr(images, "__getitem__"):
        return (images[i] for i in range(len(images)))
    found: Iterable[Any] = images
    return found


def _image(item: Any) -> Any:
    """The image of an item that may have a label, or other columns, beside it."""
    if isinstance(item, dict):
        return next((item[c] for c in COLUMNS if c in item), item)
    if isinstance(item, (tuple, list)) and len(item) == 2 and (hasattr(item[0], "convert") or getattr(item[0], "ndim", 0) >= 2):
        return item[0]
    return item
