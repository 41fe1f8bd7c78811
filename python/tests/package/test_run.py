"""What can be done with a run."""
import mmap

import mlaan
import numpy as np
import pytest


def test_an_evaluation_counts(run, images):
    pixels, labels = images
    found = run.evaluate((pixels, labels), mistakes=3)
    assert found.images == 96 and found.confusion.sum() == 96 and found.classes == ["dark", "red"]
    guesses = run.predict(pixels).argmax(1)
    expected = np.zeros((2, 2), int)
    np.add.at(expected, (labels, guesses), 1)
    np.testing.assert_array_equal(found.confusion, expected)
    assert found.accuracy == pytest.approx(100 * (guesses == labels).mean())
    assert len(found.mistakes) == min(3, (guesses != labels).sum())
    assert found._repr_html_().count("<tr>") == 3
    # One split of a mapping is tested.
    assert run.evaluate({"train": (pixels[:4], labels[:4]), "test": (pixels[:8], labels[:8])}).images == 8
    for name in ("validation", "val"):
        with pytest.raises(mlaan.DataError, match='needs "test"; found validation'):
            run.evaluate({name: (pixels, labels), "test": None})
    with pytest.raises(mlaan.DataError, match="lie in no file"):
        mlaan.Run(run.path).evaluate()
    with pytest.raises(mlaan.DataError, match="given"):
        run.evaluate(images, split="train")


def test_the_run_that_was_trained_knows_its_images(run, images):
    """The part that was held out is tested, not all of them."""
    assert run.summary["test_accuracy"] == run.evaluate().accuracy and run.evaluate().images == 24
    assert run.evaluate(split="train").images == 72
    import pickle
    assert pickle.loads(pickle.dumps(run)).path == run.path


def test_probabilities_are_the_same_in_any_batch(run, images):
    pixels, _ = images
    found = run.predict(pixels)
    assert found.shape == (96, 2) and found.dtype == np.float32
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    np.testing.assert_array_equal(found, run.predict(pixels, batch=7, threads=1))
    np.testing.assert_array_equal(found[:3], run.predict(list(pixels[:3])))
    logits = run.predict(pixels, logits=True).astype(np.float64)
    softmax = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(found, softmax / softmax.sum(1, keepdims=True), atol=1e-6)
    # Of other sizes, each scaled by itself.
    assert run.predict([pixels[0], np.repeat(pixels[1], 2, 1)]).shape == (2, 2)
    assert run.predict(pixels[:0]).shape == (0, 2) and run.predict([]).shape == (0, 2)
    with pytest.raises(mlaan.DataError, match=r"images\[None\]"):
        run.predict(pixels[0])
    with pytest.raises(mlaan.DataError, match="uint8"):
        run.predict(pixels.astype(np.float32))


def test_options_that_cannot_be_are_refused(run, images, tmp_path):
    pixels = images[0][:2]
    for threads in (0, -1):
        with pytest.raises(mlaan.RecipeError, match="at least 1"):
            run.predict(pixels, threads=threads)
        with pytest.raises(mlaan.RecipeError, match="threads"):
            run.evaluate(images, threads=threads)
    # As the command does: no more than can run at once.
    assert run.predict(pixels, threads=100_000).shape == (2, 2)
    for batch in (0, -1):
        with pytest.raises(mlaan.RecipeError, match="batch"):
            run.evaluate(images, batch=batch)
        with pytest.raises(mlaan.RecipeError, match=f"batch: at least 1, found {batch}"):
            run.predict(pixels, batch=batch)
    for wrong in (2.5, "many"):
        with pytest.raises(mlaan.RecipeError, match="a whole number"):
            run.predict(pixels, batch=wrong)
        with pytest.raises(mlaan.RecipeError, match="a whole number"):
            run.predict(pixels, threads=wrong)
    assert run.predict(pixels, batch=None).shape == run.predict(pixels, batch=np.int64(1)).shape == (2, 2)
    with pytest.raises(TypeError, match="on_epoch: expected a function"):
        mlaan.train("bp-resnet8", data=images, out=tmp_path / "run", on_epoch="print", progress=False)
    with pytest.raises(mlaan.DataError, match="a list of names"):
        mlaan.plan("bp-resnet8", data=images, classes="ab")


class Pairs:
    """As `torch.utils.data.Dataset`, which is not iterable by itself."""

    def __init__(self, images):
        self.images, self.labels = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], int(self.labels[index])


