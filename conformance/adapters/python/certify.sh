#!/usr/bin/env bash
# Certifies the Python implementation: its own tests on the vectors, all cases that it declares, its own pairs, and
# the pairs with the reference in both directions.
# Usage: certify.sh SEGUE    the path of a `segue` binary
set -euo pipefail
segue=$(realpath "${1:?usage: certify.sh SEGUE}")
cd "$(dirname "$0")"

if ! { python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'; } 2>/dev/null; then
  echo "certify.sh: python3 (3.11 or later) with venv is lacking; installing it" >&2
  apt-get update >/dev/null && apt-get install -y --no-install-recommends python3 python3-venv >/dev/null
  python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' ||
    { echo "certify.sh: there is no python3 of 3.11 or later with venv" >&2; exit 1; }
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --requirement requirements.txt
export PYTHONDONTWRITEBYTECODE=1
python="$work/venv/bin/python"
subject="$python $PWD/adapter.py"
reference="$segue adapter"

"$python" -m unittest --quiet test_vectors
"$segue" certify --adapter "$subject" --sequences 8 --exemptions exemptions.json
echo
echo "== it and the reference"
"$segue" certify --adapter "$subject" --peer "$reference" --case 'pairs/*'
echo
echo "== both in a world with faults"
"$python" meet.py "$subject" "$reference" --seeds 2
echo
echo "== the reference and it"
"$segue" certify --adapter "$reference" --peer "$subject" --case 'pairs/*'
