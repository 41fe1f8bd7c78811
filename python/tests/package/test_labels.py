"""Labels, and the names of classes."""
import mlaan
import numpy as np
import pytest
from mlaan import _data, _labels
from sets_of_users import Items, Part, Table, labels_of, named


def test_labels_are_whole_numbers_of_any_type(images):
    pixels, labels = images
    expected = labels.tolist()
    for form in (labels.astype(">i4"), labels.astype(bool), labels.astype(np.float32), labels.astype(np.uint8), labels.tolist(),
                 np.repeat(labels, 2)[::2], [np.int8(k) for k in labels], labels.astype(object)):
        assert _labels.whole(form, "train") == expected
    assert labels_of([(pixels[0], True), (pixels[1], np.float32(1)), (pixels[2], np.array(0))]) == [1, 1, 0]
    with pytest.raises(mlaan.DataError, match="return_inverse"):
        mlaan.plan("bp-resnet8", data=(pixels[:2], [0, 10**12]))
    for images_ in (pixels[:2], list(pixels[:2])):
        with pytest.raises(mlaan.DataError, match="data, train: labels must be whole numbers"):
            mlaan.plan("bp-resnet8", data=(images_, [0, [1, 2]]))


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


def test_names_are_of_images_without_their_own(images, run, tmp_path):
    out = tmp_path / "run"
    for data in (None, "builtin", {"size": 16}):
        for classes in (["dark", "red"], 2):
            with pytest.raises(mlaan.RecipeError, match="classes: names are of arrays and sequences"):
                mlaan.train("bp-resnet8", data=data, classes=classes, out=out, progress=False)
    with pytest.raises(mlaan.RecipeError, match="classes: names are of arrays"):
        run.resume(classes=["dark", "red"])
    for number in (2, np.int64(2), np.array(2)):
        with pytest.raises(mlaan.RecipeError, match="classes: expected a list of names, .* found 2"):
            mlaan.train("bp-resnet8", data=images, classes=number, out=out, progress=False)
    assert not out.exists()


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
