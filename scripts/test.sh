#!/usr/bin/env bash
# Everything a fresh machine needs to run the tests, then the tests.
#
#   scripts/test.sh                  unit tests, then the suites on SQLite, on MariaDB and in Chromium, and the quick
#                                    rows of the fault matrix
#   scripts/test.sh --faults         the whole fault matrix instead, optimised, in about a quarter of an hour; prints its
#                                    table (docs/reliability.md). As root, because one row needs a small disk
#   TEST_MYSQL_URL=mysql://user:password@host:port/ scripts/test.sh
#                                    and on that server too; its user must be allowed to create databases
#
# MariaDB runs privately in a temporary directory; nothing is left running.
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in
    "" | --faults) ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

say() { printf '\n== %s\n' "$*"; }

# --- what must be installed
packages=()
command -v cc >/dev/null || packages+=(gcc libc6-dev)
command -v mariadbd >/dev/null || [ -x /usr/sbin/mariadbd ] || packages+=(mariadb-server)
command -v chromium >/dev/null || packages+=(chromium)
command -v chromedriver >/dev/null || packages+=(chromium-driver)
command -v sqlite3 >/dev/null || packages+=(sqlite3)
command -v curl >/dev/null || packages+=(curl)
command -v openssl >/dev/null || packages+=(openssl)
command -v faketime >/dev/null || packages+=(faketime)
command -v python3 >/dev/null || packages+=(python3)
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
command -v node >/dev/null || packages+=(nodejs)
command -v npm >/dev/null || packages+=(npm)
if [ ${#packages[@]} -gt 0 ]; then
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        say "installing ${packages[*]}"
        # No service is started by the installation: the tests run a MariaDB of their own.
        export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
    else
        echo "Please install first; on Debian: sudo apt-get install ${packages[*]}" >&2
        exit 1
    fi
fi
command -v cargo >/dev/null || { echo "Please install a Rust toolchain first: https://rustup.rs" >&2; exit 1; }

# --- the fault matrix, each row with databases of its own
if [ "${1:-}" = --faults ]; then
    report=$(mktemp)
    trap 'rm -f "$report"' EXIT
    export FAULTS_REPORT=$report
    cargo test --release --locked --quiet --no-run --test faults
    status=0
    # Rows that wait for most of their time run beside each other, those that measure run alone.
    cargo test --release --locked --test faults -- --test-threads=2 quick:: || status=$?
    cargo test --release --locked --test faults -- --test-threads=1 slow:: || status=$?
    printf '\n| row | fault | load | lost | recovery |\n|---|---|---|---|---|\n'
    sort -V "$report"
    exit "$status"
fi

# --- what the services of examples/verifier are written with
say "PyJWT and jose for the verifiers"
scripts/verifiers.sh

# --- a private MariaDB
. scripts/private-mariadb.sh
say "starting a private MariaDB"
# Strict about rows that were changed since they were read, as newer versions are by default; the fault matrix runs on
# what this version has.
start_mariadb --innodb-flush-log-at-trx-commit=0 --innodb-buffer-pool-size=64M --loose-innodb-snapshot-isolation=ON
mariadb_url="mysql://tegata:p%40ss%20w%2Ford@localhost:$mariadb_port/"

# --- the tests
log=$scratch/tests.log

run() {
    say "$1"
    shift
    "$@" 2>&1 | tee -a "$log"
}
export TEST_MARIADB_URL=$mariadb_url TEST_CA_PATH=$scratch/ca.pem
# Most tests wait most of the time: for a time-out to pass, for a server to stop.
export RUST_TEST_THREADS=8
run "unit tests, and everything on SQLite" cargo test --locked --lib --bins --tests
suites=(--test api --test store --test cli --test storm)
run "the suites on MariaDB ($(mariadbd --version | sed 's/.*Ver \([^ ]*\).*/\1/'))" \
    env TEST_DATABASE_URL="$mariadb_url" cargo test --locked "${suites[@]}"
run "the quick rows of the fault matrix" cargo test --locked --test faults -- --test-threads=3 quick::
if [ -n "${TEST_MYSQL_URL:-}" ]; then
    run "the suites on TEST_MYSQL_URL" \
        env TEST_DATABASE_URL="$TEST_MYSQL_URL" cargo test --locked "${suites[@]}"
fi

# Each suite has printed its own summary; this is their sum.
awk '/^test result:/ { passed += $4; failed += $6 } END { printf "\n%d passed, %d failed\n", passed, failed }' "$log"
