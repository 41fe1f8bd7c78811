"""Networks of PyTorch users: torchvision's and timm's with random weights, and three written here."""
import functools

import pytest
import torch
from mlaan.torch import LocalityError, LocalTrainer, blocks_of, fit
from torch import nn

SGD = functools.partial(torch.optim.SGD, lr=0.02, momentum=0.9)
METHODS = ["bp", "dgl", "mlaan-released", "mlaan-paper"]


def conv(a, b, stride=1):
    return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())


def unet_encoder():
    down = [nn.Sequential(conv(a, b), conv(b, b), nn.MaxPool2d(2)) for a, b in ((3, 8), (8, 16), (16, 16))]
    return nn.Sequential(*down, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)))


def vgg():
    return nn.Sequential(conv(3, 8), nn.Sequential(conv(8, 8), nn.MaxPool2d(2)), conv(8, 16),
                         nn.Sequential(conv(16, 16), nn.MaxPool2d(2)), nn.Flatten(), nn.Linear(16 * 64, 32), nn.ReLU(), nn.Linear(32, 10))


class Patches(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj, self.position = nn.Conv2d(3, 16, 8, 8), nn.Parameter(torch.zeros(16, 16))

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2) + self.position


class Mean(nn.Module):
    def forward(self, x):
        return x.mean(1)


def vit():
    layers = [nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True) for _ in range(3)]
    return nn.Sequential(Patches(), *layers, nn.Sequential(Mean(), nn.Linear(16, 10)))


def batch(n=8, size=32):
    g = torch.Generator().manual_seed(1)
    return torch.randn(n, 3, size, size, generator=g), torch.arange(n) % 10


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("make", [unet_encoder, vgg, vit])
def test_learns_a_batch(make, method):
    torch.manual_seed(0)
    cuts = {"unet_encoder": 4, "vgg": 4, "vit": 4}[make.__name__]
    seen = []
    fit(make(), [batch()] * 10, epochs=6, cuts=cuts, method=method, optimizer=SGD, on_epoch=lambda e, loss: seen.append(loss),
        scheduler=lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 6))
    assert seen[-1] < 0.8 * seen[0], seen


def known():
    tv, timm = pytest.importorskip("torchvision").models, pytest.importorskip("timm")
    return {
        "tv_resnet": (lambda: tv.resnet18(num_classes=10), 64),
        "tv_convnext": (lambda: tv.convnext.ConvNeXt([tv.convnext.CNBlockConfig(8, 16, 1), tv.convnext.CNBlockConfig(16, None, 2)],
                                                     num_classes=10), 64),
        "tv_vit": (lambda: tv.VisionTransformer(32, 8, 3, 2, 16, 32, num_classes=10), 32),
        "tv_swin": (lambda: tv.SwinTransformer([4, 4], 16, [2, 2], [2, 4], [4, 4], num_classes=10), 64),
        "timm_resnet": (lambda: timm.create_model("resnet18", num_classes=10), 64),
        "timm_vit": (lambda: timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=3, embed_dim=24, num_heads=2,
                                               num_classes=10), 32),
        "timm_convnext": (lambda: timm.create_model("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 8, 16, 16), num_classes=10), 64),
        "timm_swin": (lambda: timm.create_model("swin_tiny_patch4_window7_224", img_size=64, window_size=4, depths=(2, 2), embed_dim=16,
                                                num_heads=(2, 4), num_classes=10), 64),
    }


@pytest.mark.parametrize("name", ["tv_resnet", "tv_convnext", "tv_vit", "tv_swin", "timm_resnet", "timm_vit", "timm_convnext", "timm_swin"])
def test_known_networks(name):
    make, size = known()[name]
    torch.manual_seed(0)
    model, (images, targets) = make(), batch(4, size)
    trainer = LocalTrainer(model, 3, "mlaan-released", optimizer=SGD, example=images)
    model.eval()
    with torch.no_grad():  # the blocks are the network
        assert torch.allclose(trainer.predict(images), model(images), atol=1e-5)
    held = {id(p) for b in trainer.blocks for p in b.parameters()}
    assert [n for n, p in model.named_parameters() if id(p) not in held] == []
    model.train()
    losses = trainer.step(images, targets)
    assert set(losses) == {f"{b}/{j}" for b in ("ind", "cas") for j in range(3)}
    assert all(torch.isfinite(v) for v in losses.values())
    # Every parameter has had a gradient (of zero, maybe: zero-initialised residuals).
    moved = {id(p) for o in trainer.optimizers for p, state in o.state.items() if state["momentum_buffer"] is not None}
    assert [n for n, p in model.named_parameters() if id(p) not in moved] == []


def test_statistics_move_once():
    model, (images, targets) = vgg(), batch()
    trainer = LocalTrainer(model, 4, "mlaan-paper", optimizer=SGD, example=images)
    trainer.step(images, targets)
    assert {m.num_batches_tracked.item() for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {1}


class Skip(nn.Module):
    def __init__(self, first):
        super().__init__()
        self.first, self.layer = [first], nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        return self.layer(x) + self.first[0].kept


class Keeps(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, x):
        self.kept = self.layer(x)
        return self.kept


def test_a_tensor_of_a_closed_module_raises():
    first = Keeps()
    blocks = [first, Skip(first), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))]
    trainer = LocalTrainer(blocks, [1, 2], "dgl", optimizer=SGD)
    with pytest.raises(LocalityError, match=r"module 1 reaches 0\.layer\.(weight|bias) of module 0"):
        trainer.step(*batch())
    LocalTrainer(blocks, [2], "dgl", optimizer=SGD).step(*batch())


