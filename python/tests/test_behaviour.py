"""What PyTorch's users do with networks, and a local step must do right: compared with the published form of a step, or with
the same step without it, in float64."""
import copy
import functools
import io

import pytest
import torch
import torch.nn.functional as F
from mlaan.torch import LocalityError, LocalTrainer, fit
from networks_of_users import Mean, conv, published_step, vgg, vit
from test_networks import CifarResNet, batch
from torch import nn
from torch.utils.checkpoint import checkpoint

SGD = functools.partial(torch.optim.SGD, lr=0.02, momentum=0.9)
HEAD = nn.Sequential


def classifier(c=8, classes=10):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, classes))


def fresh_vgg():
    torch.manual_seed(0)
    return vgg()


def trainer(net, cuts, method="mlaan-paper", **options):
    torch.manual_seed(0)
    images = options.pop("example", batch()[0].double())
    return LocalTrainer(net.double() if isinstance(net, nn.Module) else [b.double() for b in net], cuts, method,
                        optimizer=options.pop("optimizer", SGD), example=images, **options)


def run(t, steps=3, images=None, targets=None):
    """The last step's losses, and the network's state."""
    own, labels = batch()
    images, targets = own.double() if images is None else images, labels if targets is None else targets
    for _ in range(steps):
        torch.manual_seed(3)
        losses = t.step(images, targets)
    return losses, [v for b in t.blocks for v in b.state_dict().values()] + list(t.aux.state_dict().values())


def same(a, b, tolerance=1e-12):
    """Losses and states of two runs."""
    assert a[0].keys() == b[0].keys() and len(a[1]) == len(b[1])
    for x, y in [*((a[0][k], b[0][k]) for k in a[0]), *zip(a[1], b[1])]:
        assert (x.double() - y.double()).abs().max() <= tolerance * max(1.0, y.double().abs().max()), (x, y)


def same_as_published(make, cuts, method, tolerance=1e-12, images=None, targets=None):
    """One step and the published form of it, of networks without running statistics or random numbers."""
    torch.manual_seed(0)
    net = make()
    ours = trainer(net, cuts, method, example=images if images is not None else batch()[0].double())
    theirs = copy.deepcopy(ours)
    for t in (theirs,):  # optimisers of the copy's parameters
        t.optimizer_of = {n: SGD([p for p in (t.modules[int(n[7:])] if n.startswith("module") else t.aux[n]).parameters()
                                  if p.requires_grad]) for n in ours.optimizer_of}
        for a in t.aux.values():
            if a.chain is not None:
                by_place = {id(b): c for b, c in zip(ours.blocks, t.blocks)}
                a.chain._sources = tuple(by_place[id(s)] for s in ours.aux[next(n for n, x in t.aux.items() if x is a)].chain._sources)
    own, labels = batch()
    x, y = own.double() if images is None else images, labels if targets is None else targets
    for _ in range(2):
        torch.manual_seed(3)
        a = ours.step(x, y)
        torch.manual_seed(3)
        b = published_step(theirs, x, y)
    assert a.keys() == b.keys()
    for k in a:
        assert abs(a[k] - b[k]) <= tolerance * max(1.0, abs(b[k])), k
    for p, q in zip([*ours.modules, ours.aux], [*theirs.modules, theirs.aux]):
        for (name, u), v in zip(p.named_parameters(), q.parameters()):
            assert (u - v).abs().max() <= tolerance * max(1.0, v.abs().max()), name


@pytest.mark.parametrize("method", ["dgl", "mlm", "lam", "mlaan-paper", "mlaan-released"])
def test_tokens_are_as_published(method):
    same_as_published(vit, [1, 2, 3], method)


# ---------------------------------------------------------------- blocks

class Text(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(50, 16)

    def forward(self, x):
        return self.words(x)


def test_whole_numbers_are_inputs():
    layers = [nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True) for _ in range(2)]
    images = torch.arange(8 * 12).reshape(8, 12) % 50
    make = lambda: nn.Sequential(Text(), *copy.deepcopy(layers), nn.Sequential(Mean(), nn.Linear(16, 10)))  # noqa: E731
    same_as_published(make, [1, 2], "mlaan-paper", images=images)


def in_place(inplace):
    torch.manual_seed(0)
    # Sigmoid keeps its output for the way back, which a ReLU in place behind the cut would change.
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.Sigmoid()),
                         nn.Sequential(nn.Threshold(0.5, 0.1, inplace), nn.Conv2d(8, 8, 3, padding=1)),
                         nn.Sequential(nn.ReLU(inplace), nn.Conv2d(8, 8, 3, padding=1)), classifier())


