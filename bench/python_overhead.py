"""What an epoch costs more from Python than by the command: the same run both ways, in turns, in processes of their own.

    pip install . && python bench/python_overhead.py [--recipe demo] [--epochs 3] [--limit 1000] [--pairs 15]

Other work on the machine disturbs seconds more than it does CPU seconds (user and system, of all threads), so both are told. CPU seconds
are those of a run of so many epochs less those of a run of one: what an interpreter and its packages need to start falls out. Seconds are
those of the fastest epoch, as the run measures it. A pair is one of either way, one behind the other; the second pair begins with the other.
Told are the median of the pairs' ratios, and the interval of 95 % around it (of ranks, as the sign test gives it).
"""
import argparse
import json
import math
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


def run(way: str, args: argparse.Namespace, epochs: int) -> tuple[float, float]:
    """CPU seconds of the process, and seconds of its fastest epoch."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "run")
        command = [sys.executable, "-m", "mlaan", "train", args.recipe, "--out", out, "--threads", str(args.threads), "-q",
                   "--epochs", str(epochs), "--limit", str(args.limit)]
        if way == "package":
            code = TRAIN.format(recipe=args.recipe, threads=args.threads, limit=args.limit, out=out, epochs=epochs)
            command = [sys.executable, "-c", code]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        events = [json.loads(line) for line in (Path(out) / "metrics.jsonl").read_text().splitlines()]
        fastest = min(e["seconds"] for e in events if e["event"] == "epoch")
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, fastest


def interval(ratios: list[float]) -> tuple[float, float]:
    """Around the median, of 95 % or a little more: from the k-th to the k-th from behind."""
    n, k, tail = len(ratios), 0, 0.0
    while True:
        tail += math.comb(n, k) / 2**n
        if tail > 0.025 or k >= (n - 1) // 2:
            break
        k += 1
    ordered = sorted(ratios)
    return ordered[max(k - 1, 0)], ordered[n - max(k, 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if args.epochs < 2 or args.pairs < 6:
        parser.error("--epochs is 2 at least, since one is taken off, and --pairs 6, for an interval")
    found: dict[str, list[dict[str, float]]] = {"CPU seconds of an epoch": [], "seconds of the fastest epoch": []}
    for number in range(args.pairs):
        cpu, seconds = {}, {}
        for way in ("command", "package") if number % 2 == 0 else ("package", "command"):
            (one, first), (all_, fastest) = run(way, args, 1), run(way, args, args.epochs)
            cpu[way], seconds[way] = (all_ - one) / (args.epochs - 1), min(first, fastest)
        for rows, row in zip(found.values(), (cpu, seconds)):
            rows.append(row)
    for what, rows in found.items():
        ratios = [row["package"] / row["command"] for row in rows]
        low, high = interval(ratios)
        command, package = (statistics.median(row[way] for row in rows) for way in ("command", "package"))
        print(f"{what}: command {command:.3f}, package {package:.3f} (medians); ratio of {args.pairs} pairs {100 * (statistics.median(ratios) - 1):+.2f} % "
              f"({100 * (low - 1):+.2f} to {100 * (high - 1):+.2f} %)")


if __name__ == "__main__":
    main()
