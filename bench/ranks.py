#!/usr/bin/env python3
"""Steps of several ranks beside one process, and beside what the machine can do at most: independent processes side by side.

    cargo build --release -p mlaan-cli --features mpi && python3 bench/ranks.py --data CIFAR10

For every recipe: one process of one thread; of two threads; two ranks of one thread; and two independent one-thread processes
at the same time, each of the whole network (the yardstick: their images together). Beside them what `mlaan plan --ranks` predicts, and
PyTorch's DDP with gloo over two processes, backpropagation, where this interpreter has PyTorch. Rates are of an epoch's training, from its
first step to its last: ranks that fill and drain their pipeline do so in it. Then the memory of every rank, planned and held.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from networks import ROOT
from report import Columns, machine, place, write

MLAAN = ROOT / "target/release/mlaan"
RECIPES = {
    "dgl": ["dgl-resnet32-16", "dgl-resnet110-55"],
    "mlm": ["mlm-resnet32-16", "mlm-resnet110-55"],
    "released": ["mlaan-released-resnet32-16", "mlaan-released-resnet110-55"],
}
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe"]
# Of an epoch in which memory is measured.
MEMORY_STEPS = 6
UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True)
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--steps", type=int, default=24, help="of an epoch")
    p.add_argument("--ranks", type=int, default=2)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--methods", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    p.add_argument("--networks", nargs="+", default=["resnet32", "resnet110"])
    p.add_argument("--rank-modules", help="modules of each rank, as 7,9 [default: as the program divides them]")
    p.add_argument("--memory-ranks", type=int, nargs="*", default=[2, 4], help="numbers of ranks whose memory is measured")
    p.add_argument("--no-ddp", action="store_true")
    p.add_argument("--out", type=Path, default=ROOT / "bench/results")
    a = p.parse_args()
    if not MLAAN.exists():
        p.error(f"{MLAAN} is missing: cargo build --release -p mlaan-cli --features mpi")
    return a


def keys(recipe):
    return ["local.leap.lag=1"] if "released" in recipe else []


def command(a, recipe, threads, folder, steps=None):
    return [str(MLAAN), "train", recipe, "--data", a.data, "--limit", str(a.batch * (steps or a.steps)), "--batch", str(a.batch),
            "--epochs", "1", "--threads", str(threads), "--json", "--out", str(folder), "--set", "data.load=memory", *keys(recipe)]


def divided(a, ranks):
    """As is asked for, of the ranks that are timed."""
    return ["--rank-modules", a.rank_modules] if a.rank_modules and ranks == a.ranks else []


def predicted(a, recipe, ranks):
    """What `mlaan plan --ranks` says of so many ranks: images a second of one and of all, and the bytes that each plans."""
    run = [str(MLAAN), "plan", recipe, "--batch", str(a.batch), "--threads", "1", "--ranks", str(ranks), "--json", *divided(a, ranks),
           "--data", a.data, "--limit", str(a.batch * MEMORY_STEPS), "--set", "data.load=memory", *keys(recipe)]
    found = json.loads(subprocess.run(run, capture_output=True, text=True, check=True).stdout)["ranks"]["curve"][-1]
    return [a.batch / found["one_process_seconds"], a.batch / found["step_seconds"]], [r["memory_bytes"] for r in found["each"]]


def held(a, recipe, ranks, folder):
    """Bytes that each of so many ranks held at the most, as rank 0 and the logs of the others say."""
    run = MPIRUN + ["--bind-to", "none", "-n", str(ranks)] + command(a, recipe, 1, folder, MEMORY_STEPS) + divided(a, ranks)
    done = subprocess.run(run, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"a run failed: {done.stderr}")
    found = [rate(done.stdout)[1]]
    for rank in range(1, ranks):
        said = re.findall(r"holds ([\d.]+) (\w+)", (folder / f"log.rank-{rank}.txt").read_text())
        found.append(float(said[-1][0]) * UNITS[said[-1][1]])
    return found


def rate(lines):
    """Images a second of the epoch's training, and the most memory of the process that tells."""
    epochs = [e for e in map(json.loads, lines.splitlines()) if e.get("event") == "epoch"]
    return epochs[-1]["images_per_second"], epochs[-1].get("peak_memory_bytes")


