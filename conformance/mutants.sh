#!/usr/bin/env bash
# How many changes of the core's code do the tests and the suite notice? MUTATION.md says how it is measured and judged.
# Usage: mutants.sh sample N SEED    draws N mutants, builds them together, and asks of each who notices
#        mutants.sh report N SEED    says again what came of it, so far
#        mutants.sh again N SEED     asks of the survivors once more, with the tests as they are now
# Goes on where it was stopped. All it writes is in target/mutants, or in $SEGUE_MUTANTS_DIR.
set -euo pipefail
cd "$(dirname "$0")/.."
work=${SEGUE_MUTANTS_DIR:-$PWD/target/mutants}
mkdir -p "$work"
[ -x "$work/tools/bin/cargo-mutants" ] || cargo install --quiet --locked cargo-mutants@27.1.0 --root "$work/tools"
if ! [ -e "$work/python/ready" ]; then
  python3 -m venv "$work/python"
  "$work/python/bin/pip" install --quiet tree-sitter==0.26.1 tree-sitter-rust==0.24.2
  touch "$work/python/ready"
fi
export PATH="$work/tools/bin:$PATH" SEGUE_MUTANTS_DIR="$work"
exec "$work/python/bin/python" conformance/mutation/mutants.py "$@"
