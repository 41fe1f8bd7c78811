"""Every case of the numerical reference in float64: losses, gradients, and what three steps leave, to 1e-10.

The reference runs every cascade forward on its own, the published form; that its gradients agree to 1e-12 is that
one forward a module is enough."""
import functools
import json
from pathlib import Path

import oracle
import pytest
import torch
import torch.nn.functional as F
from mlaan.torch import Blocks, LocalTrainer, Method
from mlaan.torch.sources import by_rule
from safetensors import safe_open

GOLDEN = Path(oracle.__file__).parent


def has_a_form_here(path):
    """mlaan.torch has neither copies that lag behind nor the ablations of leap chains."""
    with safe_open(path, "pt") as file:
        case = oracle.Case(**json.loads(file.metadata()["case"]))
    return case.leap != "untied" and not case.leap_share and case.leap_every == 1 and case.leap_lag == 0


NAMES = sorted(p.stem for p in GOLDEN.glob("*.safetensors") if has_a_form_here(p))


class Stem(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.conv1, self.bn1, self.kind = net.conv1, net.bn1, net.stem_kind

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return F.max_pool2d(x, 3, 2, 1) if self.kind == "imagenet" else x


class Classifier(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.fc = net.fc

    def forward(self, x):
        return self.fc(x.mean((2, 3)))


def optimizer(case, params):
    groups = [{"params": [p for p in params if not (p.ndim == 1 and case.no_decay)]},
              {"params": [p for p in params if p.ndim == 1 and case.no_decay], "weight_decay": 0.0}]
    groups = [g for g in groups if g["params"]]
    if case.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=case.lr, weight_decay=case.weight_decay)
    if case.optimizer == "lars":
        return oracle.Lars(groups, lr=case.lr, momentum=case.momentum, weight_decay=case.weight_decay, trust=case.trust)
    return torch.optim.SGD(groups, lr=case.lr, momentum=case.momentum, nesterov=True, weight_decay=case.weight_decay)


def pairs(trainer, reference):
    """(name, parameter or buffer of ours, of the reference)."""
    blocks, aux = reference.net.blocks, reference.aux
    parts = [("stem", trainer.blocks[0].conv1, reference.net.conv1), ("stem.bn", trainer.blocks[0].bn1, reference.net.bn1),
             ("fc", trainer.blocks[-1].fc, reference.net.fc)]
    parts += [(f"block{i}", trainer.blocks[i + 1], m) for i, (_, _, m) in enumerate(blocks)]
    for name, a in trainer.aux.items():
        parts.append((f"head_{name}", a.head, aux[f"head_{name}"].net))
        if a.decoder is not None:
            parts.append((f"decoder_{name}", a.decoder, aux[f"decoder_{name}"]))
        if a.chain is not None:
            parts.append((f"leap_{name}", a.chain.mirrors, aux[f"leap_{name}"]))
            if a.chain.shadow is not None:
                parts.append((f"shadow_{name}", a.chain.shadow, aux[f"shadow_{name}"]))
    found = []
    for name, ours, theirs in parts:
        a, b = ours.state_dict(keep_vars=True), theirs.state_dict(keep_vars=True)
        assert list(a) == list(b), name
        found += [(f"{name}.{k}", a[k], b[k]) for k in a]
    return found


def ours_of(case, reference):
    import copy
    net = copy.deepcopy(reference.net)
    for p, q in zip(net.parameters(), reference.net.parameters()):
        p.requires_grad_(q.requires_grad)
    method = Method(local=bool(case.cuts), head=case.head, hidden=case.hidden, loss=case.loss,
                    reconstruct=tuple(case.reconstruct), task=tuple(case.task), span=case.span,
                    weights=tuple(case.weights), leap=case.leap, leap_on=case.leap_on, ema=case.ema)
    weight = torch.tensor(case.class_weights, dtype=torch.float64) if case.class_weights else None
    trainer = LocalTrainer(
        Blocks([Stem(net), *(b for _, _, b in net.blocks), Classifier(net)]), [c + 1 for c in case.cuts], method,
        optimizer=functools.partial(optimizer, case), example=reference.images, clip=case.clip, shards=case.shards,
        criterion=functools.partial(F.cross_entropy, weight=weight, label_smoothing=case.label_smoothing))
    if case.leap_sources:  # the reference's are those of the rule, block numbers without the stem
        trainer_sources = [[s + 1 for s in sources] for sources in case.leap_sources]
        rule = [by_rule(e - 1, trainer.shapes, 4) for e in trainer.edges[1:-1]]
        if case.name in ("lam_pulled", "lam_twin", "mlaan_paper", "mlaan_released", "bottleneck_mlaan"):
            assert rule == trainer_sources
    with torch.no_grad():
        for _, a, b in pairs(trainer, reference):
            a.copy_(b)
    return trainer


@pytest.mark.parametrize("name", NAMES)
def test_equal_to_the_reference(name):
    with safe_open(GOLDEN / f"{name}.safetensors", "pt") as file:
        case = oracle.Case(**json.loads(file.metadata()["case"]))
        golden = {k: file.get_tensor(k) for k in file.keys() if k.startswith("loss/")}
    reference = oracle.Trainer(case)
    trainer = ours_of(case, reference)
    targets = reference.labels
    if case.mixed:
        own, other = (F.one_hot(y, case.classes).double() for y in (reference.labels, reference.other))
        targets = reference.share[:, None] * own + (1 - reference.share[:, None]) * other
    grads = {}

    def keep(optimizer, *_):
        grads.update({id(p): p.grad.clone() for g in optimizer.param_groups for p in g["params"] if p.grad is not None})
    if case.clip == 0:  # the hook sees clipped ones, the reference keeps them as they were
        for o in trainer.optimizers:
            o.register_step_pre_hook(keep)
    for s in range(case.steps):
        if s == 1:
            for o in trainer.optimizers:
                o._optimizer_step_pre_hooks.clear()
        record = {}
        reference.step(record)
        losses = trainer.step(reference.images, targets, reference.pixels)
        for k, v in losses.items():
            assert abs(v - record[f"loss/{k}"]) <= 1e-10 * max(1.0, abs(v)), k
            if s == 0:
                assert abs(v - golden[f"loss/{k}"]) <= 1e-6 * max(1.0, abs(v)), k
        assert {f"loss/{k}" for k in losses} == {k for k in record if k.startswith("loss/")}
        if s == 0 and case.clip == 0:
            first = {key: b.grad for key, _, b in pairs(trainer, reference) if getattr(b, 'grad', None) is not None}
            compared = 0
            for key, a, b in pairs(trainer, reference):
                if id(a) in grads and key in first:
                    compared += 1
                    scale = max(1.0, first[key].abs().max().item())
                    assert (grads[id(a)] - first[key]).abs().max().item() <= 1e-12 * scale, key
            assert compared == len(grads) > 0
    for key, a, b in pairs(trainer, reference):
        if key.endswith("num_batches_tracked"):  # the reference counts its second forwards
            assert a == case.steps, key
            continue
        assert (a.double() - b.double()).abs().max().item() <= 1e-10 * max(1.0, b.double().abs().max().item()), key
    reference.net.eval()
    with torch.no_grad():
        assert (trainer.predict(reference.images) - reference.net(reference.images)).abs().max() <= 1e-10 * 10
