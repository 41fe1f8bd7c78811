"""Training, and its manners."""
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import mlaan
import numpy as np
import pytest

LONG = {"train": {"epochs": 200, "batch": 8, "warmup": 0}, "data": {"size": 16, "augment": "none", "test": 0.25}}


def threads():
    return len(os.listdir("/proc/self/task"))


def test_a_run_learns_and_tells_of_its_epochs(images, small, tmp_path):
    heard = []
    run = mlaan.train("dgl-resnet8-2", data=images, out=tmp_path / "run", on_epoch=heard.append, progress=False, overrides=small)
    assert [e["epoch"] for e in heard] == [1, 2] and len(heard[0]["module_losses"]) == 2
    metrics = run.metrics()
    assert metrics["epoch"].tolist() == [1, 2] and metrics["module_losses"].shape == (2, 2)
    np.testing.assert_array_equal(metrics["test_accuracy"], [e["test_accuracy"] for e in heard])
    assert run.summary["test_accuracy"] == metrics["test_accuracy"][-1] and run.summary["epochs"] == 2
    assert metrics["train_loss"][1] < metrics["train_loss"][0]
    assert "<svg" in run._repr_html_()


def test_arguments_of_the_command_give_the_same_bits(tmp_path):
    """A run from Python is the command's run."""
    keys = {"train": {"epochs": 1, "batch": 16}, "data": {"limit": 64}}
    ours = mlaan.train("dgl-resnet8-2", data="builtin", out=tmp_path / "a", progress=False, threads=2, overrides=keys)
    script = [sys.executable, "-m", "mlaan"]
    args = ["train", "dgl-resnet8-2", "--data", "builtin", "--threads", "1", "--epochs", "1", "--batch", "16", "--limit", "64", "--out", str(tmp_path / "b"), "-q"]
    subprocess.run([*script, *args], check=True)
    a, b = ours.state_dict(), mlaan.Run(tmp_path / "b").state_dict()
    assert a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_threads_are_given_back(images, small, tmp_path):
    before = threads()
    run = mlaan.train("bp-resnet8", data=images, out=tmp_path / "run", progress=False, threads=3, overrides=small)
    run.evaluate(images, threads=3)
    run.predict(images[0][:4], threads=3)
    deadline = time.monotonic() + 5
    while threads() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threads() == before


def test_other_threads_go_on(images, tmp_path):
    ticks, done = [], threading.Event()

    def tick():
        while not done.wait(0.01):
            ticks.append(time.monotonic())
    thread = threading.Thread(target=tick)
    thread.start()
    keys = {**LONG, "train": {**LONG["train"], "epochs": 3}}
    begin = time.monotonic()
    mlaan.train("bp-resnet20", data=images, out=tmp_path / "run", progress=False, threads=2, overrides=keys)
    end = time.monotonic()
    done.set()
    thread.join()
    within = [t for t in ticks if begin <= t <= end]
    gaps = np.diff([begin, *within, end])
    assert len(within) >= 3 and gaps.max() < max(0.5, (end - begin) / 2), (end - begin, gaps.max())


def test_what_a_callback_raises_stops_the_run_and_it_goes_on(images, small, tmp_path):
    class Enough(Exception):
        pass

    asked = []

    def stop(epoch):
        asked.append(epoch["epoch"])
        time.sleep(1)                                 # more epochs end meanwhile
        raise Enough(epoch["epoch"])
    with pytest.raises(Enough) as e:
        mlaan.train("bp-resnet8", data=images, out=tmp_path / "run", on_epoch=stop, progress=False, overrides=LONG)
    assert asked == [1] and e.value.__cause__ is None
    run = mlaan.Run(tmp_path / "run")
    done = len(run.metrics()["epoch"])
    assert 1 <= done < 200 and run.summary is None
    assert json.loads((run.path / "metrics.jsonl").read_text().splitlines()[-1])["event"] == "interrupted"


def interrupted(after, work):
    """Sends this process Ctrl-C after so many seconds of work."""
    timer = threading.Timer(after, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt) as e:
            work()
    finally:
        timer.cancel()
    return e.value


def test_ctrl_c_saves_a_step_and_raises(images, tmp_path):
    out, epochs = tmp_path / "run", 10
    keys = {**LONG, "train": {**LONG["train"], "epochs": epochs}}
    train = lambda **k: mlaan.train("bp-resnet8", data=images, progress=False, threads=2, overrides=keys, **k)
    asked = []

    def ask(_):
        if not asked:
            asked.append(time.monotonic())
            threading.Timer(0.03, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt) as error:
        train(out=out, on_epoch=ask)
    assert time.monotonic() - asked[0] < 20 and "resume(data=…, progress=False" in "".join(error.value.__notes__)
    run = mlaan.Run(out)
    assert run.summary is None and (out / "checkpoints/last.json").is_file()
    with pytest.raises(mlaan.DataError, match="give the same again"):
        run.resume()
    done = run.resume(data=images, progress=False, threads=1)
    assert done.summary["epochs"] == epochs and len(done.metrics()["epoch"]) == epochs
    # As if it had not stopped, to the bit, and for any number of threads.
    whole = train(out=tmp_path / "whole").state_dict()
    assert all(np.array_equal(v, whole[k]) for k, v in done.state_dict().items())
    # Handlers of Python are as they were.
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("why", [KeyboardInterrupt, RuntimeError])
def test_what_stops_a_run_that_cannot_be_saved_is_not_said_to_be(images, tmp_path, why, caplog):
    import resource
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(_):
        # As of a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
        try:
            raise OSError("why it stops")
        except OSError as e:
            raise why from e
    with pytest.raises(why) as error, caplog.at_level("INFO", "mlaan"):
        try:
            mlaan.train("bp-resnet8", data=images, out=tmp_path / "run", on_epoch=fill, progress=False, overrides=LONG)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    first = error.value.__cause__
    assert isinstance(first, OSError) and isinstance(first.__cause__, mlaan.Error), first.__cause__
    assert not getattr(error.value, "__notes__", []) and "stopped and saved" not in caplog.text