def test_images_may_have_labels_beside_them(run, images):
    pixels, labels = images
    found = run.predict(pixels)
    rows = [{"img": image, "label": 0} for image in pixels]
    for form in (Pairs(images), images, list(zip(pixels, labels)), zip(pixels, labels), rows, (list(pixels), labels.tolist()), iter(pixels),
                 [image.transpose(2, 0, 1) / 255 for image in pixels]):
        np.testing.assert_array_equal(run.predict(form, batch=7), found)
    for form, says in [("cat.png", "`mlaan predict` reads files"), (["cat.png"], "item 0: found the path 'cat.png'"), (3, "found int"),
                       ([pixels[0], None], "item 1: pixels must be uint8"), (pixels.transpose(0, 3, 1, 2), "channels last"),
                       ([{"text": 1}], "item 0"), (pixels[..., 0], "makes RGB of grey"), ([np.full((4, 4, 3), np.nan)], "no finite")]:
        with pytest.raises(mlaan.DataError, match=says):
            run.predict(form)


def test_an_analysis_takes_images(run, images, tmp_path):
    """Those of the run, or others: to the same numbers as of the same images."""
    pixels, labels = images
    wanted = {"separability": True, "heads": True}
    own = mlaan.analyze(run, out=tmp_path / "own", **wanted)
    again = mlaan.analyze(mlaan.Run(run.path), data=images, out=tmp_path / "again", **wanted)
    # With the share of the recipe held out.
    assert own.rows == again.rows and own.about["images"] == [72, 24], own.about.keys()
    splits = {"train": Pairs((pixels[:48], labels[:48])), "test": (pixels[48:], labels[48:])}
    other = mlaan.analyze(run.path, data=splits, out=tmp_path / "other", **wanted)
    assert other.about["images"] == [48, 48] and all(r["separability"] is not None for r in other.rows[1:])
    with pytest.raises(mlaan.DataError, match="lie in no file: give some, as analyze"):
        mlaan.analyze(run.path)
    with pytest.raises(mlaan.DataError, match='needs "train"'):
        mlaan.analyze(run, data={"test": images})
    with pytest.raises(mlaan.RecipeError, match="needs a run"):
        mlaan.analyze()
    with pytest.raises(mlaan.RecipeError, match="only source, not limit"):
        mlaan.analyze(run, data={"source": "builtin", "limit": 3})
    with pytest.raises(mlaan.DataError, match="nowhere"):
        mlaan.analyze(run, data={"source": str(tmp_path / "nowhere")})


def test_the_state_is_a_view_of_the_file(run):
    state = run.state_dict()
    assert {"conv1.weight", "bn1.running_var", "fc.bias"} <= state.keys() and not any(k.startswith("aux.") for k in state)
    for array in state.values():
        assert array.dtype == np.float32 and not array.flags.writeable and not array.flags.owndata
        base = array
        while isinstance(base, np.ndarray):
            base = base.base
        assert isinstance(base.obj if isinstance(base, memoryview) else base, mmap.mmap)
    with pytest.raises(ValueError):
        state["fc.bias"][0] = 1
    assert state["fc.weight"].shape[0] == 2 and state["conv1.weight"].shape[1:] == (3, 3, 3)


def test_a_run_that_saves_meanwhile_is_read_again(run, monkeypatch):
    """Between what the checkpoint says and its network, that network makes room for the next."""
    about, asked = mlaan.Run.about, []

    def ask(self, *, best=False):
        asked.append(best)
        found = about(self, best=best)
        return {**found, "model": found["model"] + ".gone", "step": 0} if len(asked) % 2 else found
    expected = run.state_dict()
    monkeypatch.setattr(mlaan.Run, "about", ask)
    found = run.state_dict()
    assert found.keys() == expected.keys() and all(np.array_equal(v, expected[k]) for k, v in found.items())
    assert run._network(True)[0]["step"] > 0 and asked == [False, False, True, True]


def test_exports(run, tmp_path):
    path = run.export("onnx", tmp_path / "net.onnx")
    assert path.stat().st_size > 1000
    path = run.export("safetensors", tmp_path / "net.safetensors")
    from mlaan._tensors import views
    exported = path.read_bytes()
    assert b"conv1.weight" in exported
    assert views(run.path / "checkpoints" / run.about()["model"].rsplit("/", 1)[-1]).keys() == run.state_dict().keys()
    with pytest.raises(mlaan.RecipeError, match="safetensors"):
        run.export("torch", tmp_path / "net.pt")


def test_a_run_says_what_it_is(run):
    about = run.about()
    assert about["classes"] == run.classes == ["dark", "red"] and about["size"] == 16 and len(about["mean"]) == 3
    assert run.summary["epochs"] == 2 and "epoch" in run.metrics()
    assert mlaan.Run(run.path).about(best=True)["epoch"] in (1, 2)


def test_metrics_are_columns(run):
    metrics = run.metrics()
    assert list(metrics)[:2] == ["epoch", "lr"] and len(metrics["seconds"]) == 2
    assert metrics["epoch"].dtype == np.int64 and metrics["train_loss"].dtype == np.float64
    assert metrics._repr_html_().count("<tr>") == 3
    pandas = pytest.importorskip("pandas", reason="SKIPPED: pandas is not installed")
    frame = metrics.to_pandas()
    assert isinstance(frame, pandas.DataFrame) and frame["epoch"].tolist() == [1, 2]


