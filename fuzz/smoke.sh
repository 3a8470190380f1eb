#!/bin/sh
# Runs every fuzz target, or those that are named, for SECONDS_EACH (default 10) seconds under libFuzzer, as many at a
# time as there are processors. The stable toolchain does: the counters that libFuzzer goes by come from a pass that it has.
# No sanitizer runs beside (`cargo +nightly fuzz run --features libfuzzer TARGET` has one): our own decoders are safe
# Rust, and overflows and broken assertions panic. Without a C++ compiler the corpus and its mutations are replayed, and it
# says so.
#
# The seed is fixed, so that a fresh checkout explores the same inputs each time as far as the time reaches. New inputs
# go to the target directory, not into the committed corpus. A crash ends the run with 1 and the input's path.
set -eu
cd "$(dirname "$0")/.."
seconds=${SECONDS_EACH:-10}
found=${CARGO_TARGET_DIR:-target}/fuzz
targets=${*:-$(sed -n 's/^name = "\([a-z]*\)"$/\1/p' fuzz/Cargo.toml)}

if ! command -v "${CXX:-c++}" >/dev/null; then
    echo "fuzz: no C++ compiler (c++) here, which libFuzzer needs; only the stable replay of the corpus runs"
    exec cargo test -p segue-fuzz --test it -- --nocapture
fi

# With a target named, the flags are for it alone, not for what builds and expands it.
host=$(rustc -vV | sed -n 's/^host: //p')
llvm="-Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
llvm="$llvm -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
RUSTFLAGS="-Cpasses=sancov-module $llvm -Cdebug-assertions -Coverflow-checks --cfg fuzzing" \
    cargo build --quiet --release --package segue-fuzz --features libfuzzer --bins --target "$host" --target-dir "$found"

run() {
    mkdir -p "$found/corpus/$1" "$found/artifacts/$1"
    if "$found/$host/release/$1" "$found/corpus/$1" "fuzz/corpus/$1" -seed=1 -max_total_time="$seconds" -timeout=10 \
        -rss_limit_mb=2048 -max_len=16384 -print_final_stats=1 -artifact_prefix="$found/artifacts/$1/" \
        >"$found/$1.log" 2>&1; then
        echo "fuzz: $1: $(sed -n 's/^stat::number_of_executed_units: *//p' "$found/$1.log") inputs, nothing found"
    else
        tail -n 40 "$found/$1.log"
        echo "fuzz: $1: FAILED; the log is $found/$1.log, the input is in $found/artifacts/$1"
        return 1
    fi
}

at_once=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
failed=0
set --
for target in $targets; do
    run "$target" &
    set -- "$@" $!
    if [ $# -ge "$at_once" ]; then
        wait "$1" || failed=1
        shift
    fi
done
for running in "$@"; do
    wait "$running" || failed=1
done
[ "$failed" = 0 ] || exit 1
echo "fuzz: all targets ran $seconds s, nothing found"
