"""Pixels of torchvision's RandAugment operations, for the test beside this file.

Usage: python golden.py golden.bin [SIZE,SIZE,.. [MAGNITUDE,MAGNITUDE,..]]

The file holds, for every size, the image, then what each operation makes of it at each magnitude: that sign first that
torchvision has in its table, then the other where the operation is signed. Images are rows of RGB bytes. The fill is
(120, 7, 250).
"""

import sys

import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.autoaugment import RandAugment, _apply_op

FILL = [120.0, 7.0, 250.0]


def image(size):
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    noise = torch.randint(0, 90, (3, size, size), generator=torch.Generator().manual_seed(size))
    ramps = torch.stack([x * 170 // size, 40 + y * 110 // size, 20 + (x + y) * 60 // size])
    return (ramps + noise).to(torch.uint8)


def main():
    sizes = [int(n) for n in sys.argv[2].split(",")] if len(sys.argv) > 2 else [9, 20]
    magnitudes = [int(n) for n in sys.argv[3].split(",")] if len(sys.argv) > 3 else [9, 30]
    with open(sys.argv[1], "wb") as out:
        for size in sizes:
            original = image(size)
            out.write(original.permute(1, 2, 0).contiguous().numpy().tobytes())
            for name, (values, signed) in RandAugment()._augmentation_space(31, (size, size)).items():
                for magnitude in magnitudes:
                    value = float(values[magnitude].item()) if values.ndim else 0.0
                    for sign in [1, -1] if signed else [1]:
                        made = _apply_op(original, name, sign * value, InterpolationMode.NEAREST, FILL)
                        out.write(made.permute(1, 2, 0).contiguous().numpy().tobytes())


main()