def test_a_run_goes_on_to_more_epochs(images, small, tmp_path):
    run = mlaan.train("bp-resnet8", data=images, classes=["a", "b"], out=tmp_path / "run", progress=False, overrides=small)
    assert run.resume(data=images, classes=["a", "b"], progress=False).summary["epochs"] == 2
    # Names are those of the checkpoint.
    more = mlaan.Run(run.path).resume(epochs=3, data=images, progress=False)
    assert more.metrics()["epoch"].tolist() == [1, 2, 3] and more.classes == ["a", "b"]
    assert run.resume(epochs=4, progress=False).evaluate().classes == ["a", "b"]


def test_a_run_goes_on_as_it_was_computed(images, small, tmp_path, capsys, monkeypatch):
    """Silent, and on one thread."""
    from mlaan import _running
    asked, call = [], _running.call
    monkeypatch.setattr(_running, "call", lambda args, *rest: asked.append(args) or call(args, *rest))
    run = mlaan.train("bp-resnet8", data=images, out=tmp_path / "run", progress=False, threads=1, overrides=small)
    more = run.resume(epochs=3)
    assert capsys.readouterr().out == "" and more.metrics()["epoch"].tolist() == [1, 2, 3]
    more.resume(epochs=4, progress="text")
    assert "epoch" in capsys.readouterr().out and all("--threads=1" in args for args in asked) and len(asked) == 3


def test_other_images_are_refused(images, small, tmp_path):
    pixels, labels = images
    keys = {**small, "data": {**small["data"], "normalise": "cifar10"}}
    run = mlaan.train("bp-resnet8", data=images, out=tmp_path / "run", progress=False, overrides=keys)
    with pytest.raises(mlaan.DataError, match="images have other labels"):
        run.resume(data=(pixels, 1 - labels), epochs=3, progress=False)
    with pytest.raises(mlaan.DataError, match="96 for training|72 for training"):
        run.resume(data=(pixels[:80], labels[:80]), epochs=3, progress=False)
    # Of the same labels, and with the same mean.
    with pytest.raises(mlaan.DataError, match=r"image \d+ \(training\) is another one"):
        run.resume(data=(np.concatenate([pixels[2:], pixels[:2]]), labels), epochs=3, progress=False)
    assert run.resume(data=(pixels.copy(), labels), epochs=3, progress=False).metrics()["epoch"].tolist() == [1, 2, 3]


def test_items_that_vary_go_on(images, tmp_path):
    """With what was measured of them, which is another number each time."""
    pixels, labels = images
    random = np.random.default_rng(1)

    class Varying(Pairs):
        transform = "random"

        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return np.clip(image.astype(int) + random.integers(-20, 20), 0, 255).astype(np.uint8), label
    keys = {"train": {"epochs": 2, "batch": 16, "warmup": 0}, "data": {"size": 16, "augment": "none", "test": 0.25, "normalise": "auto"}}
    run = mlaan.train("bp-resnet8", data=Varying((pixels, labels)), out=tmp_path / "run", progress=False, overrides=keys)
    assert mlaan.Run(run.path).resume(data=Varying((pixels, labels)), epochs=3, progress=False).metrics()["epoch"].tolist() == [1, 2, 3]
    with pytest.raises(mlaan.DataError, match="other labels"):
        run.resume(data=Varying((pixels, 1 - labels)), epochs=4, progress=False)


def test_a_folder_without_a_run_is_none(run, tmp_path):
    with pytest.raises(mlaan.Error, match="this folder is no run; give the one that train"):
        mlaan.Run(tmp_path)
    assert mlaan.Run(run.path / "checkpoints").about()["epoch"] == 2
    with pytest.raises(mlaan.Error, match=f"runs in it are .*{run.path.name}"):
        mlaan.Run(run.path.parent)
    with pytest.raises(mlaan.Error, match="no such run"):
        mlaan.Run(tmp_path / "nowhere")
    with pytest.raises(mlaan.Error, match="this file is no run"):
        mlaan.Run(run.path / "recipe.toml")
    assert mlaan.Run(run.path / "checkpoints/best.json").about()["short_side"] == 18


