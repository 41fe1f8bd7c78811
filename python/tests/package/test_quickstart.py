"""The notebook runs from its first cell to its last, and kernels can be interrupted."""
import queue
import re
import time
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[3] / "docs/quickstart.ipynb"
nbformat = pytest.importorskip("nbformat", reason="SKIPPED: the notebook was NOT run, nbformat and nbclient are not installed")
nbclient = pytest.importorskip("nbclient", reason="SKIPPED: the notebook was NOT run, nbclient is not installed")
pytest.importorskip("ipykernel", reason="SKIPPED: the notebook was NOT run, ipykernel is not installed")


def kernels(kind):
    """The interpreter of these tests, whatever kernels are installed for the user."""
    from jupyter_client.kernelspec import KernelSpecManager
    return kind(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[], ensure_native_kernel=True))


def texts(cells):
    """What cells show as text, without numbers."""
    shown = ["".join(o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in c.outputs) for c in cells]
    # Which class images of noise are taken for may be another where instructions differ.
    return [re.sub(r"\s*[\d.]+", " 0", re.sub(r"\['.*'\]", "[]", text)) for text in shown]


def test_the_notebook_runs():
    from jupyter_client import AsyncKernelManager
    committed, copy = nbformat.read(NOTEBOOK, 4), nbformat.read(NOTEBOOK, 4)
    nbformat.validate(committed)
    try:
        import torch  # noqa: F401
    except ImportError:
        print("SKIPPED: the notebook's cell with PyTorch, which is not installed")
        for notebook in (committed, copy):
            notebook.cells = [c for c in notebook.cells if "import torch" not in c.source]
    manager = kernels(AsyncKernelManager)
    nbclient.NotebookClient(copy, timeout=600, km=manager, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    code = lambda notebook: [c for c in notebook.cells if c.cell_type == "code"]
    assert texts(code(copy)) == texts(code(committed))
    shown = "".join(o.get("data", {}).get("text/html", "") for c in code(copy) for o in c.outputs)
    assert "<polyline" in shown and "<progress" not in shown
    accuracy = [float(a) for c in code(copy) for o in c.outputs
                for a in re.findall(r"Test accuracy ([\d.]+)", o.get("data", {}).get("text/plain", ""))]
    assert len(accuracy) == 1 and accuracy[0] > 25, accuracy


def answer(client, code, within=120, shown="", then=lambda: None):
    """Runs code; its texts, and the exception that it ends with. Does `then` once a text with `shown` was there."""
    # Else a kernel drops what is asked for right behind an error.
    message = client.execute(code, stop_on_error=False)
    error, said, deadline = None, [], time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            found = client.get_iopub_msg(timeout=1)
        except queue.Empty:
            continue
        if found["parent_header"].get("msg_id") != message:
            continue
        content = found["content"]
        said.append(content.get("text", "") or content.get("data", {}).get("text/plain", ""))
        if shown and shown in said[-1]:
            shown = ""
            then()
        if found["msg_type"] == "error":
            error = content["ename"]
        if found["msg_type"] == "status" and content["execution_state"] == "idle":
            return "".join(said), error
    raise TimeoutError("".join(said))


def test_fifty_epochs_are_interrupted_in_a_kernel_and_go_on(tmp_path):
    from jupyter_client import KernelManager
    manager = kernels(KernelManager)
    manager.start_kernel(cwd=str(tmp_path))
    client = manager.blocking_client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=120)
        begin = ("import mlaan, numpy as np\nlabels = np.arange(64) % 2\nimages = np.zeros((64, 16, 16, 3), np.uint8)\n"
                 "images[labels == 1] = 200\ndata = {'train': (images, labels), 'test': (images, labels)}\n"
                 "keys = {'train': {'epochs': 50, 'batch': 8}, 'data': {'size': 16, 'normalise': 'cifar10'}}")
        assert answer(client, begin)[1] is None
        train = "run = mlaan.train('dgl-resnet8-2', data=data, out='run', overrides=keys)"
        said, error = answer(client, train, shown="epoch 2:", then=manager.interrupt_kernel)
        assert error == "KeyboardInterrupt", said
        done, error = answer(client, "run = mlaan.Run('run')\nprint(len(run.metrics()['epoch']), run.summary is None)")
        assert error is None and done.split()[-1] == "True", (done, error)
        assert 2 <= int(done.split()[-2]) < 50
        said, error = answer(client, "run = run.resume(data=data)\nprint('ended', run.summary['epochs'], len(run.metrics()['epoch']))", 300)
        assert error is None and "ended 50 50" in said, said
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
