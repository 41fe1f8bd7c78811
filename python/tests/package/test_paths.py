"""Folders whose names are no text."""
import os
import sys

import mlaan
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="SKIPPED: names of files are text here")


def test_a_folder_need_not_be_utf8(images, small, tmp_path):
    folder = tmp_path / os.fsdecode(b"r\xff\xfen")
    keys = {**small, "train": {**small["train"], "epochs": 1}}
    run = mlaan.train("bp-resnet8", data=images, out=folder, progress=False, threads=2, overrides=keys)
    assert run.path == folder and os.fsencode(run.path).endswith(b"r\xff\xfen") and len(run.metrics()["epoch"]) == 1
    assert os.path.exists(run.about()["model"]) and run.state_dict().keys() and repr(run).isascii()
    assert run.evaluate(images).images == 96 and run.predict(images[0][:2]).shape == (2, 2)
    assert run.export("safetensors", folder / os.fsdecode(b"\xff.safetensors")).exists()
    assert mlaan.report(run, out=folder / "page.html").exists()
    again = mlaan.Run(os.fsdecode(os.fsencode(folder))).resume(epochs=2, data=images, progress=False)
    assert again.path == folder and again.metrics()["epoch"].tolist() == [1, 2]
    with pytest.raises(mlaan.Error, match="holds a run already"):
        mlaan.train("bp-resnet8", data=images, out=folder, progress=False, overrides=keys)


def test_a_folder_may_look_like_a_flag(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.symlink(run.path, "-run")
    found = mlaan.Run("-run")
    assert found.evaluate((np.zeros((2, 16, 16, 3), np.uint8), [0, 1])).images == 2
    assert found.export("safetensors", "-net.safetensors").exists()
