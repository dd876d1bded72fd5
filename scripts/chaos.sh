#!/usr/bin/env bash
# Faults drawn at random, for half an hour or as long as told, at 50 requests a second; every answer is checked
# afterwards (docs/reliability.md, F-40).
#
#   scripts/chaos.sh [minutes]
#   CHAOS_SEED=4711 scripts/chaos.sh     the same faults as the run that printed this seed
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=${1:-30}
[[ $minutes =~ ^[1-9][0-9]*$ ]] || { echo "usage: scripts/chaos.sh [minutes]" >&2; exit 2; }
command -v mariadbd >/dev/null || [ -x /usr/sbin/mariadbd ] ||
    { echo "Please install first; on Debian: sudo apt-get install mariadb-server" >&2; exit 1; }
export CHAOS_SECS=$((minutes * 60))
exec cargo test --release --locked --test faults -- --exact --nocapture slow::chaos::f40_chaos
