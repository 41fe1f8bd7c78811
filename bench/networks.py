"""What is compared: each recipe's network and method in PyTorch."""
import math
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import capture

ROOT = Path(__file__).resolve().parent.parent
IMAGENET = {34: [3, 4, 6, 3], 50: [3, 4, 6, 3]}
CIFAR_BATCH, IMAGENET_BATCH = 128, 16
# The paper's memory is that of this batch.
CIFAR_MEMORY_BATCH = 1024
LEAP_DEPTH = 4
METHODS = {
    "bp": {},
    "dgl": dict(head="1c2f"),
    "mlm": dict(head="1c2f", span=3, weights=[0.001, 0.999]),
    "mlaan-released": dict(head="0c1f", span=2, weights=[0.001, 0.999], leap="twin", leap_on="cascaded"),
}
RECIPES = ["bp-resnet32", "bp-resnet110", "dgl-resnet32-16", "mlm-resnet32-16", "mlaan-released-resnet32-16",
           "mlaan-released-resnet110-55", "bp-resnet34", "bp-resnet50"]


@dataclass(frozen=True)
class Configuration:
    """A recipe of this repository, read from its name: METHOD-resnetDEPTH, with -MODULES for local methods."""
    recipe: str
    method: str
    depth: int

    @classmethod
    def named(cls, recipe):
        found = re.fullmatch(r"(bp|dgl|mlm|mlaan-released)-resnet(\d+)(?:-(\d+))?", recipe)
        if not found:
            sys.exit(f"{recipe}: PyTorch's side knows {', '.join(RECIPES)}")
        method, depth, modules = found[1], int(found[2]), found[3]
        c = cls(recipe, method, depth)
        alone = sum(c.stages) + 1
        if (method == "bp") != (modules is None) or modules and int(modules) != alone:
            sys.exit(f"{recipe}: a local method is compared with every block its own module, here {alone}")
        return c

    @property
    def small(self):
        return self.depth not in IMAGENET

    @property
    def stages(self):
        return [(self.depth - 2) // 6] * 3 if self.small else IMAGENET[self.depth]

    @property
    def size(self):
        return 32 if self.small else 224

    @property
    def classes(self):
        return 10 if self.small else 1000

    def batch(self, memory=False):
        if not self.small:
            return IMAGENET_BATCH
        return CIFAR_MEMORY_BATCH if memory else CIFAR_BATCH

    @property
    def arguments(self):
        """What names it to `mlaan`: its recipe, or one of the same method with another depth."""
        if self.recipe in RECIPES:
            return [self.recipe]
        if self.method == "bp":
            return ["bp-resnet32", "--set", f"model.backbone=resnet{self.depth}"]
        return [f"{self.method}-resnet32-16", "--set", f"model.backbone=resnet{self.depth}",
                f"local.modules={sum(self.stages) + 1}"]

    def forms(self, checkpoint=False):
        """The ways in which PyTorch runs it on a processor."""
        if self.method != "bp":
            return ["channels last"]
        return ["channels last", "default layout"] + (["checkpoint"] if checkpoint else [])


def by_rule(reshapes, after, depth=LEAP_DEPTH):
    """The blocks that a leap chain mirrors: `by_rule` of crates/mlaan/src/local/leap.rs."""
    last = len(reshapes) - 1
    chain = [b for b in range(after, last + 1) if reshapes[b]]
    start, room = (chain[-1] + 1, max(0, depth - len(chain))) if chain else (after, min(depth, 3))
    candidates = max(0, last + 1 - start)
    count = min(max(room, 1), candidates)
    return chain + [start + i * candidates // count - 1 for i in range(1, count + 1)]


def leaps(stages):
    """The sources of every module but the last, each block its own module and the stem the first."""
    firsts = {sum(stages[:i]) for i in range(1, len(stages))}
    reshapes = [b in firsts for b in range(sum(stages))]
    return [by_rule(reshapes, j) for j in range(sum(stages))]


class Step:
    """A training step in PyTorch: called, it makes one. `backward` and `update` are its halves, the optimiser's the second.

    It holds all that it needs. A CUDA graph knows addresses only: what it reads and writes must outlive it.
    """

    def __init__(self, backward, update, parameter):
        self.backward, self.update, self.parameter = backward, update, parameter

    def __call__(self):
        self.backward()
        self.update()


def step(configuration, form, batch, precision="f32", device="cpu", how=None):
    """A `Step` of PyTorch's.

    Forms: "channels last" ("eager" is the same), "default layout" ("nchw"), "checkpoint", "compile" (torch.compile), and
    "graph" (the eager step recorded once as a CUDA graph; `how`, see capture.py). Precisions: f32, bf16 (autocast), tf32.
    """
    import torch
    how = how or capture.Capture()
    if device != "cpu":
        torch.cuda.set_device(device)
        # Whatever makes PyTorch fast: kernels are chosen by trial, and what autocast leaves in f32 may be TF32.
        torch.backends.cudnn.benchmark = form != "graph" or how.trial
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision != "f32"
    make = plain if configuration.method == "bp" else local
    made = make(configuration, form, batch, precision == "bf16", device, how)
    return capture.recorded(made, how) if form == "graph" else made


def layout(form):
    import torch
    return torch.contiguous_format if form in ("default layout", "nchw") else torch.channels_last


def autocast(form, bf16, device):
    import torch
    # Casts of parameters that are kept from one use to the next would be outside of a graph's own memory.
    return torch.autocast(kind(device), torch.bfloat16, enabled=bf16, cache_enabled=form != "graph")


def network(configuration, form, device):
    """The backbone, rectifiers in place as torchvision has them."""
    import torch.nn.functional as F
    from torch.utils.checkpoint import checkpoint_sequential
    sys.path.insert(0, str(ROOT / "crates/mlaan/tests/golden"))
    import oracle

    class Basic(oracle.BasicBlock):
        def forward(self, x):
            y = F.relu_(self.bn1(self.conv1(x)))
            y = self.bn2(self.conv2(y))
            y += self.downsample(x)
            return F.relu_(y)

    class Bottleneck(oracle.Bottleneck):
        def forward(self, x):
            y = F.relu_(self.bn1(self.conv1(x)))
            y = F.relu_(self.bn2(self.conv2(y)))
            y = self.bn3(self.conv3(y))
            y += self.downsample(x)
            return F.relu_(y)

    class Network(oracle.Backbone):
        def forward(self, x):
            x = F.relu_(self.bn1(self.conv1(x)))
            if self.stem_kind == "imagenet":
                x = F.max_pool2d(x, 3, 2, 1)
            blocks = [b for _, _, b in self.blocks]
            if form == "checkpoint":
                x = checkpoint_sequential(blocks, round(math.sqrt(len(blocks))), x, use_reentrant=False)
            else:
                for b in blocks:
                    x = b(x)
            return self.classify(x)

    c = configuration
    widths = [16, 32, 64] if c.small else [64, 128, 256, 512]
    block = Bottleneck if c.depth == 50 else Basic
    net = Network(block, c.stages, widths, "cifar" if c.small else "imagenet", c.classes)
    return net.to(device, memory_format=layout(form))


def plain(configuration, form, batch, bf16, device, how):
    """Backpropagation: plain autograd."""
    import torch
    import torch.nn.functional as F
    c = configuration
    net = network(c, form, device)
    x = torch.randn(batch, 3, c.size, c.size).to(device).contiguous(memory_format=layout(form))
    y = (torch.arange(batch) % c.classes).to(device)
    opt = optimiser(net.parameters(), device, how)

    def loss(x, y):
        with autocast(form, bf16, device):
            return F.cross_entropy(net(x), y)
    if form == "compile":
        loss = torch.compile(loss, dynamic=False)

    def backward():
        opt.zero_grad(set_to_none=True)
        loss(x, y).backward()
    return Step(backward, opt.step, net.conv1.weight)


def kind(device):
    return device.split(":")[0]


def optimiser(parameters, device, how):
    import torch
    fast = {("fused" if how.fused else "foreach"): True} if device != "cpu" else {}
    return torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, nesterov=True, weight_decay=1e-4, **fast)


class Later:
    """An optimiser whose step is made by somebody else, afterwards."""

    def __init__(self, opt):
        self.zero_grad, self.real = opt.zero_grad, opt

    def step(self):
        pass


def local(configuration, form, batch, bf16, device, how):
    """A local method in the form of the numerical reference, in float32 or under autocast, channels last."""
    import torch
    sys.path.insert(0, str(ROOT / "crates/mlaan/tests/golden"))
    import oracle
    c, method = configuration, dict(METHODS[configuration.method])
    blocks = sum(c.stages)
    if "leap" in method:
        method["leap_sources"] = leaps(c.stages)
    case = oracle.Case("bench", batch=batch, depths=c.stages, widths=[16, 32, 64], size=c.size, classes=c.classes,
                       hidden=128, lr=1e-3, cuts=list(range(blocks)), **method)
    t = oracle.Trainer(case)
    for part in (t.net, t.aux):
        part.float().to(device, memory_format=torch.channels_last)
    t.images = t.images.float().to(device).contiguous(memory_format=torch.channels_last)
    t.pixels, t.labels = t.pixels.float().to(device), t.labels.to(device)
    opt = optimiser([p for p in [*t.net.parameters(), *t.aux.parameters()] if p.requires_grad], device, how)
    t.opt = Later(opt)
    if form == "compile":
        # A step has many backward passes, which cannot be compiled as one; blocks and heads can, once for each shape.
        torch._dynamo.config.recompile_limit = 256
        for part in [b for _, _, b in t.net.blocks] + list(t.aux.values()):
            for m in part if isinstance(part, torch.nn.ModuleList) else [part]:
                m.compile(dynamic=False)

    def backward():
        with autocast(form, bf16, device):
            t.step()
    # Mirrors are pulled within, before the update instead of after: as much work.
    return Step(backward, opt.step, t.net.conv1.weight)
