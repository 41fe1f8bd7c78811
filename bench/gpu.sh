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
script. Copy it to the machine with the GPU.

Options of `run`:
  --out DIR        where logs, results and summary.txt go; new or empty [gpu-DATE-TIME]
  --data DIR       CIFAR-10 for a real run (see `mlaan train --help`) [the built-in images]
  --minutes N      all of it [25]
  --only A,B       of info, tests, checks, speed, graphs and train [all, in this order]
  --python PATH    the one that has PyTorch [python3]
  --device NAME    cuda, cuda:N; or cpu, to try this script [cuda]
  --quick          small batches and few rounds, to see whether all of it works

Needs bash, coreutils, tar, and xz on both sides or on neither. Every step has a limit of time. One that fails is recorded, and the next begins;
DIR/summary.txt holds at any moment what is known. It ends with 1 if a step failed. MLAAN_NVRTC names libnvrtc where it
is not found beside PyTorch.
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

# Seconds below which no step begins.
LEAST=10
# Seconds after its limit that a step may take to be killed; a process that hangs in the driver cannot be.
GRACE=15

record=() failed=() running="" child="" current=""

left() { say $((end - SECONDS)); }

# The first line of a log that says how it went: a result, or what was wrong.
note() {
    local line last="" words result='^( step  | test error  |Stopped: | error  |error|test result:|.*: (holds|DOES NOT HOLD)$)'
    while IFS= read -r line; do
        if [[ $line =~ $result ]]; then last=$line; break; fi
        [[ $line =~ [^[:space:]] ]] && last=$line
    done < <(tail -n 200 "$1" 2>/dev/null)
    # Words, without the spaces of a table.
    read -ra words <<<"$last"
    last="${words[*]}"
    printf '%s' "${last:0:150}"
}

summarise() {
    local line file
    {
        say "mlaan on $device: $SECONDS s of $((minutes * 60)) s, $(date -u '+%Y-%m-%d %H:%M UTC')"
        cat "$folder/COMMIT" 2>/dev/null
        say ""
        printf '%-12s %6s  %-28s %s\n' outcome seconds step note
        for line in "${record[@]}"; do say "$line"; done
        [ -z "$running" ] || say "$running"
        for file in "$out"/speed/*.txt; do
            [ -f "$file" ] && printf '\n%s\n\n%s\n' "---- ${file##*/}" "$(<"$file")"
        done
        for line in "${failed[@]}"; do
            [ -f "$out/$line.log" ] || continue
            printf '\n%s\n%s\n' "---- the end of $line.log" "$(tail -n 25 "$out/$line.log")"
        done
        for file in nvidia-smi python devices; do
            if [ -f "$out/$file.log" ] && [[ " ${failed[*]} " != *" $file "* ]]; then
                printf '\n%s\n%s\n' "---- $file" "$(tail -n 30 "$out/$file.log")"
            fi
        done
    } >"$out/summary.txt.new"
    mv "$out/summary.txt.new" "$out/summary.txt"
}

# keep OUTCOME SECONDS STEP NOTE
keep() {
    local line
    line=$(printf '%-12s %6s  %-28s %s' "$@")
    record+=("$line")
    running=""
    say "== $line"
    say ""
    summarise
}

# step NAME LIMIT COMMAND...: runs it, shows and keeps what it prints, and how it ended. The limit is in seconds.
step() {
    local name=$1 limit=$2 log=$out/$1.log begin=$SECONDS follower status shown=$SECONDS now
    shift 2
    current=$name
    now=$(left)
    [ "$limit" -le "$now" ] || limit=$now
    if [ "$limit" -lt "$LEAST" ]; then
        keep "left out" 0 "$name" "no time left"
        return 1
    fi
    say "== $name, at most $limit s: $*"
    : >"$log"
    timeout -k 5 "$limit" "$@" >"$log" 2>&1 </dev/null &
    child=$!
    tail -n +1 -f -s 0.3 --pid="$child" "$log" 2>/dev/null &
    follower=$!
    while kill -0 "$child" 2>/dev/null && [ $((SECONDS - begin)) -le $((limit + GRACE)) ]; do
        sleep 0.2
        # Long steps write results of their own: the summary has them before they end.
        if [ $((SECONDS - shown)) -ge 10 ]; then
            shown=$SECONDS
            running=$(printf '%-12s %6s  %-28s' running $((SECONDS - begin)) "$name")
            summarise
        fi
    done
    if kill -0 "$child" 2>/dev/null; then
        kill "$follower" 2>/dev/null
        status=hangs
    else
        wait "$child"
        status=$?
        wait "$follower" 2>/dev/null
    fi
    child=""
    now=$((SECONDS - begin))
    case $status in
        0) keep ok "$now" "$name" "$(note "$log")"; return 0 ;;
        hangs) failed+=("$name"); keep "HANGS" "$now" "$name" "cannot be killed" ;;
        # Ctrl-C, after which mlaan saves: a run that had no more time.
        130) keep stopped "$now" "$name" "$(note "$log")"; return 0 ;;
        124 | 137) failed+=("$name"); keep "TIMED OUT" "$now" "$name" "$(note "$log")" ;;
        *) failed+=("$name"); keep "FAILED $status" "$now" "$name" "$(note "$log")" ;;
    esac
    return 1
}

