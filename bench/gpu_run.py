#!/usr/bin/env python3
"""Checks mlaan on an NVIDIA GPU and compares it with PyTorch there: what `gpu.sh run` does. See README.md beside this.

    bash bench/gpu.sh run [FOLDER] [options]

FOLDER is what `gpu.sh build` made. Each part has a limit of time of its own; what fails is recorded, and the next begins.
Results are printed and written as they come: DIR/summary.txt holds at any moment what is known. A second call with the same
--out goes on with what the first left out. It ends with 1 if a step failed.
"""
import argparse
import json
import os
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from limits import Clock, Part, limit
from networks import ROOT
from report import commit
from steps import Record, Runner, Step, line, say

# In this order. What comes after has its floor kept: a call of six minutes has time for each of them.
PARTS = [Part("info", 5, 40), Part("tests", 20, 60), Part("checks", 20, 60), Part("speed", 60), Part("train", 70, 150),
         Part("compile", 25, optional=True), Part("graphs", 15, 90, optional=True)]
# Kept for writing what is known.
LAST = 3
KERNELS = ("proved", "new")
TRAINED = "mlaan-released-resnet32-16"
# What is compared with --quick, on a processor and on a GPU.
QUICK = (["bp-resnet8", "mlaan-released-resnet8-4"], ["bp-resnet32", "mlaan-released-resnet32-16"])
# An epoch that tells how many fit, and the time to begin, save and evaluate.
FIRST_EPOCH, AROUND = 60, 25
EPOCHS = 400

VERSIONS = """
import platform, sys
print("Python", platform.python_version(), sys.executable)
import torch
print("PyTorch", torch.__version__, "CUDA", torch.version.cuda, "cuDNN", torch.backends.cudnn.version())
print("GPUs", [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())])
"""


def arguments(words=None):
    p = argparse.ArgumentParser(prog="gpu.sh run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", nargs="?", type=Path, default=ROOT, help="what `gpu.sh build` made")
    p.add_argument("--out", type=Path, metavar="DIR", help="where logs and results go; new, empty, or of an earlier call [gpu-DATE-TIME]")
    p.add_argument("--data", type=Path, metavar="DIR", help="CIFAR-10 for a real run (see `mlaan train --help`) [the built-in images]")
    p.add_argument("--minutes", type=float, default=6, help="all of this call [6]")
    p.add_argument("--only", default="", metavar="A,B", help=f"of {', '.join(part.name for part in PARTS)} [all, in this order]")
    p.add_argument("--kernels", default="", metavar="A,B", help=f"sets of kernels that are tested and timed side by side, of {', '.join(KERNELS)} "
                   "(MLAAN_CUDA_KERNELS) [the program's own choice]")
    p.add_argument("--device", default="cuda", help="cuda, cuda:N; or cpu, to try this script [cuda]")
    p.add_argument("--retry", action="store_true", help="do again what failed in an earlier call")
    p.add_argument("--quick", action="store_true", help="small batches and few rounds, to see whether all of it works")
    a = p.parse_args(words)
    a.kernels = a.kernels.split(",")
    if a.kernels != [""] and (not set(a.kernels) <= set(KERNELS) or len(set(a.kernels)) < len(a.kernels)):
        p.error(f"--kernels {','.join(a.kernels)}: of {', '.join(KERNELS)}, each once")
    names = [part.name for part in PARTS]
    a.only = a.only.split(",") if a.only else names
    if not set(a.only) <= set(names):
        p.error(f"--only {','.join(a.only)}: of {', '.join(names)}")
    if not a.folder.is_dir():
        p.error(f"{a.folder}: no such folder; bench/gpu.sh build makes it")
    if a.data and not a.data.is_dir():
        p.error(f"--data {a.data}: no such folder")
    if a.minutes <= 0:
        p.error("--minutes: more than 0")
    a.folder = a.folder.resolve()
    a.mlaan = a.folder / "target/release/mlaan"
    if not a.mlaan.exists():
        p.error(f"{a.mlaan} is missing: bench/gpu.sh build makes it")
    a.out = (a.out or Path(time.strftime("gpu-%Y-%m-%d-%H%M%S"))).absolute()
    if a.out.exists() and any(a.out.iterdir()) and not (a.out / "state.json").exists():
        p.error(f"--out {a.out}: neither empty nor of an earlier call")
    return a


def chosen(kernels):
    return {"MLAAN_CUDA_KERNELS": kernels} if kernels else {}


def named(step, kernels):
    return f"{step}/{kernels}" if kernels else step


