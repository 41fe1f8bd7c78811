#!/usr/bin/env python3
"""Peak memory and step time of `mlaan.torch` beside plain training, checkpoints, and the reference's form (ResNet only).

    python3 bench/torch_door.py --network resnet110 vit_tiny --batch 128 --steps 5
    python3 bench/torch_door.py --cifar DIR --limit 2000      # user's networks, two epochs of bp, dgl, mlaan-released

Each row is a process of its own; memory is the growth of its peak resident set over what building the network took.
Needs: torch; for --cifar also pyarrow, pillow, numpy.
"""
import argparse
import functools
import io
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "crates/mlaan/tests/golden"), str(ROOT / "python/tests")]
FORMS = ["plain", "checkpoint", "dgl", "mlaan-released", "mlaan-paper", "published"]


def blocks(network):
    import oracle
    from torch import nn
    from test_networks import Mean
    from test_oracle import Classifier, Stem
    if network.startswith("resnet"):
        n = (int(network[6:]) - 2) // 6
        net = oracle.Backbone(oracle.BasicBlock, [n] * 3, [16, 32, 64], "cifar", 10)
        return [Stem(net), *(b for _, _, b in net.blocks), Classifier(net)]

    class Patches(nn.Module):
        def __init__(self):
            super().__init__()
            self.proj = nn.Conv2d(3, 192, 4, 4)

        def forward(self, x):
            return self.proj(x).flatten(2).transpose(1, 2)
    layers = [nn.TransformerEncoderLayer(192, 3, 768, 0.0, "gelu", batch_first=True, norm_first=True) for _ in range(12)]
    return [Patches(), *layers, nn.Sequential(nn.LayerNorm(192), Mean(), nn.Linear(192, 10))]


def stepper(network, form, modules, images, targets):
    import torch
    import torch.nn.functional as F
    from mlaan.torch import LocalTrainer
    from torch.utils.checkpoint import checkpoint_sequential
    sgd = functools.partial(torch.optim.SGD, lr=0.01, momentum=0.9, nesterov=True)
    if form == "published":  # every cascade forward on its own: the reference, of mlaan-released
        import oracle
        n = (int(network[6:]) - 2) // 6
        cuts = [round(3 * n * (k + 1) / modules) for k in range(modules - 1)]
        sources = [[n, 2 * n, 3 * n - 1] if c <= n else [2 * n, 3 * n - 1] if c <= 2 * n else [3 * n - 1] for c in cuts]
        torch.set_default_dtype(torch.float32)
        t = oracle.Trainer(oracle.Case("x", depths=[n] * 3, widths=[16, 32, 64], size=32, batch=len(images), cuts=cuts, head="0c1f",
                                       span=2, weights=[0.001, 0.999], leap="twin", leap_on="cascaded", leap_sources=sources))
        t.net.float(), t.aux.float()
        t.images, t.pixels, t.labels = images, images, targets
        return t.step
    parts = blocks(network)
    if form in ("plain", "checkpoint"):
        net = torch.nn.Sequential(*parts)
        o = sgd(net.parameters())

        def step():
            o.zero_grad()
            out = net(images) if form == "plain" else checkpoint_sequential(net, modules, images, use_reentrant=False)
            F.cross_entropy(out, targets).backward()
            o.step()
        return step
    return functools.partial(LocalTrainer(parts, modules, form, optimizer=sgd, example=images).step, images, targets)


def one(network, form, modules, batch, steps):
    import torch
    images, targets = torch.randn(batch, 3, 32, 32), torch.arange(batch) % 10
    step = stepper(network, form, modules, images, targets)
    before, times = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    for _ in range(steps + 1):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({"network": network, "form": form, "modules": modules, "batch": batch, "MiB": round(grown / 1024),
                      "s_step": round(sorted(times[1:])[len(times[1:]) // 2], 3)}))


def cifar(folder, limit):
    import numpy as np
    import pyarrow.parquet as pq
    import torch
    from mlaan.torch import fit
    from PIL import Image
    from test_networks import unet_encoder, vgg, vit

    def read(part, n):
        table = pq.read_table(next(Path(folder).glob(f"{part}-*.parquet"))).slice(0, n).to_pydict()
        image, label = (next(c for c in table if c in names) for names in (("img", "image"), ("label", "labels")))
        raw = np.stack([np.asarray(Image.open(io.BytesIO(i["bytes"])).convert("RGB")) for i in table[image]])
        return (torch.from_numpy(raw).permute(0, 3, 1, 2).float() / 255 - 0.48) / 0.25, torch.tensor(table[label])
    (x, y), (tx, ty) = read("train", limit), read("test", limit // 4)
    for make in (unet_encoder, vit, vgg):
        for method in ("bp", "dgl", "mlaan-released"):
            torch.manual_seed(0)
            loader = [(x[i:i + 32], y[i:i + 32]) for i in range(0, len(x) - 31, 32)]
            seen = []
            t = fit(make(), loader, epochs=2, cuts=4, method=method, on_epoch=lambda e, loss: seen.append(round(loss, 3)),
                    optimizer=functools.partial(torch.optim.SGD, lr=0.02, momentum=0.9, nesterov=True))
            right = (t.predict(tx).argmax(1) == ty).float().mean().item()
            print(json.dumps({"network": make.__name__, "method": method, "loss": seen, "test error %": round(100 * (1 - right), 1)}),
                  flush=True)


if __name__ == "__main__":
    a = argparse.ArgumentParser()
    a.add_argument("--network", nargs="+", default=["resnet110", "vit_tiny"])
    a.add_argument("--form", nargs="+", default=FORMS)
    a.add_argument("--modules", type=int, default=8)
    a.add_argument("--batch", type=int, default=128)
    a.add_argument("--steps", type=int, default=5)
    a.add_argument("--cifar")
    a.add_argument("--limit", type=int, default=2000)
    a.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    v = a.parse_args()
    if v.cifar:
        cifar(v.cifar, v.limit)
    elif v.one:
        one(v.network[0], v.form[0], v.modules, v.batch, v.steps)
    else:
        for network in v.network:
            for form in v.form:
                if form != "published" or network.startswith("resnet"):
                    subprocess.run([sys.executable, __file__, "--one", "--network", network, "--form", form, "--modules", str(v.modules),
                                    "--batch", str(v.batch), "--steps", str(v.steps)], check=True)