TWICE = """
import os, signal, sys, threading, time
import mlaan
import numpy as np

class Slow:
    classes, targets = ["a", "b"], [0, 1] * 200
    asked = 0

    def __len__(self):
        return 400

    def __getitem__(self, index):
        Slow.asked += 1
        time.sleep(0.1)
        return np.full((16, 16, 3), 90 * (index % 2), np.uint8), index % 2

def ask():
    while Slow.asked < 10:
        time.sleep(0.01)
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
threading.Thread(target=ask).start()
try:
    mlaan.train("bp-resnet8", data=Slow(), out="run", progress=False, threads=1,
                overrides={"data": {"size": 16, "test": 0.25}, "train": {"batch": 16}})
except KeyboardInterrupt as e:
    print("raised", getattr(e, "__notes__", None))
"""


def test_two_ctrl_c_leave_a_process_that_ends(tmp_path):
    """The first lets the run end, for which it waits a little; with the second the program goes on without it."""
    said = subprocess.run([sys.executable, "-c", TWICE], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert said.returncode == 0 and said.stdout.startswith("raised ") and said.stderr == "", said
    # No step was taken, so that there may be nothing to save; what is said to be saved is.
    assert said.stdout.split() == ["raised", "None"] or (tmp_path / "run/checkpoints/last.json").is_file()


def test_ctrl_c_stops_an_evaluation(images, run):
    pixels = np.repeat(images[0], 400, axis=0)
    labels = np.repeat(images[1], 400)
    begun = time.monotonic()
    error = interrupted(0.3, lambda: [run.evaluate((pixels, labels), threads=1) for _ in range(100)])
    assert error.__cause__ is None and not getattr(error, "__notes__", [])
    assert time.monotonic() - begun < 20


def test_ctrl_c_with_a_handler_of_python(images, tmp_path):
    """A handler that raises something else is heard as well."""
    class Stop(Exception):
        pass

    def handler(*_):
        raise Stop
    before = signal.signal(signal.SIGUSR1, handler)
    timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        with pytest.raises(Stop):
            mlaan.train("bp-resnet8", data=images, out=tmp_path / "run", progress=False, overrides=LONG)
    finally:
        timer.cancel()
        signal.signal(signal.SIGUSR1, before)
    assert (tmp_path / "run/checkpoints/last.json").is_file()


def test_text_is_the_commands_and_silence_is_silent(images, small, tmp_path, capsys):
    mlaan.train("bp-resnet8", data=images, out=tmp_path / "a", progress="text", overrides=small)
    said = capsys.readouterr()
    assert "test accuracy" in said.out and "epoch" in said.out and said.err == ""
    mlaan.train("bp-resnet8", data=images, out=tmp_path / "b", progress=False, overrides=small)
    assert capsys.readouterr() == ("", "")
    with pytest.raises(mlaan.RecipeError, match="possible are"):
        mlaan.train("bp-resnet8", data=images, progress="loud")


def _forked(queue):
    try:
        queue.put(mlaan.plan("bp-resnet8").memory_bytes)
    except mlaan.Error as e:
        queue.put(str(e))


def in_process(method):
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=_forked, args=(queue,))
    process.start()
    try:
        return queue.get(timeout=60)
    finally:
        process.join(10)
        process.kill()


def test_processes_are_started_safely_or_refused(images, tmp_path):
    planned = mlaan.plan("bp-resnet8").memory_bytes
    assert in_process("fork") == planned and in_process("spawn") == planned
    # In the midst of a run a fork has none of its threads.
    def train():
        with pytest.raises(RuntimeError):
            mlaan.train("bp-resnet8", data=images, out=tmp_path / "run", progress=False, overrides=LONG, on_epoch=hear)
    running, over = threading.Event(), threading.Event()

    def hear(_):
        running.set()
        if over.is_set():
            raise RuntimeError
    thread = threading.Thread(target=train)
    thread.start()
    try:
        assert running.wait(60)
        assert "forked while mlaan was computing" in in_process("fork")
        assert in_process("spawn") == planned
    finally:
        over.set()
        thread.join()


def test_a_prediction_that_fails_does_not_compute_any_more(images, run):
    with pytest.raises(mlaan.DataError, match="item 70") as error:
        run.predict([*images[0][:70], None])
    # Its traceback has the frame in which the network was.
    assert any(t.name == "predict" for t in error.traceback)
    assert in_process("fork") == mlaan.plan("bp-resnet8").memory_bytes


def test_memory_that_does_not_do_is_an_error(images, tmp_path, small):
    with pytest.raises(mlaan.MemoryBudgetError) as e:
        mlaan.train("bp-resnet8", data=images, out=tmp_path / "run", memory="1MiB", progress=False, overrides=small)
    assert e.value.available == 2**20
    run = mlaan.train("bp-resnet8", data=images, out=tmp_path / "run", memory="1GiB", progress=False, overrides=small)
    assert run.summary is not None


def test_the_folder_of_a_run_is_kept(run, images, small):
    with pytest.raises(mlaan.Error, match="holds a run already"):
        mlaan.train("bp-resnet8", data=images, out=run.path, progress=False, overrides=small)
