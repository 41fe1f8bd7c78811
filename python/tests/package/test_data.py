"""Images from where Python has them."""
import logging

import mlaan
import numpy as np
import pytest
from mlaan import _core, _data


def test_arrays_are_not_copied(images):
    pixels, labels = images
    given = _data.given({"train": (pixels, labels), "test": (pixels[:8], labels[:8])}, ["dark", "red"])
    assert given.train.address == pixels.ctypes.data and len(given.train) == 96
    # Parts that lie in a row as well.
    part = _data.given({"train": (pixels[5:], labels[5:])}, ["dark", "red"])
    assert part.train.address == pixels.ctypes.data + 5 * 16 * 16 * 3
    locked = pixels.copy()
    locked.flags.writeable = False
    assert _data.given({"train": (locked, labels)}, None).train.address == locked.ctypes.data


def test_memory_of_a_run_is_not_that_of_two_sets(tmp_path):
    """What is mapped into the process grows by a fraction of the images while they are trained on."""
    import os
    import threading
    pixels = np.zeros((6000, 64, 64, 3), dtype=np.uint8)
    pixels[::2] = 90
    most, done = [0], threading.Event()

    def resident():
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    before = resident()

    def look():
        while not done.wait(0.01):
            most[0] = max(most[0], resident() - before)
    thread = threading.Thread(target=look)
    thread.start()
    try:
        mlaan.train("bp-resnet8", data=((pixels, np.arange(6000) % 2), (pixels[:16], np.arange(16) % 2)), out=tmp_path / "run", progress=False,
                    threads=1, time="1s", overrides={"train": {"epochs": 1, "batch": 8}, "data": {"size": 16, "normalise": "cifar10"}})
    finally:
        done.set()
        thread.join()
    assert 0 < most[0] < pixels.nbytes / 2, most[0]


def test_dlpack_is_not_copied(images):
    torch = pytest.importorskip("torch", reason="SKIPPED: PyTorch is not installed")
    pixels = torch.from_numpy(images[0])
    given = _data.given({"train": (pixels, torch.from_numpy(images[1]))}, None)
    assert given.train.address == pixels.data_ptr()


@pytest.mark.parametrize("images_, labels, says", [
    (np.zeros((2, 4, 4, 3), np.float32), [0, 1], "uint8"),
    (np.zeros((2, 3, 4, 4), np.uint8), [0, 1], "transpose"),
    (np.zeros((2, 4, 4), np.uint8), [0, 1], "height, width, 3"),
    (np.zeros((2, 4, 4, 3), np.uint8), [0], "2 images with 1 labels"),
    (np.zeros((2, 4, 4, 3), np.uint8), [0, -1], "negative"),
    (np.zeros((2, 4, 4, 3), np.uint8), [0.5, 1], "whole numbers"),
    (np.zeros((2, 4, 4, 3), np.uint8), [0, 7], "out of range"),
    (np.zeros((2, 0, 4, 3), np.uint8), [0, 1], "pixels"),
])
def test_arrays_that_do_not_fit_are_refused(images_, labels, says):
    with pytest.raises(mlaan.DataError, match=says):
        mlaan.plan("bp-resnet8", data=(images_, labels), classes=["a", "b"])


def test_forms_that_mean_nothing_are_refused(images):
    for data, says in [((images,) * 4, "found 4 parts"), ({"train": images, "tset": images}, "tset"), (3, "found int"),
                       ({"test": images}, 'needs "train"'), (images, "data.test")]:
        with pytest.raises(mlaan.DataError, match=says):
            mlaan.train("bp-resnet8", data=data, progress=False)
    other = {"train": images, "test": (images[0][:4], [0, 1, 0, 1])}
    assert mlaan.plan("bp-resnet8", data=other).about["classes"] == 2


def bits(run):
    return b"".join(v.tobytes() for v in run.state_dict().values())


class Items:
    """As `torch.utils.data.Dataset`."""

    def __init__(self, images, labels, form=lambda x: x):
        self.images, self.labels_, self.form, self.asked = images, labels, form, 0

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        self.asked += 1
        return self.form(self.images[index]), int(self.labels_[index])


def test_every_form_trains_to_the_same_bits(images, small, tmp_path, caplog):
    pixels, labels = images
    train = lambda data, name: mlaan.train("dgl-resnet8-2", data=data, out=tmp_path / name, progress=False, threads=2, overrides=keys)
    keys = {"train": {"epochs": 1, "batch": 16}, "data": {"size": 16, "augment": "none", "normalise": "cifar10"}}
    split = lambda make: {"train": make(pixels[:64], labels[:64]), "test": make(pixels[64:], labels[64:])}
    arrays = bits(train(split(lambda x, y: (x, y)), "arrays"))
    assert arrays == bits(train(((pixels[:64], labels[:64]), (pixels[64:], labels[64:])), "tuple"))
    # Arrays with other strides are copied, and say so.
    with caplog.at_level(logging.INFO, "mlaan"):
        wide = np.repeat(pixels, 2, axis=0)
        assert arrays == bits(train({"train": (wide[:128:2], labels[:64]), "test": (wide[128::2], labels[64:])}, "strided"))
    assert "copied" in caplog.text
    forms = {"plain": lambda x: x, "planes": lambda x: x.transpose(2, 0, 1), "floats": lambda x: x / 255}
    for name, form in forms.items():
        assert arrays == bits(train(split(lambda x, y: Items(x, y, form)), name)), name


