#!/usr/bin/env python3
"""Seconds to a test accuracy on CIFAR-10, as CIFAR speedruns count: by backpropagation, and by local methods.

    cargo build --release
    python3 bench/speedrun.py --data CIFAR10 --device cuda --precision bf16      # 90 %, on a GPU
    python3 bench/speedrun.py --data CIFAR10 --limit 5000 --target 40            # tried on a processor

Recipes are those that are built in, with fewer epochs and a cosine that ends with them: no tricks outside of the recipe. The clock
runs from the start of the program to the end of the test that first reaches the target, compiling of kernels and reading of images
included; beside it stand the seconds of its epochs alone, training and testing. A run ends there. Test images are read after every epoch, as in the public
records; what is reported is a time, not an accuracy.
"""
import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from networks import ROOT
from report import Columns, machine, save

RECIPES = ["bp-resnet20", "bp-resnet32", "mlaan-released-resnet20-10", "mlaan-released-resnet32-16"]
# What others say of themselves: other networks, other tricks, other hardware.
RECORDS = """Public records, as published, for other networks with methods made for speed:
  94.0 % in 2.59 s   airbench94_muon, one NVIDIA A100 (github.com/KellerJordan/cifar10-airbench)
  94.0 % in 3.29 s   airbench94_compiled, one A100 (Jordan 2024, arXiv 2404.00498)
  94.0 % in 6.3 s    hlb-CIFAR10, one A100 (github.com/tysam-code/hlb-CIFAR10)
  96.0 % in 7 min    a usual ResNet-18, one A100 (the first of these)
"""


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True)
    p.add_argument("--recipes", nargs="+", default=RECIPES)
    p.add_argument("--target", type=float, default=90.0, help="test accuracy, percent")
    p.add_argument("--epochs", type=int, default=30, help="of the schedule; the run may end before")
    p.add_argument("--batch", type=int, default=512)
    p.add_argument("--seeds", type=int, default=1)
    p.add_argument("--device", default="cpu")
    p.add_argument("--precision", default="f32", choices=["f32", "bf16"])
    p.add_argument("--limit", type=int, help="training images")
    p.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="keys of every recipe")
    p.add_argument("--minutes", type=float, default=60.0, help="of a run, at the most")
    p.add_argument("--mlaan", type=Path, default=ROOT / "target/release/mlaan")
    p.add_argument("--out", type=Path, default=ROOT / "bench/results")
    a = p.parse_args()
    if not a.mlaan.exists():
        p.error(f"{a.mlaan} is missing: cargo build --release")
    return a


def command(a, recipe, seed, folder):
    limit = ["--limit", str(a.limit)] if a.limit else []
    sets = ["--set", *a.set] if a.set else []
    return [str(a.mlaan), "train", recipe, "--data", a.data, "--epochs", str(a.epochs), "--batch", str(a.batch), "--seed", str(seed),
            "--device", a.device, "--precision", a.precision, "--json", "--out", str(folder), *limit, *sets]


def accuracy(epoch):
    return epoch["test_accuracy"] if "test_accuracy" in epoch else 100 - epoch["test_error"]


def run(a, recipe, seed):
    """Seconds on the clock and of epochs until the target, epochs, and the best accuracy; no seconds where it is not reached."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        process = subprocess.Popen(command(a, recipe, seed, Path(folder) / "run"), stdout=subprocess.PIPE, text=True)
        trained, epochs, best, reached = 0.0, 0, 0.0, None
        for line in process.stdout:
            event = json.loads(line)
            if event.get("event") != "epoch":
                continue
            clock, epochs = time.monotonic() - begin, epochs + 1
            trained, best = trained + event["seconds"], max(best, accuracy(event))
            print(f"  {recipe} seed {seed}: epoch {epochs}, {accuracy(event):.2f} %, {clock:.1f} s", file=sys.stderr, flush=True)
            if best >= a.target or clock > 60 * a.minutes:
                reached = clock if best >= a.target else None
                process.send_signal(signal.SIGINT)
                break
        process.communicate()
        if process.returncode and reached is None and epochs == 0:
            sys.exit(f"{recipe}: the run failed")
    return {"clock": reached, "training": trained if reached else None, "epochs": epochs, "best": best}


def main():
    a = arguments()
    table, data = Columns("recipe", ">seconds", ">of epochs", ">number", ">best accuracy %"), {}
    for recipe in a.recipes:
        found = [run(a, recipe, seed) for seed in range(a.seeds)]
        data[recipe] = found
        middle = lambda key: statistics.median(r[key] for r in found) if all(r["clock"] for r in found) else None
        number = lambda key: f"{middle(key):.1f}" if middle(key) else "not reached"
        table.row(recipe, number("clock"), number("training"), str(max(r["epochs"] for r in found)), f"{max(r['best'] for r in found):.2f}")
    about = machine(a.mlaan, os.cpu_count())
    title = f"Seconds to {a.target:g} % test accuracy on {Path(a.data).name}, {a.device}, {a.precision}, median of {a.seeds} seeds"
    text = f"{about['text']}\n\n{title}\n\n{table.text()}\n\n{RECORDS}"
    save(a.out, "speedrun", text, {"machine": about, "command": sys.argv, "runs": data})


if __name__ == "__main__":
    main()
