#!/usr/bin/env python3
"""Peak memory and step time of `mlaan.torch` beside plain training, checkpoints, and the published form of a step.

    python3 bench/torch_door.py                               # ResNet-110 and ViT-tiny; under 8 minutes on two cores
    python3 bench/torch_door.py --cifar DIR --limit 2000      # users' networks, two epochs of bp, dgl, mlaan-released

Each row is two processes. In one, glibc gives freed memory back at once (MALLOC_MMAP_THRESHOLD_), else what it keeps for later hides what
was saved: memory is the growth of the resident set, at its peak, over what the built network takes. In the other, as usual, time is
the median of steps after the first, as many as fit into `--seconds` (at least one). "published" is mlaan-released with
every cascade's forward pass on its own. Needs: torch; for --cifar also pyarrow, pillow, numpy.
"""
import argparse
import functools
import io
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "crates/mlaan/tests/golden"), str(ROOT / "python/tests")]
# Of glibc: blocks of a MiB and more are mapped by themselves, and unmapped when freed.
GIVES_BACK = {"MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_TRIM_THRESHOLD_": "1048576"}
FORMS = ["plain", "checkpoint", "dgl", "mlaan-released", "mlaan-paper", "published"]


def blocks(network):
    import oracle
    from networks_of_users import vit
    from torch import nn
    if network == "vit_tiny":
        return list(vit(192, 4, 12, 3, norm_first=True))
    n = (int(network.removeprefix("resnet")) - 2) // 6
    net = oracle.Backbone(oracle.BasicBlock, [n] * 3, [16, 32, 64], "cifar", 10)
    stem = nn.Sequential(net.conv1, net.bn1, nn.ReLU())
    return [stem, *(b for _, _, b in net.blocks), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), net.fc)]


