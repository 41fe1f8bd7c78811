"""Without PyTorch these tests are skipped, and say so."""
import importlib
import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "crates/mlaan/tests/golden"))
collect_ignore_glob: list[str] = []
try:
    import torch
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
except ImportError:
    collect_ignore_glob = ["test_*.py"]
    warnings.warn("PyTorch is not installed: NO test of mlaan.torch runs")


def pytest_terminal_summary(terminalreporter):
    if collect_ignore_glob:
        terminalreporter.write_line("SKIPPED: all tests of mlaan.torch, PyTorch is not installed", red=True)
    # Where processes of pytest-xdist do the work, nobody but this one can say it; else the package's own conftest does.
    if terminalreporter.config.pluginmanager.hasplugin("dsession"):
        try:
            importlib.import_module("mlaan._core")
        except ImportError as e:
            terminalreporter.write_line(f"SKIPPED: all tests of the package mlaan: {e}", red=True)


def pytest_sessionfinish(session, exitstatus):
    if collect_ignore_glob and exitstatus == 5:  # nothing collected
        session.exitstatus = 0
