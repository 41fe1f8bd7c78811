"""The networks of the oracle: backbones, auxiliary networks, and the contrastive loss of these."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


# ---------------------------------------------------------------- backbone

class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, cin, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = shortcut(cin, planes, stride)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + self.downsample(x))


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, cin, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.downsample = shortcut(cin, 4 * planes, stride)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + self.downsample(x))


def shortcut(cin, cout, stride):
    if stride == 1 and cin == cout:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))


class Backbone(nn.Module):
    """A ResNet: `stem` ("cifar": 3x3 conv; "imagenet": 7x7/2 conv + 3x3/2 max pool), stages, classifier."""

    def __init__(self, block, depths, widths, stem, classes):
        super().__init__()
        cin = widths[0] if stem == "imagenet" else widths[0]
        self.stem_kind = stem
        k, s, p = (3, 1, 1) if stem == "cifar" else (7, 2, 3)
        self.conv1 = nn.Conv2d(3, cin, k, s, p, bias=False)
        self.bn1 = nn.BatchNorm2d(cin)
        self.blocks = []  # (stage, index, module), in order; registered below under torchvision's names
        for i, (n, w) in enumerate(zip(depths, widths)):
            stage = nn.Sequential()
            for b in range(n):
                m = block(cin, w, 2 if b == 0 and i > 0 else 1)
                cin = w * block.expansion
                stage.append(m)
                self.blocks.append((i + 1, b, m))
            setattr(self, f"layer{i + 1}", stage)
        self.features = cin
        self.fc = nn.Linear(cin, classes)

    def stem(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return F.max_pool2d(x, 3, 2, 1) if self.stem_kind == "imagenet" else x

    def classify(self, x):
        return self.fc(x.mean((2, 3)))

    def forward(self, x):
        x = self.stem(x)
        for _, _, b in self.blocks:
            x = b(x)
        return self.classify(x)


# ---------------------------------------------------------------- auxiliary networks

class Head(nn.Module):
    """Auxiliary classifier `AcBf`: A 3x3 convs (BN, ReLU), global average pool, B linear layers."""

    def __init__(self, cin, config, hidden, out, deepest):
        super().__init__()
        convs, linears = int(config[0]), int(config[2])
        layers, c = [], cin
        wide = cin if cin == deepest else 2 * cin
        for i in range(convs):
            stride = 2 if i == 0 and cin != deepest else 1
            layers += [nn.Conv2d(c, wide, 3, stride, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU()]
            c = wide
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        for i in range(linears):
            last = i == linears - 1
            layers.append(nn.Linear(c, out if last else hidden))
            if not last:
                layers.append(nn.ReLU())
                c = hidden
        self.net = nn.Sequential(*layers)

    def forward(self, x):
        return self.net(x)


class DglHead(nn.Module):
    """DGL's own head: pool to a quarter, three 1x1 convolutions, pool to 2x2, three linear layers (BN, ReLU between)."""

    def __init__(self, cin, size, out):
        super().__init__()
        layers = [nn.AdaptiveAvgPool2d(math.ceil(size / 4))]
        for _ in range(3):
            layers += [nn.Conv2d(cin, cin, 1, bias=False), nn.BatchNorm2d(cin), nn.ReLU()]
        layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten()]
        for _ in range(2):
            layers += [nn.Linear(4 * cin, 4 * cin, bias=False), nn.BatchNorm1d(4 * cin), nn.ReLU()]
        layers.append(nn.Linear(4 * cin, out))
        self.net = nn.Sequential(*layers)

    def forward(self, x):
        return self.net(x)


class Decoder(nn.Module):
    """InfoPro's image decoder: bilinear up-sampling (align_corners), 3x3 conv to 12, BN, ReLU, 3x3 conv to 3."""

    def __init__(self, cin, size):
        super().__init__()
        self.size = size
        self.net = nn.Sequential(
            nn.Conv2d(cin, 12, 3, 1, 1), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 3, 3, 1, 1))

    def forward(self, x, pixels):
        x = F.interpolate(x, size=(self.size, self.size), mode="bilinear", align_corners=True)
        return F.binary_cross_entropy(torch.sigmoid(self.net(x)), pixels)


def supervised_contrastive(features, labels, temperature=0.07):
    f = F.normalize(features, dim=1)
    n = f.shape[0]
    logits = f @ f.T / temperature
    logits = logits - logits.max(1, keepdim=True).values.detach()
    others = 1 - torch.eye(n, dtype=f.dtype)
    same = (labels[:, None] == labels[None, :]).to(f.dtype) * others
    log_prob = logits - torch.log((torch.exp(logits) * others).sum(1, keepdim=True))
    return -((same * log_prob).sum(1) / same.sum(1).clamp(min=1)).mean()