def stepper(network, form, modules, images, targets):
    import torch
    import torch.nn.functional as F
    from mlaan.torch import LocalTrainer
    from networks_of_users import published_step
    from torch.utils.checkpoint import checkpoint
    sgd = functools.partial(torch.optim.SGD, lr=0.01, momentum=0.9, nesterov=True)
    parts = blocks(network)
    if form in ("plain", "checkpoint"):
        net = torch.nn.Sequential(*parts)
        o = sgd(net.parameters())
        # Segments as even as the modules, all but the last recomputed: checkpoint_sequential leaves what does not divide to the last.
        ends = [len(parts) * i // modules for i in range(modules + 1)]
        segments = [net[a:b] for a, b in zip(ends, ends[1:])]

        def forward():
            if form == "plain":
                return net(images)
            x = images
            for segment in segments[:-1]:
                x = checkpoint(segment, x, use_reentrant=False)
            return segments[-1](x)

        def step():
            o.zero_grad()
            F.cross_entropy(forward(), targets).backward()
            o.step()
        return step
    method = "mlaan-released" if form == "published" else form
    trainer = LocalTrainer(parts, modules, method, optimizer=sgd, example=images)
    if form == "published":
        return functools.partial(published_step, trainer, images, targets)
    return functools.partial(trainer.step, images, targets)


def resident(key):
    """VmRSS or VmHWM of this process, in KiB."""
    return int(re.search(rf"{key}:\s+(\d+)", Path("/proc/self/status").read_text()).group(1))


def one(v):
    import torch
    network, form = v.network[0], v.form[0]
    images, targets = torch.randn(v.batch, 3, 32, 32), torch.arange(v.batch) % 10
    step = stepper(network, form, v.modules, images, targets)
    try:
        Path("/proc/self/clear_refs").write_text("5")     # the peak begins anew
        before, peak = resident("VmRSS"), functools.partial(resident, "VmHWM")
    except OSError:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # noqa: E731
    times, begin = [], time.perf_counter()
    while len(times) < 2 or (len(times) < 8 and time.perf_counter() - begin + times[-1] < v.seconds):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    print(json.dumps({"network": network, "form": form, "modules": v.modules, "batch": v.batch, "threads": torch.get_num_threads(),
                      "MiB": round((peak() - before) / 1024), "s_step": round(statistics.median(times[1:]), 3),
                      "steps": len(times) - 1, "fastest": round(min(times[1:]), 3)}), flush=True)


def table(v):
    rows = []
    for network in v.network:
        for form in v.form:
            command = [sys.executable, __file__, "--one", "--network", network, "--form", form, "--modules", str(v.modules),
                       "--batch", str(v.batch), "--seconds", str(v.seconds)]
            done = subprocess.run(command, capture_output=True, text=True)
            lean = subprocess.run([*command[:-1], "0"], capture_output=True, text=True, env=os.environ | GIVES_BACK)
            done = lean if lean.returncode != 0 else done
            if done.returncode != 0:  # a row that fails, for want of memory say, leaves the others
                last = (done.stderr.strip().splitlines() or [f"signal {-done.returncode}"])[-1]
                print(json.dumps({"network": network, "form": form, "failed": last}), flush=True)
                continue
            rows.append(json.loads(done.stdout.splitlines()[-1]) | {"MiB": json.loads(lean.stdout.splitlines()[-1])["MiB"]})
            print(json.dumps(rows[-1]), flush=True)
    plain = {r["network"]: r for r in rows if r["form"] == "plain"}
    print(f"\n{'network':<12}{'form':<16}{'MiB':>7}{'of plain':>10}{'s a step':>10}{'of plain':>10}")
    for r in rows:
        p = plain.get(r["network"], r)
        print(f"{r['network']:<12}{r['form']:<16}{r['MiB']:>7}{r['MiB'] / max(p['MiB'], 1):>10.2f}{r['s_step']:>10.3f}"
              f"{r['s_step'] / p['s_step']:>10.2f}")


def cifar(folder, limit):
    import numpy as np
    import pyarrow.parquet as pq
    import torch
    from mlaan.torch import fit
    from networks_of_users import unet_encoder, vgg, vit
    from PIL import Image
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))

    def read(part, n):
        found = sorted(Path(folder).glob(f"{part}-*.parquet"))
        if not found:
            sys.exit(f"{folder}: no {part}-*.parquet, as the parquet form of CIFAR-10 has")
        rows = pq.read_table(found[0]).slice(0, n).to_pydict()
        image, label = (next(c for c in rows if c in names) for names in (("img", "image"), ("label", "labels")))
        raw = np.stack([np.asarray(Image.open(io.BytesIO(i["bytes"])).convert("RGB")) for i in rows[image]])
        return (torch.from_numpy(raw).permute(0, 3, 1, 2).float() / 255 - 0.48) / 0.25, torch.tensor(rows[label])
    (x, y), (tx, ty) = read("train", limit), read("test", max(limit // 4, 1))
    print(json.dumps({"images": len(x), "test": len(tx), "epochs": 2, "batch": 32, "modules": 4, "threads": torch.get_num_threads(),
                      "torch": torch.__version__}), flush=True)
    makes = {"unet_encoder": functools.partial(unet_encoder, 16), "vit": functools.partial(vit, 64, 4, 6, 4, True),
             "vgg": functools.partial(vgg, 16)}
    for name, make in makes.items():
        for method in ("bp", "dgl", "mlaan-released"):
            torch.manual_seed(0)
            net, seen, start = make(), [], time.perf_counter()
            order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
            loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x[order], y[order]), 32, drop_last=True)
            rate = 0.001 if name == "vit" else 0.05
            make_optimizer = functools.partial(torch.optim.AdamW, lr=rate) if name == "vit" else functools.partial(
                torch.optim.SGD, lr=rate, momentum=0.9, nesterov=True)
            t = fit(net, loader, epochs=2, cuts=4, method=method, on_epoch=lambda e, loss: seen.append(round(loss, 3)),
                    optimizer=make_optimizer, scheduler=lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 2 * len(loader)),
                    per_step=True)
            right = sum((t.predict(a).argmax(1) == b).sum().item() for a, b in zip(tx.split(250), ty.split(250)))
            print(json.dumps({"network": name, "parameters": sum(p.numel() for p in net.parameters()), "method": method, "loss": seen,
                              "test error %": round(100 * (1 - right / len(ty)), 2), "s": round(time.perf_counter() - start)}), flush=True)


if __name__ == "__main__":
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--network", nargs="+", default=["resnet110", "vit_tiny"], help="resnet and 6n+2, vit_tiny")
    a.add_argument("--form", nargs="+", default=FORMS, choices=FORMS)
    a.add_argument("--modules", type=int, default=8)
    a.add_argument("--batch", type=int, default=64)
    a.add_argument("--seconds", type=float, default=20, help="of steps of a row, where more than two fit")
    a.add_argument("--cifar", metavar="DIR")
    a.add_argument("--limit", type=int, default=2000)
    a.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    v = a.parse_args()
    if v.cifar:
        cifar(v.cifar, v.limit)
    elif v.one:
        one(v)
    else:
        table(v)
