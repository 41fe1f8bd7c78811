"""What the command says, in Python's words."""
import re
from pathlib import Path

import mlaan
import numpy as np
import pytest
from mlaan._words import spoken

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("command, said, words", [
    ("train", "runs/a: holds a run already; pass --resume to go on with it, or another --out",
     "runs/a: holds a run already; Run(…).resume() goes on with it, or pass another out="),
    ("train", "the last checkpoint is a/last.json; mlaan train --resume --out 'a b' goes on from it",
     'the last checkpoint is a/last.json; mlaan.Run("a b").resume() goes on from it'),
    ("train", "runs/a holds a run already (--resume --out runs/a goes on with that one)",
     'runs/a holds a run already (mlaan.Run("runs/a").resume() goes on with that one)'),
    ("train", " next  mlaan eval runs/a\n       mlaan report runs/a", ' next  mlaan.Run("runs/a").evaluate()\n       mlaan.report("runs/a")'),
    ("train", "Chosen: train.batch=1 local.recompute=module", 'Chosen: train={"batch": 1} local={"recompute": "module"}'),
    ("resume", "a: it was trained on other images: as many. Give those, or use another --out", "a: it was trained on other images: as many. Give those"),
    ("export", "--out wants a file", "path= wants a file"),
    ("compare", "the seeds are --seeds; `--seeds 2,` is seed 2 alone", "the seeds are seeds=; `seeds=[2]` is seed 2 alone"),
    ("train", "go on: mlaan train --resume --out runs/a --time TIME", 'go on: mlaan.Run("runs/a").resume(time=…)'),
    ("train", "mlaan train --resume --out runs/a.b, then look", 'mlaan.Run("runs/a.b").resume(), then look'),
    ("train", "start it with `--memory 960MiB` to let settings be chosen that fit, take `--recompute module`, or a smaller `--batch`",
     'start it with `memory="960MiB"` to let settings be chosen that fit, take `local={"recompute": "module"}`, or a smaller `train={"batch": …}`'),
    ("eval", "or start it with a smaller `--batch`", "or start it with a smaller `batch=`"),
    ("train", "as data.test = 0.2 (`--test 0.2`)", 'as data.test = 0.2 (`overrides={"data": {"test": 0.2}}`)'),
    ("train", "use fewer images (`--limit`), or leave them on disk (`--set data.load=stream`)",
     'use fewer images (`overrides={"data": {"limit": …}}`), or leave them on disk (`overrides={"data": {"load": "stream"}}`)'),
    ("analyze", "use fewer images (`--limit`)", "use fewer images (`limit=`)"),
    ("train", "set train.lr too (--lr 0.001 is usual)", 'set train.lr too (train={"lr": 0.001} is usual)'),
    ("train", "Missing for --device cuda: a driver", 'Missing for device="cuda": a driver'),
    ("train", "say which with --key NAME", 'say which with model={"init_key": "NAME"}'),
    ("train", "invalid value 'gpu' for '--device <cpu|cuda[:N]>': it is cpu", "invalid value 'gpu' for `device`: it is cpu"),
    ("export", "for PyTorch write `--format safetensors`", 'for PyTorch write `format="safetensors"`'),
    ("train", "fine-tuning is better: `--init resnet18.pth`, `--modules 4` is less", 'fine-tuning is better: `init="resnet18.pth"`, `local={"modules": 4}` is less'),
    ("train", "finished already; give --epochs a larger number", 'finished already; give train={"epochs": …} a larger number'),
    ("train", "recipe key `epochs`: unknown key; did you mean `train.epochs`?", 'recipe key `epochs`: unknown key; did you mean `train={"epochs": …}`?'),
    ("analyze", "--heads: no checkpoint has auxiliary classifiers", "heads=: no checkpoint has auxiliary classifiers"),
    ("analyze", "the following required arguments were not provided:\n  --against <CHECKPOINT>", "missing: against="),
    # What a terminal is for stays as it is, and so does what is no flag.
    ("eval", "`mlaan import --classes FILE` gives a network's classes other names", "`mlaan import --classes FILE` gives a network's classes other names"),
    ("train", "a/--data/b, x--out, --unheard-of", "a/--data/b, x--out, --unheard-of"),
])
def test_flags_are_keywords_or_keys(command, said, words):
    assert spoken(said, command) == words


#: Of commands that Python does not run, or of what only a terminal shows.
ELSEWHERE = {"all", "bind-to", "gflops", "help", "json", "mpi", "new-classifier", "path", "plain", "plan", "plot", "rank-modules", "ranks", "resolve"}