interrupted() {
    [ -z "$child" ] || kill "$child" 2>/dev/null
    keep "INTERRUPTED" "$SECONDS" "${current:--}" ""
    exit 130
}

# until PERCENT: seconds until that part of all the time has gone.
until_percent() { say $((end * $1 / 100 - SECONDS)); }

# at_most A B
at_most() { if [ "$1" -lt "$2" ]; then say "$1"; else say "$2"; fi; }

# of_part PERCENT COUNT: seconds for one of several steps that together end by that part: twice its share, the last all of it.
of_part() {
    local rest
    rest=$(until_percent "$1")
    if [ "$2" -gt 2 ]; then rest=$((2 * rest / $2)); fi
    at_most 180 "$rest"
}

wanted() { [ -z "$only" ] || [[ ",$only," == *",$1,"* ]]; }

# Where NVRTC lies when it came with PyTorch.
FIND_NVRTC='
import glob, os, sysconfig
for base in dict.fromkeys(sysconfig.get_path(p) for p in ("purelib", "platlib")):
    for f in sorted(glob.glob(os.path.join(base, "nvidia", "*", "lib", "libnvrtc.so.*")), reverse=True):
        if ".alt." not in f:
            print(f)
            raise SystemExit
'
VERSIONS='
import platform, sys
print("Python", platform.python_version(), sys.executable)
import torch
print("PyTorch", torch.__version__, "CUDA", torch.version.cuda, "cuDNN", torch.backends.cudnn.version())
print("GPUs", [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())])
'

run_info() {
    step nvidia-smi 30 nvidia-smi
    step python 90 "$python" -c "$VERSIONS"
    step devices 60 "$mlaan" devices
}

