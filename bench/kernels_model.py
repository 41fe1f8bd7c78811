#!/usr/bin/env python3
"""Times of operations on an H100, predicted from what their kernels were counted to ask for, beside measured ones.

    python3 bench/kernels_model.py COUNTS PROFILE... [--calibrate] [--json]

COUNTS is written by the example `kernel_counts` of crates/engine, at two batches for each operation: what the batch of a
profile would ask for follows by a straight line. PROFILE is what `mlaan bench R --device cuda --profile` printed.

A time is that of starting the kernels (and waiting for them, as a profile does) and the longest of three: bytes over the bandwidth, products over the tensor cores'
peak, and instructions over what all schedulers issue. Instructions are not counted: those between two accesses come with the
access, so many for an instruction that goes to global memory, so many for a wavefront of shared memory. These two and the
start of a kernel are the constants, calibrated on the kernels of 2026-11 (`--calibrate` does it again: on the first profile
alone, and on all). Kernels that do less between accesses are faster than predicted: `floor` is what bytes and products need.
"""

import argparse
import json
import math
import re
import sys

BANDWIDTH = 2.8e12  # bytes a second, measured
PEAK = 662e12  # floating-point operations a second of tensor cores in bf16, measured
PRODUCT = 2 * 16 * 8 * 16  # of one instruction of a warp
ISSUE = 132 * 4 * 1.755e9  # instructions a second: multiprocessors, schedulers, clock

# Seconds of a kernel's start, and instructions issued for one of global memory and for a wavefront of shared memory.
CALIBRATED = 1.58e-5, 23.6, 5.13


def counted(path):
    """Of each operation at each batch: bytes, instructions of global memory, wavefronts, products, launches."""
    found, current = {}, None
    for line in open(path):
        entry = json.loads(line)
        if "operation" in entry:
            current = found.setdefault(entry["operation"], {}).setdefault(entry["batch"], [0] * 5)
        elif current is not None and entry["kernel"] != "fill":
            total = lambda kinds, what: sum(entry[k][what] for k in kinds)
            memory = ("global_load", "global_store")
            # Bytes: all of the launch once, as far as the cache holds what is asked for again.
            more = (32 * total(memory, "launch_least"), total(memory, "instructions"), total(("shared_load", "shared_store"), "units"),
                    entry["exchanges"].get("24", 0), 1)
            current[:] = [a + b for a, b in zip(current, more)]
    return found


def at_batch(batches, batch):
    """Counts at a batch, on the line through the two greatest that were counted; launches stay."""
    if len(batches) < 2:
        return None
    a, b = sorted(batches)[-2:]
    line = lambda x, y: max(y, y + (y - x) * (batch - b) / (b - a))
    return [line(x, y) for x, y in zip(batches[a], batches[b])][:4] + [batches[b][4]]


def measured(path):
    """Batch and (calls, seconds of a call, operation) of a profile."""
    text = open(path).read()
    batch = int(re.search(r"([\d,]+) images per step", text)[1].replace(",", ""))
    rows = []
    for line in text.splitlines():
        if row := re.match(r"\s*([\d,]+)\s+([\d.,]+) (s|ms|µs)\s.*[%–]\s{2,}(\S+ .*\d.*)$", line):
            calls, unit = int(row[1].replace(",", "")), {"s": 1.0, "ms": 1e-3, "µs": 1e-6}[row[3]]
            if not re.search("more kinds|all operations", row[4]):
                rows.append((calls, float(row[2].replace(",", "")) * unit / calls, row[4].strip()))
    return batch, rows


def floor(counts):
    return max(counts[0] / BANDWIDTH, counts[3] * PRODUCT / PEAK)


def predicted(counts, constants):
    start, of_global, of_shared = constants
    issued = (of_global * counts[1] + of_shared * counts[2] + counts[3]) / ISSUE
    return start * counts[4] + max(floor(counts), issued)


def calibrated(rows):
    """Constants whose predictions are off the least, by squares of logarithms."""
    error = lambda constants: sum(math.log(predicted(c, constants) / t) ** 2 for c, t in rows)
    best, step = [5e-6, 50.0, 5.0], 2.0
    while step > 1.001:
        tries = [[v * f if i == k else v for i, v in enumerate(best)] for k in range(3) for f in (step, 1 / step)]
        better = min(tries, key=error)
        if error(better) < error(best):
            best = better
        else:
            step = math.sqrt(step)
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts")
    parser.add_argument("profiles", nargs="+")
    parser.add_argument("--calibrate", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    counts = counted(args.counts)
    known, table, left_out = [], [], []
    for path in args.profiles:
        batch, rows = measured(path)
        for calls, seconds, name in rows:
            c = at_batch(counts.get(name, {}), batch)
            (left_out if c is None else known).append((path, calls, seconds, name, c))
    if not known:
        sys.exit("no operation of the profiles was counted")
    constants = CALIBRATED
    if args.calibrate:
        pairs = lambda paths: [(c, t) for p, _, t, _, c in known if p in paths]
        first = calibrated(pairs(args.profiles[:1]))
        constants = calibrated(pairs(args.profiles))
        shown = lambda values: ", ".join(f"{v:.3g}" for v in values)
        print(f"on the first profile alone: {shown(first)}; on all: {shown(constants)}", file=sys.stderr)
        others = [predicted(c, first) / t for p, _, t, _, c in known if p != args.profiles[0]]
        if others:
            print(f"the first's on the others: {min(others):.2f} to {max(others):.2f} of what was measured", file=sys.stderr)
    for path, calls, seconds, name, c in known:
        p = predicted(c, constants)
        table.append({"profile": path.split("/")[-1], "operation": name, "calls": calls, "measured": seconds, "predicted": p,
                      "floor": floor(c), "ratio": p / seconds})
    if args.json:
        print(json.dumps(table))
        return
    profile = None
    for row in table:
        if row["profile"] != profile:
            profile = row["profile"]
            print(f"\n{profile}\n calls  measured  predicted  of measured  floor  operation   (µs a call)\n" + "-" * 90)
        print(f"{row['calls']:6} {row['measured'] * 1e6:9.1f} {row['predicted'] * 1e6:10.1f} {row['ratio']:12.2f} "
              f"{row['floor'] * 1e6:6.1f}  {row['operation']}")
    time = lambda rows: sum(r[1] * r[2] for r in rows)
    within = sum(r["calls"] * r["measured"] for r in table if 1 / 1.5 <= r["ratio"] <= 1.5)
    print(f"\nwithin 1.5x: {within / time(known):.0%} of the time of the rows that were counted, "
          f"{within / (time(known) + time(left_out)):.0%} of that of all rows")
    if left_out:
        print("not counted: " + ", ".join(f"{name} ({calls * s * 1e6:.0f} µs)" for _, calls, s, name, _ in left_out))


if __name__ == "__main__":
    main()
