#!/usr/bin/env python3
"""How mlaan's training step grows with the batch, the depth and the threads.

    cargo build --release && python3 bench/scaling.py

A step should cost the same per image for any batch, the same per operation for any depth, and half with two threads.
Needs Python only.
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


def numbers(text):
    return [int(n) for n in text.split(",")]


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("recipe", nargs="?", default="bp-resnet32", help="of backpropagation; its depth is replaced")
    p.add_argument("--batches", type=numbers, default=[32, 64, 128, 256])
    p.add_argument("--depths", type=numbers, default=[20, 32, 56, 110])
    p.add_argument("--threads", type=numbers, default=sorted({1, min(2, os.cpu_count() or 1)}))
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--steps", type=int, default=3)
    p.add_argument("--name", default="scaling", help="of the files in --out")
    p.add_argument("--out", type=Path, default=ROOT / "bench/results")
    a = p.parse_args()
    if not MLAAN.exists():
        p.error(f"{MLAAN} is missing: cargo build --release")
    return a


def bench(a, depth, batch, threads):
    command = [MLAAN, "bench", a.recipe, "--set", f"model.backbone=resnet{depth}", "--batch", str(batch), "--threads",
               str(threads), "--rounds", "1", "--steps", str(a.steps), "--json"]
    out = subprocess.run(command, capture_output=True, text=True)
    if out.returncode:
        sys.exit(out.stderr.strip())
    return json.loads(out.stdout)


def table(a, cases, found):
    t = Columns(">depth", ">batch", ">threads", ">s", ">ms per image", ">GFLOP/s", ">of peak", ">speed-up")
    seconds = {c: statistics.median(r["seconds"] for r in found[c]) for c in cases}
    for c in cases:
        depth, batch, threads = c
        first, alone = found[c][0], seconds.get((depth, batch, min(a.threads)))
        peak = statistics.median(r["of_peak"] for r in found[c])
        t.row(str(depth), str(batch), str(threads), seconds[c], f"{1e3 * seconds[c] / batch:.3f}",
              f"{first['flops'] / seconds[c] / 1e9:.1f}", f"{100 * peak:.0f} %", f"{alone / seconds[c]:.2f}x")
    return t.text()


def main():
    a = arguments()
    cases = [(d, b, t) for d in a.depths for b in a.batches for t in a.threads]
    found = {c: [] for c in cases}
    # Round by round over all cases, so that a slow minute meets every one of them.
    for i in range(a.rounds):
        print(f"round {i + 1} of {a.rounds}", file=sys.stderr, flush=True)
        for c in cases:
            found[c].append(bench(a, *c))
    about = machine(MLAAN, ",".join(map(str, a.threads)))
    text = f"{about['text']}\n\n{a.recipe}; the speed-up is over {min(a.threads)} thread(s)\n\n{table(a, cases, found)}\n"
    rows = [{"depth": d, "batch": b, "threads": t, "reports": found[d, b, t]} for d, b, t in cases]
    save(a.out, a.name, text, {"machine": about, "command": sys.argv, "scaling": rows})


if __name__ == "__main__":
    main()
