"""Networks of PyTorch users: torchvision's and timm's with random weights, and three written here."""
import functools

import pytest
import torch
from mlaan.torch import LocalityError, LocalTrainer, blocks_of, fit
from networks_of_users import conv, unet_encoder, vgg, vit
from torch import nn

SGD = functools.partial(torch.optim.SGD, lr=0.02, momentum=0.9)
METHODS = ["bp", "dgl", "mlaan-released", "mlaan-paper"]


def batch(n=8, size=32):
    g = torch.Generator().manual_seed(1)
    return torch.randn(n, 3, size, size, generator=g), torch.arange(n) % 10


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("make", [unet_encoder, vgg, vit])
def test_learns_a_batch(make, method):
    torch.manual_seed(0)
    cuts = {"unet_encoder": 4, "vgg": 4, "vit": 4}[make.__name__]
    seen = []
    fit(make(), [batch()] * 6, epochs=5, cuts=cuts, method=method, optimizer=functools.partial(SGD, lr=0.1 if make is unet_encoder else 0.05), on_epoch=lambda e, loss: seen.append(loss),
        scheduler=lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 5))
    assert seen[-1] < 0.8 * seen[0], seen


class CifarBlock(nn.Module):
    def __init__(self, a, b, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b)
        self.conv2, self.bn2 = nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b)
        self.shortcut = nn.Sequential()
        if stride > 1 or a != b:
            self.shortcut = nn.Sequential(nn.Conv2d(a, b, 1, stride, bias=False), nn.BatchNorm2d(b))

    def forward(self, x):
        return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))


class CifarResNet(nn.Module):
    """As many write it: ReLU and pooling are functions, the classifier is called `linear`."""

    def __init__(self, n=1, widths=(8, 16, 32)):
        super().__init__()
        self.conv1, self.bn1, a = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), widths[0]
        for i, b in enumerate(widths):
            blocks = [CifarBlock(a if k == 0 else b, b, 2 if k == 0 and i > 0 else 1) for k in range(n)]
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
            a = b
        self.linear = nn.Linear(a, 10)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


def cifar_resnet():
    return CifarResNet()


def known():
    tv, timm = pytest.importorskip("torchvision").models, pytest.importorskip("timm")
    return {
        "tv_resnet": (lambda: tv.resnet18(num_classes=10), 64),
        "tv_convnext": (lambda: tv.convnext.ConvNeXt([tv.convnext.CNBlockConfig(8, 16, 1), tv.convnext.CNBlockConfig(16, None, 2)],
                                                     num_classes=10), 64),
        "tv_vit": (lambda: tv.VisionTransformer(32, 8, 3, 2, 16, 32, num_classes=10), 32),
        "tv_swin": (lambda: tv.SwinTransformer([4, 4], 16, [2, 2], [2, 4], [4, 4], num_classes=10), 64),
        "tv_vgg": (lambda: tv.vgg11_bn(num_classes=10, init_weights=False), 32),
        "tv_alexnet": (lambda: tv.alexnet(num_classes=10), 64),
        "tv_efficientnet": (lambda: tv.EfficientNet([tv.efficientnet.MBConvConfig(1, 3, 1, 16, 8, 1),
                                                     tv.efficientnet.MBConvConfig(2, 3, 2, 8, 16, 2)], 0.2, num_classes=10), 64),
        "tv_mobilenet": (lambda: tv.mobilenet_v3_small(num_classes=10), 64),
        "cifar_resnet": (cifar_resnet, 32),
        "timm_resnet": (lambda: timm.create_model("resnet18", num_classes=10), 64),
        "timm_vit": (lambda: timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=3, embed_dim=24, num_heads=2,
                                               num_classes=10), 32),
        "timm_convnext": (lambda: timm.create_model("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 8, 16, 16), num_classes=10), 64),
        "timm_swin": (lambda: timm.create_model("swin_tiny_patch4_window7_224", img_size=64, window_size=4, depths=(2, 2), embed_dim=16,
                                                num_heads=(2, 4), num_classes=10), 64),
    }


@pytest.mark.parametrize("name", ["tv_resnet", "tv_convnext", "tv_vit", "tv_swin", "tv_vgg", "tv_alexnet", "tv_efficientnet",
                                  "tv_mobilenet", "cifar_resnet", "timm_resnet", "timm_vit", "timm_convnext", "timm_swin"])
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
    with pytest.raises(ValueError, match=r"block 0 \(Keeps\) cannot be cut .*: block 1 \(Skip\) takes layer.* of block 0 .*skip connection"):
        LocalTrainer(blocks, [1, 2], "dgl", optimizer=SGD).step(*batch())
    trainer = LocalTrainer(blocks, 2, "dgl", optimizer=SGD)  # a count of modules avoids it
    trainer.step(*batch())
    assert trainer.edges == [0, 2, 3]
    # What shows only later than when the network is measured is found in the step.
    later = [Keeps(), Skip(first), blocks[2]]
    first.kept = torch.zeros(())
    trainer = LocalTrainer(later, [1, 2], "dgl", optimizer=SGD, example=batch()[0])
    later[1].first = [later[0]]
    with pytest.raises(LocalityError, match=r"module 1 reaches 0\.layer\.(weight|bias) of module 0"):
        trainer.step(*batch())


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
    with pytest.raises(ValueError, match=r"block 1 \(Sequential\) cannot be cut .*: block 3 \(Sequential\) shares its parameter 0.0.weight"):
        LocalTrainer(tied, [2, 3], "dgl", optimizer=SGD, example=images)
    with pytest.raises(TypeError, match="give the network inside"):
        LocalTrainer(nn.DataParallel(vgg()), 2, "dgl", optimizer=SGD)
    with pytest.raises(TypeError, match="list of modules"):
        blocks_of(nn.Linear(2, 2))


def test_memory_cuts_bound_the_largest_module():
    images, _ = batch()
    t = LocalTrainer(vgg(), "memory", "dgl", optimizer=SGD, example=images)
    sizes = [sum(s.bytes for s in t.shapes[a:b]) for a, b in zip(t.edges, t.edges[1:])]
    assert len(sizes) > 1 and max(sizes) == max(s.bytes for s in t.shapes)