def timed(commands):
    """All at the same time; their images a second together."""
    running = [subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for c in commands]
    said = [p.communicate() for p in running]
    if any(p.returncode for p in running):
        sys.exit(f"a run failed: {[stderr for _, stderr in said]}")
    told = [stdout for stdout, _ in said]
    rates = [rate(lines) for lines in told]
    return sum(r for r, _ in rates)


def ways(a, recipe, folder):
    ranks = MPIRUN + ["--bind-to", "core", "-n", str(a.ranks)]
    pinned = [["taskset", "-c", str(k)] for k in range(a.ranks)]
    return {
        "1 thread": [command(a, recipe, 1, folder / "one")],
        f"{a.ranks} threads": [command(a, recipe, a.ranks, folder / "threads")],
        f"{a.ranks} ranks": [ranks + command(a, recipe, 1, folder / "ranks") + divided(a, a.ranks)],
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


def speeds(a, recipe, data, table):
    found, forecasts = {}, []
    for _ in range(a.rounds):
        with tempfile.TemporaryDirectory() as folder:
            for way, commands in ways(a, recipe, Path(folder)).items():
                found.setdefault(way, []).append(timed(commands))
        # In every round: it measures, too.
        forecasts.append(predicted(a, recipe, a.ranks)[0])
    medians = {way: statistics.median(rates) for way, rates in found.items()}
    yardstick = medians[f"{a.ranks} alone"]
    forecast = dict(zip(["1 thread", f"{a.ranks} ranks"], map(statistics.median, zip(*forecasts))))
    for way, rates in found.items():
        spread = (max(rates) - min(rates)) / medians[way]
        said = [f"{forecast[way]:.1f}", f"{forecast[way] / medians[way]:.2f}"] if way in forecast else ["", ""]
        table.row(recipe, way, f"{medians[way]:.1f}", f"{100 * spread:.0f} %", f"{medians[way] / yardstick:.2f}", *said)
    data["images_per_second"][recipe] = found
    data["predicted"][recipe] = forecasts


def memories(a, recipe, data, table):
    for ranks in a.memory_ranks:
        _, planned = predicted(a, recipe, ranks)
        with tempfile.TemporaryDirectory() as folder:
            found = held(a, recipe, ranks, Path(folder) / "run")
        for rank, (plan, used) in enumerate(zip(planned, found)):
            table.row(recipe, str(ranks), str(rank), f"{plan / 2**20:.0f}", f"{used / 2**20:.0f}")
        data["memory"][f"{recipe}, {ranks} ranks"] = {"planned": planned, "held": found}


def main():
    a = arguments()
    speed = Columns("recipe", "way", ">images/s", ">spread", ">of the yardstick", ">predicted", ">of the measured")
    memory = Columns("recipe", ">ranks", ">rank", ">planned MiB", ">held MiB")
    data = {"images_per_second": {}, "predicted": {}, "memory": {}, "ddp": {}}
    about, stem = machine(MLAAN, 1), place(a.out, "ranks")

    def keep():
        text = f"{about['text']}\n\nBatch {a.batch}, {a.steps} steps, median of {a.rounds} rounds\n\n{speed.text()}\n\n{memory.text()}\n"
        write(stem, text, {"machine": about, "command": sys.argv, **data})
        return text

    for recipe in (r for method in a.methods for r in RECIPES[method] if any(n + "-" in r for n in a.networks)):
        speeds(a, recipe, data, speed)
        print(speed.text(), flush=True)
        memories(a, recipe, data, memory)
        keep()
    for network in [] if a.no_ddp else a.networks:
        found = ddp(a, network)
        speed.row(f"bp-{network}", f"PyTorch DDP, {a.ranks} processes", f"{found:.1f}" if found else "no PyTorch", "", "", "", "")
        data["ddp"][network] = found
    print(keep())
    print(f"written: {stem}.txt and .json", file=sys.stderr)


if __name__ == "__main__":
    main()
