#!/usr/bin/env bash
# Builds the source distribution in a clean clone of what is committed, the wheel from it, and tries that in a fresh environment without
# Rust on the path. Leaves both in target/wheels.
# PYTHON names the interpreter, 3.11 or later. Takes ten minutes and more; with a wheel as its argument it only tries that one.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Files of a source distribution are as old as its format says: beside what was built before, cargo would take them for unchanged.
export CARGO_TARGET_DIR=$work/target

if [ $# -gt 0 ]; then
    wheel=$(realpath "$1")
else
    git clone --quiet --local "$root" "$work/clone"
    "$python" -m venv "$work/build"
    "$work/build/bin/pip" install --quiet --disable-pip-version-check 'maturin>=1.16,<2'
    (cd "$work/clone" && "$work/build/bin/maturin" build --sdist --release --locked --out "$root/target/wheels")
    wheel=$(ls -t "$root"/target/wheels/mlaan-*.whl | head -n 1)
fi

"$python" -m venv "$work/fresh"
"$work/fresh/bin/pip" install --quiet --disable-pip-version-check "$wheel"
# Nothing of the source tree, of cargo or of the user's own packages is to be seen.
clean=(env -i PATH=/usr/bin:/bin "HOME=$work" PYTHONNOUSERSITE=1)
cd "$work"
if "${clean[@]}" sh -c 'command -v cargo' >/dev/null; then
    echo "cargo is in /usr/bin: this trial would not show that the wheel does without" >&2
    exit 1
fi
"${clean[@]}" "$work/fresh/bin/mlaan" --version
"${clean[@]}" "$work/fresh/bin/mlaan" train --epochs 1 --data builtin --set data.limit=128 --out "$work/run" --quiet
"${clean[@]}" "$work/fresh/bin/python" - "$wheel" <<'PYTHON'
import os
import statistics
import subprocess
import sys
import zipfile

import numpy as np

import mlaan

run = mlaan.Run("run")
assert run.summary["epochs"] == 1
images = np.zeros((2, 32, 32, 3), np.uint8)
assert run.predict(images).shape == (2, len(run.classes))
names = zipfile.ZipFile(sys.argv[1]).namelist()
assert {"mlaan/py.typed", "mlaan/_core.pyi", "mlaan/torch/__init__.py"} <= set(names), names
size = os.path.getsize(sys.argv[1]) / 1e6
assert size <= 15, f"the wheel has {size:.1f} MB, not 15 at most"


def seconds(code):
    times = "import time; t = time.perf_counter(); " + code + "; print(time.perf_counter() - t)"
    run = lambda: float(subprocess.run([sys.executable, "-c", "import numpy, json, logging\n" + times], capture_output=True, check=True).stdout)
    return statistics.median(run() for _ in range(9))


whole = seconds("import mlaan; mlaan.train, mlaan.Run, mlaan.plan")
print(f"{os.path.basename(sys.argv[1])}: {size:.1f} MB; import {whole:.3f} s beyond NumPy's")
PYTHON
echo "$wheel"
