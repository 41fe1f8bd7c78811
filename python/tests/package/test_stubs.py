"""What is typed is what is there."""
import ast
import importlib.util
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import mlaan
import pytest
from mlaan import _core

PACKAGE = Path(mlaan.__file__).parent


def test_the_stub_is_the_compiled_part(tmp_path):
    """`cargo test -p mlaan-python` compares it with what is generated; here it is compared with what an interpreter sees."""
    pytest.importorskip("mypy", reason="SKIPPED: the stub was NOT compared, mypy is not installed")
    # By themselves: with the whole package, and so NumPy, it takes a minute.
    alone = tmp_path / "mlaan"
    alone.mkdir()
    (alone / "__init__.py").touch()
    for path in (PACKAGE / "_core.pyi", Path(_core.__file__)):
        (alone / path.name).symlink_to(path.resolve())
    command = [sys.executable, "-m", "mypy.stubtest", "mlaan._core"]
    said = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr
    tree = ast.parse((PACKAGE / "_core.pyi").read_text())
    assert {f.name for f in tree.body if isinstance(f, (ast.FunctionDef, ast.ClassDef))} == {n for n in vars(_core) if not n.startswith("_")}
    for thing in ast.walk(tree):
        if isinstance(thing, (ast.FunctionDef, ast.ClassDef)) and not thing.name.startswith("_"):
            assert ast.get_docstring(thing), thing.name


def test_every_name_is_there_and_documented():
    assert set(mlaan.__all__) == {n for names in mlaan._PLACES.values() for n in names} <= set(dir(mlaan))
    for name in mlaan.__all__:
        thing = getattr(mlaan, name)
        assert name == "__version__" or thing.__doc__, name
        if inspect.isclass(thing):
            for member, value in vars(thing).items():
                if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
                    assert inspect.getdoc(value), f"{name}.{member}"
    with pytest.raises(AttributeError):
        mlaan.nothing


def test_options_are_keywords():
    """But for what a function is about."""
    for name in ("plan", "train"):
        kinds = [p.kind for p in inspect.signature(getattr(mlaan, name)).parameters.values()]
        assert kinds[0] == inspect.Parameter.POSITIONAL_OR_KEYWORD
        assert set(kinds[1:]) == {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}


def test_without_the_compiled_part_an_import_says_how(tmp_path):
    import shutil
    copy = tmp_path / "mlaan"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("_core.abi3.so", "__pycache__"))
    code = "import mlaan\ntry: mlaan.train\nexcept ImportError as e: print(e)"
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert "pip install ." in said.stdout and "mlaan.torch works without" in said.stdout, said.stderr


CODE = """
import mlaan
import numpy as np
plan: mlaan.Plan = mlaan.plan("bp-resnet8", memory="2GiB", train={"batch": 3})
n: int = plan.memory_bytes
def on_epoch(epoch: mlaan.Epoch) -> None:
    loss: float | None = epoch["train_loss"]
run: mlaan.Run = mlaan.train("bp-resnet8", data="builtin", on_epoch=on_epoch, seed=3)
p: np.ndarray = run.predict(np.zeros((1, 2, 2, 3), np.uint8))
m: mlaan.Metrics = run.metrics()
try: ...
except mlaan.MemoryBudgetError as e:
    planned: int = e.planned
"""
WRONG = "import mlaan\nmlaan.train('bp-resnet8', 'builtin')\nn: str = mlaan.plan('x').memory_bytes\nmlaan.train(progress='loud')\n"


def checked(command):
    said = subprocess.run([sys.executable, "-m", *command], cwd=PACKAGE.parent, capture_output=True, text=True)
    return said.returncode, said.stdout + said.stderr


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_type_checkers_agree(checker, tmp_path):
    (tmp_path / "right.py").write_text(CODE)
    (tmp_path / "wrong.py").write_text(WRONG)
    sources = [str(p) for p in sorted(PACKAGE.glob("_*.py*")) if p.suffix in (".py", ".pyi")]
    if checker == "mypy":
        pytest.importorskip("mypy", reason="SKIPPED: types were NOT checked, mypy is not installed")
        # What is typed in others is not looked at: it takes long, and they may be missing.
        others = ["torch", "torchvision", "mlaan.torch", "pandas", "IPython"]
        rules = "".join(f"[mypy-{m}.*]\nfollow_imports = skip\nignore_missing_imports = True\n" for m in others)
        (tmp_path / "mypy.ini").write_text(f"[mypy]\nstrict = True\nwarn_unused_ignores = False\n{rules}")
        command = ["mypy", "--config-file", str(tmp_path / "mypy.ini"), "--cache-dir", str(tmp_path)]
        check = lambda *paths: checked([*command, *paths])
    else:
        # The one from PyPI that fetches nothing when it starts, else the other.
        found = next((name for name in ("basedpyright", "pyright") if importlib.util.find_spec(name)), None)
        if found is None:
            pytest.skip("SKIPPED: types were NOT checked by pyright: pip install basedpyright")

        def check(*paths):
            rules = {"typeCheckingMode": "standard", "reportMissingImports": False, "reportMissingModuleSource": False}
            (tmp_path / "pyrightconfig.json").write_text(json.dumps({"include": list(paths), "extraPaths": [str(PACKAGE.parent)], **rules}))
            return checked([found, "-p", str(tmp_path), "--pythonpath", sys.executable])
    code, said = check(*sources, str(tmp_path / "right.py"))
    assert code == 0, said
    code, said = check(str(tmp_path / "wrong.py"))
    assert code == 1 and all(f"wrong.py:{line}:" in said for line in (2, 3, 4)), said
