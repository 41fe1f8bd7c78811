#!/usr/bin/env python3
"""Images classified by mlaan and by PyTorch in turn on this machine: the network alone, without reading images.

    python3 -m venv /tmp/bench && /tmp/bench/bin/pip install -r bench/requirements.txt
    cargo build --release --example infer_speed
    /tmp/bench/bin/python bench/infer.py

Medians of several rounds. `evaluated` is a network as an evaluation computes it, `folded` with BatchNorm taken into the
convolutions; ratios are times over ours folded. See bench/README.md for what is compared.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from networks import ROOT, Configuration, layout, network
from report import Columns, machine, save

OURS = ROOT / "target/release/examples/infer_speed"
MLAAN = ROOT / "target/release/mlaan"
SECONDS = 0.5


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("recipes", nargs="*", default=["bp-resnet32", "bp-resnet110", "bp-resnet34", "bp-resnet50"])
    p.add_argument("--batches", default="1,64", help="images at a time; at 224 pixels at most 16")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--name", default="infer", help="of the files in --out")
    p.add_argument("--out", type=Path, default=ROOT / "bench/results")
    a = p.parse_args()
    if not OURS.exists():
        p.error(f"{OURS} is missing: cargo build --release --example infer_speed")
    a.batches = [int(b) for b in a.batches.split(",")]
    return a


def ours(recipe, batch, threads):
    """One round in a new process: seconds of a batch, evaluated and folded."""
    out = subprocess.run([OURS, recipe, str(batch), "--threads", str(threads), "--rounds", "1", "--json"],
                         capture_output=True, text=True)
    if out.returncode:
        sys.exit(f"mlaan: {out.stderr.strip() or f'status {out.returncode}'}")
    return json.loads(out.stdout)


def fold(net):
    """Every BatchNorm into the convolution before it, as torch.nn.utils.fusion does."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval
    for module in net.modules():
        children = list(module.named_children())
        for (a, conv), (b, norm) in zip(children, children[1:]):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, a, fuse_conv_bn_eval(conv, norm))
                setattr(module, b, nn.Identity())
    left = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert not left, left
    return net


def theirs(configuration, batch):
    """Functions that classify a batch, by form."""
    import torch
    runs = {}
    for form in ("channels last", "default layout"):
        x = torch.randn(batch, 3, configuration.size, configuration.size).contiguous(memory_format=layout(form))
        for kind in ("evaluated", "folded"):
            torch.manual_seed(0)
            net = network(configuration, form, "cpu").eval()
            net = fold(net) if kind == "folded" else net
            runs[f"{kind}, {form}"] = lambda net=net, x=x: net(x)
    return runs


def timed(run):
    import torch
    with torch.inference_mode():
        run()
        count, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < SECONDS:
            run()
            count += 1
        return (time.perf_counter() - begin) / count


def compare(a, recipe, batch):
    configuration = Configuration.named(recipe)
    runs = theirs(configuration, batch)
    times = {}
    for _ in range(a.rounds):
        for kind, seconds in ours(recipe, batch, a.threads).items():
            times.setdefault(f"mlaan {kind}", []).append(seconds)
        for form, run in runs.items():
            times.setdefault(f"PyTorch {form}", []).append(timed(run))
    return {form: statistics.median(t) for form, t in times.items()}


def main():
    import torch
    a = arguments()
    torch.set_num_threads(a.threads)
    results, table = [], Columns("network", ">batch", ">mlaan ms", ">evaluated", ">PyTorch folded", ">evaluated")
    for recipe in a.recipes:
        most = 64 if Configuration.named(recipe).small else 16
        for batch in dict.fromkeys(min(b, most) for b in a.batches):
            found = compare(a, recipe, batch)
            best = found["mlaan folded"]
            rival = lambda kind: min(s for form, s in found.items() if form.startswith(f"PyTorch {kind}")) / best
            results.append({"recipe": recipe, "batch": batch, "seconds": found})
            table.row(recipe, str(batch), best * 1e3, f"{found['mlaan evaluated'] / best:.2f}x",
                      f"{rival('folded'):.2f}x", f"{rival('evaluated'):.2f}x")
            print(table.text().splitlines()[-1], flush=True)
    about = machine(MLAAN, a.threads)
    note = "Times over ours, folded; PyTorch's faster layout of two."
    save(a.out, a.name, f"{about['text']}\n\n{table.text()}\n\n{note}\n", {"machine": about, "command": sys.argv, "results": results})


if __name__ == "__main__":
    main()
