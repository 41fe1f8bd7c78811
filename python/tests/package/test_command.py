"""The command line as a console script."""
import os
import signal
import subprocess
import sys
import time

import mlaan
from mlaan import _cuda

SCRIPT = [sys.executable, "-m", "mlaan"]


def test_the_script_is_the_command(tmp_path):
    said = subprocess.run([*SCRIPT, "--version"], capture_output=True, text=True, check=True)
    assert said.stdout == f"mlaan {mlaan.__version__}\n"
    # NumPy is not loaded: what the command plans is the process.
    code = "import sys; from mlaan import _script, _core; print('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
    wrong = subprocess.run([*SCRIPT, "plan", "--batch", "x"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "--batch" in wrong.stderr
    wrong = subprocess.run([*SCRIPT, "eval", "no/such/run"], capture_output=True, text=True)
    assert wrong.returncode == 1 and wrong.stderr.startswith("error: ")


def test_nvrtc_of_the_environment_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv(_cuda.VARIABLE, raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    library = tmp_path / "nvidia/cuda_nvrtc/lib/libnvrtc.so.13"
    library.parent.mkdir(parents=True)
    library.touch()
    (library.parent / "libnvrtc-builtins.so.13.0").touch()
    monkeypatch.delitem(sys.modules, "nvidia", raising=False)
    _cuda.find(["train", "--device=cpu"])
    assert _cuda.VARIABLE not in os.environ
    _cuda.find(["train", "--device=cuda:0"])
    assert os.environ.pop(_cuda.VARIABLE) == str(library)
    monkeypatch.setenv(_cuda.VARIABLE, "mine")
    _cuda.find(["cuda"])
    assert os.environ[_cuda.VARIABLE] == "mine"


def test_ctrl_c_is_the_commands(tmp_path):
    args = ["train", "bp-resnet8", "--data", "builtin", "--limit", "200", "--batch", "10", "--epochs", "500", "--out", str(tmp_path / "run"), "--json", "--threads", "2"]
    process = subprocess.Popen([*SCRIPT, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=os.environ)
    assert '"start"' in process.stdout.readline()
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130 and '"interrupted"' in out and "stopping after this step" in err
    assert (tmp_path / "run/checkpoints/last.json").is_file()
