"""What an epoch costs more from Python than by the command: the same run both ways, in turns, in processes of their own.

    pip install . && python bench/python_overhead.py [--recipe demo] [--epochs 3] [--limit 1000] [--pairs 15]

Other work on the machine disturbs seconds more than it does CPU seconds (user and system, of all threads), so both are told. CPU seconds
are those of a run of so many epochs less those of a run of one: what an interpreter and its packages need to start falls out. Seconds are
those of the fastest epoch, as the run measures it. A pair is one of either way, one behind the other; the second pair begins with the other.
Told are the median of the pairs' ratios, and the interval of 95 % around it (of ranks, as the sign test gives it).

What Python adds while a run computes is the thread that waits for it: it hears of steps, calls `on_epoch` and looks for signals. The last line
has its CPU seconds beside those of the whole call, in one process, which the load of the machine does not disturb: it bounds the overhead
where ratios are too wide. `--waiting` measures this alone.
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
import time
from mlaan import train                               # NumPy, too
begun = time.thread_time(), time.process_time()
train({recipe!r}, out={out!r}, threads={threads}, train={{"epochs": {epochs}}}, data={{"limit": {limit}}}, progress=False,
      on_epoch=lambda epoch: None)
print(time.thread_time() - begun[0], time.process_time() - begun[1])
"""


def run(way: str, args: argparse.Namespace, epochs: int) -> tuple[float, float, list[float]]:
    """CPU seconds of the process, and seconds of its fastest epoch; of the package those of the waiting thread and of the call."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "run")
        command = [sys.executable, "-m", "mlaan", "train", args.recipe, "--out", out, "--threads", str(args.threads), "-q",
                   "--epochs", str(epochs), "--limit", str(args.limit)]
        if way == "package":
            code = TRAIN.format(recipe=args.recipe, threads=args.threads, limit=args.limit, out=out, epochs=epochs)
            command = [sys.executable, "-c", code]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        events = [json.loads(line) for line in (Path(out) / "metrics.jsonl").read_text().splitlines()]
        fastest = min(e["seconds"] for e in events if e["event"] == "epoch")
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, fastest, [float(n) for n in said.split()]


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
    parser.add_argument("--waiting", action="store_true", help="the last line alone")
    args = parser.parse_args()
    if args.epochs < 2 or args.pairs < 6:
        parser.error("--epochs is 2 at least, since one is taken off, and --pairs 6, for an interval")
    found: dict[str, list[dict[str, float]]] = {"CPU seconds of an epoch": [], "seconds of the fastest epoch": []}
    for number in range(0 if args.waiting else args.pairs):
        cpu, seconds = {}, {}
        for way in ("command", "package") if number % 2 == 0 else ("package", "command"):
            (one, first, _), (all_, fastest, _) = run(way, args, 1), run(way, args, args.epochs)
            cpu[way], seconds[way] = (all_ - one) / (args.epochs - 1), min(first, fastest)
        for rows, row in zip(found.values(), (cpu, seconds)):
            rows.append(row)
    for what, rows in found.items() if not args.waiting else ():
        ratios = [row["package"] / row["command"] for row in rows]
        low, high = interval(ratios)
        command, package = (statistics.median(row[way] for row in rows) for way in ("command", "package"))
        print(f"{what}: command {command:.3f}, package {package:.3f} (medians); ratio of {args.pairs} pairs {100 * (statistics.median(ratios) - 1):+.2f} % "
              f"({100 * (low - 1):+.2f} to {100 * (high - 1):+.2f} %)")
    waiting = [run("package", args, args.epochs)[2] for _ in range(5)]
    thread, call = (statistics.median(w[i] for w in waiting) for i in (0, 1))
    print(f"the thread that waits: {1000 * thread:.1f} of {1000 * call:.0f} ms of CPU, {100 * thread / call:.2f} % (medians of 5 calls)")


if __name__ == "__main__":
    main()
