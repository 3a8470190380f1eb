#!/bin/sh
# Counts the instructions of 1,000 handoffs in memory without signatures, by callgrind, and compares them with
# instructions.txt: more than 3 % off fails. `instructions.sh write` writes the file. Without valgrind, which it installs
# where it may, it says that nothing was measured. The figure is of one compiler and one machine's instruction set; write
# it anew when either changes.
set -eu
cd "$(dirname "$0")/.."
if ! command -v valgrind >/dev/null 2>&1 && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    { apt-get update && apt-get install -y --no-install-recommends valgrind; } >/dev/null 2>&1 || true
fi
command -v valgrind >/dev/null 2>&1 || { echo "instructions: NOT MEASURED, there is no valgrind and none can be had"; exit 0; }
if [ "$(uname -m)" != x86_64 ]; then
    echo "instructions: NOT MEASURED, instructions.txt is of x86_64"
    exit 0
fi

# Together with the program, so that both share one build of everything below them.
cargo build --release --quiet -p segue-cli -p segue-benches --bin segue --example kernel
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
valgrind --tool=callgrind --callgrind-out-file="$out/kernel" "${CARGO_TARGET_DIR:-target}/release/examples/kernel" \
    >"$out/log" 2>&1 || { cat "$out/log"; exit 1; }
now=$(sed -n 's/^\(summary\|totals\): \([0-9]*\).*/\2/p' "$out/kernel" | tail -1)
echo "instructions: $now for 1,000 handoffs and their set-up"
if [ "${1:-}" = write ]; then
    echo "$now" >benches/instructions.txt
fi
then=$(cat benches/instructions.txt)
awk -v now="$now" -v then="$then" 'BEGIN {
    off = (now - then) * 100 / then
    printf "instructions: %+.2f %% against the %d committed\n", off, then
    exit off > 3 || off < -3
}'
