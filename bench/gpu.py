#!/usr/bin/env python3
"""Training steps of mlaan and of PyTorch in turn on a GPU: time, memory, and how much of the GPU's limits is reached.

    python3 bench/gpu.py                               # on the first NVIDIA GPU, the main configurations, 20 minutes
    python3 bench/gpu.py bp-resnet32 --minutes 5
    python3 bench/gpu.py --resume bench/results/DATE-gpu.json     # what that left out, into the same files
    python3 bench/gpu.py --device cpu --batch 16 --precision tf32 --forms eager bp-resnet8    # try it without a GPU

Needs a release build of mlaan (or what `gpu.sh build` made) and PyTorch. The result is written after every measurement,
the most important first; what fails is recorded; what there is no time for is left to another call, and the status is then
3. See bench/README.md.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import errors
from capture import WAYS
from gpu_tables import FORMS, brief, text
from limits import Clock
from networks import ROOT, Configuration
from nvml import Nvml, Watch
from report import machine, output, place, write
from sides import OURS, WORKER, Failed, Workers, configuration, mlaan, say

MAIN = ["bp-resnet32", "mlaan-released-resnet32-16", "bp-resnet110", "bp-resnet50", "bp-resnet34"]
REST = ["mlaan-released-resnet110-55", "dgl-resnet32-16", "mlm-resnet32-16", "dgl-resnet110-55", "mlm-resnet110-55"]
# Seconds below which no configuration, and no form of one, is begun.
TOO_LITTLE = 20
LEFT_OUT = 3


def arguments(words=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("recipes", nargs="*", metavar="RECIPE", help=f"{', '.join(MAIN)}, and of more {', '.join(REST)} [the first {len(MAIN)}]")
    p.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu to try this program [cuda]")
    p.add_argument("--batch", type=int, help="images per step [1024; 256 at 224 pixels]")
    p.add_argument("--precision", default="bf16", help="of bf16, tf32 and f32 (PyTorch without TF32) [bf16]")
    p.add_argument("--forms", default=",".join(FORMS), help=f"PyTorch's, of {', '.join(FORMS)} [all]")
    p.add_argument("--kernels", default="", metavar="A,B", help="our sets of kernels, as MLAAN_CUDA_KERNELS names them [the program's own choice]")
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--steps", type=int, default=10, help="steps of a round")
    p.add_argument("--minutes", type=float, default=20, help="all of it [20]")
    p.add_argument("--limit", type=float, default=90, metavar="SECONDS", help="one configuration [90]")
    p.add_argument("--compile-limit", type=float, default=240, metavar="SECONDS", help="torch.compile of one [240]")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--no-profile", action="store_true", help="leave out what single operations reach")
    p.add_argument("--mlaan", type=Path, default=ROOT / "target/release/mlaan")
    p.add_argument("--name", default="gpu", help="of the files in --out")
    p.add_argument("--out", type=Path, default=ROOT / "bench/results")
    p.add_argument("--resume", type=Path, metavar="JSON", help="goes on with what is missing in this file (a new one if it is not there)")
    a = p.parse_args(words)
    # The paper's batch, and for 224 pixels what is usual on one GPU.
    a.small_batch, a.large_batch = 1024, 256
    a.precisions, a.forms, a.kernels = a.precision.split(","), a.forms.split(","), a.kernels.split(",")
    if not set(a.precisions) <= set(OURS):
        p.error(f"--precision {a.precision}: of {', '.join(OURS)}")
    if not set(a.forms) <= set(FORMS):
        p.error(f"--forms {','.join(a.forms)}: of {', '.join(FORMS)}")
    if min(a.rounds, a.steps, a.batch or 1) < 1:
        p.error("--rounds, --steps and --batch: at least 1")
    if not a.mlaan.exists():
        p.error(f"{a.mlaan} is missing: cargo build --release")
    a.device = "cuda:0" if a.device == "cuda" else a.device
    a.recipes = a.recipes or MAIN
    [Configuration.named(r) for r in a.recipes]
    return a


def side(kernels):
    """Ours, among what failed."""
    return f"mlaan {kernels}".strip()


class Comparison:
    """What was measured so far, in a file that is whole after every measurement."""

    def __init__(self, a, clock, nvml, stem, data, workers, run_ours=mlaan):
        self.a, self.clock, self.nvml, self.stem, self.data, self.workers = a, clock, nvml, stem, data, workers
        # Ours, as a function, which tests replace.
        self.run_ours = run_ours

    def save(self):
        write(self.stem, text(self.data), self.data)

    def record(self, recipe, precision):
        for r in self.data["results"]:
            if (r["recipe"], r["precision"]) == (recipe, precision):
                return r

    def forms(self, c):
        """Of a configuration, those that there are: local methods are channels last always, and no graph is on a processor."""
        without = {"nchw"} if c.method != "bp" else set()
        without |= {"graph"} if self.a.device == "cpu" else set()
        return [f for f in self.a.forms if f not in without]

    def early(self, c):
        """The forms that are measured in turn with ours; the others come when all configurations have these."""
        return [f for f in self.forms(c) if f in ("eager", "graph")]

    def missing(self, r):
        """Forms that neither ran nor failed."""
        return [f for f in self.forms(Configuration.named(r["recipe"])) if f not in r["pytorch"] and f not in r["failed"]]

    def keys(self, wanted):
        """What of PyTorch is needed first, in that order."""
        found = []
        for recipe, precision in wanted:
            c, batch = configuration(recipe, self.a)
            r = self.record(recipe, precision)
            found += [self.key(recipe, precision, f, batch) for f in self.early(c) if not r or f in self.missing(r)]
        return found

    @staticmethod
    def key(recipe, precision, form, batch, way=0):
        return recipe, precision, form, batch, list(WAYS)[way] if form == "graph" else None

    def incomplete(self, r):
        """Whether a call ended before every set of kernels had run or failed."""
        return any(k not in r["mlaan"] and side(k) not in r["failed"] for k in self.data["kernels"])

    def attempt(self, r, f, what=None):
        """None where it fails, which is kept; for want of time, it is as if it had not begun."""
        try:
            return f()
        except Failed as e:
            say(f"  {e}")
            if not e.late:
                r["errors"].append(str(e))
                if what:
                    r["failed"].append(what)
            else:
                self.data["left_out"].append(f"{r['recipe']}, {r['precision']}: {e}")
            self.save()

    def start(self, r, form, clock):
        """A worker whose network stands, with its first steps; a graph in the first way that works."""
        for way in range(len(WAYS) if form == "graph" else 1):
            worker = self.workers.take(self.key(r["recipe"], r["precision"], form, r["batch"], way))
            begin = time.monotonic()
            try:
                worker.load(clock)
                with Watch(self.nvml) as watch:
                    watch.pid = worker.process.pid
                    turn = worker.turn(2, 3, clock)
            except Failed as e:
                worker.end()
                if e.late or form != "graph" or way + 1 == len(WAYS):
                    raise
                say(f"  {e}")
                r["errors"].append(str(e))
                continue
            r["pytorch"][form] = {
                "seconds": [], "alone": statistics.median(turn["seconds"]), "begin_seconds": time.monotonic() - begin,
                "allocated": turn.get("allocated"), "reserved": turn.get("reserved"), "grown": watch.grown,
                "process": watch.process} | ({"way": worker.way} if worker.way else {})
            self.save()
            return worker

    def ours(self, r, kernels, clock, *more):
        c = Configuration.named(r["recipe"])
        run = lambda: self.run_ours(c, r["precision"], r["batch"], self.a, clock, self.nvml, kernels, *more)
        return self.attempt(r, run, side(kernels))

    def measure(self, recipe, precision):
        """A configuration from its beginning: ours with every set of kernels, and PyTorch's early forms, in turn."""
        c, batch = configuration(recipe, self.a)
        clock, workers = Clock(self.a.limit, self.clock), {}
        r = {"recipe": recipe, "precision": precision, "batch": batch, "gpu": self.data["gpu"], "mlaan": {}, "profile": {},
             "pytorch": {}, "errors": [], "failed": []}
        self.data["results"].append(r)
        try:
            # One after another, alone: what the GPU's memory grows by is then of this one.
            for kernels in self.data["kernels"]:
                first = self.ours(r, kernels, clock, *([] if self.a.no_profile else ["--profile"]))
                if first:
                    r["profile"][kernels] = first.pop("profile", None)
                    r["mlaan"][kernels] = [first]
                    self.save()
            for form in self.early(c):
                if clock.left() < TOO_LITTLE / 2 and r["mlaan"]:
                    continue
                worker = self.attempt(r, lambda: self.start(r, form, clock), form)
                if worker:
                    workers[form] = worker
            for i in range(self.a.rounds):
                begin = time.monotonic()
                if clock.left() < (1.5 * length if i else 0.25 * TOO_LITTLE):
                    break
                self.round(r, workers, clock)
                length = time.monotonic() - begin
            say(brief(r, self.data["kernels"]))
        finally:
            for worker in workers.values():
                worker.end()
            self.save()

    def round(self, r, workers, clock):
        for kernels in list(r["mlaan"]):
            found = self.ours(r, kernels, clock)
            r["mlaan"][kernels] += [found] if found else []
        for form in list(workers):
            turn = self.attempt(r, lambda: workers[form].turn(self.a.steps, 2, clock))
            if turn is None:
                workers.pop(form).end()
                continue
            r["pytorch"][form]["seconds"].append(statistics.median(turn["seconds"]))
        self.save()

    def add(self, r, form):
        """A form of a configuration that was measured before, with ours beside it again."""
        clock = Clock(self.a.compile_limit if form == "compile" else self.a.limit, self.clock)
        worker = self.attempt(r, lambda: self.start(r, form, clock), form)
        if not worker:
            return
        try:
            p = r["pytorch"][form]
            p["beside"], p["gpu"] = {}, self.data["gpu"]
            for _ in range(self.a.rounds):
                for kernels in r["mlaan"]:
                    found = self.ours(r, kernels, clock)
                    if found:
                        p["beside"].setdefault(kernels, []).append(found["seconds"])
                turn = self.attempt(r, lambda: worker.turn(self.a.steps, 2, clock))
                if turn is None:
                    break
                p["seconds"].append(statistics.median(turn["seconds"]))
                self.save()
            say(brief(r, self.data["kernels"]))
        finally:
            worker.end()

    def run(self, wanted):
        """What is not there yet, the most important first; true if nothing was left out."""
        self.data["left_out"] = []
        for recipe, precision in wanted:
            r = self.record(recipe, precision)
            if (not r or self.incomplete(r)) and self.enough(f"{recipe}, {precision}"):
                if r:
                    self.data["results"].remove(r)
                say(f"{recipe}, {precision}, {self.clock.left():.0f} s left")
                self.measure(recipe, precision)
        self.peaks()
        there = [r for r in (self.record(*w) for w in wanted) if r]
        # Compiling takes longest, and for local methods longer than that.
        local = lambda r: Configuration.named(r["recipe"]).method != "bp"
        later = [(f == "compile", f == "compile" and local(r), i, f) for i, r in enumerate(there) for f in self.missing(r)]
        for _, _, i, form in sorted(later):
            if self.enough(f"{there[i]['recipe']}, {there[i]['precision']}: {form}"):
                say(f"{there[i]['recipe']}, {there[i]['precision']}, {form}, {self.clock.left():.0f} s left")
                self.add(there[i], form)
        self.save()
        missing = any(self.missing(r) or self.incomplete(r) for r in there)
        return not self.data["left_out"] and not missing and len(there) == len(wanted)

    def enough(self, what):
        if self.clock.left() >= TOO_LITTLE:
            return True
        self.data["left_out"].append(f"{what}: no time")
        return False

    def peaks(self):
        """PyTorch's on this GPU, once."""
        name = self.data["gpu"]
        if self.a.device == "cpu" or name in self.data["peaks"] or self.clock.left() < 2 * TOO_LITTLE:
            return
        try:
            out = subprocess.run([sys.executable, WORKER, "--peaks", self.a.device], capture_output=True, text=True,
                                 timeout=min(60, self.clock.left()))
            if out.returncode == 0:
                self.data["peaks"][name] = json.loads(out.stdout)
            else:
                say(f"PyTorch's peaks: {errors.first_line(out.stderr)}")
        except (subprocess.TimeoutExpired, ValueError) as e:
            say(f"PyTorch's peaks: {errors.of(e)}")


