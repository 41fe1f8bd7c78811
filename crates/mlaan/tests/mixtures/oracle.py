"""What torchvision's MixUp and CutMix make of a batch, and PyTorch's loss and gradient of such mixtures.

    python oracle.py mixtures.safetensors        needs torch, torchvision and safetensors

Given are the images, the partner of each, shares and boxes: torchvision draws one share a batch and takes the image before
as partner, so each image is mixed in a batch of two. Everything is computed in float64."""

import sys

import torch
from safetensors.torch import save_file
from torch.nn import functional as F
from torchvision.transforms import v2

N, SIZE, CLASSES = 12, 8, 5
# Shares of the image's own part: as we draw them, multiples of 1 / 65536, the larger part first.
ONE = 65536


def per_image(transform, images, labels, partner, params):
    """Each image as the second of a batch of two, whose partner is the one before it."""
    mixed, targets = [], []
    for i in range(N):
        pair, names = images[[partner[i], i]], labels[[partner[i], i]]
        known = {"labels": names, "batch_size": 2} | params(i)
        mixed.append(transform.transform(pair, known)[1])
        targets.append(transform.transform(names, known)[1])
    return torch.stack(mixed), torch.stack(targets)


def main(path):
    g = torch.Generator().manual_seed(0)
    images = torch.randint(256, (N, 3, SIZE, SIZE), generator=g).double()
    labels = torch.randint(CLASSES, (N,), generator=g)
    partner = [(i + 1) % N for i in range(N)]
    out = {"images": images.permute(0, 2, 3, 1).to(torch.uint8), "labels": labels}

    share = torch.randint(ONE // 2, ONE + 1, (N,), generator=g)
    share[0], share[1] = ONE, ONE // 2
    shares = share.double() / ONE
    mixup, cutmix = v2.MixUp(num_classes=CLASSES), v2.CutMix(num_classes=CLASSES)
    mixed, mixed_targets = per_image(mixup, images, labels, partner, lambda i: {"lam": shares[i].item()})
    # What is stored are bytes: the nearest, and of two the larger.
    out |= {"mixup/shares": share.int(), "mixup/images": (mixed + 0.5).floor().permute(0, 2, 3, 1).to(torch.uint8)}

    boxes = torch.zeros(N, 4, dtype=torch.int64)
    for i in range(N):
        ends = torch.randint(SIZE + 1, (2, 2), generator=g).sort(1).values
        boxes[i] = torch.tensor([ends[0, 0], ends[1, 0], ends[0, 1], ends[1, 1]])
    boxes[0], boxes[1], boxes[2] = (torch.tensor(b) for b in ([0, 0, 0, 0], [0, 0, SIZE, SIZE], [0, 0, SIZE, SIZE - 1]))

    def box(i):
        x1, y1, x2, y2 = boxes[i].tolist()
        return {"box": (x1, y1, x2, y2), "lam_adjusted": 1.0 - (x2 - x1) * (y2 - y1) / SIZE**2}

    cut, cut_targets = per_image(cutmix, images, labels, partner, box)
    out |= {"cutmix/boxes": boxes.int(), "cutmix/images": cut.permute(0, 2, 3, 1).to(torch.uint8)}

    logits = torch.randn(N, CLASSES, generator=g, dtype=torch.float64) * 2
    weights = torch.tensor([0.5, 2.0, 1.25, 3.0, 0.25], dtype=torch.float64)
    out |= {"logits": logits.float(), "weights": weights.float()}
    for name, targets in (("mixup", mixed_targets.double()), ("cutmix", cut_targets.double())):
        out[f"{name}/targets"] = targets.float()
        for kind, more in (("plain", {}), ("changed", {"weight": weights, "label_smoothing": 0.1})):
            x = logits.float().double().requires_grad_()
            loss = F.cross_entropy(x, targets, **more)
            loss.backward()
            out |= {f"{name}/{kind}/loss": loss.detach().float().reshape(1), f"{name}/{kind}/grad": x.grad.float()}
    save_file({name: value.contiguous() for name, value in out.items()}, path)


if __name__ == "__main__":
    main(sys.argv[1])
