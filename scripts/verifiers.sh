#!/usr/bin/env bash
# What the verifiers of examples/verifier need, in a directory of their own: an environment of Python with PyJWT, and
# node_modules with jose. tests/verifiers.rs looks for them there; scripts/test.sh calls this.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=${CARGO_TARGET_DIR:-target}/verifiers
mkdir -p "$dir"

missing() { echo "$1 must be installed for the verifiers; on Debian: sudo apt-get install $2" >&2; exit 1; }
python3 -c 'import ensurepip, venv' 2>/dev/null || missing "Python 3 with venv" "python3 python3-venv"
command -v npm >/dev/null || missing "Node with npm" "nodejs npm"

# Whatever was installed from the same lists is there.
if ! cmp -s examples/verifier/requirements.txt "$dir/requirements.txt"; then
    python3 -m venv --clear "$dir/venv"
    "$dir/venv/bin/pip" install --quiet --disable-pip-version-check -r examples/verifier/requirements.txt
    cp examples/verifier/requirements.txt "$dir"
fi
if ! cmp -s examples/verifier/package.json "$dir/installed.json"; then
    cp examples/verifier/package.json "$dir"
    npm install --prefix "$dir" --silent --no-audit --no-fund --no-package-lock
    cp examples/verifier/package.json "$dir/installed.json"
fi