@pytest.mark.parametrize("method", ["dgl", "mlm", "lam", "mlaan-released"])
def test_layers_in_place_at_cuts_and_in_mirrors(method):
    results = [run(trainer(in_place(inplace), [1, 2, 3], method)) for inplace in (False, True)]
    same(*results)


def test_a_dropout_in_place_at_a_cut():
    def make(inplace):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.Sequential(nn.Dropout(0.5, inplace), nn.Conv2d(8, 8, 3, padding=1)), classifier())
    same(*[run(trainer(make(inplace), [1, 2], "mlm")) for inplace in (False, True)])


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(3, 8, 3, 2, 1)

    def forward(self, x):
        return self.a(x), self.b(x)


class Join(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(16, 8, 3, 1, 1)

    def forward(self, pair):
        return self.layer(torch.cat(pair, 1))


def test_blocks_that_give_tuples_are_not_cut():
    make = lambda: nn.Sequential(Pair(), Join(), conv(8, 8), classifier())  # noqa: E731
    with pytest.raises(ValueError, match=r"block 0 \(Pair\) cannot be cut from what follows: it gives a tuple"):
        trainer(make(), [1, 2])
    with pytest.raises(ValueError, match=r"block 1 \(Join\) cannot be mirrored: it takes several"):
        trainer(make(), [2], sources=[[1]])
    t = trainer(make(), 3)
    assert t.edges == [0, 2, 3, 4]
    run(t)


class Turned(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.layer = nn.Conv2d(c, 8, 3, 1, 1)

    def forward(self, x):
        return self.layer(x).transpose(2, 3)


def test_outputs_that_are_not_contiguous():
    same_as_published(lambda: nn.Sequential(Turned(3), Turned(8), Turned(8), classifier()), [1, 2, 3], "mlaan-paper")


def test_parameters_that_blocks_share():
    class Tied(nn.Module):
        def __init__(self, words):
            super().__init__()
            self.words = words

        def forward(self, x):
            return F.linear(x.mean(1), self.words.weight)
    text = Text()
    layers = [nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True) for _ in range(2)]
    with pytest.raises(ValueError, match=r"2 modules: .* into 1 to 1 \(not behind block 0 \(Text\), block 1 .*: block 3 \(Tied\) shares its parameter words.weight"):
        LocalTrainer([text, *layers, Tied(text.words)], 2, optimizer=SGD, example=torch.arange(8).reshape(2, 4))
    # Two blocks in one module may share.
    same_block = conv(8, 8)
    t = trainer(nn.Sequential(conv(3, 8, 2), same_block, same_block, conv(8, 8), classifier()), 3)
    assert 2 not in t.edges
    run(t)


def test_frozen_parameters_stay():
    def frozen():
        torch.manual_seed(0)
        net = vgg()
        for p in [*net[0].parameters(), *net[1].parameters()]:
            p.requires_grad_(False)
        return net
    t = trainer(frozen(), [1, 2, 3, 4], "mlaan-paper")
    before = [p.clone() for p in t.blocks[:2][0].parameters()]
    losses, _ = run(t)
    assert all(torch.equal(p, q) for p, q in zip(t.blocks[0].parameters(), before))
    assert "ind/0" not in losses and "cas/0" not in losses and "cas/2" in losses
    same_as_published_frozen = trainer(frozen(), [4], "dgl")
    run(same_as_published_frozen)
    # A module that is cut off from its input by the user's own no_grad takes nothing from cascades.
    class Stopped(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(8, 8, 3, 1, 1)

        def forward(self, x):
            return self.layer(x.detach())
    run(trainer(nn.Sequential(conv(3, 8, 2), Stopped(), conv(8, 8), classifier()), [1, 2, 3], "mlaan-paper"))


def test_a_frozen_batchnorm_stays_one_in_mirrors_too():
    t = trainer(vgg(), [1, 2, 3], "lam")
    t.train()
    t.blocks[3].eval()
    before = copy.deepcopy(t.blocks[3].state_dict())
    mirrored = [m for a in t.aux.values() for m in a.chain.mirrors]
    run(t, 1)
    assert torch.equal(t.blocks[3][0][1].running_mean, before["0.1.running_mean"])
    assert t.blocks[2][1].num_batches_tracked == 1
    # Mirrors of block 3 have its modes, others train.
    assert t.chains == [[1, 2, 3], [2, 3], [3]]
    for chain, m in zip([s for chain in t.chains for s in chain], mirrored):
        norm = next(n for n in m.modules() if isinstance(n, nn.BatchNorm2d))
        assert (norm.training, norm.num_batches_tracked.item()) == ((False, 0) if chain == 3 else (True, 1))
    t.train(False)
    run(t, 1)
    assert t.blocks[2][1].num_batches_tracked == 1 and not t.blocks[0].training


def test_building_and_predicting_leave_no_trace():
    net = vgg()
    net.insert(1, nn.Dropout(0.5))
    net.eval()
    net[0].train()
    before, modes, random = copy.deepcopy(net.state_dict()), [m.training for m in net.modules()], torch.get_rng_state()
    t = LocalTrainer(net, 3, optimizer=SGD, example=batch()[0])
    assert [m.training for m in net.modules()] == modes
    random_after_heads = torch.get_rng_state()
    t.predict(batch()[0])
    assert [m.training for m in net.modules()] == modes and torch.equal(torch.get_rng_state(), random_after_heads)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    torch.set_rng_state(random)
    from mlaan.torch.blocks import measure
    measure(t.blocks, batch()[0])
    assert torch.equal(torch.get_rng_state(), random)


def test_a_network_that_only_looks_known_is_refused():
    class Other(CifarResNet):
        def forward(self, x):
            return super().forward(x) * 2
    with pytest.raises(ValueError, match="Other: its forward pass does something else than its blocks in order"):
        LocalTrainer(Other(), 2, optimizer=SGD, example=batch()[0])
    more = CifarResNet()
    more.extra = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="its parameters extra.weight, extra.bias are in none of its blocks"):
        LocalTrainer(more, 2, optimizer=SGD, example=batch()[0])
    with pytest.raises(TypeError, match="compile=True"):
        LocalTrainer(torch.compile(CifarResNet(), backend="eager"), 2, optimizer=SGD, example=batch()[0])
    with pytest.raises(ValueError, match=r"block 1 \(1?,? ?Conv2d\) fails on what the blocks before it give, of shape \[n, 8, 32, 32\]"):
        LocalTrainer([nn.Conv2d(3, 8, 1), nn.Conv2d(4, 8, 1), classifier()], 2, optimizer=SGD, example=batch()[0])


def test_networks_that_give_maps_are_refused():
    with pytest.raises(ValueError, match=r"the network gives \[n, 10, 32, 32\], and auxiliary classifiers \[n, classes\]"):
        LocalTrainer([conv(3, 8), nn.Conv2d(8, 10, 1)], 2, optimizer=SGD, example=batch()[0])


# ---------------------------------------------------------------- sources

@pytest.mark.parametrize("method", ["lam", "mlaan-released"])
@pytest.mark.parametrize("placement", ["independent", "cascaded"])
def test_sources_by_name(method, placement):
    make = lambda: CifarResNet(2)  # noqa: E731
    options = dict(leap_on=placement, span=2, weights=(0.3, 0.7))
    chain = ["layer2.0", "layer3.0", "layer3.1"]
    results = []
    for sources in (None, chain, [["layer2.0", "layer3.0", "layer3.1"], [3, 5, 6], ["layer3.1"]]):
        torch.manual_seed(0)
        t = trainer(make(), [1, 3, 6], method, sources=sources, **options)
        # By the rule the third module mirrors the last block only, and the first two the same.
        results.append((t.chains, run(t)))
        assert {n.split("_")[0] for n, a in t.aux.items() if a.chain is not None} == {placement[:3]}
    assert results[1][0] == [[3, 5, 6], [3, 5, 6], [6]] == results[0][0] == results[2][0]
    same(results[0][1], results[1][1], 0)
    same(results[0][1], results[2][1], 0)


def test_wrong_sources():
    for sources, message in ((["layer3.2"], "no block is called 'layer3.2'; did you mean layer3"),
                             ([["layer3.1"], ["layer3.1"]], "2 lists for 4 modules"),
                             ([[], [6], [6]], "module 0 mirrors nothing"),
                             ([[5], [5], [6]], r"block 5 \(layer3.0, CifarBlock\), which takes \[16, 16, 16\], but is given \[8, 32, 32\]"),
                             ([3], "none is behind block 5"),
                             ([[7], [7], [7]], "block 7; there are blocks 0 to 6"),):
        with pytest.raises(ValueError, match=message):
            trainer(CifarResNet(2), [1, 3, 6], "lam", sources=sources)


# ---------------------------------------------------------------- batches and targets

def test_a_batch_of_one_and_a_smaller_last_batch():
    images, targets = batch()
    t = trainer(vgg(), 4, "mlaan-paper")
    t.step(images.double(), targets)
    for n in (3, 1):
        losses = t.step(images[:n].double(), targets[:n])
        assert all(torch.isfinite(v) for v in losses.values())
    t = trainer(vgg(), 4, "dgl", loss="contrastive")
    t.step(images[:1].double(), targets[:1])
    assert all(p.isfinite().all() for b in t.blocks for p in b.parameters())


def test_soft_and_several_labels():
    images, targets = batch()
    soft = F.one_hot(targets, 10).double()
    same(run(trainer(fresh_vgg(), 4)), run(trainer(fresh_vgg(), 4), targets=soft), 1e-10)
    several = (soft + soft.roll(1, 1)).clamp(max=1)
    t = trainer(vgg(), 4, criterion=F.binary_cross_entropy_with_logits)
    first, last = t.step(images.double(), several), run(t, 20, targets=several)[0]
    assert all(last[k] < first[k] for k in ("ind/3", "cas/0"))
    with pytest.raises(ValueError, match="contrastive loss needs one class a sample"):
        trainer(vgg(), 4, loss="contrastive").step(images.double(), soft)


@pytest.mark.parametrize("method", ["bp", "dgl", "mlm"])
def test_shards_are_gradient_accumulation(method):
    # Of a network whose samples do not meet (no BatchNorm, in heads neither) shards change nothing.
    def run_of(shards):
        torch.manual_seed(0)
        t = trainer(vit(), [1, 2, 3], method, head="0c1f", shards=shards)
        return run(t)
    same(run_of(1), run_of(3))
    t = trainer(vgg(), 3, "mlaan-paper", shards=4)
    run(t, 2)
    counts = {m.num_batches_tracked.item() for net in (*t.modules, t.aux) for m in net.modules() if isinstance(m, nn.BatchNorm2d)}
    assert counts == {2}
    t.step(*(v[:3] for v in (batch()[0].double(), batch()[1])))  # fewer images than shards


# ---------------------------------------------------------------- PyTorch's tools

class Checkpointed(nn.Module):
    def __init__(self, inner, **options):
        super().__init__()
        self.inner, self.options = inner, options or {"use_reentrant": False}

    def forward(self, x):
        return checkpoint(self.inner, x, **self.options)


@pytest.mark.parametrize("method", ["bp", "dgl", "mlaan-paper"])
def test_checkpoints_change_nothing_statistics_neither(method):
    def make(wrap):
        torch.manual_seed(0)
        net = vgg()
        net.insert(2, nn.Sequential(conv(8, 8), nn.Dropout(0.3)))
        return nn.Sequential(*[Checkpointed(b) if wrap and i in (1, 2, 3, 4) else b for i, b in enumerate(net)])
    same(*[run(trainer(make(wrap), [1, 2, 3, 4, 5], method)) for wrap in (False, True)])


def test_a_reentrant_checkpoint_is_named():
    net = nn.Sequential(conv(3, 8), Checkpointed(conv(8, 8), use_reentrant=True), classifier())
    with pytest.raises(LocalityError, match="use_reentrant=False"):
        trainer(net, [1, 2]).step(batch()[0].double(), batch()[1])


def test_channels_last_changes_nothing():
    images = batch()[0].double()
    a = run(trainer(fresh_vgg(), 4))
    b = run(trainer(fresh_vgg().to(memory_format=torch.channels_last), 4, example=images.to(memory_format=torch.channels_last)),
            images=images.to(memory_format=torch.channels_last))
    same(a, b, 1e-9)


def test_bfloat16_autocast_is_near_and_has_float_parameters():
    images, targets = batch()
    found = []
    for amp in (None, torch.bfloat16):
        torch.manual_seed(0)
        t = LocalTrainer(vgg(), 4, "mlaan-paper", optimizer=SGD, example=images, amp=amp)
        seen = []
        t.blocks[2][0].register_forward_hook(lambda m, i, o, seen=seen: seen.append(o.dtype))
        found.append([t.step(images, targets) for _ in range(3)][-1])
        assert seen[-1] == (amp or torch.float32) and {p.dtype for b in t.blocks for p in b.parameters()} == {torch.float32}
    assert all(abs(found[0][k] - found[1][k]) < 0.1 * found[0][k] for k in found[0])


def test_a_scaler_skips_steps_whose_gradients_overflow():
    images, targets = batch()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0 ** 10)
    t = LocalTrainer(vgg(), 4, "mlaan-paper", optimizer=SGD, example=images, scaler=scaler, amp=torch.float16)
    before = [p.clone() for b in t.blocks for p in b.parameters()]
    t.step(images * float("inf"), targets)
    assert all(torch.equal(p, q) for p, q in zip((p for b in t.blocks for p in b.parameters()), before))
    assert scaler.get_scale() == 2.0 ** 9


