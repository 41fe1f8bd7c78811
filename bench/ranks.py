#!/usr/bin/env python3
"""Steps of several ranks beside one process, and beside what the machine can do at most: independent processes side by side.

    cargo build --release -p mlaan-cli --features mpi && python3 bench/ranks.py --data CIFAR10

For every recipe: one process of one thread; of two threads; two ranks of one thread; and two independent one-thread processes
at the same time, each of the whole network (the yardstick: their images together). Beside them PyTorch's DDP with gloo over two
processes, backpropagation, where this interpreter has PyTorch. Times are of whole steps within an epoch, without its first ones.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from networks import ROOT
from report import Columns, machine, save

MLAAN = ROOT / "target/release/mlaan"
RECIPES = {
    "dgl": ["dgl-resnet32-16", "dgl-resnet110-55"],
    "mlm": ["mlm-resnet32-16", "mlm-resnet110-55"],
    "released": ["mlaan-released-resnet32-16", "mlaan-released-resnet110-55"],
}
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "core"]


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True)
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--steps", type=int, default=24, help="of an epoch")
    p.add_argument("--ranks", type=int, default=2)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--methods", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    p.add_argument("--networks", nargs="+", default=["resnet32", "resnet110"])
    p.add_argument("--no-ddp", action="store_true")
    p.add_argument("--out", type=Path, default=ROOT / "bench/results")
    a = p.parse_args()
    if not MLAAN.exists():
        p.error(f"{MLAAN} is missing: cargo build --release -p mlaan-cli --features mpi")
    return a


def command(a, recipe, threads, folder):
    keys = ["data.load=memory"]
    if "released" in recipe:
        keys.append("local.leap.lag=1")
    return [str(MLAAN), "train", recipe, "--data", a.data, "--limit", str(a.batch * a.steps), "--batch", str(a.batch),
            "--epochs", "1", "--threads", str(threads), "--json", "--out", str(folder), "--set", *keys]


def rate(lines):
    """Images a second of the epoch's training, and the most memory of the process that tells."""
    epochs = [e for e in map(json.loads, lines.splitlines()) if e.get("event") == "epoch"]
    return epochs[-1]["images_per_second"], epochs[-1].get("peak_memory_bytes")


def timed(commands):
    """All at the same time; their images a second together."""
    running = [subprocess.Popen(c, stdout=subprocess.PIPE, text=True) for c in commands]
    told = [p.communicate()[0] for p in running]
    if any(p.returncode for p in running):
        sys.exit("a run failed")
    rates = [rate(lines) for lines in told]
    return sum(r for r, _ in rates)


def ways(a, recipe, folder):
    ranks = MPIRUN + ["-n", str(a.ranks)]
    pinned = [["taskset", "-c", str(k)] for k in range(a.ranks)]
    return {
        "1 thread": [command(a, recipe, 1, folder / "one")],
        f"{a.ranks} threads": [command(a, recipe, a.ranks, folder / "threads")],
        f"{a.ranks} ranks": [ranks + command(a, recipe, 1, folder / "ranks")],
        f"{a.ranks} alone": [pin + command(a, recipe, 1, folder / f"alone{k}") for k, pin in enumerate(pinned)],
    }


DDP = """
import os, sys, time, torch, torch.distributed as dist
sys.path.insert(0, sys.argv[1])
import networks
batch, steps, name = int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
torch.set_num_threads(1)
dist.init_process_group("gloo")
made = networks.network(networks.Configuration.named(f"bp-{name}"), "channels last", "cpu")
net = torch.nn.parallel.DistributedDataParallel(made)
opt = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
x = torch.randn(batch // dist.get_world_size(), 3, 32, 32).contiguous(memory_format=torch.channels_last)
y = torch.randint(10, (batch // dist.get_world_size(),))
for step in range(steps):
    if step == steps // 4:
        begin = time.time()
    opt.zero_grad(); torch.nn.functional.cross_entropy(net(x), y).backward(); opt.step()
if dist.get_rank() == 0:
    print(batch * (steps - steps // 4) / (time.time() - begin))
"""


def ddp(a, network):
    """Images a second of backpropagation with DDP; none without PyTorch."""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(DDP)
        script.flush()
        run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(a.ranks), script.name,
               str(ROOT / "bench"), str(a.batch), str(a.steps), network]
        done = subprocess.run(run, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return float(done.stdout.split()[-1]) if done.returncode == 0 else None


def main():
    a = arguments()
    table, data = Columns("recipe", "way", ">images/s", ">spread", ">of the yardstick"), {}
    for method in a.methods:
        for recipe in (r for r in RECIPES[method] if any(n + "-" in r for n in a.networks)):
            found = {}
            for _ in range(a.rounds):
                with tempfile.TemporaryDirectory() as folder:
                    for way, commands in ways(a, recipe, Path(folder)).items():
                        found.setdefault(way, []).append(timed(commands))
            medians = {way: statistics.median(rates) for way, rates in found.items()}
            yardstick = medians[f"{a.ranks} alone"]
            for way, rates in found.items():
                spread = (max(rates) - min(rates)) / medians[way]
                table.row(recipe, way, f"{medians[way]:.1f}", f"{100 * spread:.0f} %", f"{medians[way] / yardstick:.2f}")
            data[recipe] = found
    if not a.no_ddp:
        for network in a.networks:
            found = ddp(a, network)
            table.row(f"bp-{network}", f"PyTorch DDP, {a.ranks} processes", f"{found:.1f}" if found else "no PyTorch", "", "")
            data[f"ddp-{network}"] = found
    about = machine(MLAAN, 1)
    text = f"{about['text']}\n\n{a.ranks} ranks of one thread, batch {a.batch}: median of {a.rounds} rounds\n\n{table.text()}\n"
    save(a.out, "ranks", text, {"machine": about, "command": sys.argv, "images_per_second": data})


if __name__ == "__main__":
    main()