def gpu(*fields):
    return output("nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader")


def opened(a):
    """The files of the result without their endings, and what stands in them."""
    about = machine(a.mlaan, a.threads)
    about["gpu"] = gpu("name", "driver_version", "memory.total", "clocks.max.sm", "power.limit")
    about["text"] = f"{about['gpu'] or 'no GPU'}\n{about['text']}"
    data = {"machine": about, "command": sys.argv, "device": a.device, "kernels": a.kernels, "peaks": {}, "results": [],
            "left_out": []}
    stem = a.resume.with_suffix("") if a.resume else place(a.out, a.name)
    if a.resume and a.resume.exists():
        before = json.loads(a.resume.read_text())
        for key, what in (("kernels", "--kernels"), ("device", "--device")):
            if before[key] != data[key]:
                sys.exit(f"{a.resume}: was made with {what} {before[key]}, which cannot be mixed with {data[key]}")
        if before["machine"]["commit"] != about["commit"]:
            sys.exit(f"{a.resume}: is of commit {before['machine']['commit']}, which cannot be mixed with {about['commit']}")
        data |= {"machine": before["machine"], "peaks": before["peaks"], "results": before["results"]}
    stem.parent.mkdir(parents=True, exist_ok=True)
    index = int(a.device.partition(":")[2] or 0) if a.device != "cpu" else -1
    names = gpu("name").splitlines()
    data["gpu"] = names[index] if 0 <= index < len(names) else a.device
    return stem, data


def main():
    a = arguments()
    clock = Clock(60 * a.minutes)
    stem, data = opened(a)
    logs = stem.parent / "logs"
    logs.mkdir(exist_ok=True)
    nvml = Nvml(int(a.device.partition(":")[2] or 0))
    workers = Workers(a, logs)
    comparison = Comparison(a, clock, nvml, stem, data, workers)
    wanted = [(r, p) for p in a.precisions for r in a.recipes]
    try:
        workers.ahead(comparison.keys(wanted), Clock(60, clock))
        everything = comparison.run(wanted)
    finally:
        workers.close()
    print(text(data))
    say(f"written: {stem}.txt and .json")
    if not any(r["mlaan"] for r in data["results"]):
        sys.exit("mlaan could not run in any configuration")
    sys.exit(0 if everything else LEFT_OUT)


if __name__ == "__main__":
    main()