def test_comparisons_analyses_and_reports(run, tmp_path):
    keys = {"train": {"batch": 16}, "data": {"limit": 48}}
    compare = lambda **k: mlaan.compare("bp-resnet8", "dgl-resnet8-2", data="builtin", seeds=[0], epochs=1, out=tmp_path / "cmp", progress=False,
                                        overrides=keys, **k)
    found = compare()
    assert [r["name"] for r in found.rows] == ["bp-resnet8", "dgl-resnet8-2"] and len(found.runs) == 2
    assert all(0 <= r["test_error_mean"] <= 100 for r in found.rows) and found.rows[0]["memory"] == 1.0
    assert mlaan.compare(show=True, out=tmp_path / "cmp", progress=False).rows == found.rows
    assert compare(show=True).rows == found.rows and "<td>" in found._repr_html_()
    first, second = (next((tmp_path / "cmp" / r["name"]).glob("seed-0")) for r in found.rows)
    analysis = mlaan.analyze(second, heads=True, separability=True, limit=32, out=tmp_path / "analysis")
    assert {r["network"] for r in analysis.rows} and any(r["separability"] is not None for r in analysis.rows)
    assert any(r["independent"] is not None for r in analysis.rows)
    assert found.path == tmp_path / "cmp" and analysis.path == tmp_path / "analysis"
    page = mlaan.report(mlaan.Run(first), found, analysis, out=tmp_path / "page.html")
    assert "<html" in page.read_text() and mlaan.report(first, tmp_path / "cmp", out=tmp_path / "other.html").exists()
    with pytest.raises(TypeError, match="out: expected a path, found 5"):
        mlaan.train("quickstart", out=5)
    with pytest.raises(TypeError, match="expected a run"):
        mlaan.report(5)
    with pytest.raises(mlaan.Error, match=r"the seeds of a comparison are seeds=; `seeds=\[2\]` is seed 2 alone"):
        compare(seed=2)
    with pytest.raises(mlaan.RecipeError, match="nope: no such row"):
        compare(only="nope")


def test_weights_to_start_from(run, images, small, tmp_path):
    begun = mlaan.train("bp-resnet8", data=images, classes=run.classes, init=run, out=tmp_path / "run", progress=False,
                        overrides={**small, "train": {**small["train"], "epochs": 1, "lr": 0.0}})
    assert np.array_equal(begun.state_dict()["conv1.weight"], run.state_dict()["conv1.weight"])
    with pytest.raises(TypeError, match="torch.save"):
        mlaan.train("bp-resnet8", data=images, init=object(), progress=False)


def test_seeds_are_counted_or_listed(monkeypatch):
    asked = []
    monkeypatch.setattr("mlaan._tables.call", lambda args, _: asked.extend(a for a in args if a.startswith("--seeds")) or '{"cells": []}')
    for seeds in (3, np.int64(3), [0, np.int64(4)], np.array([0, 4]), "3-5"):
        mlaan.compare("bp-resnet8", seeds=seeds, progress=False)
    assert asked == ["--seeds=3", "--seeds=3", "--seeds=0,4,", "--seeds=0,4,", "--seeds=3-5"]


@pytest.mark.parametrize("recipe", ["bp-resnet8", "dgl-resnet20-2", "dgl+resnet18-2+own"])
def test_pytorch_gives_the_same_logits(recipe, images, tmp_path):
    torch = pytest.importorskip("torch", reason="SKIPPED: PyTorch is not installed")
    pixels, labels = images
    size = 16 if "resnet18" not in recipe else 32
    pixels, labels = pixels[:12], labels[:12]
    pixels = np.repeat(np.repeat(pixels, size // 16, 1), size // 16, 2)
    keys = {"train": {"epochs": 1, "batch": 8}, "data": {"size": size, "limit": 8}}
    run = mlaan.train(recipe, data=((pixels, labels), (pixels[:4], labels[:4])), out=tmp_path / "run", progress=False, overrides=keys)
    network, about = run.to_torch(), run.about()
    mean, std = (torch.tensor(about[k]).view(3, 1, 1) for k in ("mean", "std"))
    with torch.no_grad():
        theirs = network((torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std).numpy()
    ours = run.predict(pixels, logits=True)
    assert np.abs(theirs - ours).max() < 1e-4 * max(1, np.abs(ours).max())
    assert not network.training and all(int(v) == about["step"] for k, v in network.state_dict().items() if k.endswith("tracked"))
    run.export("safetensors", tmp_path / "net.safetensors")
    loaded = mlaan.load(tmp_path / "net.safetensors")
    with torch.no_grad():
        assert np.array_equal(loaded((torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std).numpy(), theirs)
    assert loaded.metadata["size"] == about["size"] and loaded.metadata["mean"] == about["mean"] and loaded.metadata["classes"] == run.classes
    run.export("onnx", tmp_path / "net.onnx")
    torch.save(network.state_dict(), tmp_path / "net.pt")
    for path, says in [("net.onnx", "no safetensors"), ("net.pt", "train.init=…. takes"), ("nowhere", "No such file"), ("run", "to_torch")]:
        with pytest.raises(mlaan.DataError, match=says):
            mlaan.load(tmp_path / path)
    # Its parameters are its own.
    assert all(p.requires_grad for p in network.parameters())
