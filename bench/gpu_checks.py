#!/usr/bin/env python3
"""Whether training on a GPU is right: it learns, goes on where a processor stopped and back, and repeats to the bit.

    python3 bench/gpu_checks.py learns|resumes|repeats [--device cuda] [--out runs/gpu-checks]

Uses `quickstart` on the built-in images. Ends with 0 if it holds. Needs Python only.
"""
import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from networks import ROOT

# A processor's is 23.5 % ± 1.8 after four epochs, in f32 and in bf16 (README.md); guessing is 90 %.
EPOCHS, ERROR = 4, 35.0
# Rounding differs from device to device and grows with every step: relative for losses, in points for errors.
LOSS, POINTS, SAME = 0.05, 6.0, 0.5


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("check", choices=["learns", "resumes", "repeats"])
    p.add_argument("--device", default="cuda")
    p.add_argument("--mlaan", type=Path, default=ROOT / "target/release/mlaan")
    p.add_argument("--images", type=int, default=1000, help="for resumes and repeats [1000]")
    p.add_argument("--out", type=Path, default=ROOT / "runs/gpu-checks")
    return p.parse_args()


def mlaan(a, *words, **environment):
    command = [a.mlaan, *map(str, words)]
    print("$", *command, *(f"({k}={v})" for k, v in environment.items()), flush=True)
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=os.environ | environment)
    if out.returncode:
        sys.exit(f"status {out.returncode}")
    return out.stdout


def train(a, folder, device, epochs, *more, **environment):
    mlaan(a, "train", "quickstart", "--device", device, "--epochs", epochs, "--out", folder, "--quiet", *more, **environment)


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def epochs(folder):
    events = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [e for e in events if e["event"] == "epoch"]


def holds(what, right):
    print("ok   " if right else "WRONG", what, flush=True)
    return right


def learns(a):
    right = True
    for precision in ("f32", "bf16"):
        folder = fresh(a.out / f"learns-{precision}")
        train(a, folder, a.device, EPOCHS, "--precision", precision)
        last = epochs(folder)[-1]
        right &= holds(f"{precision}: test error {last['test_error']:.2f} % after {EPOCHS} epochs, below {ERROR:.0f} %; "
                       f"{last['peak_allocated_bytes'] / 2**20:.0f} MiB",
                       last["test_error"] < ERROR)
    return right


def resumes(a):
    """Three epochs, the second on the GPU, beside three on the processor that were resumed as often."""
    found = {}
    for name, devices in (("cpu", ["cpu"] * 3), ("mixed", ["cpu", a.device, "cpu"])):
        folder = fresh(a.out / f"resumes-{name}")
        for i, device in enumerate(devices):
            train(a, folder, device, i + 1, "--limit", a.images, *(["--resume"] if i else []))
        found[name] = epochs(folder)
    right = holds("three epochs each, in order", all([e["epoch"] for e in f] == [1, 2, 3] for f in found.values()))
    for x, y in zip(found["cpu"], found["mixed"]):
        loss = abs(x["train_loss"] - y["train_loss"]) / x["train_loss"]
        points = abs(x["test_error"] - y["test_error"])
        right &= holds(f"epoch {x['epoch']}: loss {x['train_loss']:.5f} and {y['train_loss']:.5f}, test error "
                       f"{x['test_error']:.2f} and {y['test_error']:.2f} %", loss < LOSS and points < POINTS)
    errors = [json.loads(mlaan(a, "eval", a.out / "resumes-mixed", "--json", *on))["error"]
              for on in ([], ["--device", a.device] if a.device != "cpu" else [])]
    return right & holds(f"the same checkpoint on cpu and {a.device}: {errors[0]:.2f} and {errors[1]:.2f} %",
                         abs(errors[0] - errors[1]) <= SAME)


def bits(folder):
    files = sorted((folder / "checkpoints").glob("*.safetensors"))
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def repeats(a):
    right = True
    for precision in ("f32", "bf16"):
        found = []
        for name, environment in (("once", {}), ("again", {}), ("no-graphs", {"MLAAN_CUDA_GRAPHS": "0"})):
            folder = fresh(a.out / f"repeats-{precision}-{name}")
            train(a, folder, a.device, 2, "--limit", a.images, "--precision", precision, **environment)
            found.append(bits(folder))
        for name, other in (("a second run", found[1]), ("a run without CUDA graphs", found[2])):
            right &= holds(f"{precision}: {name} writes the same {len(found[0])} files of tensors, to the bit",
                           bool(found[0]) and other == found[0])
    return right


def main():
    a = arguments()
    a.out.mkdir(parents=True, exist_ok=True)
    right = {"learns": learns, "resumes": resumes, "repeats": repeats}[a.check](a)
    print(f"{a.check}: {'holds' if right else 'DOES NOT HOLD'}")
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