class Call:
    """One call: its parts, in order, within its time."""

    def __init__(self, a, clock, record):
        self.a, self.clock, self.record = a, clock, record
        self.runner = Runner(a.out, record)
        self.on = ["--device", a.device] if a.device != "cpu" else []

    def left(self):
        return self.clock.left() - LAST

    def run(self):
        """Every part that has not ended in an earlier call; one that ends says so."""
        done = self.record.data.setdefault("done", [])
        waiting = [self.sized(p) for p in PARTS if p.name in self.a.only and p.name not in done]
        while waiting:
            part = waiting.pop(0)
            seconds = limit(part, waiting, self.left())
            # What was said of it as a whole holds no longer.
            if self.record.steps.get(part.name, {}).get("outcome") == "left out":
                del self.record.steps[part.name]
            if seconds is None:
                self.record.keep(part.name, "left out", text="no time left")
            elif getattr(self, part.name)(seconds):
                done.append(part.name)
                self.record.save()

    def sized(self, part):
        """Each set of kernels is tested in its own time."""
        if part.name not in ("tests", "checks"):
            return part
        sets = len(self.a.kernels)
        return replace(part, floor=part.floor * sets, most=part.most * sets)

    def ended(self, steps):
        return all(self.record.ended(s.name) for s in steps)

    def info(self, seconds):
        steps = [Step("python", [sys.executable, "-c", VERSIONS]), Step("devices", [self.a.mlaan, "devices"])]
        steps += [Step("nvidia-smi", ["nvidia-smi"])] if self.on else []
        self.runner.run(steps, seconds, 3)
        return self.ended(steps)

    def side_by_side(self, part, seconds, steps):
        """For each set of kernels its steps side by side, within an even share of the time."""
        clock, sets = Clock(seconds, self.clock), self.a.kernels
        for i, kernels in enumerate(sets):
            waiting = self.runner.pending(steps(kernels))
            if waiting:
                share = clock.left() / (len(sets) - i)
                say(f"== {named(part, kernels)}: {len(waiting)} side by side, at most {share:.0f} s")
                self.runner.run(waiting, share, max(2, os.cpu_count() or 1))
        return all(self.ended(steps(kernels)) for kernels in sets)

    def tests(self, seconds):
        programs = sorted(p for p in (self.a.folder / "tests").glob("*") if p.is_file())
        if not programs:
            self.record.keep("tests", "MISSING", text=f"{self.a.folder / 'tests'} holds none")
            return True
        golden = os.environ.get("MLAAN_GOLDEN") or str(self.a.folder / "crates/mlaan/tests/golden")
        mode = {"MLAAN_TEST_CUDA": "off" if self.a.device == "cpu" else "real", "MLAAN_GOLDEN": golden}
        return self.side_by_side("tests", seconds, lambda kernels: [
            Step(named(f"test-{p.name}", kernels), [p, "--show-output"], mode | chosen(kernels)) for p in programs])

    def checks(self, seconds):
        def steps(kernels):
            words = ["--device", self.a.device, "--mlaan", self.a.mlaan, "--out", self.a.out / "checks" / (kernels or "own")]
            return [Step(named(f"check-{check}", kernels),
                         [sys.executable, self.a.folder / "bench/gpu_checks.py", check, *words,
                          *(["--images", 200] if self.a.quick else [])], chosen(kernels))
                    for check in ("learns", "repeats", "resumes")]
        ended = self.side_by_side("checks", seconds, steps)
        if all(self.record.steps.get(s.name, {}).get("outcome") == "ok" for k in self.a.kernels for s in steps(k)):
            # Runs whose files were compared already.
            shutil.rmtree(self.a.out / "checks", ignore_errors=True)
        return ended

    def compare(self, name, seconds, forms):
        """The comparison, which knows itself what it has measured already: status 3 says that something is left."""
        words = ["--device", self.a.device, "--mlaan", self.a.mlaan, "--resume", self.a.out / "speed/gpu.json", "--forms", forms,
                 "--kernels", ",".join(self.a.kernels), "--minutes", f"{(seconds - LAST) / 60:.2f}"]
        # Most processors emulate bf16, and slowly; PyTorch's threads spin while they wait.
        words += ["--precision", "f32", "--threads", "1"] if not self.on else []
        if self.a.quick:
            words += ["--batch", "8", "--rounds", "1", "--steps", "1", *QUICK[bool(self.on)]]
        step = Step(name, [sys.executable, self.a.folder / "bench/gpu.py", *words], statuses={3: "partly"})
        self.runner.alone(step, seconds)
        return self.record.ended(name)

    def speed(self, seconds):
        return self.compare("speed", seconds, "eager,graph,nchw")

    def compile(self, seconds):
        """With what the other forms were compared, which may be left of them too."""
        return self.compare("compile", seconds, "eager,graph,nchw,compile")

    def train(self, seconds):
        """As many epochs as fit: the schedule of the learning rate needs to know them beforehand."""
        a, clock = self.a, Clock(seconds, self.clock)
        data = ["--data", a.data] if a.data else []
        words = [a.mlaan, "train", TRAINED, "--device", a.device, "--precision", "bf16", *data]
        words += ["--limit", "100", "--batch", "50"] if a.quick else []
        with_kernels = chosen(a.kernels[-1])
        first = Step("train-one-epoch", [*words, "--epochs", "1", "--out", a.out / "one-epoch"], with_kernels)
        if self.runner.pending([first]):
            shutil.rmtree(a.out / "one-epoch", ignore_errors=True)
        if not self.runner.alone(first, min(FIRST_EPOCH, clock.left())):
            return self.ended([first])
        epoch = json.loads((a.out / "one-epoch/summary.json").read_text())["seconds"]
        # A tenth for slower epochs.
        room = clock.left() - AROUND
        epochs = 2 if a.quick else min(EPOCHS, int(0.9 * room / epoch))
        train = Step("train-run", [*words, "--epochs", str(epochs), "--out", a.out / "run"], with_kernels,
                     {130: "stopped"}, signal.SIGINT)
        if self.runner.pending([train]):
            if epochs < 1:
                self.record.keep(train.name, "left out", text="no time left for an epoch")
                return False
            shutil.rmtree(a.out / "run", ignore_errors=True)
            # Interrupted, it saves, and can be resumed elsewhere.
            self.runner.alone(train, clock.left() - AROUND / 2)
        evaluate = Step("eval", [a.mlaan, "eval", a.out / "run", *self.on, *data], with_kernels)
        if self.ended([train]):
            self.runner.alone(evaluate, max(5, clock.left()))
        return self.ended([train, evaluate])

    def graphs(self, seconds):
        """Steps with and without our CUDA graphs, in turn."""
        words = [self.a.mlaan, "bench", TRAINED, "--rounds", "1" if self.a.quick else "3", "--precision", "bf16", "--batch",
                 "8" if self.a.quick else "1024", *self.on]
        steps = [Step(f"graphs-{graphs}-{turn}", words, {"MLAAN_CUDA_GRAPHS": graphs} | chosen(self.a.kernels[-1]))
                 for turn in (1, 2) for graphs in ("1", "0")]
        self.runner.run(steps, seconds, 1)
        return self.ended(steps)


