"""What a run costs more from Python than as a command: the same run both ways, in turns, in processes of their own.

    pip install . && python bench/python_overhead.py [--recipe demo] [--epochs 2] [--rounds 5]

CPU seconds are of user and system, which other work on the machine disturbs less than time. Epochs are as the runs measure them, so what an
interpreter needs to start is left out; the last line has the whole process.
"""
import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TRAIN = """
import mlaan
mlaan.train({recipe!r}, out={out!r}, threads={threads}, train={{"epochs": {epochs}}}, data={{"limit": {limit}}}, progress=False,
            on_epoch=lambda epoch: None)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--limit", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {"command": [], "package": []}
    for _ in range(args.rounds):
        for way, rows in found.items():
            with tempfile.TemporaryDirectory() as folder:
                out = str(Path(folder) / "run")
                command = [sys.executable, "-m", "mlaan", "train", args.recipe, "--out", out, "--threads", str(args.threads), "-q",
                           "--epochs", str(args.epochs), "--limit", str(args.limit)]
                if way == "package":
                    command = [sys.executable, "-c", TRAIN.format(out=out, **vars(args))]
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                subprocess.run(command, check=True)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                events = [json.loads(line) for line in (Path(out) / "metrics.jsonl").read_text().splitlines()]
                epoch = min(e["seconds"] for e in events if e["event"] == "epoch")
                rows.append((epoch, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    for i, what in enumerate(["epoch, s, the least", "process, CPU s, the median"]):
        fold = min if i == 0 else statistics.median
        command, package = (fold(row[i] for row in found[way]) for way in ("command", "package"))
        print(f"{what}: command {command:.3f}, package {package:.3f}: {100 * (package / command - 1):+.2f} %")


if __name__ == "__main__":
    main()
