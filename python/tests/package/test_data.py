"""Images from where Python has them."""
import json
import logging
import re

import mlaan
import numpy as np
import pytest
from mlaan import _core, _data, _pixels
from mlaan._call import call
from sets_of_users import ClassLabel, Items, Table, labels_of


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


@pytest.mark.parametrize("images_, remedy", [
    (np.full((2, 4, 4, 3), 0.5), "(images * 255).round().astype(\"uint8\") has them so"),
    (np.full((2, 4, 4, 3), 200.0), "images.round().astype(\"uint8\") has them so"),
    (np.full((2, 4, 4, 3), 200), "images.astype(\"uint8\") has them so"),
    (np.full((2, 4, 4), 0.5), "numpy.repeat((images * 255).round().astype(\"uint8\")[..., None], 3, axis=3) has them so"),
    (np.ones((2, 4, 4, 3), bool), "(images.astype(\"uint8\") * 255) has them so"),
    (np.full((2, 4, 4, 3), -1.25), "from -1.25 to -1.25: give pixels as they were before they were normalized"),
    (np.full((2, 4, 4, 3), np.nan), "no finite numbers"),
    (np.zeros((2, 3, 4, 4), np.uint8), "images.transpose(0, 2, 3, 1) puts channels last"),
    (np.zeros((2, 1, 4, 4), np.uint8), "numpy.repeat(images.transpose(0, 2, 3, 1), 3, axis=3) makes RGB"),
    (np.zeros((2, 4, 4, 1), np.uint8), "numpy.repeat(images, 3, axis=3) makes RGB"),
    (np.zeros((2, 4, 4), np.uint8), "numpy.repeat(images[..., None], 3, axis=3) makes RGB"),
    (np.zeros((2, 4, 4, 4), np.uint8), "images[..., :3] leaves out"),
    (np.zeros((4, 4, 3), np.uint8), "images[None] holds one image"),
    (np.zeros((3, 4, 4), np.uint8), "images.transpose(1, 2, 0)[None] holds one image"),
    (np.zeros((2, 4, 5, 5), np.uint8), "images.transpose(0, 2, 3, 1)[..., :3] puts channels last"),
    (np.full((2, 4, 4, 3), 65535, np.uint16), "(images // 257).astype(\"uint8\") has them so"),
    (np.full((2, 4, 4, 3), -7), "from -7 to -7"),
])
def test_what_is_refused_has_a_remedy_that_works(images_, remedy):
    refused(images_, remedy, numpy=np)


@pytest.mark.parametrize("images_, remedy", [
    (lambda torch: torch.full((2, 4, 4, 3), 0.5), "(images * 255).round().byte() has them so"),
    (lambda torch: torch.full((2, 4, 4, 3), 7, dtype=torch.int64), "images.byte() has them so"),
    (lambda torch: torch.full((2, 3, 4, 4), 0.5), "(images * 255).round().byte().permute(0, 2, 3, 1) has them so"),
    (lambda torch: torch.zeros((2, 3, 4, 4), dtype=torch.uint8), "images.permute(0, 2, 3, 1) puts channels last"),
    (lambda torch: torch.zeros((2, 1, 4, 4), dtype=torch.uint8), "images.permute(0, 2, 3, 1).repeat(1, 1, 1, 3) makes RGB"),
    (lambda torch: torch.zeros((3, 4, 4), dtype=torch.uint8), "images.permute(1, 2, 0)[None] holds one image"),
])
def test_remedies_for_tensors_are_those_of_pytorch(images_, remedy):
    torch = pytest.importorskip("torch", reason="SKIPPED: PyTorch is not installed")
    refused(images_(torch), remedy)


def refused(images, remedy, **names):
    """What is refused with this remedy is taken after it."""
    with pytest.raises(mlaan.DataError) as e:
        _pixels.array(images, "images")
    assert remedy in str(e.value)
    code = re.match(r"(\(?(?:images|numpy)\S*.*?) (?:has them so|puts|makes|leaves|holds)", remedy)
    if code:
        mended = eval(code[1], {"images": images, **names})
        assert _pixels.array(mended, "images").shape[-1] == 3


def test_classes_without_images_are_warned_of(caplog):
    """A label that is mistyped makes many classes."""
    pixels = np.zeros((40, 8, 8, 3), np.uint8)
    labels = np.arange(40) % 4
    mlaan.plan("bp-resnet8", data=(pixels, labels))
    assert not caplog.records
    labels[17] = 500
    assert mlaan.plan("bp-resnet8", data=(pixels, labels)).about["classes"] == 501
    said = caplog.text
    assert "there are 501 classes" in said and "label 500 is that of image 17" in said and "4, 5, 6, 7, 8 and 491 more" in said
    caplog.clear()
    mlaan.plan("bp-resnet8", data=(pixels, labels), classes=[str(k) for k in range(501)])
    assert not caplog.records


