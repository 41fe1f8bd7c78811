#!/usr/bin/env python3
"""Images loaded by mlaan and by torchvision in turn on this machine: read, decoded, cropped, mirrored, normalised.

    python3 -m venv /tmp/bench && /tmp/bench/bin/pip install -r bench/requirements.txt
    cargo build --release
    /tmp/bench/bin/python bench/loader.py FOLDER

FOLDER holds `train/CLASS/*`. Medians of several rounds of one epoch each; the ratio is our images per second over
PyTorch's. See bench/README.md for what is compared. `--with randaugment mixup` adds to what is done to images, `--with each`
measures nothing, every addition alone, and all of them.
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

# What is added to images, or to how they are drawn: keys of ours.
ADDED = {
    "randaugment": "data.randaugment=[2, 9]",
    "mixup": "data.mixup=0.2",
    "cutmix": "data.cutmix=1",
    "balanced": 'data.sampler="balanced"',
}

MLAAN = ROOT / "target/release/mlaan"


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("data", type=Path, help="a folder of images")
    p.add_argument("--recipe", default="bp-resnet34", help="which size and which changes of images")
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--threads", type=int, default=os.cpu_count(), help="loading threads of ours, processes of PyTorch's")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--with", dest="added", nargs="+", default=[], choices=[*ADDED, "all", "each"], metavar="WHAT",
                   help=f"{', '.join(ADDED)}; all of them together; or each of them, alone and together")
    p.add_argument("--name", default="loader", help="of the files in --out")
    p.add_argument("--out", type=Path, default=ROOT / "bench/results")
    a = p.parse_args()
    if not MLAAN.exists():
        p.error(f"{MLAAN} is missing: cargo build --release")
    if not (a.data / "train").is_dir():
        p.error(f"{a.data}/train is missing")
    return a


def mlaan(a, load, added):
    """One epoch of ours in a new process, as `mlaan bench --data` reports it."""
    command = [MLAAN, "bench", a.recipe, "--data", a.data, "--batch", str(a.batch), "--threads", str(a.threads),
               "--rounds", "1", "--json", "--set", f"data.load={load}", "data.normalise=imagenet",
               *(ADDED[name] for name in added)]
    out = subprocess.run(command, capture_output=True, text=True)
    if out.returncode:
        sys.exit(f"mlaan: {out.stderr.strip() or f'status {out.returncode}'}")
    return json.loads(out.stdout)


class Torchvision:
    """The usual loader of the ImageNet recipe; its processes stay between epochs."""

    def __init__(self, a, size, added):
        import torch
        from torchvision import datasets, transforms

        torch.manual_seed(0)
        torch.set_num_threads(a.threads)
        changes = transforms.Compose([
            transforms.RandomResizedCrop(size),
            transforms.RandomHorizontalFlip(),
            *([transforms.RandAugment(2, 9)] if "randaugment" in added else []),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ])
        data = datasets.ImageFolder(str(a.data / "train"), changes)
        self.images = len(data)
        order = {"shuffle": True}
        if "balanced" in added:
            counts = torch.bincount(torch.tensor(data.targets))
            weights = (1.0 / counts)[torch.tensor(data.targets)]
            order = {"sampler": torch.utils.data.WeightedRandomSampler(weights, len(data))}
        self.loader = torch.utils.data.DataLoader(data, a.batch, num_workers=a.threads, persistent_workers=True,
                                                  collate_fn=mixtures(added, len(data.classes)), **order)

    def epoch(self):
        begin, images = time.perf_counter(), 0
        for x, _ in self.loader:
            images += len(x)
        assert images == self.images
        return time.perf_counter() - begin

    def end(self):
        """Its processes go, so that they take nothing from what is measured next."""
        self.loader._iterator = None


class mixtures:
    """Batches whose images are mixed where they are put together, as torchvision's documentation has it: in the processes."""

    def __init__(self, added, classes):
        from torchvision.transforms import v2

        each = [v2.MixUp(alpha=0.2, num_classes=classes)] if "mixup" in added else []
        each += [v2.CutMix(alpha=1.0, num_classes=classes)] if "cutmix" in added else []
        self.mix = v2.RandomChoice(each) if len(each) > 1 else each[0] if each else None

    def __call__(self, samples):
        from torch.utils.data import default_collate

        batch = default_collate(samples)
        return self.mix(*batch) if self.mix else batch


def measured(a, added):
    """Rounds in turn with these additions, and what they say."""
    # Files come into the system's cache, PyTorch's processes start.
    first = mlaan(a, "stream", added)
    theirs = Torchvision(a, first["size"], added)
    theirs.epoch()
    what = " + ".join(added) or "nothing added"
    rounds = []
    for i in range(a.rounds):
        ours, torch = mlaan(a, "stream", added), theirs.epoch()
        rounds.append({"mlaan": ours["rounds"][0], "torchvision": torch})
        print(f"{what}, round {i + 1}: mlaan {rounds[-1]['mlaan']:.2f} s, torchvision {torch:.2f} s", flush=True)
    theirs.end()
    memory = mlaan(a, "memory", added)
    seconds = {side: statistics.median(r[side] for r in rounds) for side in ("mlaan", "torchvision")}
    if first["images"] != theirs.images:
        sys.exit(f"{first['images']} images here, {theirs.images} there")
    table = Columns("", ">images/s", ">s an epoch")
    for side in seconds:
        table.row(side, theirs.images / seconds[side], seconds[side])
    table.row("mlaan, from memory", memory["images_per_second"], memory["seconds"])
    ratio = seconds["torchvision"] / seconds["mlaan"]
    each = [r["torchvision"] / r["mlaan"] for r in rounds]
    text = (f"{what}: {theirs.images} images of {first['size']}x{first['size']}, batch {a.batch}, {a.threads} threads "
            f"(processes): {ratio:.2f}x "
            f"(rounds {min(each):.2f}x to {max(each):.2f}x)\n\n{table.text()}\n\nDecoding the set into memory took {memory['opening_seconds']:.1f} s.")
    return text, {"added": added, "ratio": ratio, "images": theirs.images, "size": first["size"], "rounds": rounds,
                  "seconds": seconds, "memory": memory}


def main():
    a = arguments()
    sets = [[], *([name] for name in ADDED), list(ADDED)] if "each" in a.added else \
        [list(ADDED) if "all" in a.added else a.added]
    found = [measured(a, added) for added in sets]
    about = machine(MLAAN, a.threads)
    result = {"machine": about, "command": sys.argv, "batch": a.batch, "threads": a.threads, **found[0][1]}
    if len(found) > 1:
        result = {"machine": about, "command": sys.argv, "batch": a.batch, "threads": a.threads, "sets": [r for _, r in found]}
    save(a.out, a.name, "\n\n".join([about["text"], *(text for text, _ in found)]) + "\n", result)


if __name__ == "__main__":
    main()
