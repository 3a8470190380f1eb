#!/usr/bin/env bash
# How often does tier A give the same report? conformance/repeat.sh [N] runs the reference N times (1000 unless told
# otherwise) with one seed, and fails unless all files of all reports, certificate and transcripts included, are the same,
# byte for byte.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-1000}
cargo build --release --quiet --package segue-cli
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for at in $(seq "$runs"); do
  target/release/segue certify --seed 7 --report "$out/report" >/dev/null
  (cd "$out/report" && sha256sum report.html report.json junit.xml badge.svg certificate.json transcripts.gz) |
    sha256sum >>"$out/sums"
done
different=$(sort -u "$out/sums" | wc -l)
echo "$runs runs, $different different reports"
[ "$different" = 1 ]
