#!/usr/bin/env bash
# A long run: mutates the core and asks whether its own tests or the suite notice. Hours on two cores.
# Usage: mutants.sh [all | core-of-safety] [SHARD/SHARDS]    writes target/mutants.out; see its missed.txt
#
# core-of-safety is chain, handoff machines and codec, of which each survivor is judged; all is the whole core, of which
# 85 % have to be caught.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-core-of-safety}
shard=${2:-1/1}

cargo mutants --version >/dev/null 2>&1 || cargo install --locked cargo-mutants

case $what in
  core-of-safety) files=(--file 'crates/segue-proto/src/handoff/**' --file crates/segue-proto/src/wire/codec.rs) ;;
  all) files=(--file 'crates/segue-proto/src/**') ;;
  *) echo "mutants.sh: '$what' is neither all nor core-of-safety" >&2; exit 2 ;;
esac

# A build a mutant is what takes the time, and the tests run long enough without optimisation to notice nothing of it.
export CARGO_PROFILE_DEV_OPT_LEVEL=0
cargo mutants --package segue-proto "${files[@]}" --test-package segue-proto --test-package segue-conformance \
  --features testing --shard "$((${shard%/*} - 1))/${shard#*/}" --output target --no-shuffle
