#!/usr/bin/env python3
"""Training steps of mlaan and of PyTorch in turn on a GPU: time, memory, and how much of the GPU's limits is reached.

    python3 bench/gpu.py                               # on the first NVIDIA GPU, all configurations, 20 minutes
    python3 bench/gpu.py bp-resnet32 --minutes 5
    python3 bench/gpu.py --device cpu --batch 16 --precision tf32 --forms eager bp-resnet8    # try it without a GPU

Needs a release build of mlaan (or what `gpu.sh build` made) and PyTorch. The result is written after every configuration,
the most important first; what fails or takes too long is recorded and left out. See bench/README.md.
"""
import argparse
import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from compare import Failed
from networks import RECIPES, ROOT, Configuration
from nvml import Nvml, Watch
from report import Columns, gib, machine, output, place, write

WORKER = Path(__file__).with_name("worker.py")
MAIN = ["bp-resnet32", "mlaan-released-resnet32-16", "bp-resnet110", "bp-resnet50", "mlaan-released-resnet110-55",
        "dgl-resnet32-16", "mlm-resnet32-16"]
REST = ["dgl-resnet110-55", "mlm-resnet110-55"]
# The paper's batch, and for 224 pixels what is usual on one GPU.
SMALL_BATCH, LARGE_BATCH = 1024, 256
FORMS = ["eager", "compile", "graph"]
# Our precision beside each of PyTorch's.
OURS = {"bf16": "bf16", "tf32": "f32", "f32": "f32"}
# Seconds below which nothing more is begun.
TOO_LITTLE = 15
TOP = 8

NOTES = """\
Ours: from image bytes in host memory to new parameters; each round is a new process, its steps timed one by one, the median
counts. PyTorch: the batch is on the GPU already, channels last, fused SGD, cuDNN's kernels chosen by trial; its steps are asked
for without waiting for any but the last, the mean counts. `graph` is its eager step recorded once as a CUDA graph, `compile`
torch.compile.
bf16: PyTorch's autocast beside ours. tf32: PyTorch with TF32 beside our f32, whose products are three of TF32 each and so
nearly exact: ours computes more, and more exactly. A ratio is PyTorch's fastest form divided by ours."""


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("recipes", nargs="*", metavar="RECIPE", help=", ".join(MAIN + REST) + " [all]")
    p.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu to try this program [cuda]")
    p.add_argument("--batch", type=int, help=f"images per step [{SMALL_BATCH}; {LARGE_BATCH} at 224 pixels]")
    p.add_argument("--precision", default="bf16,tf32", help="of bf16, tf32 and f32 (PyTorch without TF32) [bf16,tf32]")
    p.add_argument("--forms", default=",".join(FORMS), help="PyTorch's, of eager, compile and graph [all]")
    p.add_argument("--all-forms", action="store_true", help="compile mlm and mlaan-released too, which may take long")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--steps", type=int, default=10, help="steps of a round")
    p.add_argument("--minutes", type=float, default=20, help="all of it [20]")
    p.add_argument("--limit", type=float, default=240, metavar="SECONDS", help="one configuration [240]")
    p.add_argument("--compile-limit", type=float, default=120, metavar="SECONDS", help="PyTorch's first steps in one form [120]")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--no-profile", action="store_true", help="leave out what single operations reach")
    p.add_argument("--mlaan", type=Path, default=ROOT / "target/release/mlaan")
    p.add_argument("--name", default="gpu", help="of the files in --out")
    p.add_argument("--out", type=Path, default=ROOT / "bench/results")
    a = p.parse_args()
    a.precisions, a.forms = a.precision.split(","), a.forms.split(",")
    if not set(a.precisions) <= set(OURS):
        p.error(f"--precision {a.precision}: of {', '.join(OURS)}")
    if not set(a.forms) <= set(FORMS):
        p.error(f"--forms {','.join(a.forms)}: of {', '.join(FORMS)}")
    if min(a.rounds, a.steps, a.batch or 1) < 1:
        p.error("--rounds, --steps and --batch: at least 1")
    if not a.mlaan.exists():
        p.error(f"{a.mlaan} is missing: cargo build --release")
    a.device = "cuda:0" if a.device == "cuda" else a.device
    if a.device == "cpu":
        a.forms = [f for f in a.forms if f != "graph"]
    return a


class Clock:
    """Seconds until something must have ended, and no later than another clock."""

    def __init__(self, seconds, outer=None):
        self.end = time.monotonic() + seconds
        self.end = min(self.end, outer.end) if outer else self.end

    def left(self):
        return self.end - time.monotonic()


