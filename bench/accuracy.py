#!/usr/bin/env python3
"""Test error with activations in f32 and in bf16, over several seeds: does storing half the bits cost accuracy?

    cargo build --release && python3 bench/accuracy.py quickstart --set train.epochs=4
    python3 bench/accuracy.py bp-resnet32 --data CIFAR10 --limit 5000 --set train.epochs=4 train.batch=64

Runs are kept in --runs and not repeated; a run is bound to its seed, not to its number of threads. Needs Python only.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from networks import ROOT
from report import Columns, machine, save

MLAAN = ROOT / "target/release/mlaan"


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("recipe")
    p.add_argument("--data", help="of the recipe when absent")
    p.add_argument("--limit", type=int, help="training images, and at most as many test images")
    p.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--runs", type=Path, default=ROOT / "runs/accuracy")
    p.add_argument("--name", help="of the files in --out [accuracy-RECIPE]")
    p.add_argument("--out", type=Path, default=ROOT / "bench/results")
    a = p.parse_args()
    if not MLAAN.exists():
        p.error(f"{MLAAN} is missing: cargo build --release")
    return a


def trained(a, precision, seed):
    """The epochs of a run, trained unless it was before."""
    folder = a.runs / f"{a.recipe}-{precision}-{seed}"
    if not (folder / "summary.json").exists():
        command = [MLAAN, "train", a.recipe, "--precision", precision, "--seed", str(seed), "--threads", str(a.threads),
                   "--quiet", "--out", folder]
        command += ["--data", a.data] if a.data else []
        command += ["--limit", str(a.limit)] if a.limit else []
        command += ["--set", *a.set] if a.set else []
        print(f"{a.recipe}, {precision}, seed {seed}", file=sys.stderr, flush=True)
        if subprocess.run(command).returncode:
            sys.exit(1)
    events = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [e for e in events if e["event"] == "epoch"]


def main():
    a = arguments()
    table = Columns("precision", *(f">seed {s}" for s in range(a.seeds)), ">mean error %", ">deviation", ">train loss",
                    ">peak MiB")
    data = {}
    for precision in ("f32", "bf16"):
        runs = [trained(a, precision, s) for s in range(a.seeds)]
        errors = [r[-1]["test_error"] for r in runs]
        deviation = statistics.stdev(errors) if len(errors) > 1 else None
        loss = statistics.mean(r[-1]["train_loss"] for r in runs)
        peak = max((e.get("peak_memory_bytes") or e["peak_allocated_bytes"]) for r in runs for e in r)
        table.row(precision, *(f"{e:.2f}" for e in errors), f"{statistics.mean(errors):.2f}",
                  deviation and f"{deviation:.2f}", f"{loss:.3f}", f"{peak / 2**20:.0f}")
        data[precision] = runs
    about = machine(MLAAN, a.threads)
    text = f"{about['text']}\n\n{a.recipe}: test error after the last epoch, percent\n\n{table.text()}\n"
    save(a.out, a.name or f"accuracy-{a.recipe}", text, {"machine": about, "command": sys.argv, "epochs": data})


if __name__ == "__main__":
    main()
