"""How runs are told in notebooks."""
import sys
import types

import mlaan
import pytest
from mlaan import _progress


class Handle:
    def __init__(self):
        self.shown = []

    def update(self, what):
        self.shown.append(what._repr_mimebundle_())


def test_a_table_and_a_curve_follow_the_run(images, small, tmp_path, monkeypatch):
    handle = Handle()
    display = types.ModuleType("IPython.display")
    display.display = lambda what, display_id: handle.update(what) or handle
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    run = mlaan.train("bp-resnet8", data=images, out=tmp_path / "run", progress="notebook", overrides=small)
    first, last = handle.shown[0], handle.shown[-1]
    assert first["text/plain"] == "training"
    assert "<progress" in "".join(s["text/html"] for s in handle.shown[:-1])
    assert last["text/html"].count("<tr>") == 3 and "<polyline" in last["text/html"] and "<progress" not in last["text/html"]
    assert f"Test accuracy {run.summary['test_accuracy']:.2f} %" in last["text/plain"]


def test_it_is_chosen_by_where_it_runs(monkeypatch):
    assert isinstance(_progress.telling(True), _progress.Text) and isinstance(_progress.telling(False), _progress.Silent)
    shell = types.ModuleType("IPython")
    shell.get_ipython = type("ZMQInteractiveShell", (), {})
    display = types.ModuleType("IPython.display")
    display.display = lambda what, display_id: Handle()
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    assert isinstance(_progress.telling(True), _progress.Notebook)
    # A program that has IPython and is no notebook.
    display.display = lambda what, display_id: None
    with pytest.raises(mlaan.RecipeError, match="no notebook"):
        _progress.telling("notebook")
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    with pytest.raises(ImportError, match="pip install ipython"):
        _progress.telling("notebook")


def test_curves():
    assert _progress.curve([1.0], "x") == ""
    drawn = _progress.curve([10.0, None, 30.0, float("nan"), 20.0], "a <b>")
    assert drawn.count(",") == 3 and "a &lt;b&gt;" in drawn and "30.0" in drawn


def test_what_was_not_measured_is_a_dash():
    handle = Handle()
    shown = _progress.Notebook(lambda what: handle.update(what) or handle)
    shown.step({"epoch": 1, "step": 1, "steps": 2, "loss": None, "accuracy": None, "images_per_second": None, "peak_bytes": None})
    assert "loss –, accuracy –, – images/s, –" in handle.shown[-1]["text/html"]
    shown.event({"event": "epoch", "epoch": 1, "train_loss": None, "train_accuracy": None, "test_accuracy": None, "seconds": 1.0})
    # An epoch that was not tested.
    shown.event({"event": "epoch", "epoch": 2, "train_loss": 1.5, "train_accuracy": 50.0, "seconds": 1.0})
    shown.event({"event": "end", "test_accuracy": None, "epochs": 2, "seconds": None})
    assert handle.shown[-1]["text/plain"].splitlines() == [
        "epoch 1: train loss –, test accuracy –", "epoch 2: train loss 1.5000, test accuracy –", "Test accuracy – after 2 epochs, in –"]


def test_a_display_that_fails_does_not_stop_the_run(images, small, tmp_path, monkeypatch, caplog):
    class Broken:
        def update(self, what):
            raise OSError("the notebook is gone")
    monkeypatch.setattr("mlaan._running.telling", lambda _: _progress.Notebook(lambda what: Broken()))
    heard = []
    run = mlaan.train("bp-resnet8", data=images, out=tmp_path / "run", on_epoch=heard.append, overrides=small)
    assert run.summary["epochs"] == 2 and len(heard) == 2
    said = [r.getMessage() for r in caplog.records if "cannot be shown" in r.getMessage()]
    assert len(said) == 1 and "the notebook is gone" in said[0]
