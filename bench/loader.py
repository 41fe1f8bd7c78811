#!/usr/bin/env python3
"""Images loaded by mlaan and by torchvision in turn on this machine: read, decoded, cropped, mirrored, normalised.

    python3 -m venv /tmp/bench && /tmp/bench/bin/pip install -r bench/requirements.txt
    cargo build --release
    /tmp/bench/bin/python bench/loader.py FOLDER

FOLDER holds `train/CLASS/*`. Medians of several rounds of one epoch each; the ratio is our images per second over
PyTorch's. See bench/README.md for what is compared.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from networks import ROOT
from report import Columns, machine, save

MLAAN = ROOT / "target/release/mlaan"


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("data", type=Path, help="a folder of images")
    p.add_argument("--recipe", default="bp-resnet34", help="which size and which changes of images")
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--threads", type=int, default=os.cpu_count(), help="loading threads of ours, processes of PyTorch's")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--name", default="loader", help="of the files in --out")
    p.add_argument("--out", type=Path, default=ROOT / "bench/results")
    a = p.parse_args()
    if not MLAAN.exists():
        p.error(f"{MLAAN} is missing: cargo build --release")
    if not (a.data / "train").is_dir():
        p.error(f"{a.data}/train is missing")
    return a


def mlaan(a, load):
    """One epoch of ours in a new process, as `mlaan bench --data` reports it."""
    command = [MLAAN, "bench", a.recipe, "--data", a.data, "--batch", str(a.batch), "--threads", str(a.threads),
               "--rounds", "1", "--json", "--set", f"data.load={load}", "data.normalise=imagenet"]
    out = subprocess.run(command, capture_output=True, text=True)
    if out.returncode:
        sys.exit(f"mlaan: {out.stderr.strip() or f'status {out.returncode}'}")
    return json.loads(out.stdout)


class Torchvision:
    """The usual loader of the ImageNet recipe; its processes stay between epochs."""

    def __init__(self, a, size):
        import torch
        from torchvision import datasets, transforms

        torch.manual_seed(0)
        torch.set_num_threads(a.threads)
        changes = transforms.Compose([
            transforms.RandomResizedCrop(size),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ])
        data = datasets.ImageFolder(str(a.data / "train"), changes)
        self.images = len(data)
        self.loader = torch.utils.data.DataLoader(data, a.batch, shuffle=True, num_workers=a.threads,
                                                  persistent_workers=True)

    def epoch(self):
        begin, images = time.perf_counter(), 0
        for x, _ in self.loader:
            images += len(x)
        assert images == self.images
        return time.perf_counter() - begin


def main():
    a = arguments()
    # Files come into the system's cache, PyTorch's processes start.
    first = mlaan(a, "stream")
    theirs = Torchvision(a, first["size"])
    theirs.epoch()
    rounds = []
    for i in range(a.rounds):
        ours, torch = mlaan(a, "stream"), theirs.epoch()
        rounds.append({"mlaan": ours["rounds"][0], "torchvision": torch})
        print(f"round {i + 1}: mlaan {rounds[-1]['mlaan']:.2f} s, torchvision {torch:.2f} s", flush=True)
    memory = mlaan(a, "memory")
    seconds = {side: statistics.median(r[side] for r in rounds) for side in ("mlaan", "torchvision")}
    if first["images"] != theirs.images:
        sys.exit(f"{first['images']} images here, {theirs.images} there")
    table = Columns("", ">images/s", ">s an epoch")
    for side in seconds:
        table.row(side, theirs.images / seconds[side], seconds[side])
    table.row("mlaan, from memory", memory["images_per_second"], memory["seconds"])
    ratio = seconds["torchvision"] / seconds["mlaan"]
    each = [r["torchvision"] / r["mlaan"] for r in rounds]
    text = (f"{theirs.images} images of {first['size']}x{first['size']}, batch {a.batch}, {a.threads} threads "
            f"(processes): {ratio:.2f}x "
            f"(rounds {min(each):.2f}x to {max(each):.2f}x)\n\n{table.text()}\n\nDecoding the set into memory took {memory['opening_seconds']:.1f} s.")
    about = machine(MLAAN, a.threads)
    result = {"machine": about, "command": sys.argv, "ratio": ratio, "images": theirs.images, "batch": a.batch, "threads": a.threads, "size": first["size"],
              "rounds": rounds, "seconds": seconds, "memory": memory}
    save(a.out, a.name, f"{about['text']}\n\n{text}\n", result)


if __name__ == "__main__":
    main()