def ending(path, lines):
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def summary(a, clock, record):
    """All that is known."""
    failed = record.failed()
    parts = [f"mlaan on {a.device}: call {len(record.data['calls'])}, {clock.gone():.0f} s of {60 * a.minutes:.0f} s, "
             f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}\n{ending(a.folder / 'COMMIT', 9)}",
             "\n".join([f"{'outcome':<12} seconds  {'step':<34} note", *(line(n, s) for n, s in record.steps.items())])]
    parts += [f"---- {p.name}\n\n{p.read_text()}" for p in sorted((a.out / "speed").glob("*.txt"))]
    for name, step in record.steps.items():
        if name in failed and step["log"]:
            parts.append(f"---- the end of {step['log']}\n{ending(a.out / step['log'], 25)}")
        elif name in ("nvidia-smi", "python", "devices") and step["log"]:
            parts.append(f"---- {name}\n{ending(a.out / step['log'], 30)}")
    new = a.out / "summary.txt.new"
    new.write_text("\n\n".join(parts) + "\n")
    new.replace(a.out / "summary.txt")


def opened(a, clock):
    """What earlier calls left in --out."""
    about = {"commit": commit(), "device": a.device, "kernels": a.kernels, "quick": a.quick}
    record = Record(a.out, about, lambda: None)
    before = record.data["about"]
    for key, value in about.items():
        if before[key] != value:
            sys.exit(f"gpu.sh: --out {a.out}: was made with {key} {before[key]}, which cannot be mixed with {value}")
    if a.retry:
        record.data["done"] = []
        for name in record.failed():
            del record.steps[name]
    record.data["calls"].append({"date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "minutes": a.minutes})
    record.on_change = lambda: summary(a, clock, record)
    record.save()
    return record


def main():
    a = arguments()
    clock = Clock(60 * a.minutes)
    a.out.mkdir(parents=True, exist_ok=True)
    os.environ["PYTHONUNBUFFERED"] = "1"
    # What is compiled once need not be in the next call.
    os.environ.setdefault("MLAAN_KERNEL_CACHE", str(a.out / "cache/kernels"))
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(a.out / "cache/inductor"))
    os.environ.setdefault("TRITON_CACHE_DIR", str(a.out / "cache/triton"))
    record = opened(a, clock)
    call = Call(a, clock, record)

    def interrupted(*_):
        call.runner.interrupt()
        sys.exit(130)
    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, interrupted)
    call.run()
    record.save()
    say(f"\n{(a.out / 'summary.txt').read_text()}\nwritten: {a.out / 'summary.txt'}")
    sys.exit(1 if record.failed() else 0)


if __name__ == "__main__":
    main()