run_tests() {
    local test mode=real all
    [ "$device" = cpu ] && mode=off
    all=("$folder"/tests/*)
    if [ ! -f "${all[0]}" ]; then
        failed+=(tests)
        keep MISSING 0 tests "$folder/tests holds none"
        return
    fi
    for test in "${all[@]}"; do
        step "test-${test##*/}" "$(of_part 30 ${#all[@]})" \
            env MLAAN_TEST_CUDA=$mode MLAAN_GOLDEN="${MLAAN_GOLDEN:-$folder/crates/mlaan/tests/golden}" "$test" --show-output
        all=("${all[@]:1}")
    done
}

run_checks() {
    local check count=3
    for check in learns repeats resumes; do
        step "check-$check" "$(of_part 42 $count)" "$python" "$folder/bench/gpu_checks.py" "$check" \
            --device "$device" --mlaan "$mlaan" --out "$out/checks" ${quick:+--images 200}
        count=$((count - 1))
    done
}

run_speed() {
    local share=97 limit words=()
    if wanted graphs; then share=92; fi
    if wanted train; then share=$((data_given ? 80 : 88)); fi
    limit=$(until_percent $share)
    [ -z "$quick" ] || words=(--batch 16 --rounds 1 --steps 2 --compile-limit 60 bp-resnet32 mlaan-released-resnet32-16)
    # It ends by itself, and has written what it found if it does not.
    step speed "$limit" "$python" "$folder/bench/gpu.py" --device "$device" --mlaan "$mlaan" --out "$out/speed" \
        --minutes "$(((limit - 20) / 60)).$((((limit - 20) % 60) * 10 / 60))" "${words[@]}"
}

run_graphs() {
    local recipe=mlaan-released-resnet32-16 round graphs batch words=(--rounds 3 --precision bf16)
    [ "$device" = cpu ] || words+=(--device "$device")
    for batch in ${quick:-1024 128}; do
        for round in 1 2; do
            for graphs in 1 0; do
                step "graphs-$graphs-batch$batch-$round" 60 env MLAAN_CUDA_GRAPHS=$graphs "$mlaan" bench $recipe \
                    --batch "$batch" "${words[@]}"
            done
        done
    done
}

# The value of a number in a file of JSON, in thousandths.
thousandths() {
    local digits
    [[ $(<"$1") =~ \"$2\":\ *([0-9]+)\.?([0-9]*) ]] || return 1
    digits=${BASH_REMATCH[2]}000
    say $((10#${BASH_REMATCH[1]}${digits:0:3}))
}

# As many epochs as fit: the schedule of the learning rate needs to know them beforehand.
run_train() {
    local words=(mlaan-released-resnet32-16 --device "$device" --precision bf16) epoch epochs seconds
    [ "$data_given" = 1 ] && words+=(--data "$data")
    [ -z "$quick" ] || words+=(--limit 200 --batch 50)
    step train-one-epoch "$(at_most 120 "$(left)")" "$mlaan" train "${words[@]}" --epochs 1 --out "$out/one-epoch" || return
    epoch=$(thousandths "$out/one-epoch/summary.json" seconds) || epoch=0
    [ "$epoch" -gt 0 ] || epoch=1
    # A tenth for slower epochs, and time to begin, save and evaluate.
    seconds=$(($(left) - 40))
    epochs=$((seconds * 900 / epoch))
    [ "$epochs" -le 400 ] || epochs=400
    [ -z "$quick" ] || epochs=2
    if [ "$epochs" -lt 1 ]; then
        keep "left out" 0 train "no time left for an epoch"
        return
    fi
    # Interrupted, it saves, and can be resumed elsewhere.
    step train $((seconds + 20)) timeout --preserve-status -s INT "$seconds" \
        "$mlaan" train "${words[@]}" --epochs "$epochs" --out "$out/run"
    words=()
    [ "$device" = cpu ] || words=(--device "$device")
    step eval 60 "$mlaan" eval "$out/run" "${words[@]}" ${data:+--data "$data"}
}

run() {
    local part found
    out="" data="" minutes=25 only="" python=python3 device=cuda quick="" folder=""
    while [ $# -gt 0 ]; do
        case $1 in
            --out | --data | --minutes | --only | --python | --device)
                [ $# -ge 2 ] || stop "$1 needs a value"
                printf -v "${1#--}" '%s' "$2"
                shift
                ;;
            --quick) quick=16 ;;
            -h | --help) usage; exit 0 ;;
            -*) stop "$1: unknown; see --help" ;;
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
    [[ $minutes =~ ^[1-9][0-9]*$ ]] || stop "--minutes $minutes: a whole number"
    for part in ${only//,/ }; do
        [[ " info tests checks speed graphs train " == *" $part "* ]] || stop "--only $part: no such part"
    done
    data_given=0
    if [ -n "$data" ]; then
        [ -d "$data" ] || stop "--data $data: no such folder"
        data_given=1
    fi
    if [ ! -d "$folder/tests" ] && [ -f "$folder/programs.tar.xz" ]; then
        (cd "$folder" && xz -dc programs.tar.xz | tar -xf -) || stop "$folder/programs.tar.xz could not be unpacked"
    fi
    out=${out:-gpu-$(date '+%Y-%m-%d-%H%M%S')}
    mkdir -p "$out" || exit 2
    [ -z "$(ls -A "$out")" ] || stop "--out $out: not empty"
    out=$(cd "$out" && pwd)
    mlaan=$folder/target/release/mlaan
    end=$((SECONDS + minutes * 60))
    trap interrupted INT TERM

    if [ -z "${MLAAN_NVRTC:-}" ]; then
        found=$(timeout 30 "$python" -c "$FIND_NVRTC" 2>/dev/null)
        [ -z "$found" ] || export MLAAN_NVRTC=$found
    fi
    if [ -n "${MLAAN_NVRTC:-}" ]; then
        say "NVRTC: $MLAAN_NVRTC"
        # It loads a second library from its own folder.
        export LD_LIBRARY_PATH="${MLAAN_NVRTC%/*}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    fi
    export PYTHONUNBUFFERED=1 MLAAN_KERNEL_CACHE=${MLAAN_KERNEL_CACHE-$out/kernels}

    for part in info tests checks speed graphs train; do
        if wanted "$part"; then "run_$part"; fi
    done
    summarise
    say "written: $out/summary.txt"
    cat "$out/summary.txt"
    [ ${#failed[@]} = 0 ]
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
