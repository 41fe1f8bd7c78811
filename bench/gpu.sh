#!/usr/bin/env bash
# Checks and times mlaan on a GPU; built on one machine, run on another. See --help, and README.md beside this.
set -u
export LC_ALL=C

usage() {
    cat <<'END'
Checks mlaan on an NVIDIA GPU and compares it with PyTorch there.

  bench/gpu.sh build [FOLDER]       with Rust; needs no GPU and no CUDA
  bench/gpu.sh run [FOLDER] [...]   with an NVIDIA GPU and PyTorch; needs no Rust

FOLDER (default: target/gpu) holds all that the second half needs: the program, tests, benchmarks and a copy of this
script. Copy it to the machine with the GPU. It needs bash, coreutils, Python, tar, and xz on both sides or on neither.
MLAAN_NVRTC names libnvrtc where it is not found beside PyTorch. `run --python PATH` is the Python that has PyTorch; its other
options: `run --help`.
END
}

say() { printf '%s\n' "$*"; }
stop() { printf 'gpu.sh: %s\n' "$*" >&2; exit 2; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) || exit 2
MIB=40

# ---------------------------------------------------------------- build

# Where the test programs lie, of cargo's messages.
executables() {
    local line
    while IFS= read -r line; do
        if [[ $line =~ \"executable\":\"([^\"]+)\" ]]; then printf '%s\n' "${BASH_REMATCH[1]}"; fi
    done
}

# Copies a program without its symbols, which are most of it.
slim() { strip -o "$2" "$1" 2>/dev/null || cp "$1" "$2"; }

build() {
    local folder=${1:-$root/target/gpu} messages path name size count=0
    command -v cargo >/dev/null || stop "cargo is missing: this half needs Rust"
    if [ -e "$folder" ] && [ -n "$(ls -A "$folder")" ]; then
        # Never anybody else's.
        [ -f "$folder/COMMIT" ] || stop "$folder is not empty and was not made by this script"
        rm -r "$folder"
    fi
    mkdir -p "$folder/tests" "$folder/target/release" "$folder/bench" "$folder/crates/mlaan/tests/golden" || exit 2
    folder=$(cd "$folder" && pwd)

    cd "$root" || exit 2
    cargo build --release --bin mlaan || exit 1
    messages=$(cargo test --no-run -p mlaan-engine -p mlaan --message-format=json) || exit 1
    path=$(cargo build --release --bin mlaan --message-format=json 2>/dev/null | executables)
    slim "${path##*$'\n'}" "$folder/target/release/mlaan"
    while IFS= read -r path; do
        # Tests that can use a GPU know this variable; the others say nothing about one.
        grep -qa MLAAN_TEST_CUDA "$path" || continue
        name=${path##*/}
        slim "$path" "$folder/tests/${name%-*}" && count=$((count + 1))
    done < <(executables <<<"$messages")

    # Together, since they have most of their code in common.
    if command -v xz >/dev/null; then
        (cd "$folder" && tar -cf - tests target | xz -9 >programs.tar.xz && rm -r tests target) || exit 1
    fi

    # The same places as in the repository: what reads them need not know.
    cp bench/*.py bench/*.sh "$folder/bench/" &&
        cp crates/mlaan/tests/golden/* "$folder/crates/mlaan/tests/golden/" || exit 1
    {
        printf 'commit %s' "$(git rev-parse --short HEAD)"
        [ -z "$(git status --porcelain --untracked-files=no)" ] || printf -- '-changed'
        printf '\n%s\nbuilt %s\n' "$(rustc --version)" "$(date -u '+%Y-%m-%d %H:%M UTC')"
        printf 'Run: bash bench/gpu.sh run, on a machine with an NVIDIA GPU and PyTorch.\n'
    } >"$folder/COMMIT"

    size=$(du -sk "$folder")
    size=$(((${size%%[!0-9]*} + 1023) / 1024))
    say "$folder: $size MiB, $count test programs"
    [ "$count" -gt 0 ] || say "warning: no test program here can use a GPU (none knows MLAAN_TEST_CUDA)"
    [ "$size" -le "$MIB" ] || stop "$folder: more than $MIB MiB"
}

# ---------------------------------------------------------------- run

# Where NVRTC lies when it came with PyTorch.
FIND_NVRTC='
import glob, os, sysconfig
for base in dict.fromkeys(sysconfig.get_path(p) for p in ("purelib", "platlib")):
    for f in sorted(glob.glob(os.path.join(base, "nvidia", "*", "lib", "libnvrtc.so.*")), reverse=True):
        if ".alt." not in f:
            print(f)
            raise SystemExit
'

# Finds what is needed, and hands over to gpu_run.py.
run() {
    local python=python3 folder="" found words=()
    while [ $# -gt 0 ]; do
        case $1 in
            --python)
                [ $# -ge 2 ] || stop "$1 needs a value"
                python=$2
                shift
                ;;
            # The value of an option is no folder.
            --out | --data | --minutes | --only | --kernels | --device)
                [ $# -ge 2 ] || stop "$1 needs a value"
                words+=("$1" "$2")
                shift
                ;;
            -*) words+=("$1") ;;
            *)
                [ -z "$folder" ] || stop "$1: one folder only"
                folder=$1
                ;;
        esac
        shift
    done
    # A copy of this script runs the folder that it lies in.
    [ -n "$folder" ] || { if [ -f "$root/COMMIT" ]; then folder=$root; else folder=$root/target/gpu; fi; }
    [ -d "$folder" ] || stop "$folder is missing: bench/gpu.sh build"
    folder=$(cd "$folder" && pwd)
    command -v "$python" >/dev/null || stop "$python is missing: --python names the one that has PyTorch"
    if [ ! -d "$folder/tests" ] && [ -f "$folder/programs.tar.xz" ]; then
        (cd "$folder" && xz -dc programs.tar.xz | tar -xf -) || stop "$folder/programs.tar.xz could not be unpacked"
    fi
    if [ -z "${MLAAN_NVRTC:-}" ]; then
        found=$(timeout 30 "$python" -c "$FIND_NVRTC" 2>/dev/null)
        [ -z "$found" ] || export MLAAN_NVRTC=$found
    fi
    if [ -n "${MLAAN_NVRTC:-}" ]; then
        say "NVRTC: $MLAAN_NVRTC"
        # It loads a second library from its own folder.
        export LD_LIBRARY_PATH="${MLAAN_NVRTC%/*}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    fi
    exec "$python" "$folder/bench/gpu_run.py" "$folder" "${words[@]}"
}

case ${1:-} in
    build)
        shift
        [ $# -le 1 ] || stop "build takes one folder"
        case ${1:-} in
            -h | --help) usage ;;
            -*) stop "$1: unknown; see --help" ;;
            *) build "$@" ;;
        esac
        ;;
    run)
        shift
        run "$@"
        ;;
    -h | --help) usage ;;
    *) usage >&2; exit 2 ;;
esac
