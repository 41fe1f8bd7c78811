#!/usr/bin/env python3
"""Training steps of mlaan and of PyTorch in turn on this machine: time, and memory of the process.

    python3 -m venv /tmp/bench && /tmp/bench/bin/pip install -r bench/requirements.txt
    cargo build --release
    /tmp/bench/bin/python bench/compare.py [RECIPE ...]

Medians of several rounds; a ratio is PyTorch's number divided by ours. See bench/README.md for what is compared.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

from networks import RECIPES, ROOT, Configuration
from report import Columns, gib, machine, save

MLAAN = ROOT / "target/release/mlaan"
WORKER = Path(__file__).with_name("worker.py")
# PyTorch's idle threads spin for a while: they must sleep before ours are timed.
REST = 0.5
# Without the instructions PyTorch's bf16 is an order of magnitude slower than its f32.
SLOW_ROUNDS = 2


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("recipes", nargs="*", default=RECIPES, metavar="RECIPE", help=", ".join(RECIPES))
    p.add_argument("--batch", type=int, help="images per step [128; 16 at 224 pixels; for memory 1024 instead of 128]")
    p.add_argument("--memory-batch", type=int, help="images per step when memory is measured [--batch]")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--steps", type=int, default=3, help="steps of a round, of which the median counts")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--precision", default="f32", help="f32, bf16 or f32,bf16")
    p.add_argument("--checkpoint", action="store_true", help="also recomputation: ours, and torch.utils.checkpoint for backpropagation")
    p.add_argument("--name", default="compare", help="of the files in --out")
    p.add_argument("--out", type=Path, default=ROOT / "bench/results")
    only = p.add_mutually_exclusive_group()
    only.add_argument("--memory-only", action="store_true")
    only.add_argument("--speed-only", action="store_true")
    a = p.parse_args()
    a.precisions = a.precision.split(",")
    if not set(a.precisions) <= {"f32", "bf16"}:
        p.error(f"--precision {a.precision}: f32, bf16 or both")
    for name in ("batch", "memory_batch", "rounds", "steps", "threads"):
        if getattr(a, name) is not None and getattr(a, name) < 1:
            p.error(f"--{name.replace('_', '-')}: at least 1")
    if not MLAAN.exists():
        p.error(f"{MLAAN} is missing: cargo build --release")
    return a


class Failed(Exception):
    """One side could not run; the table goes on without it."""


def mlaan(recipe, batch, threads, precision, steps, *keys):
    """One round of ours, as `mlaan bench` reports it."""
    command = [MLAAN, "bench", recipe, "--batch", str(batch), "--threads", str(threads), "--rounds", "1",
               "--steps", str(steps), "--json"]
    if precision != "f32":
        command += ["--precision", precision]
    if keys:
        command += ["--set", *keys]
    out = subprocess.run(command, capture_output=True, text=True)
    if out.returncode:
        raise Failed(f"mlaan: {out.stderr.strip() or f'status {out.returncode}'}")
    return json.loads(out.stdout)


class Worker:
    """A process that keeps PyTorch and the networks of one recipe."""

    def __init__(self, recipe, batch, threads, precision):
        command = [sys.executable, WORKER, recipe, str(batch), str(threads), precision]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        self.process.stdout.readline()
        time.sleep(REST)
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def seconds(self, form, steps, warm):
        try:
            print(json.dumps({"form": form, "steps": steps, "warm": warm}), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise Failed(f"PyTorch: ended with status {self.process.wait()} (-9: killed, mostly for lack of memory)")
        time.sleep(REST)
        return statistics.median(json.loads(line)["seconds"])


def has_bf16():
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine() == "arm64"
    return any(f in flags for f in ("avx512_bf16", "amx_bf16", " bf16"))


def speed(configuration, precision, a):
    """Every round of both sides, in turn."""
    c, batch = configuration, a.batch or configuration.batch()
    found = {"recipe": c.recipe, "precision": precision, "batch": batch, "mlaan": [], "pytorch": {}, "errors": []}
    forms = c.forms(a.checkpoint)
    slow = precision == "bf16" and not has_bf16()
    with Worker(c.recipe, batch, a.threads, precision) if forms else nullcontext() as worker:
        for i in range(a.rounds):
            try:
                found["mlaan"].append(mlaan(c.recipe, batch, a.threads, precision, a.steps))
                if a.checkpoint:
                    found.setdefault("recomputed", []).append(
                        mlaan(c.recipe, batch, a.threads, precision, a.steps, "local.recompute=module"))
            except Failed as e:
                found["errors"].append(str(e))
            for form in forms if not slow or i < SLOW_ROUNDS else []:
                steps, warm = (1, int(i == 0)) if slow else (a.steps, 2 if i == 0 else 1)
                try:
                    found["pytorch"].setdefault(form, []).append(worker.seconds(form, steps, warm))
                except Failed as e:
                    found["errors"].append(str(e))
                    return found
    return found


def memory(configuration, precision, a):
    """Bytes by which each process grows, a fresh one for each measurement."""
    c, batch = configuration, a.memory_batch or a.batch or configuration.batch(memory=True)
    found = {"recipe": c.recipe, "precision": precision, "batch": batch, "mlaan": None, "pytorch": {}, "errors": []}
    try:
        found["mlaan"] = mlaan(c.recipe, batch, a.threads, precision, 1)
        if a.checkpoint:
            found["recomputed"] = mlaan(c.recipe, batch, a.threads, precision, 1, "local.recompute=module")
    except Failed as e:
        found["errors"].append(str(e))
    for form in c.forms(a.checkpoint):
        command = [sys.executable, WORKER, c.recipe, str(batch), str(a.threads), precision, "--memory", form]
        out = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if out.returncode:
            found["errors"].append(f"PyTorch, {form}: ended with status {out.returncode} (-9: killed, mostly for lack of memory)")
        else:
            found["pytorch"][form] = json.loads(out.stdout)["bytes"]
    return found


def fastest(found):
    """PyTorch's fastest form that keeps what it computes, and its median."""
    medians = {form: statistics.median(s) for form, s in found["pytorch"].items() if s and form != "checkpoint"}
    return min(medians.items(), key=lambda m: m[1], default=(None, None))


