"""Tables, what the machine is, and the files of a result."""
import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path

from networks import ROOT


class Columns:
    """An aligned table; a heading that begins with > is aligned to the right."""

    def __init__(self, *headings):
        self.right = [h.startswith(">") for h in headings]
        self.rows = [[h.lstrip(">") for h in headings]]

    def row(self, *cells):
        self.rows.append([c if isinstance(c, str) else "-" if c is None else f"{c:.4g}" for c in cells])

    def text(self):
        widths = [max(map(len, column)) for column in zip(*self.rows)]
        line = lambda row: "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, self.right))
        head, *rest = map(line, self.rows)
        return "\n".join(t.rstrip() for t in [head, "-" * len(head), *rest])


def gib(n):
    return None if n is None else f"{n / 2**30:.3f}"


def output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.strip()
    except OSError:
        return ""


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return output("sysctl", "-n", "machdep.cpu.brand_string") or platform.processor() or platform.machine()
    return next((l.split(":")[1].strip() for l in lines if l.startswith("model name")), platform.machine())


def commit():
    """Of a folder that `gpu.sh build` made, what was built."""
    try:
        return (ROOT / "COMMIT").read_text().split()[1]
    except (OSError, IndexError):
        pass
    changed = "-changed" if output("git", "status", "--porcelain", "--untracked-files=no") else ""
    return output("git", "rev-parse", "--short", "HEAD") + changed


def machine(mlaan, threads):
    """Everything that a number depends on."""
    try:
        torch = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        torch = "none"
    about = {
        "date": time.strftime("%Y-%m-%d"), "processor": processor(), "cores": os.cpu_count(), "threads": threads,
        "system": platform.platform(), "python": platform.python_version(), "pytorch": torch,
        "mlaan": output(mlaan, "--version"), "commit": commit(),
        "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
    }
    about["text"] = (f"{about['date']}, {about['processor']}, {about['cores']} cores, {threads} threads, {about['system']}\n"
                     f"{about['mlaan']} ({about['commit']}), PyTorch {torch}, Python {about['python']}\n"
                     f"{shlex.join(sys.argv)}")
    return about


def place(folder, name):
    """The path, without its ending, of a new result: DATE-NAME; a number is added rather than anything overwritten."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = base = f"{time.strftime('%Y-%m-%d')}-{name}"
    n = 1
    while (folder / f"{stem}.txt").exists() or (folder / f"{stem}.json").exists():
        n += 1
        stem = f"{base}-{n}"
    return folder / stem


def write(stem, text, data):
    """Both files, each whole at any moment: a result that grows is read while it does."""
    for ending, content in ((".txt", text), (".json", json.dumps(data, indent=1) + "\n")):
        new = stem.with_name(stem.name + ending + ".new")
        new.write_text(content)
        new.replace(stem.with_name(stem.name + ending))


def save(folder, name, text, data):
    """Prints, and writes DATE-NAME.txt and .json."""
    stem = place(folder, name)
    write(stem, text, data)
    print(text)
    print(f"written: {stem}.txt and .json", file=sys.stderr)