def test_every_flag_in_a_message_has_words():
    """Messages of the library and of the command, in their sources."""
    found = {}
    for folder in ("crates/mlaan/src", "crates/cli/src"):
        for path in sorted((ROOT / folder).rglob("*.rs")):
            # Help is of the command line alone.
            if "/args/" in path.as_posix() or path.name == "schema.rs":
                continue
            text = path.read_text().split("#[cfg(test)]")[0]
            for line in text.splitlines():
                if not line.lstrip().startswith("//"):
                    found |= {flag: path for flag in re.findall(r"(?<![\w-])--([a-z][a-z-]+)", line)}
    assert len(found) > 20
    unknown = {f"--{flag}": str(path) for flag, path in found.items() if "--" in spoken(f"take `--{flag}`", "train") and flag not in ELSEWHERE}
    assert not unknown


def test_errors_name_what_python_has(images, run, tmp_path, small):
    with pytest.raises(mlaan.Error) as e:
        mlaan.train("bp-resnet8", data=images, out=run.path, progress=False, overrides=small)
    assert "--" not in str(e.value) and "resume()" in str(e.value) and "out=" in str(e.value)
    with pytest.raises(mlaan.RecipeError) as e:
        mlaan.plan("bp-resnet8", device="gpu")
    assert "--" not in str(e.value) and "`device`" in str(e.value)
    with pytest.raises(mlaan.Error) as e:
        mlaan.analyze(run, run, data=images)
    assert "--" not in str(e.value) and "against=" in str(e.value)
    with pytest.raises(mlaan.RecipeError, match="missing: against=$"):
        mlaan.analyze(run, data=images, cka=True)


def test_keys_that_are_no_words_are_refused():
    for keys in ({"class weights": 1}, {"train": {"a=b": 1}}, {"train": {"": 1}}, {1: 2}, {"train": {"epochs\n": 1}}):
        with pytest.raises(mlaan.RecipeError, match="unknown key"):
            mlaan.plan("bp-resnet8", overrides=keys)
    # A table where none is: said with the key that it was given to.
    for table in ({"a b": 2.0}, {'"': 1}, {"a": 2.0}, {1: 2.0}, {}):
        with pytest.raises(mlaan.RecipeError, match="train.class_weights"):
            mlaan.plan("bp-resnet8", train={"class_weights": table})
    with pytest.raises(TypeError, match="a dictionary"):
        mlaan.plan("bp-resnet8", overrides=[("train.epochs", 3)])
    assert mlaan.plan("bp-resnet8", overrides={"train.batch": 24}).about["batch"] == 24


def test_values_are_those_of_toml():
    from mlaan import _settings
    assert _settings.toml("a\x7f\"\\\n\u2028é") == '"a\\u007f\\"\\\\\\n\u2028é"'
    assert _settings.toml({"a b": 1, "c": 2}) == '{"a b" = 1, c = 2}'
    with pytest.raises(TypeError, match="bytes is no value"):
        mlaan.plan("bp-resnet8", train={"optimizer": b"sgd"})
    with pytest.raises(mlaan.RecipeError, match="not UTF-8"):
        mlaan.plan("bp-resnet8", model={"init": "\udcff.pt"})
    with pytest.raises(mlaan.RecipeError, match="not UTF-8"):
        mlaan.plan(data="\udcff")
    assert mlaan.plan("bp-resnet8", train={"class_weights": np.array([1.0, 2.0])}, classes=2).about["classes"] == 2


def test_names_that_are_missing_are_those_of_recipes():
    for work in (lambda: mlaan.plan("mlan-resnet32-16"), lambda: mlaan.train("mlan-resnet32-16"), lambda: mlaan.compare("smal", progress=False)):
        with pytest.raises(mlaan.RecipeError, match="neither a built-in recipe nor a file"):
            work()


def test_what_is_shown_is_what_there_is():
    assert set(mlaan.__all__) < set(dir(mlaan)) and {name for name in dir(mlaan) if not name.startswith("_")} == {*mlaan.__all__, "torch"} - {"__version__"}


def test_what_is_missing_is_said(images):
    with pytest.raises(mlaan.RecipeError, match="needs a suite or recipes"):
        mlaan.compare()
    with pytest.raises(mlaan.DataError, match="takes paths"):
        mlaan.compare("bp-resnet8", data=images)
    with pytest.raises(mlaan.RecipeError, match="needs runs"):
        mlaan.report()