def say(text):
    print(text, file=sys.stderr, flush=True)


def last_line(text):
    """What a process said last: of Python's, the error."""
    lines = [l for l in text.strip().splitlines() if l.strip()]
    return lines[-1][:300] if lines else ""


def mlaan(c, precision, batch, a, clock, nvml, *more):
    """One run of `mlaan bench`, with the GPU's memory as the system sees it."""
    command = [a.mlaan, "bench", *c.arguments, "--batch", str(batch), "--precision", OURS[precision], "--threads",
               str(a.threads), "--rounds", "1", "--steps", str(a.steps), "--json", *more]
    if a.device != "cpu":
        command += ["--device", a.device]
    with Watch(nvml) as watch:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        watch.pid = process.pid
        try:
            out, err = process.communicate(timeout=max(1, clock.left()))
        except subprocess.TimeoutExpired:
            process.kill()
            raise Failed("mlaan: did not end in time") from None
    if process.returncode:
        raise Failed(f"mlaan: {err.strip()[:1000] or f'status {process.returncode}'}")
    try:
        return json.loads(out) | {"grown": watch.grown, "process": watch.process}
    except ValueError:
        raise Failed(f"mlaan: printed no JSON: {out[:200]}") from None


class Worker:
    """A process that keeps PyTorch and one form of one network, and is given up when it does not answer."""

    def __init__(self, c, precision, form, batch, a, logs):
        self.form, self.log = form, logs / f"{c.recipe}-{precision}-{form}.log"
        command = [sys.executable, WORKER, c.recipe, str(batch), str(a.threads), precision, a.device]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            # Stuck in the driver; the rest goes on without it.
            say(f"  PyTorch, {self.form}: process {self.process.pid} does not end")

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def answer(self, clock):
        try:
            line = self.lines.get(timeout=max(1, clock.left()))
        except queue.Empty:
            self.process.kill()
            raise Failed(f"PyTorch, {self.form}: did not answer in time") from None
        if line is None:
            status = self.process.wait()
            said = last_line(self.log.read_text(errors="replace"))
            raise Failed(f"PyTorch, {self.form}: status {status}: {said}")
        return json.loads(line)

    def turn(self, steps, warm, clock):
        try:
            print(json.dumps({"form": self.form, "steps": steps, "warm": warm}), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass
        return self.answer(clock)


def forms(c, a):
    slow = c.method in ("mlm", "mlaan-released") and not a.all_forms
    return [f for f in a.forms if f != "compile" or not slow]


def measured(recipe, precision, a, nvml, clock, logs):
    """Every round of both sides, in turn."""
    c = Configuration.named(recipe)
    batch = a.batch or (SMALL_BATCH if c.small else LARGE_BATCH)
    clock = Clock(a.limit, clock)
    found = {"recipe": recipe, "precision": precision, "batch": batch, "mlaan": [], "pytorch": {}, "errors": []}

    def attempt(f):
        try:
            return f()
        except Failed as e:
            found["errors"].append(str(e))
            say(f"  {e}")

    with ExitStack() as stack:
        workers = {}
        # Loading PyTorch takes seconds, for all forms at once; it does not touch the GPU yet.
        limit = Clock(a.compile_limit, clock)
        loading = {f: stack.enter_context(Worker(c, precision, f, batch, a, logs)) for f in forms(c, a)}
        loaded = [f for f in loading if attempt(lambda: loading[f].answer(limit))]
        # One after another, alone: what the GPU's memory grows by is then of this one.
        first = attempt(lambda: mlaan(c, precision, batch, a, clock, nvml, *([] if a.no_profile else ["--profile"])))
        running = bool(first)
        if first:
            found["profile"] = first.pop("profile", None)
            found["mlaan"].append(first)
        for form in loaded:
            if clock.left() < TOO_LITTLE:
                found["errors"].append(f"PyTorch, {form}: left out, no time")
                continue
            worker, begin, limit = loading[form], time.monotonic(), Clock(a.compile_limit, clock)
            with Watch(nvml) as watch:
                watch.pid = worker.process.pid
                turn = attempt(lambda: worker.turn(2, 3, limit))
            if turn is None:
                worker.process.kill()
                continue
            workers[form] = worker
            found["pytorch"][form] = {
                "seconds": [], "alone": statistics.median(turn["seconds"]), "begin_seconds": time.monotonic() - begin,
                "allocated": turn.get("allocated"), "reserved": turn.get("reserved"), "grown": watch.grown,
                "process": watch.process}
        for i in range(a.rounds):
            begin = time.monotonic()
            if running:
                ours = attempt(lambda: mlaan(c, precision, batch, a, clock, nvml))
                running = bool(ours)
                found["mlaan"] += [ours] if ours else []
            for form in list(workers):
                theirs = attempt(lambda: workers[form].turn(a.steps, 2, clock))
                if theirs is None:
                    workers.pop(form).process.kill()
                    continue
                found["pytorch"][form]["seconds"].append(statistics.median(theirs["seconds"]))
            if not running and not workers:
                break
            if clock.left() < 1.5 * (time.monotonic() - begin) and i + 1 < a.rounds:
                found["errors"].append(f"{i + 1} of {a.rounds} rounds: no time for more")
                break
    return found


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def most(values):
    return max((v for v in values if v is not None), default=None)


def times(part):
    return None if part is None else f"{part:.2f}x"


def percent(part):
    return None if not part else f"{100 * part:.0f} %"


def seconds(r):
    """Ours, and PyTorch's by form. The first of each was alone, before the rounds: it counts when there is no other."""
    ours = [m["seconds"] for m in r["mlaan"]]
    theirs = {f: median(p["seconds"]) or p["alone"] for f, p in r["pytorch"].items()}
    return median(ours[1:] or ours), theirs


def limits(r, peaks):
    """What the GPU can do: multiply-adds of bf16 on tensor cores and bytes, a second; ours, or else PyTorch's measurement."""
    found = [m["machine"] for m in r["mlaan"] if m.get("machine")]
    flops = most(m.get("flops_per_second") for m in found) or peaks.get("bf16_flops_per_second")
    bandwidth = most(m.get("bytes_per_second") for m in found) or peaks.get("bytes_per_second")
    return flops, bandwidth


def least(o, flops, bandwidth):
    """Seconds below which an operation cannot be, by arithmetic and by memory."""
    return max(o["flops"] / flops if flops else 0, o["bytes"] / bandwidth if bandwidth else 0)


def speed_table(rows, peaks):
    table = Columns("recipe", "precision", ">batch", ">mlaan ms", ">images/s", ">eager ms", ">compile ms", ">graph ms", ">ratio",
                    ">to eager", ">of peak", ">of bandwidth", ">of roofline")
    for r in rows:
        mine, theirs = seconds(r)
        best = min(theirs.values(), default=None)
        flops, bandwidth = limits(r, peaks)
        peak = r["mlaan"][0]["flops"] / mine / flops if mine and flops else None
        p = r.get("profile")
        moved = ideal = None
        if p and mine and bandwidth:
            moved = sum(o["bytes"] for o in p["operations"]) / p["steps"] / mine / bandwidth
            ideal = sum(least(o, flops, bandwidth) for o in p["operations"]) / p["steps"] / mine
        ms = lambda s: None if s is None else f"{1e3 * s:.2f}"
        table.row(r["recipe"], r["precision"], str(r["batch"]), ms(mine), f"{r['batch'] / mine:.0f}" if mine else None,
                  *(ms(theirs.get(f)) for f in FORMS), times(best and mine and best / mine),
                  times(mine and theirs.get("eager") and theirs["eager"] / mine), *map(percent, (peak, moved, ideal)))
    return table.text()


def memory_table(rows):
    table = Columns("recipe", "precision", ">batch", ">planned", ">used", ">device", ">process", ">form", ">allocated",
                    ">reserved", ">process", ">used ratio", ">process ratio")
    ratio = lambda a, b: times(a / b if a and b else None)
    for r in rows:
        first = (r["mlaan"] or [{}])[0]
        # Processes where the system tells them apart, otherwise by how much the GPU's memory in use grew.
        held = lambda x: x.get("process") or x.get("grown")
        mine = most(map(held, r["mlaan"]))
        ours = [first.get(k) for k in ("planned_bytes", "used_bytes", "device_bytes")] + [mine]
        for i, (form, p) in enumerate(r["pytorch"].items() or [(None, {})]):
            what = [r["recipe"], r["precision"], str(r["batch"]), *map(gib, ours)] if i == 0 else [""] * 7
            table.row(*what, form or "-", *map(gib, (p.get("allocated"), p.get("reserved"), held(p))),
                      ratio(p.get("allocated"), first.get("used_bytes")), ratio(held(p), mine))
    return table.text()


def operations_table(r, peaks):
    flops, bandwidth = limits(r, peaks)
    p = r["profile"]
    table = Columns(">share", ">calls", ">µs a call", ">GFLOP/s", ">of peak", ">GB/s", ">of bandwidth", "operation")
    for o in sorted(p["operations"], key=lambda o: -o["seconds"])[:TOP]:
        s = o["seconds"] or 1e-12
        table.row(percent(s / p["seconds"]), str(o["calls"] // p["steps"]), f"{1e6 * s / o['calls']:.1f}",
                  f"{o['flops'] / s / 1e9:.0f}" if o["flops"] else None, percent(flops and o["flops"] / s / flops),
                  f"{o['bytes'] / s / 1e9:.0f}", percent(bandwidth and o["bytes"] / s / bandwidth), o["name"])
    return f"{r['recipe']}, {r['precision']}, batch {r['batch']}\n{table.text()}"


def text(data):
    rows, peaks = data["results"], data["peaks"]
    parts = [data["machine"]["text"], NOTES]
    if "bytes_per_second" in peaks:
        parts.append(f"PyTorch on this GPU at the most: bf16 {peaks['bf16_flops_per_second'] / 1e12:.0f} TFLOP/s, TF32 "
                     f"{peaks['tf32_flops_per_second'] / 1e12:.0f} TFLOP/s (matrices of 8192), copying "
                     f"{peaks['bytes_per_second'] / 1e9:.0f} GB/s")
    measured_ = next((m["machine"] for r in rows for m in r["mlaan"] if m.get("machine")), None)
    if measured_:
        giga = lambda key, unit: f"{measured_[key] / unit:.4g}" if measured_.get(key) else "unknown"
        parts.append(f"mlaan here at the most: {giga('flops_per_second', 1e12)} TFLOP/s, "
                     f"{giga('bytes_per_second', 1e9)} GB/s")
    if data["device"] == "cpu":
        parts.append("On a processor: shows that this program works, and nothing about a GPU.")
    parts.append("Milliseconds of a training step. Of peak: operations as they are defined; of bandwidth: every operand once; of "
                 "roofline: the\ntime that all operations need at the least by either, of the step's.\n\n" + speed_table(rows, peaks))
    parts.append("GiB. Ours: planned, used by the accountant, taken as the driver says, held by the process as NVML says (with "
                 "the CUDA context,\nand up to 0.3 GiB of what measures the GPU's limits afterwards). PyTorch: allocated and "
                 "reserved by its allocator,\nheld by the process. A ratio is PyTorch's divided by ours.\n\n" + memory_table(rows))
    errors = [f"{r['recipe']}, {r['precision']}: {e}" for r in rows for e in dict.fromkeys(r["errors"])] + data["left_out"]
    if errors:
        parts.append("Failed or left out:\n" + "\n".join(errors))
    parts += [operations_table(r, peaks) for r in rows if r.get("profile")]
    return "\n\n".join(parts) + "\n"


def gpu():
    return output("nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit",
                  "--format=csv,noheader")


def peaks(a, clock, data):
    """PyTorch's on a GPU; empty where it cannot say."""
    if a.device == "cpu":
        return {}
    try:
        out = subprocess.run([sys.executable, WORKER, "--peaks", a.device], capture_output=True, text=True,
                             timeout=max(1, min(90, clock.left())))
        if out.returncode == 0:
            return json.loads(out.stdout)
        problem = last_line(out.stderr)
    except (subprocess.TimeoutExpired, ValueError) as e:
        problem = str(e)
    data["left_out"].append(f"PyTorch's peaks: {problem}")
    return {}


def main():
    a = arguments()
    recipes = [a.recipes] if a.recipes else [MAIN, REST]
    [Configuration.named(r) for group in recipes for r in group]
    wanted = [(r, p) for group in recipes for p in a.precisions for r in group]
    clock, nvml = Clock(60 * a.minutes), Nvml(int(a.device.partition(":")[2] or 0))
    about = machine(a.mlaan, a.threads)
    about["gpu"] = gpu()
    about["text"] = f"{about['gpu'] or 'no GPU'}\n{about['text']}"
    data = {"machine": about, "command": sys.argv, "device": a.device, "peaks": {}, "results": [], "left_out": []}
    data["peaks"] = peaks(a, clock, data)
    stem = place(a.out, a.name)
    with tempfile.TemporaryDirectory() as logs:
        for recipe, precision in wanted:
            if clock.left() < TOO_LITTLE:
                data["left_out"].append(f"{recipe}, {precision}: no time")
            else:
                say(f"{recipe}, {precision}, {clock.left():.0f} s left")
                data["results"].append(measured(recipe, precision, a, nvml, clock, Path(logs)))
            write(stem, text(data), data)
    print(text(data))
    say(f"written: {stem}.txt and .json")
    if not any(r["mlaan"] for r in data["results"]):
        sys.exit("mlaan could not run in any configuration")


if __name__ == "__main__":
    main()