@pytest.mark.parametrize("labels, says", [
    (np.array(["cat", "dog"] * 4), "names, labels = numpy.unique"),
    (["cat", "dog"] * 4, "names, labels = numpy.unique"),
    (np.eye(8, 2), "labels.argmax(1)"),
    (np.zeros((8, 1), int), "labels[:, 0]"),
    (np.array([0, 1, np.nan, 1, 0, 1, 0, 1]), "that of image 2 is nan"),
])
def test_labels_of_another_form_have_a_remedy(labels, says):
    with pytest.raises(mlaan.DataError) as e:
        mlaan.plan("bp-resnet8", data=(np.zeros((8, 4, 4, 3), np.uint8), labels))
    assert says in str(e.value)


def test_a_list_of_data_sets_is_splits(images):
    """As `torch.utils.data.random_split` gives them; two items are no splits."""
    pixels, labels = images
    parts = [(pixels[:64], labels[:64]), (pixels[64:], labels[64:])]
    for data in (parts, [Items(*part) for part in parts]):
        assert list(_data._splits(data)) == ["train", "test"]
    assert _data._splits([(pixels[0], 0), (pixels[1], 1)]).keys() == {"train"}
    with pytest.raises(mlaan.DataError) as e:
        mlaan.plan("bp-resnet8", data=[(pixels[0], 0), (pixels[1], pixels)])
    assert len(str(e.value)) < 200 and "ndarray [96, 16, 16, 3]" in str(e.value)


def test_what_is_given_in_the_wrong_place(images):
    for work in (lambda: mlaan.train(images), lambda: mlaan.plan(images)):
        with pytest.raises(TypeError, match=r"images are data=\(images, labels\)"):
            work()
    with pytest.raises(mlaan.DataError, match=r"as data=\(images, labels\)"):
        mlaan.plan("bp-resnet8", data={"images": images[0], "labels": images[1]})


def test_forms_that_mean_nothing_are_refused(images):
    for data, says in [((images,) * 4, "found 4 parts"), ({"train": images, "tset": images}, "tset"), (3, "found int"),
                       ({"test": images}, 'needs "train"')]:
        with pytest.raises(mlaan.DataError, match=says):
            mlaan.train("bp-resnet8", data=data, progress=False)
    other = {"train": images, "test": (images[0][:4], [0, 1, 0, 1])}
    assert mlaan.plan("bp-resnet8", data=other).about["classes"] == 2


def test_a_fifth_is_held_out_where_there_are_no_test_images(images, tmp_path, caplog):
    keys = {"train": {"epochs": 1, "batch": 16}, "data": {"size": 16, "augment": "none"}}
    with caplog.at_level(logging.INFO, "mlaan"):
        run = mlaan.train("bp-resnet8", data=images, out=tmp_path / "run", progress=False, overrides=keys)
    assert "20 % of every class are held out" in caplog.text
    start = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert abs(start["test_images"] - 0.2 * len(images[1])) <= 2 and run.summary["epochs"] >= 1


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


def test_a_recipe_is_chosen_for_images(images, tmp_path, caplog):
    caplog.set_level(logging.INFO, "mlaan")
    plan = mlaan.plan(data=images, classes=["dark", "red"])
    assert plan.about["classes"] == 2 and plan.about["size"] == 16 and plan.about["batch"] <= 64
    run = mlaan.train(data=images, classes=["dark", "red"], train={"epochs": 1}, model={"backbone": "resnet8"}, out=tmp_path / "run",
                      progress=False)
    # A fifth of 96 images tests, a fifth of the others validates, which is said.
    assert "20 % of every class are held out to test on" in caplog.text and "held out to validate on" in caplog.text
    assert run.summary["best_val_error"] is not None and '"data": "own"' in (run.path / "metrics.jsonl").read_text().replace(":", ": ")


def test_images_that_are_given_are_no_path():
    with pytest.raises(mlaan.DataError, match="given by a program"):
        mlaan.plan("bp-resnet8", data=_data.GIVEN)
    with pytest.raises(mlaan.DataError, match="labels are 0 to 0"):
        _core.Images(np.zeros((1, 2, 2, 3), np.uint8), [1], ["a"])
