"""The command line as a console script."""
import os
import signal
import subprocess
import sys
import time

import mlaan

SCRIPT = [sys.executable, "-c", "from mlaan._script import main; main()"]


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


def test_the_status_of_a_command_comes_back():
    assert mlaan.command(["recipes", "--json"]) == 0
    assert mlaan.command(["plan", "no-such-recipe"]) == 1
    assert mlaan.command(["no-such-command"]) == 2


def test_ctrl_c_is_the_commands(tmp_path):
    args = ["train", "bp-resnet8", "--data", "builtin", "--limit", "200", "--batch", "10", "--epochs", "500", "--out", str(tmp_path / "run"), "--json", "--threads", "2"]
    process = subprocess.Popen([*SCRIPT, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=os.environ)
    assert '"start"' in process.stdout.readline()
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130 and '"interrupted"' in out and "stopping after this step" in err
    assert (tmp_path / "run/checkpoints/last.json").is_file()
