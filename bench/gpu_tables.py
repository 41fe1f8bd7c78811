"""What a comparison on a GPU found, as text."""
import statistics

from report import Columns, gib

FORMS = ["eager", "nchw", "graph", "compile"]
# Operations that are shown of each configuration.
TOP = 8

NOTES = """\
Ours: from image bytes in host memory to new parameters; each round is a new process, its steps timed one by one, the median
counts. PyTorch: the batch is on the GPU already, fused SGD, cuDNN's kernels chosen by trial; its steps are asked for without
waiting for any but the last, the mean counts. `eager` is channels last, `nchw` the default layout, `graph` the eager step
recorded once as a CUDA graph, `compile` torch.compile, which is channels last too.
bf16: PyTorch's autocast beside ours. tf32: PyTorch with TF32 beside our f32, whose products are three of TF32 each and so
nearly exact: ours computes more, and more exactly. A ratio is PyTorch's fastest form divided by ours."""


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def most(values):
    return max((v for v in values if v is not None), default=None)


def times(part):
    return None if part is None else f"{part:.2f}x"


def percent(part):
    return None if not part else f"{100 * part:.0f} %"


def ours(r, kernels):
    """Seconds of our step with a set of kernels. The first was alone, before the rounds: it counts when there is no other."""
    runs = [m["seconds"] for m in r["mlaan"].get(kernels, [])]
    return median(runs[1:] or runs)


def theirs(r, form):
    p = r["pytorch"].get(form)
    return p and (median(p["seconds"]) or p["alone"])


def ratio(r, kernels, form):
    """PyTorch's over ours. A form that was measured later has ours beside it again."""
    mine, other = ours(r, kernels), theirs(r, form)
    mine = other and median(r["pytorch"][form].get("beside", {}).get(kernels, [])) or mine
    return other / mine if mine and other else None


def best(r, kernels):
    return min((x for x in (ratio(r, kernels, f) for f in FORMS) if x), default=None)


def runs(r):
    return [m for found in r["mlaan"].values() for m in found]


def limits(r, peaks):
    """What the GPU can do: multiply-adds of bf16 on tensor cores and bytes, a second; ours, or else PyTorch's measurement."""
    found = [m["machine"] for m in runs(r) if m.get("machine")]
    theirs_ = peaks.get(r.get("gpu"), {})
    flops = most(m.get("flops_per_second") for m in found) or theirs_.get("bf16_flops_per_second")
    bandwidth = most(m.get("bytes_per_second") for m in found) or theirs_.get("bytes_per_second")
    return flops, bandwidth


def named(kernels, what):
    return f"{kernels or 'mlaan'} {what}"


def least(o, flops, bandwidth):
    """Seconds below which an operation cannot be, by arithmetic and by memory."""
    return max(o["flops"] / flops if flops else 0, o["bytes"] / bandwidth if bandwidth else 0)


def ms(s):
    return None if s is None else f"{1e3 * s:.2f}"


def speed_table(rows, peaks, sets):
    table = Columns("recipe", "precision", ">batch", *(f">{named(k, 'ms')}" for k in sets), ">images/s",
                    *(f">{f} ms" for f in FORMS), *(f">{named(k, 'ratio') if len(sets) > 1 else 'ratio'}" for k in sets),
                    ">to eager", ">of peak", ">of bandwidth", ">of roofline")
    for r in rows:
        # What is of one set is of the last.
        last = sets[-1]
        mine = ours(r, last)
        flops, bandwidth = limits(r, peaks)
        peak = r["mlaan"][last][0]["flops"] / mine / flops if mine and flops else None
        p = r.get("profile", {}).get(last)
        moved = ideal = None
        if p and mine and bandwidth:
            moved = sum(o["bytes"] for o in p["operations"]) / p["steps"] / mine / bandwidth
            ideal = sum(least(o, flops, bandwidth) for o in p["operations"]) / p["steps"] / mine
        table.row(r["recipe"], r["precision"], str(r["batch"]), *(ms(ours(r, k)) for k in sets),
                  f"{r['batch'] / mine:.0f}" if mine else None, *(ms(theirs(r, f)) for f in FORMS),
                  *(times(best(r, k)) for k in sets), times(ratio(r, last, "eager")), *map(percent, (peak, moved, ideal)))
    return table.text()


def brief(r, sets):
    """One configuration in a line, as soon as it is known."""
    parts = [f"{named(k, '')}{ms(ours(r, k)) or '-'} ms" for k in sets]
    parts += [f"{f} {ms(theirs(r, f))}" for f in FORMS if theirs(r, f)]
    parts += [f"{named(k, 'ratio') if len(sets) > 1 else 'ratio'} {times(best(r, k)) or '-'}" for k in sets]
    return f"{r['recipe']}, {r['precision']}, batch {r['batch']}: {', '.join(parts)}"


