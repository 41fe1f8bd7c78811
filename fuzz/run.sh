#!/bin/sh
# Fuzzes every reader of files for an hour in all: with cargo-fuzz where it and a nightly compiler are, else without
# instrumentation by the same targets. `fuzz/run.sh SECONDS [TARGET…]` is shorter or longer. Inputs that were found lie in fuzz/found
# (fuzz/artifacts); `cargo run --release -p mlaan-fuzz-targets -- --seed N --input N TARGET` makes one again.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-3600}
[ $# -gt 0 ] && shift
targets=${*:-parquet image pickle torch tensors manifest mat tar report evaluation recipe suite ranges}
set -- $targets
each=$((seconds / $#))
[ "$each" -gt 0 ] || each=1
failed=0
for target; do
    if cargo +nightly fuzz --version >/dev/null 2>&1; then
        mkdir -p "fuzz/corpus/$target"
        cargo run -q --release -p mlaan-fuzz-targets -- --corpus "fuzz/corpus/$target" "$target"
        cargo +nightly fuzz run "$target" -- -max_total_time="$each" -timeout=20 -rss_limit_mb=4096 || failed=1
    else
        nice cargo run -q --release -p mlaan-fuzz-targets -- --seconds "$each" "$target" || failed=1
    fi
done
exit "$failed"
