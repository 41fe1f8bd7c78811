"""Plans, recipes, and what is refused."""
import enum
import logging

import mlaan
import numpy as np
import pytest


def test_recipes_are_named():
    found = mlaan.recipes()
    assert "quickstart" in found and "mlaan-paper-resnet32-16" in found and all(found.values())


def test_a_plan_has_a_row_per_module():
    plan = mlaan.plan("mlaan-paper-resnet32-16", train={"batch": 64})
    assert len(plan.rows) == 16 and plan.about["batch"] == 64
    assert 0 < plan.memory_bytes < plan.backpropagation_bytes
    assert plan.memory_bytes == plan.about["local"]["memory_bytes"]
    html = plan._repr_html_()
    assert html.count("<tr>") == 17 and "MiB" in html


def test_a_plan_within_memory_has_a_row_per_fit():
    plan = mlaan.plan("bp-resnet32", memory="100MiB")
    assert plan.rows and all(r["memory_bytes"] <= 100 * 2**20 for r in plan.rows) and plan.backpropagation_bytes is None
    assert plan.memory_bytes == plan.rows[0]["memory_bytes"]
    with pytest.raises(mlaan.MemoryBudgetError, match="nothing fits") as e:
        mlaan.plan("bp-resnet32", memory=2**20)
    assert e.value.available == 2**20 < e.value.planned
    assert isinstance(e.value, mlaan.Error)


def test_errors_go_from_process_to_process():
    import copy
    import pickle
    found = mlaan.MemoryBudgetError("too much", 3, 2)
    for same in (pickle.loads(pickle.dumps(found)), copy.copy(found)):
        assert type(same) is mlaan.MemoryBudgetError and (str(same), same.planned, same.available) == ("too much", 3, 2)
    assert repr(mlaan.DataError("x")) == "DataError('x')" and mlaan.DataError.__module__ == "mlaan"
    assert isinstance(pickle.loads(pickle.dumps(mlaan.RecipeError("x"))), mlaan.Error)


def test_a_plan_is_a_table_of_pandas():
    pytest.importorskip("pandas", reason="SKIPPED: pandas is not installed")
    frame = mlaan.plan("dgl-resnet20-2").to_pandas()
    assert len(frame) == 2 and frame["peak_bytes"].min() > 0


def test_classes_are_counted_or_named():
    for classes in (3, np.int64(3), np.array([0, 2, 1]).max() + 1, np.array(3), ["a", "b", "c"], ("a", "b", "c"), np.array(["a", "b", "c"])):
        assert mlaan.plan("bp-resnet8", classes=classes).about["classes"] == 3
    assert mlaan.plan("bp-resnet8", data={"size": 32}, classes=np.uint8(3)).about["classes"] == 3
    for data in (None, {"size": 32}):
        with pytest.raises(mlaan.RecipeError, match="found 3.5"):
            mlaan.plan("bp-resnet8", data=data, classes=np.float64(3.5))
        with pytest.raises(mlaan.DataError, match="a list of names"):
            mlaan.plan("bp-resnet8", data=data, classes="abc")
    for data in ("builtin", {"size": 32}):
        with pytest.raises(mlaan.RecipeError, match="classes: names are of arrays and sequences"):
            mlaan.plan("bp-resnet8", data=data, classes=["a", "b", "c"])


def test_keys_are_the_recipes_in_any_form():
    batch = lambda **keys: mlaan.plan("bp-resnet8", **keys).about["batch"]
    assert batch(train={"batch": 24}) == 24
    assert batch(overrides={"train": {"batch": 24}}) == 24
    assert batch(overrides={"train": {"batch": 24}}, train={"batch": 12}) == 12
    assert batch(train={"batch": np.int64(24)}) == 24
    cuts = mlaan.plan("dgl-resnet8-2", local={"cuts": [1], "cascade": {"span": 2}}).about["cuts"]
    assert cuts == [1]
    assert mlaan.plan("bp-resnet8", data={"size": 64}).about["size"] == 64
    # `None` removes a key.
    leap = {"leap": None, "cascade": None}
    assert not any(m["sources"] for m in mlaan.plan("mlaan-paper-resnet32-16", local=leap).rows)


@pytest.mark.parametrize("keys, near", [({"train": {"epoch": 3}}, "train.epochs"), ({"trian": {"epochs": 3}}, "train.epochs"), ({"sed": 3}, "seed")])
def test_unknown_keys_have_a_nearest_spelling(keys, near):
    with pytest.raises(mlaan.RecipeError, match=f"did you mean `{near}`"):
        mlaan.plan("bp-resnet8", **keys)


def test_errors_have_the_words_of_the_command(tmp_path):
    with pytest.raises(mlaan.RecipeError, match="no recipe|no-such|nearest|neither"):
        mlaan.plan("no-such-recipe")
    with pytest.raises(mlaan.DataError, match="no/such/place"):
        mlaan.plan(data="no/such/place")
    with pytest.raises(mlaan.Error, match="there is no such run"):
        mlaan.Run(tmp_path / "gone")
    with pytest.raises(mlaan.RecipeError, match="train.lr"):
        mlaan.plan("bp-resnet8", train={"lr": "fast"})
    with pytest.raises(TypeError, match="no value of a recipe"):
        mlaan.plan("bp-resnet8", train={"lr": object()})
    with pytest.raises(mlaan.RecipeError, match="cuda"):
        mlaan.plan("bp-resnet8", device="gpu")


def test_notes_go_to_logging(images, small, caplog, tmp_path):
    pixels, labels = images
    with caplog.at_level(logging.WARNING, "mlaan"):
        # Warm-up that never ends is warned of.
        keys = {**small, "train": {"epochs": 1, "batch": 16, "warmup": 0}}
        mlaan.train("bp-resnet8", data=(pixels, labels), classes=["dark", "red"], out=tmp_path / "run", progress=False,
                    overrides={**keys, "data": {**small["data"], "augment": "cifar"}})
    assert all(r.name == "mlaan" for r in caplog.records)


def test_numbers_of_numpy_are_numbers():
    from mlaan import _settings
    found = [
        (np.float64(0.1), "0.1"), (np.float32(0.5), "0.5"), (np.int64(3), "3"), (np.bool_(True), "true"), (np.array(2.5), "2.5"),
        ([np.float64(0.9), np.int32(1)], "[0.9, 1]"), (np.array([0.9, 0.99]), "[0.9, 0.99]"), ({"a": np.float64(2)}, "{a = 2.0}"),
        (enum.IntEnum("Size", {"small": 3}).small, "3"), (np.str_("a"), '"a"'), (True, "true"), (1e-05, "1e-05")]
    assert [_settings.toml(value) for value, _ in found] == [text for _, text in found]
    assert _settings.flags(best=np.bool_(True), show=np.bool_(False), threads=np.int64(2)) == ["--best", "--threads=2"]
    plain = mlaan.plan("dgl-resnet8-2", train={"batch": 16, "optimizer": "adamw", "lr": 0.001, "betas": [0.9, 0.99]}, seed=3)
    given = mlaan.plan("dgl-resnet8-2", train={"batch": np.int64(16), "optimizer": "adamw", "lr": 0.001, "betas": [np.float64(0.9), np.float64(0.99)]},
                       seed=np.int64(3))
    assert given.about == plain.about