def test_clipping_is_of_each_module():
    seen = {}

    def optimizer(params):
        o = torch.optim.SGD(params, lr=0.1)

        def norm(o, *_):
            seen[id(o)] = torch.cat([p.grad.flatten() for p in o.param_groups[0]["params"] if p.grad is not None]).norm().item()
        o.register_step_pre_hook(norm)
        return o
    t = trainer(vgg(), 4, clip=1e-3, optimizer=optimizer)
    run(t, 1)
    assert len(seen) == len(t.optimizers) and all(norm == pytest.approx(1e-3, rel=1e-2) for norm in seen.values())


@pytest.mark.parametrize("per_step", [False, True])
def test_a_warm_up_sets_the_first_steps_rate(per_step):
    rates = []

    def optimizer(params):
        o = torch.optim.SGD(params, lr=1.0)
        o.register_step_pre_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
        return o
    fit(vgg(), [batch()] * 2, epochs=2, cuts=2, method="dgl", optimizer=optimizer, per_step=per_step,
        scheduler=lambda o: torch.optim.lr_scheduler.LinearLR(o, 0.001, 1.0, 4))
    of_one = rates[::3]  # two modules and a head
    assert of_one[0] == pytest.approx(0.001)
    assert len(set(of_one)) == (4 if per_step else 2)