def test_items_know_their_labels_or_are_asked_once(images):
    pixels, labels = images
    items = Items(pixels, labels)
    mlaan.plan("bp-resnet8", data={"train": items, "test": (pixels, labels)})
    assert items.asked == len(items)
    items = Items(pixels, labels)
    items.targets, items.classes = labels.tolist(), ["dark", "red"]
    mlaan.plan("bp-resnet8", data={"train": items, "test": items})
    assert items.asked == 0

    class Part:
        dataset, indices = items, [4, 7, 9]

        def __len__(self):
            return 3

        def __getitem__(self, i):
            return items[self.indices[i]]
    assert _data._known_labels(Part()) == [labels[4], labels[7], labels[9]]


def test_what_items_raise_is_said(images, tmp_path):
    class Broken(Items):
        targets = property(lambda self: self.labels_)

        def __getitem__(self, index):
            raise ValueError("no such picture")
    with pytest.raises(mlaan.DataError, match="no such picture"):
        mlaan.train("bp-resnet8", data={"train": Broken(*images), "test": images}, out=tmp_path / "run", progress=False,
                    overrides={"data": {"size": 16, "normalise": "cifar10"}})
    with pytest.raises(mlaan.DataError, match="from 0 to 1"):
        _data.pixels(np.full((4, 4, 3), 3.0))


def test_random_items_are_warned_of_once(images, caplog, monkeypatch):
    monkeypatch.setattr(_data, "_warned", False)
    items = Items(*images)
    items.transform = object()
    for _ in range(2):
        _data._read("train", items)
    assert [r.levelname for r in caplog.records if "do not repeat" in r.getMessage()] == ["WARNING"]


class Image:
    """A type of column, as Hugging Face calls it."""


class ClassLabel:
    names = ["dark", "red"]


class Picture:
    """As one of PIL."""

    def __init__(self, array):
        self.array = array

    def convert(self, mode):
        assert mode == "RGB"
        return self.array


class Table:
    """As `datasets.Dataset`."""

    features = {"img": Image(), "label": ClassLabel(), "more": object()}
    column_names = ["img", "label", "more"]

    def __init__(self, images, labels):
        self.columns = {"img": images, "label": labels}

    def __len__(self):
        return len(self.columns["img"])

    def __getitem__(self, key):
        if isinstance(key, str):
            assert key == "label", "images are not to be decoded at once"
            return self.columns[key].tolist()
        return {"img": Picture(self.columns["img"][key]), "label": int(self.columns["label"][key])}


def test_data_sets_of_hugging_face(images, small, tmp_path):
    keys = {"train": {"epochs": 1, "batch": 16}, "data": {"size": 16, "augment": "none", "normalise": "cifar10"}}
    pixels, labels = images
    parts = {"train": slice(0, 64), "test": slice(64, 96)}
    run = mlaan.train("bp-resnet8", data={k: Table(pixels[s], labels[s]) for k, s in parts.items()}, out=tmp_path / "a", progress=False,
                      overrides=keys)
    assert run.classes == ["dark", "red"]
    arrays = mlaan.train("bp-resnet8", data={k: (pixels[s], labels[s]) for k, s in parts.items()}, classes=["dark", "red"], out=tmp_path / "b",
                         progress=False, overrides=keys)
    assert bits(run) == bits(arrays)
    class NoImages(Table):
        features = {"text": object(), "label": ClassLabel()}
    with pytest.raises(mlaan.DataError, match="no column of type Image"):
        mlaan.plan(data=NoImages(pixels, labels))


def test_a_path_and_keys_of_the_data(tmp_path):
    assert mlaan.plan("bp-resnet8", data={"source": "builtin", "limit": 64}).about["classes"] == 10
    plan = mlaan.plan("bp-resnet8", data={"size": 64, "mixup": 0.2})
    assert plan.about["size"] == 64
    with pytest.raises(mlaan.RecipeError, match="did you mean `data.size`"):
        mlaan.plan("bp-resnet8", data={"sise": 64})


def test_a_recipe_is_chosen_for_images(images, tmp_path):
    plan = mlaan.plan(data=images, classes=["dark", "red"])
    assert plan.about["classes"] == 2 and plan.about["size"] == 16 and plan.about["batch"] <= 64
    run = mlaan.train(data=images, classes=["dark", "red"], train={"epochs": 1}, model={"backbone": "resnet8"}, out=tmp_path / "run",
                      progress=False)
    # A fifth of 96 images tests, a fifth of the others validates.
    assert run.summary["best_val_error"] is not None and '"data": "own"' in (run.path / "metrics.jsonl").read_text().replace(":", ": ")


def test_images_that_are_given_are_no_path():
    with pytest.raises(mlaan.DataError, match="given by a program"):
        mlaan.plan("bp-resnet8", data=_data.GIVEN)
    with pytest.raises(mlaan.DataError, match="labels are 0 to 0"):
        _core.Images(np.zeros((1, 2, 2, 3), np.uint8), [1], ["a"])
