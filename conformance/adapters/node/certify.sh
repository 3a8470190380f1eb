#!/usr/bin/env bash
# Certifies the implementation in JavaScript, alone and in pairs with the reference. Usage: certify.sh SEGUE [DIR]
# SEGUE is the program; the report stays in DIR, if one is named.
set -euo pipefail
segue=$(realpath "${1:?usage: certify.sh SEGUE [DIR]}")
report=$(realpath -m "${2:-$(mktemp -d)/report}")
cd "$(dirname "$0")"

node vectors.js
"$segue" certify --adapter 'node adapter.js' --peer "'$segue' adapter" --exemptions exemptions.json --sequences 4 --report "$report"
"$segue" verify "$report/certificate.json"
