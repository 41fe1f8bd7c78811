"""Ctrl-C where there is nothing to save yet."""
import os
import signal
import subprocess
import sys
import threading
import time

import mlaan
import numpy as np
import pytest

#: Beyond the item in work.
PROMPT = 1.0


class Slow:
    """A data set whose items take a while; Ctrl-C comes with one of them."""

    classes = ["dark", "red"]

    def __init__(self, seconds=0.1, after=None):
        self.targets, self.seconds, self.after, self.asked, self.at, self.within, self.most = [0, 1] * 200, seconds, after, 0, None, 0, 0

    def __len__(self):
        return 400

    def __getitem__(self, index):
        self.asked += 1
        self.within += 1
        self.most = max(self.most, self.within)
        if self.asked == self.after:
            self.at = time.monotonic()
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(self.seconds)
        self.within -= 1
        return np.full((16, 16, 3), 90 * (index % 2), np.uint8), index % 2


#: Mean and standard deviation want every training image before the first step.
KEYS = {"data": {"size": 16, "test": 0.25, "normalise": "auto"}, "train": {"batch": 16}}


def waited(work, items):
    """Seconds from Ctrl-C to its exception."""
    with pytest.raises(KeyboardInterrupt) as error:
        work()
    assert items.at is not None and not getattr(error.value, "__notes__", []) and error.value.__cause__ is None
    return time.monotonic() - items.at


def test_setting_up_is_left_at_once(tmp_path, run):
    out = tmp_path / "run"
    cases = [lambda items: mlaan.train("bp-resnet8", data=items, out=out, progress=False, overrides=KEYS),
             lambda items: mlaan.train(data=items, out=out, progress=False, overrides=KEYS),
             lambda items: mlaan.plan(data=items, overrides=KEYS),
             lambda items: run.evaluate(items)]
    for number, work in enumerate(cases):
        items = Slow(after=12)
        assert waited(lambda: work(items), items) < PROMPT + items.seconds, number
        asked = items.asked
        time.sleep(0.5)
        assert items.asked <= asked + 2, "nobody asks on"
    # Nothing was begun: the same again has the folder for itself.
    assert not out.exists()


def test_an_item_that_takes_long_does_not_hold_ctrl_c_up(tmp_path):
    items = Slow(seconds=0.01, after=12)
    once = items.__class__.__getitem__

    class Long(Slow):
        def __getitem__(self, index):
            found = once(self, index)
            if self.at is not None:
                time.sleep(3)
            return found
    items = Long(seconds=0.01, after=12)
    assert waited(lambda: mlaan.train("bp-resnet8", data=items, out=tmp_path / "run", progress=False, overrides=KEYS), items) < PROMPT


def test_a_step_that_is_not_taken_is_not_waited_for(tmp_path):
    """Its images would take two seconds; what is saved is where the step before ended, and goes on as if it had not stopped."""
    keys = {"data": {"size": 16, "test": 0.25, "normalise": "cifar10"}, "train": {"batch": 100, "epochs": 1, "warmup": 0}}
    train = lambda items, name: mlaan.train("bp-resnet8", data=items, out=tmp_path / name, progress=False, threads=2, overrides=keys)
    # Behind the images by which the run knows them again, each asked for twice.
    for after, name in ((47, "first"), (147, "second")):
        items = Slow(seconds=0.02, after=after)
        with pytest.raises(KeyboardInterrupt) as error:
            train(items, name)
        assert time.monotonic() - items.at < PROMPT + items.seconds and "resume(data=…, progress=False" in error.value.__notes__[0] and error.value.__cause__ is None
    run = mlaan.Run(tmp_path / "second")
    assert run.about()["step"] == 1
    done = run.resume(data=Slow(seconds=0), progress=False).state_dict()
    whole = train(Slow(seconds=0), "whole").state_dict()
    assert all(np.array_equal(v, whole[k]) for k, v in done.items())


def test_an_epoch_is_tested_and_saved(tmp_path):
    """Its steps are done: what they learnt is not lost by what stops the test behind them."""
    items = Slow(seconds=0.004, after=362)
    with pytest.raises(KeyboardInterrupt) as error:
        mlaan.train("bp-resnet8", data=items, out=tmp_path / "run", progress=False, overrides={
            "data": {"size": 16, "test": 0.25, "normalise": "cifar10"}, "train": {"batch": 100, "epochs": 3, "warmup": 0}})
    assert items.at is not None and "resume(data=…, progress=False" in error.value.__notes__[0]
    run = mlaan.Run(tmp_path / "run")
    assert run.metrics()["epoch"].tolist() == [1] and run.about()["step"] == 3 and items.asked < 500


def test_a_data_set_is_asked_by_one_thread_at_a_time(tmp_path):
    items = Slow(seconds=0.001)
    mlaan.train("bp-resnet8", data=items, out=tmp_path / "run", progress=False, threads=4,
                overrides={"data": {"size": 16, "test": 0.25, "normalise": "cifar10"}, "train": {"batch": 64, "epochs": 1}})
    assert items.asked > 300 and items.most == 1


PROGRAM = """
import sys; sys.path.insert(0, {here!r})
import test_stopping as t
items = t.Slow(after=12)
try:
    t.mlaan.train("bp-resnet8", data=items, out="run", progress=False, overrides=t.KEYS)
except KeyboardInterrupt:
    print(t.time.monotonic())
"""


def test_a_program_that_was_stopped_ends(tmp_path):
    said = subprocess.run([sys.executable, "-c", PROGRAM.format(here=os.path.dirname(__file__))], cwd=tmp_path, capture_output=True, text=True,
                          timeout=60)
    assert said.returncode == 0 and said.stderr == "", said
    assert time.monotonic() - float(said.stdout) < 3 and not (tmp_path / "run").exists()


def test_planning_is_left_at_once(tmp_path):
    """What computes for long goes on by itself, without an epoch, and keeps nobody."""
    pixels = np.zeros((20_000, 32, 32, 3), np.uint8)
    begun = []

    def work():
        begun.append(time.monotonic() + 0.15)
        threading.Timer(0.15, os.kill, (os.getpid(), signal.SIGINT)).start()
        mlaan.train("mlaan-released-resnet32-16", data=(pixels, np.arange(20_000) % 2), out=tmp_path / "run", progress=False, memory="4GiB",
                    overrides={"data": {"test": 0.2}})
    with pytest.raises(KeyboardInterrupt):
        work()
    assert time.monotonic() - begun[0] < PROMPT
    deadline = time.monotonic() + 60
    while any(t.startswith("mlaan") for t in names()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not (tmp_path / "run/checkpoints").exists() and not (tmp_path / "run/metrics.jsonl").exists()


def names():
    found = []
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/comm") as f:
                found.append(f.read().strip())
        except FileNotFoundError:
            pass
    return found
