"""NVRTC of `pip install mlaan[cuda]`, which compiles the kernels for NVIDIA GPUs."""
from __future__ import annotations

import os
from collections.abc import Iterable

#: Where the compiled part looks first.
VARIABLE = "MLAAN_NVRTC"


def find(args: Iterable[str]) -> None:
    """Names the library for a command that wants a GPU, unless the user has named one."""
    if VARIABLE in os.environ or not any("cuda" in arg for arg in args):
        return
    from importlib.util import find_spec
    from pathlib import Path
    packages = find_spec("nvidia")
    for folder in (packages.submodule_search_locations or [] if packages else []):
        for library in sorted(Path(folder).glob("*/lib/libnvrtc.so.*")):
            os.environ[VARIABLE] = str(library)
            return
