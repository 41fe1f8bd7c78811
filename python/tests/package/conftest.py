"""Tests of the package over the compiled part: `cargo build -p mlaan-python` builds it. Without it, or without NumPy, they are skipped, and say so."""
import importlib
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "python"))
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "python"), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
# Of a test that computes in processes and kernels of its own.
os.environ.setdefault("OMP_NUM_THREADS", "2")


def _missing() -> str | None:
    """Why there is nothing to test. What cargo has built is linked to where Python looks, unless `maturin develop` has put it there."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    built = [p for p in (target / "debug/lib_core.so", target / "release/lib_core.so") if p.exists()]
    place = ROOT / "python/mlaan/_core.abi3.so"
    if built and (place.is_symlink() or not place.exists()):
        # In one step: several processes of pytest-xdist do so.
        own = place.with_suffix(f".{os.getpid()}")
        own.unlink(missing_ok=True)
        own.symlink_to(max(built, key=lambda p: p.stat().st_mtime))
        own.replace(place)
    try:
        importlib.import_module("numpy")
        importlib.import_module("mlaan._core")
    except ImportError as e:
        return f"{e} (cargo build -p mlaan-python; pip install numpy)"
    return None


MISSING = _missing()
if MISSING:
    collect_ignore_glob = ["test_*.py"]


def pytest_terminal_summary(terminalreporter):
    if MISSING:
        terminalreporter.write_line(f"SKIPPED: all tests of the package mlaan: {MISSING}", red=True)


@pytest.fixture(scope="session")
def images():
    """Two classes that differ in colour: uint8 [n, 16, 16, 3], labels."""
    import numpy as np
    random = np.random.default_rng(0)
    labels = np.arange(96) % 2
    pixels = random.integers(0, 100, (96, 16, 16, 3), dtype=np.uint8)
    pixels[labels == 1, :, :, 0] += 100
    return pixels, labels


#: A small network and few steps: what is learnt in them is enough for the images above.
SMALL = {"train": {"epochs": 2, "batch": 16, "lr": 0.05, "warmup": 0}, "data": {"size": 16, "augment": "none", "test": 0.25}}


@pytest.fixture(scope="session")
def small():
    return SMALL


@pytest.fixture(scope="session")
def run(images, tmp_path_factory):
    """A finished run, of which nothing is to be changed."""
    import mlaan
    out = tmp_path_factory.mktemp("runs") / "small"
    return mlaan.train("dgl-resnet8-2", data=images, classes=["dark", "red"], out=out, progress=False, threads=2, overrides=SMALL)