def speed_table(rows):
    table = Columns("recipe", "precision", ">batch", ">mlaan s", ">GFLOP/s", ">of peak", ">of sgemm",
                    ">recomputed s", ">channels last s", ">default layout s", ">checkpoint s", ">ratio", ">ratio to f32")
    f32 = {r["recipe"]: fastest(r)[1] for r in rows if r["precision"] == "f32"}
    for r in rows:
        ours = [m["seconds"] for m in r["mlaan"]]
        mine = statistics.median(ours) if ours else None
        peak, sgemm = (statistics.median(m[f] for m in r["mlaan"]) if ours else None for f in ("of_peak", "of_sgemm"))
        giga = r["mlaan"][0]["flops"] / mine / 1e9 if ours else None
        again = [m["seconds"] for m in r.get("recomputed", [])]
        forms = [statistics.median(r["pytorch"][f]) if r["pytorch"].get(f) else None
                 for f in ("channels last", "default layout", "checkpoint")]
        ratios = [t / mine if t and mine else None for t in (fastest(r)[1], f32.get(r["recipe"]))]
        table.row(r["recipe"], r["precision"], str(r["batch"]), mine, giga, peak and f"{100 * peak:.0f} %",
                  sgemm and f"{100 * sgemm:.0f} %", statistics.median(again) if again else None, *forms,
                  *(x and f"{x:.2f}x" for x in ratios))
    return table.text()


def memory_table(rows):
    table = Columns("recipe", "precision", ">batch", ">planned GiB", ">used GiB", ">mlaan process", ">recomputed",
                    ">channels last", ">default layout", ">checkpoint", ">ratio", ">ratio to f32")
    least = {r["recipe"]: plain_bytes(r) for r in rows if r["precision"] == "f32"}
    for r in rows:
        m = r["mlaan"] or {}
        mine = m.get("resident_bytes")
        forms = [r["pytorch"].get(f) for f in ("channels last", "default layout", "checkpoint")]
        ratios = [t / mine if t and mine else None for t in (plain_bytes(r), least.get(r["recipe"]))]
        table.row(r["recipe"], r["precision"], str(r["batch"]),
                  *map(gib, (m.get("planned_bytes"), m.get("used_bytes"), mine,
                             (r.get("recomputed") or {}).get("resident_bytes"), *forms)),
                  *(x and f"{x:.2f}x" for x in ratios))
    return table.text()


def plain_bytes(found):
    """The smaller of PyTorch's layouts, without checkpoints."""
    return min((b for form, b in found["pytorch"].items() if form != "checkpoint"), default=None)


def run(what, measure, a):
    rows = []
    for recipe in a.recipes:
        for precision in a.precisions:
            print(f"{what}: {recipe}, {precision}", file=sys.stderr, flush=True)
            rows.append(measure(Configuration.named(recipe), precision, a))
            for e in dict.fromkeys(rows[-1]["errors"]):
                print(f"  {e}", file=sys.stderr)
    return rows


def main():
    a = arguments()
    [Configuration.named(r) for r in a.recipes]
    about = machine(MLAAN, a.threads)
    text, data = [about["text"]], {"machine": about, "command": sys.argv}
    if "bf16" in a.precisions and not has_bf16():
        text.append("This processor has no bf16 instructions: PyTorch's bf16 is emulated here (few rounds); only the "
                    "ratio to its f32 is fair.")
    if not a.memory_only:
        data["speed"] = run("speed", speed, a)
        text.append("Seconds of a training step; a ratio is PyTorch's fastest of its layouts divided by mlaan.\n\n"
                    + speed_table(data["speed"]))
    if not a.speed_only:
        data["memory"] = run("memory", memory, a)
        text.append("GiB; a process's are its growth over building the network and training. A ratio is PyTorch's smaller "
                    "layout divided by mlaan's process.\n\n" + memory_table(data["memory"]))
    errors = dict.fromkeys(f"{r['recipe']}, {r['precision']}: {e}" for kind in ("speed", "memory")
                           for r in data.get(kind, []) for e in r["errors"])
    if errors:
        text.append("Could not run:\n" + "\n".join(errors))
    save(a.out, a.name, "\n\n".join(text) + "\n", data)


if __name__ == "__main__":
    main()