@pytest.mark.parametrize("options", [{"clip": 0.5}, {"amp": torch.bfloat16}, {"shards": 2}])
def test_a_saved_run_resumes_to_the_bit(options):
    images, targets = batch()

    def make(seed):
        torch.manual_seed(seed)
        net = vgg()
        net.insert(2, nn.Sequential(conv(8, 8), nn.Dropout(0.3)))
        t = LocalTrainer(net, 4, "mlaan-released", optimizer=functools.partial(torch.optim.AdamW, lr=0.01), example=images, **options)
        return t, [torch.optim.lr_scheduler.CosineAnnealingLR(o, 5) for o in t.optimizers]

    def steps(t, schedulers, n):
        for _ in range(n):
            losses = t.step(images, targets)
            for s in schedulers:
                s.step()
        return losses, [*t.blocks.modules()][0] and [v for b in t.blocks for v in b.state_dict().values()]
    a, schedulers = make(0)
    steps(a, schedulers, 2)
    file = io.BytesIO()
    torch.save({"trainer": a.state_dict(), "schedulers": [s.state_dict() for s in schedulers], "random": torch.get_rng_state()}, file)
    whole = steps(a, schedulers, 2)
    b, others = make(1)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    b.load_state_dict(state["trainer"])
    for s, saved in zip(others, state["schedulers"]):
        s.load_state_dict(saved)
    torch.set_rng_state(state["random"])
    same(whole, steps(b, others, 2), 0)
    with pytest.raises(ValueError, match="the state is of the method"):
        LocalTrainer([*copy.deepcopy(a.blocks)], 4, "dgl", optimizer=SGD, example=images).load_state_dict(a.state_dict())


