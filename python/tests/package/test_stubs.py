"""What is typed is what is there."""
import ast
import inspect
import subprocess
import sys
from pathlib import Path

import mlaan
import pytest
from mlaan import _core

PACKAGE = Path(mlaan.__file__).parent
STUB = ast.parse((PACKAGE / "_core.pyi").read_text())


def signature(function):
    """Names, kinds and defaults of a function in the stub."""
    a = function.args
    plain = a.posonlyargs + a.args
    defaults = [inspect.Parameter.empty] * (len(plain) - len(a.defaults)) + [ast.literal_eval(d) for d in a.defaults]
    found = [(p.arg, inspect.Parameter.POSITIONAL_OR_KEYWORD, d) for p, d in zip(plain, defaults)]
    for p, d in zip(a.kwonlyargs, a.kw_defaults):
        found.append((p.arg, inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.empty if d is None else ast.literal_eval(d)))
    return [f for f in found if f[0] not in ("self", "cls")]


def real(function):
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values() if p.name != "self"]


def public(thing):
    return {n for n in vars(thing) if not n.startswith("_")}


def test_the_stub_is_the_compiled_part():
    functions = {f.name: f for f in STUB.body if isinstance(f, ast.FunctionDef)}
    classes = {c.name: c for c in STUB.body if isinstance(c, ast.ClassDef)}
    assert public(_core) == functions.keys() | classes.keys()
    for name, function in functions.items():
        assert signature(function) == real(getattr(_core, name)), name
    for name, stub in classes.items():
        cls = getattr(_core, name)
        assert cls.__doc__.split("\n")[0] == ast.get_docstring(stub).split("\n")[0], name
        if issubclass(cls, Exception):
            assert [b.id for b in stub.bases] == [cls.__base__.__name__]
            continue
        methods = {m.name: m for m in stub.body if isinstance(m, ast.FunctionDef)}
        assert public(cls) == {m for m in methods if not m.startswith("_")}
        assert signature(methods["__new__"]) == real(cls), name
        for member, method in methods.items():
            if member.startswith("_"):
                assert hasattr(cls, member)
            elif any(isinstance(d, ast.Name) and d.id == "property" for d in method.decorator_list):
                assert inspect.isgetsetdescriptor(vars(cls)[member]), member
            else:
                assert signature(method) == real(getattr(cls, member)), member


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


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_type_checkers_agree(checker, tmp_path):
    pytest.importorskip(checker, reason=f"SKIPPED: types were NOT checked, {checker} is not installed")
    root = PACKAGE.parents[1]
    (tmp_path / "right.py").write_text(CODE)
    (tmp_path / "wrong.py").write_text(WRONG)
    files = [str(p) for p in sorted(PACKAGE.glob("_*.py*")) if p.suffix in (".py", ".pyi")]
    if checker == "pyright":
        pytest.importorskip("torch", reason="SKIPPED: types were NOT checked by pyright, PyTorch is not installed")
    # What is typed in others is not looked at: it takes long, and they may be missing.
    others = ["torch", "torchvision", "mlaan.torch", "pandas", "IPython"]
    rules = "".join(f"[mypy-{m}.*]\nfollow_imports = skip\nignore_missing_imports = True\n" for m in others)
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nstrict = True\nwarn_unused_ignores = False\n{rules}")
    options = {"mypy": ["--config-file", str(tmp_path / "mypy.ini"), "--cache-dir", str(tmp_path)],
               "pyright": ["--pythonpath", sys.executable]}[checker]
    check = lambda *paths: subprocess.run([sys.executable, "-m", checker, *options, *paths], cwd=root / "python", capture_output=True, text=True)
    said = check(*files, str(tmp_path / "right.py"))
    assert said.returncode == 0, said.stdout + said.stderr
    said = check(str(tmp_path / "wrong.py"))
    assert said.returncode == 1 and all(f"wrong.py:{line}:" in said.stdout for line in (2, 3, 4)), said.stdout