def memory_table(rows, sets):
    table = Columns("recipe", "precision", ">batch", ">planned", ">used", ">device", ">process", ">form", ">allocated",
                    ">reserved", ">process", ">used ratio", ">process ratio")
    part = lambda a, b: times(a / b if a and b else None)
    for r in rows:
        first = (r["mlaan"].get(sets[-1]) or [{}])[0]
        # Processes where the system tells them apart, otherwise by how much the GPU's memory in use grew.
        held = lambda x: x.get("process") or x.get("grown")
        mine = most(map(held, runs(r)))
        taken = [first.get(k) for k in ("planned_bytes", "used_bytes", "device_bytes")] + [mine]
        for i, (form, p) in enumerate(r["pytorch"].items() or [(None, {})]):
            what = [r["recipe"], r["precision"], str(r["batch"]), *map(gib, taken)] if i == 0 else [""] * 7
            table.row(*what, form or "-", *map(gib, (p.get("allocated"), p.get("reserved"), held(p))),
                      part(p.get("allocated"), first.get("used_bytes")), part(held(p), mine))
    return table.text()


def operations_table(r, kernels, peaks):
    flops, bandwidth = limits(r, peaks)
    p = r["profile"][kernels]
    table = Columns(">share", ">calls", ">µs a call", ">GFLOP/s", ">of peak", ">GB/s", ">of bandwidth", "operation")
    for o in sorted(p["operations"], key=lambda o: -o["seconds"])[:TOP]:
        s = o["seconds"] or 1e-12
        table.row(percent(s / p["seconds"]), str(o["calls"] // p["steps"]), f"{1e6 * s / o['calls']:.1f}",
                  f"{o['flops'] / s / 1e9:.0f}" if o["flops"] else None, percent(flops and o["flops"] / s / flops),
                  f"{o['bytes'] / s / 1e9:.0f}", percent(bandwidth and o["bytes"] / s / bandwidth), o["name"])
    return f"{r['recipe']}, {r['precision']}, batch {r['batch']}{kernels and f', {kernels} kernels'}\n{table.text()}"


def reached(data):
    """What the GPU does at the most, by either side."""
    parts = [f"PyTorch on {name} at the most: bf16 {p['bf16_flops_per_second'] / 1e12:.0f} TFLOP/s, TF32 "
             f"{p['tf32_flops_per_second'] / 1e12:.0f} TFLOP/s (matrices of 8192), copying {p['bytes_per_second'] / 1e9:.0f} GB/s"
             for name, p in data["peaks"].items()]
    found = next((m["machine"] for r in data["results"] for m in runs(r) if m.get("machine")), None)
    if found:
        giga = lambda key, unit: f"{found[key] / unit:.4g}" if found.get(key) else "unknown"
        parts.append(f"mlaan here at the most: {giga('flops_per_second', 1e12)} TFLOP/s, "
                     f"{giga('bytes_per_second', 1e9)} GB/s")
    return parts


def text(data):
    rows, peaks, sets = data["results"], data["peaks"], data["kernels"]
    parts = [data["machine"]["text"], NOTES, *reached(data)]
    gpus = sorted({r["gpu"] for r in rows if r.get("gpu")})
    if len(gpus) > 1:
        parts.append("Not all on one GPU: " + "; ".join(
            f"{g}: " + ", ".join(f"{r['recipe']} {r['precision']}" for r in rows if r.get("gpu") == g) for g in gpus))
    if data["device"] == "cpu":
        parts.append("On a processor: shows that this program works, and nothing about a GPU.")
    if len(sets) > 1:
        parts.append(f"Sets of kernels (MLAAN_CUDA_KERNELS): {', '.join(sets)}; what is of one set only is of the last.")
    parts.append("Milliseconds of a training step. Of peak: operations as they are defined; of bandwidth: every operand once; of "
                 "roofline: the\ntime that all operations need at the least by either, of the step's.\n\n"
                 + speed_table(rows, peaks, sets))
    parts.append("GiB. Ours: planned, used by the accountant, taken as the driver says, held by the process as NVML says (with "
                 "the CUDA context,\nand up to 0.3 GiB of what measures the GPU's limits afterwards). PyTorch: allocated and "
                 "reserved by its allocator,\nheld by the process. A ratio is PyTorch's divided by ours.\n\n"
                 + memory_table(rows, sets))
    ways = [f"{r['recipe']}, {r['precision']}: the step of `graph` was recorded in the way `{p['way']}`"
            for r in rows for p in r["pytorch"].values() if p.get("way", "whole") != "whole"]
    parts += ["\n".join(ways)] if ways else []
    wrong = [f"{r['recipe']}, {r['precision']}: {e}" for r in rows for e in dict.fromkeys(r["errors"])] + data["left_out"]
    if wrong:
        parts.append("Failed or left out:\n" + "\n".join(wrong))
    parts += [operations_table(r, k, peaks) for r in rows for k in sets if r.get("profile", {}).get(k)]
    return "\n\n".join(parts) + "\n"
