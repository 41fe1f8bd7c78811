"""Networks of PyTorch as those of `mlaan train`: the program's logits are PyTorch's."""
import functools
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from mlaan.torch import LocalTrainer, to_mlaan
from networks_of_users import vgg
from test_networks import CifarBlock, CifarResNet, batch
from torch import nn

SGD = functools.partial(torch.optim.SGD, lr=0.02, momentum=0.9, nesterov=True, weight_decay=1e-4)
MEAN, STD = [0.5, 0.4, 0.3], [0.25, 0.2, 0.3]


def program():
    """MLAAN_PROGRAM, or what this tree built last: an older one may not know all keys."""
    built = [Path(__file__).parents[2] / "target" / kind / "mlaan" for kind in ("release", "debug")]
    last = max((p for p in built if p.exists()), key=lambda p: p.stat().st_mtime, default=None)
    return os.environ.get("MLAAN_PROGRAM") or (str(last) if last else shutil.which("mlaan"))


def mlaan(*arguments):
    done = subprocess.run([program(), *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def lively(net):
    """Running statistics and scales as after training."""
    g = torch.Generator().manual_seed(5)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            for t, low in ((m.weight.data, 0.5), (m.bias.data, -0.2), (m.running_mean, -0.2), (m.running_var, 0.5)):
                t.copy_(torch.rand(t.shape, generator=g) * 0.4 + low)
    return net.eval()


class Ordered(nn.Module):
    """A CIFAR ResNet under names of its own; `model` of the user's is a Sequential."""

    def __init__(self, a, b, stride):
        super().__init__()
        self.skip = nn.Sequential(nn.Conv2d(a, b, 1, stride, bias=False), nn.BatchNorm2d(b)) if stride > 1 or a != b else nn.Identity()
        self.first, self.norm = nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b)
        self.second, self.other = nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b)

    def forward(self, x):
        return torch.relu(self.other(self.second(torch.relu(self.norm(self.first(x))))) + self.skip(x))


def ordered():
    return nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
                         *[Ordered(a, b, s) for a, b, s in ((8, 8, 1), (8, 16, 2), (16, 32, 2))],
                         nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)))


def networks():
    tv, timm = pytest.importorskip("torchvision").models, pytest.importorskip("timm")
    return {"cifar": (lambda: CifarResNet(2), 32), "ordered": (ordered, 32),
            "torchvision": (lambda: tv.resnet18(num_classes=5), 64),
            "bottleneck": (lambda: tv.ResNet(tv.resnet.Bottleneck, [3, 4, 6, 3], num_classes=4), 64),
            "timm": (lambda: timm.create_model("resnet34", num_classes=5), 64)}


def of_program(run, pictures, n):
    """Log-probabilities [n, classes] of the program."""
    lines = [json.loads(line) for line in mlaan("predict", run, pictures, "--top", 100, "--json").splitlines()]
    found = {}
    for line in lines:
        key = next(k for k, v in line.items() if isinstance(v, list))
        scores = {int(c["class"].removeprefix("class ")): c["probability"] for c in line[key]}
        name = next(v for v in line.values() if isinstance(v, str) and v.endswith(".png"))
        found[int(Path(name).stem)] = [scores[c] for c in range(len(scores))]
    return torch.tensor([found[i] for i in range(n)]).double().log()


@pytest.mark.parametrize("name", ["cifar", "ordered", "torchvision", "bottleneck", "timm"])
def test_logits_of_the_program_are_pytorchs(name, tmp_path):
    if program() is None:
        pytest.skip("no program `mlaan`: give its path as MLAAN_PROGRAM, or cargo build -p mlaan-cli")
    image = pytest.importorskip("PIL.Image")
    make, size = networks()[name]
    torch.manual_seed(0)
    net = lively(make())
    said = to_mlaan(net, tmp_path / "out", size=size, mean=MEAN, std=STD, compare=False)
    pixels = torch.randint(0, 256, (4, 3, size, size), dtype=torch.uint8)
    (tmp_path / "pictures").mkdir()
    for i, p in enumerate(pixels):
        image.fromarray(p.permute(1, 2, 0).numpy()).save(tmp_path / "pictures" / f"{i}.png")
    mlaan("import", said.weights, "--out", tmp_path / "run")
    x = (pixels.double() / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    with torch.no_grad():
        ours = net(x.float()).double()
    ours = ours.log_softmax(1)
    theirs = of_program(tmp_path / "run", tmp_path / "pictures", 4)
    assert (ours - theirs).abs().max() <= 2e-4 * max(1.0, ours.abs().max()), (ours, theirs)
    assert ours.std(0).max() > 1e-3                  # the pictures tell them apart


def test_a_trainers_recipe_runs_and_is_compared(tmp_path):
    if program() is None:
        pytest.skip("no program `mlaan`: give its path as MLAAN_PROGRAM, or cargo build -p mlaan-cli")
    net = CifarResNet(2)
    trainer = LocalTrainer(net, [1, 3, 6], "mlaan-released", optimizer=SGD, example=batch()[0], clip=1.0,
                           sources=["layer2.0", "layer3.0", "layer3.1"])
    trainer.step(*batch())
    before = {k: v.clone() for k, v in net.state_dict().items()}
    said = to_mlaan(trainer, tmp_path, batch=4, command=program())
    assert said.faster is not None and said.faster > 0 and said.bytes_mlaan > 0, said.remarks
    assert "times as fast" in str(said) and "mlaan train" in str(said)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    plan = json.loads(mlaan("plan", said.recipe, "--json"))
    # Stem alone, then two and three blocks; chains as named, blocks counted without the stem.
    assert [m["blocks"] for m in plan["modules"]] == [0, 2, 3, 1]
    assert [m["sources"] for m in plan["modules"]][:3] == [[2, 4, 5], [2, 4, 5], [5]]
    assert plan["lr"]["backbone"] == pytest.approx(0.02)
    mlaan("train", said.recipe, "--epochs", 1, "--limit", 8, "--batch", 4, "--out", tmp_path / "run", "--quiet")


def test_what_is_no_network_of_the_program_is_refused(tmp_path):
    class PreActivation(CifarBlock):
        def forward(self, x):
            y = self.conv2(torch.relu(self.bn2(self.conv1(torch.relu(self.bn1(x)) if self.bn1.num_features == x.shape[1] else x))))
            return y + self.shortcut(x)
    other = CifarResNet(1)
    other.layer1[0] = PreActivation(8, 8, 1)
    with pytest.raises(ValueError, match="its logits are .* apart"):
        to_mlaan(other, tmp_path)
    with pytest.raises(ValueError, match="mlaan train has no such network"):
        to_mlaan(vgg(), tmp_path)
    # A residual branch that begins at zero hides its layers: they are compared with other values.
    zero = CifarResNet(1)
    zero.layer1[0] = PreActivation(8, 8, 1)
    nn.init.zeros_(zero.layer1[0].bn2.weight)
    with pytest.raises(ValueError, match="apart"):
        to_mlaan(zero, tmp_path)
    with pytest.raises(ValueError, match="3 classes are named, and the network has 10"):
        to_mlaan(CifarResNet(1), tmp_path, classes=["a", "b", "c"])


def test_without_the_program_it_says_how(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    said = to_mlaan(CifarResNet(1), tmp_path)
    assert said.faster is None and any("mlaan bench" in r for r in said.remarks)
    assert 'backbone = "resnet8"' in said.recipe.read_text()
