"""Images from where Python has them."""
import logging

import mlaan
import numpy as np
import pytest
from mlaan import _core, _data, _labels, _pixels
from mlaan._call import call


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
    (np.zeros((2, 4, 4, 3), np.uint8), [0, 2**40], "out of range"),
    (np.zeros((2, 4, 4, 3), np.uint8), np.array([0, 2**63], np.uint64), "out of range"),
    (np.zeros((2, 4, 4, 3), np.uint8), [[0], [1]], "whole numbers"),
    (np.zeros((2, 4, 4, 3), np.uint8), [float("nan"), 1], "whole numbers"),
    (np.zeros((2, 4, 4, 3), np.uint8), ["a", "b"], "whole numbers"),
    (np.zeros((0, 4, 4, 3), np.uint8), [], "no training image"),
    (np.zeros((2, 4, 4, 3), np.int8), [0, 1], "uint8"),
    (np.zeros((2, 4, 4, 3), bool), [0, 1], "uint8"),
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


def test_labels_are_whole_numbers_of_any_type(images):
    pixels, labels = images
    expected = labels.tolist()
    for form in (labels.astype(">i4"), labels.astype(bool), labels.astype(np.float32), labels.astype(np.uint8), labels.tolist(),
                 np.repeat(labels, 2)[::2], [np.int8(k) for k in labels], labels.astype(object)):
        assert _labels.whole(form, "train") == expected
    assert labels_of([(pixels[0], True), (pixels[1], np.float32(1)), (pixels[2], np.array(0))]) == [1, 1, 0]
    with pytest.raises(mlaan.DataError, match="return_inverse"):
        mlaan.plan("bp-resnet8", data=(pixels[:2], [0, 10**12]))


def test_arrays_of_any_layout_are_taken(images):
    """Copied where images do not lie one behind the other, but not changed."""
    pixels, labels = images
    masked = np.ma.masked_array(pixels, mask=pixels > 90)
    for form in (np.asfortranarray(pixels), pixels[::-1][::-1], np.repeat(pixels, 2, axis=2)[:, :, ::2], masked, pixels.view(type("Own", (np.ndarray,), {}))):
        found = _pixels.array(form, "images")
        assert found.flags.c_contiguous and np.array_equal(np.asarray(found), pixels)
        assert len(_data.given({"train": (form, labels)}, None).train) == 96


class Elsewhere:
    """An array in a GPU's memory."""

    device, ndim, shape = "cuda:0", 4, (2, 4, 4, 3)

    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self, **_):
        raise BufferError("not in the processor's memory")


def test_arrays_that_lie_elsewhere_are_refused(run):
    for work in (lambda: mlaan.plan("bp-resnet8", data=(Elsewhere(), [0, 1])), lambda: run.predict(Elsewhere())):
        with pytest.raises(mlaan.DataError, match=r"on cuda:0 .*\.cpu\(\)"):
            work()


def test_data_sets_whose_length_lies(images, tmp_path):
    class Long(Items):
        targets = property(lambda self: list(self.labels_) + [0] * 4)

        def __len__(self):
            return 100
    with pytest.raises(mlaan.DataError, match="item 99: IndexError"):
        mlaan.plan("bp-resnet8", data={"train": Long(*images), "test": images})
    class Changing(Items):
        targets = property(lambda self: list(self.labels_) + [0] * 4)
        lies = False

        def __len__(self):
            return 100

        def __getitem__(self, index):
            return super().__getitem__(min(index, 95) if not self.lies else index)
    data = Changing(*images)
    given = _data.given({"train": data, "test": images}, None)
    data.lies = True
    # Known to have so many, it has them no more when they are trained on.
    with pytest.raises(mlaan.DataError, match="image 9[6-9]: IndexError") as e:
        call(["train", "bp-resnet8", "--data=(given)", f"--out={tmp_path}/run", "--set=data.size=16", "--quiet"], given=given)
    assert isinstance(e.value.__cause__, IndexError)


def test_what_has_no_items_by_number_is_refused_with_what_to_do(images, run):
    class DataLoader:
        dataset, batch_size = Items(*images), 4

        def __iter__(self):
            return iter([images])
    stream = (pair for pair in zip(*images))
    with pytest.raises(mlaan.DataError, match="give its `.dataset`"):
        mlaan.plan("bp-resnet8", data={"train": DataLoader(), "test": images})
    with pytest.raises(mlaan.DataError, match="give its `.dataset`"):
        run.predict(DataLoader())
    with pytest.raises(mlaan.DataError, match="no length"):
        mlaan.plan("bp-resnet8", data={"train": stream, "test": images})


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


