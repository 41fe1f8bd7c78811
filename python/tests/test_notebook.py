"""The notebook runs from its first cell to its last, and its outputs are those that are committed but for numbers."""
import re
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs/own-network.ipynb"
nbformat = pytest.importorskip("nbformat", reason="SKIPPED: the notebook was NOT run, nbformat and nbclient are not installed")
nbclient = pytest.importorskip("nbclient", reason="SKIPPED: the notebook was NOT run, nbclient is not installed")
pytest.importorskip("ipykernel", reason="SKIPPED: the notebook was NOT run, ipykernel is not installed")
pytest.importorskip("sklearn", reason="SKIPPED: the notebook was NOT run, scikit-learn is not installed")


def texts(notebook):
    """What cells print, without numbers."""
    cells = [c for c in notebook.cells if c.cell_type == "code"]
    return [re.sub(r"\s*[\d.]+", " 0", "".join(o.get("text", "") for o in c.outputs)) for c in cells]


def test_the_notebook_runs(tmp_path):
    committed = nbformat.read(NOTEBOOK, 4)
    nbformat.validate(committed)
    copy = nbformat.read(NOTEBOOK, 4)
    # The interpreter of these tests, whatever kernels are installed for the user.
    from jupyter_client.kernelspec import KernelSpecManager
    specs = KernelSpecManager(kernel_dirs=[], ensure_native_kernel=True)
    from jupyter_client import AsyncKernelManager
    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=specs)
    nbclient.NotebookClient(copy, timeout=600, km=manager, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    assert texts(copy) == texts(committed) and any("test error" in t for t in texts(copy))
    errors = [float(e) for c in copy.cells if c.cell_type == "code" for o in c.outputs for e in re.findall(r"test error ([\d.]+)", o.get("text", ""))]
    assert len(errors) == 3 and max(errors) < 30, errors