def test_distributed_wrappers_are_refused_wherever_they_are():
    for net in (nn.DataParallel(vgg()), nn.Sequential(conv(3, 8), nn.DataParallel(conv(8, 8)), classifier())):
        with pytest.raises(TypeError, match="give the network inside it"):
            LocalTrainer(net, 2, optimizer=SGD)
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        with pytest.raises(TypeError, match="DistributedDataParallel reduces gradients"):
            LocalTrainer(nn.parallel.DistributedDataParallel(vgg()), 2, optimizer=SGD)
    finally:
        torch.distributed.destroy_process_group()


def test_a_step_without_gradients_and_an_empty_loader_are_refused():
    t = trainer(vgg(), 4)
    with torch.no_grad(), pytest.raises(RuntimeError, match="switched off"):
        t.step(batch()[0].double(), batch()[1])
    with pytest.raises(ValueError, match="no batch in epoch 2"):
        fit(vgg(), iter([batch()]), epochs=2, cuts=2, optimizer=SGD)


def test_fused_optimisers():
    images, targets = batch()
    results = []
    for fused in (False, True):
        torch.manual_seed(0)
        t = LocalTrainer(vgg(), 4, "mlaan-paper", optimizer=functools.partial(SGD, fused=fused), example=images)
        results.append([t.step(images, targets) for _ in range(3)][-1])
    assert all(torch.allclose(results[0][k], results[1][k], atol=1e-4) for k in results[0])
