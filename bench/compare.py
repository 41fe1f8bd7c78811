#!/usr/bin/env python3
"""Seconds of a training step, mlaan and PyTorch in turn on the same machine, medians of several rounds.

    python3 -m venv /tmp/bench && /tmp/bench/bin/pip install torch==2.15.0 numpy safetensors
    cargo build --release -p mlaan --example step_time
    /tmp/bench/bin/python bench/compare.py [--batch 128] [--rounds 5] [--threads 2] [RECIPE ...]

Backpropagation runs in PyTorch as plain autograd, channels last and in the default layout, the faster counts;
local methods run in the form of `crates/mlaan/tests/golden/oracle.py` in float32.
"""
import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "crates/mlaan/tests/golden"))
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from oracle import BasicBlock, Backbone, Case, Trainer  # noqa: E402

ALL16 = list(range(15))
LEAPS = [[5, 10, 12, 14]] * 6 + [[10, 11, 12, 14]] * 5 + [[11, 12, 14], [12, 13, 14], [13, 14], [14]]
NETS = dict(depths=[5, 5, 5], widths=[16, 32, 64], size=32, classes=10, hidden=128)
RECIPES = {
    "bp-resnet32": {},
    "dgl-resnet32-16": dict(cuts=ALL16, head="1c2f"),
    "mlm-resnet32-16": dict(cuts=ALL16, head="1c2f", span=3, weights=[0.001, 0.999]),
    "mlaan-released-resnet32-16": dict(cuts=ALL16, head="0c1f", span=2, weights=[0.001, 0.999], leap="twin",
                                       leap_on="cascaded", leap_sources=LEAPS),
}


def plain(batch, channels_last):
    net = Backbone(BasicBlock, NETS["depths"], NETS["widths"], "cifar", 10)
    x = torch.randn(batch, 3, 32, 32)
    if channels_last:
        net, x = net.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    y = torch.arange(batch) % 10
    opt = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4)

    def step():
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()
    return step


def local(batch, **case):
    t = Trainer(Case("bench", batch=batch, **NETS, **case))
    t.net.float().to(memory_format=torch.channels_last)
    t.aux.float().to(memory_format=torch.channels_last)
    t.images = t.images.float().contiguous(memory_format=torch.channels_last)
    t.pixels = t.pixels.float()
    return t.step


def median(step, warm=1, count=3):
    times = []
    for i in range(warm + count):
        begin = time.perf_counter()
        step()
        if i >= warm:
            times.append(time.perf_counter() - begin)
    return statistics.median(times)


def ours(recipe, batch, threads):
    binary = ROOT / "target/release/examples/step_time"
    out = subprocess.run([binary, recipe, str(batch), "3", str(threads)], capture_output=True, text=True, check=True)
    return statistics.median(float(x) for x in out.stdout.split()[2:])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("recipes", nargs="*", default=list(RECIPES), metavar="RECIPE", help=", ".join(RECIPES))
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
    print(f"{cpu}, {a.threads} threads, PyTorch {torch.__version__}, batch {a.batch}, {time.strftime('%Y-%m-%d')}")
    print(f"{'recipe':>28} {'mlaan s':>9} {'PyTorch s':>10} {'ratio':>6}")
    for name in a.recipes:
        forms = [local(a.batch, **RECIPES[name])] if RECIPES[name] else [plain(a.batch, True), plain(a.batch, False)]
        mine, theirs = [], [[] for _ in forms]
        for _ in range(a.rounds):
            mine.append(ours(name, a.batch, a.threads))
            for form, times in zip(forms, theirs):
                times.append(median(form))
        m, t = statistics.median(mine), min(statistics.median(x) for x in theirs)
        print(f"{name:>28} {m:9.3f} {t:10.3f} {t / m:5.2f}x", flush=True)
        print(json.dumps({"recipe": name, "mlaan": mine, "pytorch": theirs}), file=sys.stderr)


if __name__ == "__main__":
    main()