class Part:
    """As `torch.utils.data.Subset`."""

    def __init__(self, dataset, indices):
        self.dataset, self.indices = dataset, indices

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, i):
        return self.dataset[self.indices[i]]


def labels_of(data):
    return _data._read("train", data).labels


def test_items_know_their_labels_or_are_asked_once(images):
    pixels, labels = images
    items = Items(pixels, labels)
    mlaan.plan("bp-resnet8", data={"train": items, "test": (pixels, labels)})
    assert items.asked == len(items)
    items = Items(pixels, labels)
    items.targets, items.classes = labels.tolist(), ["dark", "red"]
    mlaan.plan("bp-resnet8", data={"train": items, "test": items})
    assert items.asked <= 2 * _labels.COMPARED
    assert _labels.known(Part(items, [4, 7, 9])) == [labels[4], labels[7], labels[9]]
    assert labels_of(Part(items, [])) == []


def test_labels_are_those_of_the_items(images, caplog):
    """A data set that changes labels in its items tells them as they were."""
    pixels, labels = images

    class Turned(Items):
        targets = property(lambda self: self.labels_)

        def __getitem__(self, index):
            return pixels[index], 1 - self.labels_[index]
    items, turned = Turned(pixels, labels), (1 - labels).tolist()
    items.target_transform = lambda label: 1 - label
    assert labels_of(items) == turned and not caplog.records
    assert labels_of(Part(items, [3, 4])) == turned[3:5] and labels_of(Part(Part(items, range(6)), [3, 4])) == turned[3:5]
    items.target_transform = None
    items.transforms = type("StandardTransform", (), {"target_transform": staticmethod(lambda label: 1 - label)})()
    assert labels_of(items) == turned
    # One that does not say so.
    assert "item 0 has the label 1" not in caplog.text
    assert labels_of(Turned(pixels, labels)) == turned and "item 0 has the label 1" in caplog.text
    # And of Hugging Face, with a transform.
    table = Table(pixels, labels)
    table.turn = lambda row: {**row, "label": 1 - row["label"]}
    assert labels_of(table) == turned
    table.turn = lambda row: {"img": row["img"]}
    assert labels_of(table) == labels.tolist()


@pytest.mark.parametrize("label, says", [("cat", "found 'cat'"), (0.5, "found 0.5"), (None, "found None"), (-1, "-1 is negative")])
def test_labels_that_are_no_numbers_are_refused(images, label, says):
    for told in (False, True):
        items = Items(images[0], [label] * 96)
        items.__class__ = type("Same", (Items,), {"__getitem__": lambda self, i: (self.images[i], self.labels_[i])})
        if told:
            items.targets = items.labels_
        with pytest.raises(mlaan.DataError, match=says):
            labels_of(items)


def named(images, classes, labels=None):
    items = Items(images[0], images[1] if labels is None else labels)
    items.targets, items.classes = items.labels_.tolist(), classes
    return items


def splits_of(train, test, classes=None):
    """Labels of both as the compiled part gets them."""
    found = []
    images = _data._core.Images
    _data._core.Images, _core_images = lambda p, labels, names: found.append((labels, names)), images
    try:
        _data.given({"test": test, "train": train}, classes)
    finally:
        _data._core.Images = _core_images
    (test_labels, names), (train_labels, same) = found
    assert names == same
    return train_labels, test_labels, names


def test_classes_are_taken_by_name(images):
    pixels, labels = images
    here, turned = labels.tolist(), (1 - labels).tolist()
    train = named(images, ["dark", "red"])
    # In another order, in a part, of more classes than are used, and as an array of names.
    for other in (named(images, ["red", "dark"], 1 - labels), Part(named(images, ["red", "dark"], 1 - labels), range(96)),
                  named(images, ["blue", "red", "dark"], 2 - labels), named(images, np.array(["red", "dark"]), 1 - labels)):
        assert splits_of(train, other) == (here, here, ["dark", "red"])
    assert splits_of(Table(pixels, labels), named(images, ["red", "dark"])) == (here, turned, ["dark", "red"])
    assert splits_of(train, train, ["red", "dark"]) == (turned, turned, ["red", "dark"])
    # Numbers name nothing, nor do arrays.
    assert splits_of(named(images, ["0", "1"]), train) == (here, here, ["0", "1"])
    assert splits_of((pixels, labels), named(images, ["red", "dark"])) == (here, here, ["red", "dark"])
    assert splits_of(train, (pixels, labels)) == (here, here, ["dark", "red"])
    assert splits_of(named(images, ["1", "0"]), named(images, ["0", "1"])) == (here, turned, ["1", "0"])


