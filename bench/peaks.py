"""Peak memory of whole commands, as the kernel counts it, beside what each command had planned.

    python3 bench/peaks.py target/release/mlaan [--before OLD] [--cifar DIR] [--imagenet DIR] [--out results/NAME.txt]

Trains six recipes of different sizes (two epochs, each saved), goes on with them, and uses what was trained. `--before` is
the command of an earlier version, measured beside it. Linux; needs no package.
"""
import argparse, os, platform, re, shutil, subprocess, tempfile

UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
BESIDE = 32 << 20


def run(command):
    """What it printed, its exit status, and the kernel's mark of its memory, bytes."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = process.stdout.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    return text, os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024


def amount(text, words):
    found = re.findall(words + r" ([\d.]+) (B|KiB|MiB|GiB)", text)
    return float(found[-1][0]) * UNITS[found[-1][1]] if found else None


def mib(n):
    return f"{n / 2**20:9.1f}" if n is not None else f"{'-':>9}"


def recipes(cifar, imagenet):
    builtin = ["--data", "builtin"]
    yield "bp-resnet20", [*builtin, "--limit", "500", "--batch", "50"]
    yield "mlaan-released-resnet20-10", [*builtin, "--limit", "500", "--batch", "50"]
    yield "mlaan-released-resnet110-55", [*builtin, "--limit", "64", "--batch", "8"]
    yield "dgl-star-resnet18-9", [*builtin, "--limit", "8", "--batch", "2", "--set", "data.size=32"]
    yield "bp-resnet32", [*(["--data", cifar] if cifar else builtin), "--limit", "2000", "--batch", "256"]
    yield "bp-resnet18", [*(["--data", imagenet] if imagenet else builtin), "--limit", "16", "--batch", "4"]


def commands(recipe, more, folder):
    run, out = os.path.join(folder, recipe), lambda name: os.path.join(folder, name)
    yield "train", ["train", recipe, *more, "--out", run, "--epochs", "2", "--plain"]
    yield "resume", ["train", "--resume", "--out", run, "--epochs", "3", "--plain"]
    yield "eval", ["eval", run]
    yield "export onnx", ["export", run, "--format", "onnx", "--out", out("net.onnx")]
    yield "export safetensors", ["export", run, "--format", "safetensors", "--out", out("net.safetensors")]
    yield "predict", ["predict", run, out("image.png")]
    yield "import", ["import", out("net.safetensors"), "--out", out(f"{recipe}-back")]
    yield "analyze", ["analyze", run, "--out", out("analysis")]


def png(path, side=224):
    import struct, zlib
    rows = b"".join(b"\0" + bytes((x ^ y) & 255 for x in range(side) for _ in range(3)) for y in range(side))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mlaan")
    parser.add_argument("--before")
    parser.add_argument("--cifar")
    parser.add_argument("--imagenet")
    parser.add_argument("--out")
    args = parser.parse_args()
    version = subprocess.run([args.mlaan, "--version"], capture_output=True, text=True).stdout.strip()
    lines = [f"{version}, {platform.platform()}; MiB; holds: at most 1.03 x planned + 32 MiB and at least 0.8 x planned",
             f"{'recipe':<28} {'command':<19} {'planned':>9} {'tensors':>9} {'process':>9} {'holds':>6}   before: {'planned':>9} {'process':>9}"]
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for recipe, more in recipes(args.cifar, args.imagenet):
            new, old = os.path.join(folder, "new"), os.path.join(folder, "old")
            for place in (new, old):
                shutil.rmtree(place, ignore_errors=True)
                os.makedirs(place)
                png(os.path.join(place, "image.png"))
            earlier = dict(commands(recipe, more, old))
            for name, command in commands(recipe, more, new):
                text, status, held = run([args.mlaan, *command])
                planned, tensors = amount(text, "planned"), amount(text, "tensors and images")
                good = planned is not None and 0.8 * planned <= held <= 1.03 * planned + BESIDE
                line = f"{recipe:<28} {name:<19} {mib(planned)} {mib(tensors)} {mib(held)} {'yes' if good else 'NO':>6}"
                if status:
                    line += f"   exit {status}: {text.strip()[-200:]}"
                if args.before:
                    text, _, held = run([args.before, *earlier[name]])
                    line += f"           {mib(amount(text, 'planned'))} {mib(held)}"
                lines.append(line)
                print(line, flush=True)
    if args.out:
        with open(args.out, "w") as file:
            file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
