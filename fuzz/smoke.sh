#!/bin/sh
# Runs every fuzz target for SECONDS_EACH (default 10) seconds under libFuzzer, if a nightly toolchain and cargo-fuzz
# are there; else says so, and replays the corpus and its mutations with the stable toolchain.
#
# The seed is fixed, so that a fresh checkout explores the same inputs each time as far as the time reaches. New inputs
# go to the target directory, not into the committed corpus. A crash ends the run, with the input's path.
set -eu
cd "$(dirname "$0")/.."
seconds=${SECONDS_EACH:-10}
targets=$(sed -n 's/^name = "\([a-z]*\)"$/\1/p' fuzz/Cargo.toml)

replay() {
    echo "fuzz: $1; only the stable replay of the corpus runs"
    exec cargo test -p segue-fuzz --test it -- --nocapture
}

cargo +nightly --version >/dev/null 2>&1 || replay "no nightly toolchain"
cargo fuzz --version >/dev/null 2>&1 || replay "no cargo-fuzz (cargo install cargo-fuzz --locked, or without --locked)"

found=${CARGO_TARGET_DIR:-target}/fuzz
for target in $targets; do
    mkdir -p "$found/corpus/$target" "$found/artifacts/$target"
    echo "fuzz: $target, $seconds s"
    cargo +nightly fuzz run --fuzz-dir fuzz --features libfuzzer "$target" \
        "$found/corpus/$target" "fuzz/corpus/$target" -- \
        -seed=1 -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=16384 -print_final_stats=1 \
        -artifact_prefix="$found/artifacts/$target/"
done
echo "fuzz: all targets ran $seconds s, nothing found"