@pytest.mark.parametrize("classes, train, says", [
    (["zzz", "red"], ["dark", "red"], "test: no class is called `zzz`; the classes are `dark`, `red`"),
    (["dark"], ["dark", "red"], "label 1 is out of range"),
    (["red", "dark"], ["dark", "dark", "red"], "several classes are called `dark`"),
])
def test_names_that_are_missing_are_refused(images, classes, train, says):
    with pytest.raises(mlaan.DataError, match=says):
        mlaan.plan("bp-resnet8", data=(named(images, train), named(images, classes)))


def test_a_network_is_tested_by_names_of_classes(run, images):
    pixels, labels = images
    expected = run.evaluate(images)
    assert expected.accuracy > 60
    for data in (named(images, ["red", "dark"], 1 - labels), {"test": named(images, ["red", "dark"], 1 - labels)}):
        np.testing.assert_array_equal(run.evaluate(data).confusion, expected.confusion)
    with pytest.raises(mlaan.DataError, match="data, test: no class is called `light`"):
        run.evaluate(named(images, ["dark", "light"]))


def test_parts_that_are_put_together_have_the_same_classes(images):
    class Whole(Items):
        datasets = [named(images, ["dark", "red"]), named(images, ["dark", "red"])]
    assert _data._read("train", Whole(*images)).classes == ["dark", "red"]
    Whole.datasets = [named(images, ["dark", "red"]), named(images, ["red", "dark"])]
    with pytest.raises(mlaan.DataError, match="another order"):
        _data._read("train", Whole(*images))


def test_a_list_of_images_with_labels(images, small, tmp_path):
    pixels, labels = images
    keys = {"train": {"epochs": 1, "batch": 16}, "data": {"size": 16, "augment": "none", "normalise": "cifar10"}}
    train = lambda data, name: bits(mlaan.train("bp-resnet8", data={"train": data, "test": images}, out=tmp_path / name, progress=False, threads=2,
                                                overrides=keys))
    expected = train(images, "arrays")
    assert train((list(pixels), labels), "list") == expected and train([list(pixels), labels.tolist()], "lists") == expected
    with pytest.raises(mlaan.DataError, match="96 images with 95 labels"):
        mlaan.plan("bp-resnet8", data=(list(pixels), labels[1:]))


def test_splits_in_files_are_refused_with_what_to_do(run):
    for data in (("train/", "test/"), {"train": "a/", "test": "b/"}):
        with pytest.raises(mlaan.DataError, match='one folder, as train/ and test/, and give its path: data="folder/"'):
            mlaan.plan("bp-resnet8", data=data)
    with pytest.raises(mlaan.DataError, match="found the path 'b/'"):
        run.evaluate({"test": "b/"})
    with pytest.raises(mlaan.DataError, match='needs "train"; found val, test'):
        mlaan.plan("bp-resnet8", data={"val": "a/", "test": "b/"})


def test_what_items_raise_is_said(images, tmp_path):
    class Broken(Items):
        targets = property(lambda self: self.labels_)

        def __getitem__(self, index):
            raise ValueError("no such picture")
    with pytest.raises(mlaan.DataError, match="item 0: ValueError: no such picture") as e:
        labels_of(Broken(*images))
    assert isinstance(e.value.__cause__, ValueError)

    class Late(Items):
        targets = property(lambda self: self.labels_)

        def __getitem__(self, index):
            if index == 5:
                raise OSError("the disk is gone")
            return super().__getitem__(index)
    with pytest.raises(mlaan.DataError, match="image 5: OSError: the disk is gone") as e:
        mlaan.train("bp-resnet8", data={"train": Late(*images), "test": images}, out=tmp_path / "run", progress=False,
                    overrides={"data": {"size": 16, "normalise": "cifar10"}})
    cause = e.value.__cause__
    assert isinstance(cause, OSError) and cause.__traceback__.tb_next is not None
    with pytest.raises(mlaan.DataError, match="expected .image, label., found dict"):
        labels_of([{"image": images[0][0], "label": 0}])
    with pytest.raises(mlaan.DataError, match="from 0 to 1"):
        _pixels.one(np.full((4, 4, 3), 3.0))


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
        self.columns, self.turn = {"img": images, "label": labels}, lambda row: row

    def __len__(self):
        return len(self.columns["img"])

    def __getitem__(self, key):
        if isinstance(key, str):
            assert key == "label", "images are not to be decoded at once"
            return self.columns[key].tolist()
        return self.turn({"img": Picture(self.columns["img"][key]), "label": int(self.columns["label"][key])})


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
