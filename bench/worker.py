"""PyTorch's side, in a process of its own; started by compare.py.

    worker.py RECIPE BATCH THREADS PRECISION                 times steps: first a line {"ready"}; then for every line in,
                                                             {"form", "steps", "warm"}, a line out, {"seconds": [...]}
    worker.py RECIPE BATCH THREADS PRECISION --memory FORM   one line: {"bytes"}, by which the process grew
"""
import gc
import json
import resource
import sys
import time

import torch
import torch.utils.checkpoint  # noqa: F401  Libraries are loaded before anything is measured.
import networks


def status(field):
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith(field + ":"))


def most():
    """Bytes that the process held at the most."""
    try:
        return status("VmHWM")
    except OSError:
        scale = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def memory(configuration, form, batch, bf16):
    """Growth of the process over building the network and two steps: with the second, all optimiser state is there."""
    # What PyTorch loads and compiles at its first convolutions is the library's, not the network's.
    small = networks.Configuration.named("bp-resnet8")
    networks.step(small, form, 1, bf16)()
    gc.collect()
    try:
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")
        before = status("VmRSS")
    except OSError:
        before = most()
    step = networks.step(configuration, form, batch, bf16)
    step(), step()
    return {"bytes": most() - before}


def serve(configuration, batch, bf16):
    steps = {}
    # Loading takes seconds: nobody may be timed meanwhile.
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        wanted = json.loads(line)
        form = wanted["form"]
        if form not in steps:
            steps[form] = networks.step(configuration, form, batch, bf16)
        seconds = []
        for i in range(wanted["warm"] + wanted["steps"]):
            begin = time.perf_counter()
            steps[form]()
            if i >= wanted["warm"]:
                seconds.append(time.perf_counter() - begin)
        print(json.dumps({"seconds": seconds}), flush=True)


def main():
    recipe, batch, threads, precision, *rest = sys.argv[1:]
    torch.set_num_threads(int(threads))
    configuration, bf16 = networks.Configuration.named(recipe), precision == "bf16"
    if rest:
        print(json.dumps(memory(configuration, rest[1], int(batch), bf16)), flush=True)
    else:
        serve(configuration, int(batch), bf16)


if __name__ == "__main__":
    main()
