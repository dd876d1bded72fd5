#!/usr/bin/env bash
# Everything a fresh machine needs to run the tests, then the tests.
#
#   scripts/test.sh                  unit tests, then the suites on SQLite, on MariaDB and in Chromium
#   TEST_MYSQL_URL=mysql://user:password@host:port/ scripts/test.sh
#                                    and on that server too; its user must be allowed to create databases
#
# MariaDB runs privately in a temporary directory; nothing is left running.
set -euo pipefail
cd "$(dirname "$0")/.."

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
PATH=$PATH:/usr/sbin

# --- a private MariaDB
scratch=$(mktemp -d)
mariadb_pid=
cleanup() {
    if [ -n "$mariadb_pid" ]; then
        kill "$mariadb_pid" 2>/dev/null || true
        wait "$mariadb_pid" 2>/dev/null || true
    fi
    rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

as_root=()
[ "$(id -u)" -ne 0 ] || as_root=(--user=root)
start_mariadb() {
    say "starting a private MariaDB"
    mariadb-install-db --no-defaults --datadir="$scratch/mariadb" --auth-root-authentication-method=normal \
        --skip-test-db "${as_root[@]}" >"$scratch/install.log" 2>&1 || { cat "$scratch/install.log"; exit 1; }
    # For the TLS test: an authority and a certificate of its making, new for each run.
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority \
        -keyout "$scratch/ca-key.pem" -out "$scratch/ca.pem" 2>/dev/null
    openssl req -newkey rsa:2048 -nodes -subj /CN=localhost \
        -keyout "$scratch/key.pem" -out "$scratch/request.pem" 2>/dev/null
    printf 'subjectAltName=DNS:localhost\n' >"$scratch/extensions"
    openssl x509 -req -days 2 -in "$scratch/request.pem" -CA "$scratch/ca.pem" -CAkey "$scratch/ca-key.pem" \
        -CAcreateserial -extfile "$scratch/extensions" -out "$scratch/cert.pem" 2>/dev/null
    mariadbd --no-defaults --datadir="$scratch/mariadb" --socket="$scratch/m.sock" --pid-file="$scratch/m.pid" \
        --port="$1" --bind-address=127.0.0.1 --max-connections=500 --innodb-flush-log-at-trx-commit=0 \
        --innodb-buffer-pool-size=64M --ssl-cert="$scratch/cert.pem" --ssl-key="$scratch/key.pem" \
        "${as_root[@]}" >"$scratch/mariadb.log" 2>&1 &
    mariadb_pid=$!
    for _ in $(seq 150); do
        if mariadb-admin --no-defaults --socket="$scratch/m.sock" -uroot ping >/dev/null 2>&1; then return; fi
        kill -0 "$mariadb_pid" 2>/dev/null || break
        sleep 0.2
    done
    cat "$scratch/mariadb.log"
    exit 1
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
if command -v python3 >/dev/null; then port=$(free_port); else port=$((20000 + RANDOM % 10000)); fi
start_mariadb "$port"
mariadb --no-defaults --socket="$scratch/m.sock" -uroot -e "
    CREATE USER tegata@localhost IDENTIFIED BY 'p@ss w/ord';
    GRANT ALL ON *.* TO tegata@localhost WITH GRANT OPTION;"
mariadb_url="mysql://tegata:p%40ss%20w%2Ford@localhost:$port/"

# --- the tests
log=$scratch/tests.log
run() {
    say "$1"
    shift
    "$@" 2>&1 | tee -a "$log"
}
export TEST_MARIADB_URL=$mariadb_url TEST_CA_PATH=$scratch/ca.pem
run "unit tests, and everything on SQLite" cargo test --locked --lib --bins --tests
suites=(--test api --test store --test cli)
run "the suites on MariaDB ($(mariadbd --version | sed 's/.*Ver \([^ ]*\).*/\1/'))" \
    env TEST_DATABASE_URL="$mariadb_url" cargo test --locked "${suites[@]}"
if [ -n "${TEST_MYSQL_URL:-}" ]; then
    run "the suites on TEST_MYSQL_URL" \
        env TEST_DATABASE_URL="$TEST_MYSQL_URL" cargo test --locked "${suites[@]}"
fi

# Each suite has printed its own summary; this is their sum.
awk '/^test result:/ { passed += $4; failed += $6 } END { printf "\n%d passed, %d failed\n", passed, failed }' "$log"
