#!/usr/bin/env python3
"""Whether two builds compute the same: short runs of ten recipes, compared to the bit.

    python3 bench/same_bits.py BEFORE AFTER [--device cpu|cuda:N] [--library-path DIR] [--only NAME ...]

BEFORE and AFTER are two `mlaan` programs on the same machine (instruction sets round differently). For each recipe both
train on the built-in images; then are compared:

- `metrics.jsonl` line by line, without what is measured (seconds, rates, memory of the process);
- every tensor of every checkpoint by name: extents, type and bytes; the manifests without file names;
- `mlaan plan RECIPE --json`, the printed plan of memory.

`--library-path` goes first into LD_LIBRARY_PATH, as for a CUDA driver that runs on the processor. The exit status is 1
where anything differs. Needs Python alone.
"""

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

# Every method, both placements and ties, every head and loss, both stems and blocks, what is stored and what is not.
RECIPES = {
    "bp": ["bp-resnet20"],
    "dgl": ["dgl-resnet20-10", "--set", "data.mixup=0.2"],
    "infopro": ["infopro-resnet20-4", "--set", "local.loss=contrastive"],
    "mlm": ["mlm-resnet20-5", "--set", "local.cascade.span=3"],
    "lam": ["lam-resnet20-10", "--precision", "bf16"],
    "paper": ["mlaan-paper-resnet20-10"],
    "released": ["mlaan-released-resnet20-10"],
    "released-recompute": ["mlaan-released-resnet20-4", "--recompute", "module", "--set", "local.segments=2"],
    "dgl-star-balanced": ["dgl-star-resnet18-5", "--balance", "--set", "data.size=32"],
    "bottleneck": ["bp-resnet50", "--precision", "bf16", "--set", "data.size=32", "--set", "train.nesterov=false"],
}
# What is measured, or names where the run was made; no key of a result is among them.
MEASURED = {"seconds", "images_per_second", "peak_memory_bytes", "version", "crc32"}


def cleaned(value):
    """A value of JSON without what is measured; a recipe's text as the table that it is."""
    if isinstance(value, dict):
        kept = {k: cleaned(v) for k, v in sorted(value.items()) if k not in MEASURED}
        # A manifest holds the recipe's text, a plan its name.
        return {k: tomllib.loads(v) if k == "recipe" and "=" in v else v for k, v in kept.items()}
    if isinstance(value, list):
        return [cleaned(v) for v in value]
    return value


def tensors(path):
    """Of a safetensors file: name → (type, extents, bytes)."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    header.pop("__metadata__", None)
    return {n: (t["dtype"], t["shape"], body[slice(*t["data_offsets"])]) for n, t in header.items()}


def results(program, arguments, options, environment, folder):
    """All that a build computes for a recipe: what → value."""
    def run(*command):
        done = subprocess.run([program, *command], env=environment, cwd=folder, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{program} {' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    images = ["--limit", str(options.limit), "--batch", str(options.batch)]
    run("train", *arguments, "--data", "builtin", *images, "--epochs", str(options.epochs),
        "--device", options.device, "--threads", "2", "--out", "run", "--quiet")
    found = {}
    for number, line in enumerate((folder / "run/metrics.jsonl").read_text().splitlines(), 1):
        found[f"metrics.jsonl, line {number}"] = cleaned(json.loads(line))
    checkpoints = folder / "run/checkpoints"
    for manifest in sorted(checkpoints.glob("*.json")):
        stored = json.loads(manifest.read_text())
        for part, file in stored.pop("files", {}).items():
            for name, tensor in tensors(checkpoints / file["name"]).items():
                found[f"{manifest.name}, {part}: {name}"] = tensor
        found[manifest.name] = cleaned(stored)
    planned = run("plan", *arguments, "--batch", str(options.batch), "--device", options.device, "--json")
    found["plan"] = cleaned(json.loads(planned))
    return found


def same(before, after):
    """Whether two values are equal; a table of the later build may have keys that the earlier one does not know."""
    if isinstance(before, dict) and isinstance(after, dict):
        return all(key in after and same(value, after[key]) for key, value in before.items())
    return before == after


def differences(before, after):
    """The names of what differs."""
    names = sorted(before.keys() | after.keys())
    return [name for name in names if not same(before.get(name), after.get(name))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--library-path", type=Path)
    parser.add_argument("--only", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--limit", type=int, default=100, help="training images (default: 100)")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    environment = dict(os.environ)
    if options.library_path:
        paths = [str(options.library_path.resolve()), environment.get("LD_LIBRARY_PATH", "")]
        environment["LD_LIBRARY_PATH"] = ":".join(p for p in paths if p)
    failed = False
    for name in options.only:
        found = []
        for program in [options.before, options.after]:
            with tempfile.TemporaryDirectory() as folder:
                found.append(results(program.resolve(), RECIPES[name], options, environment, Path(folder)))
        wrong = differences(*found)
        failed |= bool(wrong)
        said = "the same" if not wrong else f"{len(wrong)} DIFFER: " + "; ".join(wrong[:5])
        print(f"{name:20} {len(found[0]):5} values and tensors: {said}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