def test_errors_say_which_block_and_why():
    images, _ = batch()
    with pytest.raises(ValueError, match=r"block 5 \(Linear\) cannot be cut .* shape \[2, 32\]"):
        LocalTrainer(vgg(), [6], "dgl", optimizer=SGD, example=images)
    with pytest.raises(ValueError, match="8 blocks and can be cut into 1 to 5"):
        LocalTrainer(vgg(), 6, "dgl", optimizer=SGD, example=images)
    tied = vgg()
    tied[3][0] = tied[1][0]
    tied[2] = conv(8, 8)
    tied[5] = nn.Linear(8 * 64, 32)
    with pytest.raises(ValueError, match="share parameters"):
        LocalTrainer(tied, [2, 3], "dgl", optimizer=SGD, example=images)
    with pytest.raises(TypeError, match="give the network inside"):
        LocalTrainer(nn.DataParallel(vgg()), 2, "dgl", optimizer=SGD)
    with pytest.raises(TypeError, match="list of modules"):
        blocks_of(nn.Linear(2, 2))


@pytest.mark.parametrize("options", [{"clip": 0.5}, {"amp": torch.bfloat16}])
def test_a_saved_trainer_goes_on(options):
    images, targets = batch()
    torch.manual_seed(0)
    a = LocalTrainer(vgg(), 4, "mlaan-released", optimizer=SGD, example=images, **options)
    a.step(images, targets)
    b = LocalTrainer(vgg(), 4, "mlaan-released", optimizer=SGD, example=images, **options)
    import copy
    b.load_state_dict(copy.deepcopy(a.state_dict()))
    for _ in range(2):
        x, y = a.step(images, targets), b.step(images, targets)
        assert x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


class Checkpointed(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return torch.utils.checkpoint.checkpoint(self.inner, x, use_reentrant=False)


def test_checkpoints_and_channels_last_change_nothing():
    images, targets = batch()
    import copy
    net = vit().double()
    other = copy.deepcopy(net)
    for i in (1, 2, 3):
        other[i] = Checkpointed(other[i])
    results = []
    for n, x in ((net, images.double()), (other, images.double().to(memory_format=torch.channels_last))):
        torch.manual_seed(0)
        t = LocalTrainer(n, [1, 2, 3], "mlm", optimizer=SGD, example=x)
        results.append([t.step(x, targets) for _ in range(2)][-1])
    assert all(torch.allclose(results[0][k], results[1][k], atol=1e-10) for k in results[0])


def test_memory_cuts_bound_the_largest_module():
    images, _ = batch()
    t = LocalTrainer(vgg(), "memory", "dgl", optimizer=SGD, example=images)
    sizes = [sum(s.bytes for s in t.shapes[a:b]) for a, b in zip(t.edges, t.edges[1:])]
    assert len(sizes) > 1 and max(sizes) == max(s.bytes for s in t.shapes)
