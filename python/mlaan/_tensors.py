"""Tensors of safetensors files, where they lie."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


#: BatchNorm's count of steps, the one buffer of a state dict that is no float32.
COUNTER = "num_batches_tracked"


def metadata(path: Path) -> dict[str, Any]:
    """What a safetensors file says of itself, which has text alone: numbers and lists are JSON in it."""
    with path.open("rb") as file:
        header: dict[str, Any] = json.loads(file.read(int.from_bytes(file.read(8), "little")))

    def value(text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            return text
    return {name: value(text) for name, text in header.get("__metadata__", {}).items()}


def views(path: Path, counters: dict[str, int] | None = None) -> dict[str, NDArray[np.float32]]:
    """The tensors of a safetensors file of float32, where they lie in the mapped file. Counts of steps are put into `counters`."""
    mapped = np.memmap(path, dtype=np.uint8, mode="r")
    length = int.from_bytes(mapped[:8].tobytes(), "little")
    header: dict[str, Any] = json.loads(mapped[8:8 + length].tobytes())
    found: dict[str, NDArray[np.float32]] = {}
    for name, tensor in header.items():
        if name != "__metadata__":
            start, end = (8 + length + offset for offset in tensor["data_offsets"])
            if counters is not None and name.endswith(COUNTER) and tensor["dtype"] == "I64":
                counters[name] = int.from_bytes(mapped[start:end].tobytes(), "little")
                continue
            if tensor["dtype"] != "F32":
                raise ValueError(f"{name} is {tensor['dtype']}")
            found[name] = np.asarray(mapped[start:end]).view(np.float32).reshape(tensor["shape"])
    return found
