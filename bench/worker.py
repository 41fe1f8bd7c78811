"""PyTorch's side, in a process of its own; started by compare.py and gpu.py.

    worker.py RECIPE BATCH THREADS PRECISION [DEVICE]        times steps: first a line {"ready"}; then for every line in,
                                                             {"form", "steps", "warm"}, for a graph also {"way"}, a line
                                                             out, {"seconds": [...]}, or {"error"}, the last
    worker.py RECIPE BATCH THREADS PRECISION --memory FORM   one line: {"bytes"}, by which the process grew
    worker.py --peaks DEVICE                                 one line: what PyTorch reaches on that GPU at the most
"""
import gc
import json
import resource
import sys
import time
import traceback

import torch
import torch.utils.checkpoint  # noqa: F401  Libraries are loaded before anything is measured.
import capture
import errors
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


def memory(configuration, form, batch, precision):
    """Growth of the process over building the network and two steps: with the second, all optimiser state is there."""
    # What PyTorch loads and compiles at its first convolutions is the library's, not the network's.
    small = networks.Configuration.named("bp-resnet8")
    networks.step(small, form, 1, precision)()
    gc.collect()
    try:
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")
        before = status("VmRSS")
    except OSError:
        before = most()
    step = networks.step(configuration, form, batch, precision)
    step(), step()
    return {"bytes": most() - before}


def serve(configuration, batch, precision, device):
    steps = {}
    # Loading takes seconds: nobody may be timed meanwhile.
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        try:
            found = turn(steps, json.loads(line), configuration, batch, precision, device)
        except Exception as e:
            # The whole of it goes to the log. CUDA may be unusable from here on.
            traceback.print_exc()
            print(json.dumps({"error": errors.of(e)}), flush=True)
            sys.exit(1)
        print(json.dumps(found), flush=True)


def turn(steps, wanted, configuration, batch, precision, device):
    form = wanted["form"]
    if form not in steps:
        how = capture.WAYS[wanted.get("way", "whole")]
        steps[form] = networks.step(configuration, form, batch, precision, device, how)
    step = steps[form]
    before = step.parameter.detach().clone()
    found = (on_processor if device == "cpu" else on_gpu)(step, wanted["steps"], wanted["warm"])
    after = step.parameter.detach()
    if not after.isfinite().all() or torch.equal(before, after):
        raise RuntimeError("its steps do not train: parameters are as before, or not finite")
    if form == "graph":
        # A graph's tensors are not allocated when it runs.
        found.pop("allocated", None)
    return found


def on_processor(step, count, warm):
    seconds = []
    for i in range(warm + count):
        begin = time.perf_counter()
        step()
        if i >= warm:
            seconds.append(time.perf_counter() - begin)
    return {"seconds": seconds}


def on_gpu(step, count, warm):
    """The mean of `count` steps that wait for nothing but the last, and PyTorch's memory meanwhile."""
    for _ in range(warm):
        step()
    torch.cuda.synchronize()
    # What was tried on the way is not the step's.
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(count):
        step()
    torch.cuda.synchronize()
    seconds = (time.perf_counter() - begin) / count
    found = {"seconds": [seconds], "allocated": torch.cuda.max_memory_allocated(),
             "reserved": torch.cuda.max_memory_reserved()}
    # The other side's turn.
    torch.cuda.empty_cache()
    return found


def rate(work, run, repetitions=10):
    """Work a second, the fastest of three."""
    best = 0.0
    for _ in range(4):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(repetitions):
            run()
        torch.cuda.synchronize()
        best = max(best, repetitions * work / (time.perf_counter() - begin))
    return best


def peaks(device):
    """Rates of large matrix products and of a copy, as PyTorch has them here."""
    torch.cuda.set_device(device)
    torch.backends.cuda.matmul.allow_tf32 = True
    n = 8192
    a, b = torch.randn(n, n, device=device), torch.randn(n, n, device=device)
    halves = a.bfloat16(), b.bfloat16()
    source = torch.empty(2**30, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return {"torch": torch.__version__, "cuda": torch.version.cuda, "gpu": torch.cuda.get_device_name(device),
            "tf32_flops_per_second": rate(2 * n**3, lambda: a @ b),
            "bf16_flops_per_second": rate(2 * n**3, lambda: halves[0] @ halves[1]),
            "bytes_per_second": rate(2 * 2**30, lambda: target.copy_(source))}


def main():
    if sys.argv[1] == "--peaks":
        print(json.dumps(peaks(sys.argv[2])), flush=True)
        return
    recipe, batch, threads, precision, *rest = sys.argv[1:]
    torch.set_num_threads(int(threads))
    configuration = networks.Configuration.named(recipe)
    if rest and rest[0] == "--memory":
        print(json.dumps(memory(configuration, rest[1], int(batch), precision)), flush=True)
    else:
        serve(configuration, int(batch), precision, rest[0] if rest else "cpu")


if __name__ == "__main__":
    main()
