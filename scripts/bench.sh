#!/usr/bin/env bash
# Load tests: builds, starts a private MariaDB and, in the same run, a bare actix-web application as the ceiling;
# prints one Markdown table with each figure, its ratio, its target and whether it holds; writes docs/benchmarks.md and
# docs/img/storm.svg.
#
#   scripts/bench.sh                                             SQLite and MariaDB, about 8 minutes
#   TEST_MYSQL_URL=mysql://user:password@host:port/ scripts/bench.sh     and that server too; it must have two empty
#                                                                databases, bench and million
#   SECONDS_EACH=3 scripts/bench.sh                              shorter runs, rougher figures
#
# Figures of different runs do not compare: machines drift. Ratios within one run do.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=()
command -v wrk >/dev/null || packages+=(wrk)
command -v openssl >/dev/null || packages+=(openssl)
command -v curl >/dev/null || packages+=(curl)
command -v mariadbd >/dev/null || [ -x /usr/sbin/mariadbd ] || packages+=(mariadb-server)
if [ ${#packages[@]} -gt 0 ]; then
    [ "$(id -u)" -eq 0 ] || { echo "Please install first: ${packages[*]}" >&2; exit 1; }
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi

echo "building" >&2
cargo build --release --locked --quiet
cargo build --release --locked --quiet --example bare --example storm --example fill
seconds=${SECONDS_EACH:-5}
bin=$PWD/target/release

# shellcheck source=scripts/private-mariadb.sh
. scripts/private-mariadb.sh
start_mariadb --innodb-buffer-pool-size=256M
mariadb_root -e "CREATE DATABASE bench"
mariadb_url="mysql://tegata:p%40ss%20w%2Ford@localhost:$mariadb_port/bench"
export SECRET_KEY=a-key-for-load-tests-and-for-nothing-else-1234

rows=$scratch/rows
server=
stop_server() { if [ -n "$server" ]; then kill "$server"; wait "$server" || true; server=; fi; }
bare=
finish() { [ -z "$server" ] || kill "$server" 2>/dev/null || true; [ -z "$bare" ] || kill "$bare" 2>/dev/null || true; cleanup; }
trap finish EXIT

# start_server URL: sets address, ready_ms, server
start_server() {
    local began now
    began=$(date +%s%N)
    DATABASE_URL=$1 DATA_DIR=$scratch/data BIND_ADDR=127.0.0.1:0 RATE_LIMIT=off "$bin/tegata" >"$scratch/out" 2>"$scratch/err" &
    server=$!
    until address=$(sed -n 's,.*listening *http://,,p' "$scratch/out") && [ -n "$address" ] &&
        curl -sf "http://$address/readyz" >/dev/null; do
        kill -0 $server || { cat "$scratch/err" >&2; exit 1; }
    done
    now=$(date +%s%N)
    ready_ms=$(((now - began) / 1000000))
}
rss() { awk -v key="$1:" '$1 == key { printf "%.1f", $2 / 1024 }' "/proc/$server/status"; }
rps() { wrk -t1 -d"$seconds" "$@" | awk '/Requests\/sec/ { rate = $2 } /Non-2xx|Socket errors/ { bad = 1 } END { print bad ? "errors" : int(rate) }'; }
p50() { wrk -t1 -d"$seconds" --latency "$@" | awk '$1 == "50%" { print $2 }'; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
# The middle one of three, so that one bad second of the machine decides nothing.
middle() { sort -n | sed -n 2p; }

# row WHAT FIGURE RATIO TARGET HOLDS(expression for awk, empty: no target)
row() {
    local verdict=
    if [ -n "$5" ]; then verdict=$(awk "BEGIN { print ($5) ? \"pass\" : \"**short**\" }"); fi
    printf '| %s | %s | %s | %s | %s |\n' "$1" "$2" "$3" "$4" "$verdict" | tee -a "$rows" >&2
}

sign_in() {
    curl -sf "http://$address/api/register" -H 'Content-Type: application/json' \
        -d '{"email": "bench@example.com", "password": "correct horse battery staple"}' >/dev/null || true
    token=$(curl -sf "http://$address/api/token" -d username=bench@example.com \
        --data-urlencode 'password=correct horse battery staple' | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
}

# compare PATH TARGET LABEL CONNECTIONS: PATH with a token against hello, in turn, three times
compare() {
    local label=$1 path=$2 connections=$3 target=$4 auth=()
    [ "$path" = "/api/is_logined (no token)" ] || auth=(-H "Authorization: Bearer $token")
    local figures=() ratios=()
    for _ in 1 2 3; do
        local ceiling figure
        ceiling=$(rps -c"$connections" "http://$address/api/hello")
        figure=$(rps -c"$connections" "${auth[@]}" "http://$address${path% (*}")
        [ "$figure" != errors ] || { row "$label" "errors" "" "" 0; return; }
        figures+=("$figure")
        ratios+=("$(ratio "$figure" "$ceiling")")
    done
    local middle_ratio
    middle_ratio=$(printf '%s\n' "${ratios[@]}" | middle)
    row "$label, $connections connections" "$(printf '%s\n' "${figures[@]}" | middle) req/s" "$middle_ratio of hello (${ratios[*]})" ">= $target" "$middle_ratio >= $target"
}

# suite ENGINE URL
suite() {
    local engine=$1 url=$2
    echo "-- $engine" >&2
    start_server "$url"
    sign_in
    compare "$engine: user/me" /api/user/me 256 0.60
    compare "$engine: user/me" /api/user/me 32 0.40
    compare "$engine: is_logined with a token" /api/is_logined 256 0.60
    compare "$engine: is_logined without" "/api/is_logined (no token)" 256 0.90
    stop_server
}

# --- the ceiling itself
coproc BARE { exec "$bin/examples/bare" serve; }
bare=$BARE_PID
read -r bare_address <&"${BARE[0]}"
start_server "sqlite://$scratch/first.db"
row "start to ready on SQLite" "$ready_ms ms" "" "<= 150 ms" "$ready_ms <= 150"
row "idle RSS on SQLite" "$(rss VmRSS) MiB" "" "<= 25 MiB" "$(rss VmRSS) <= 25"
ratios=
for _ in 1 2 3; do
    ours=$(rps -c32 "http://$address/api/hello")
    theirs=$(rps -c32 "http://$bare_address/api/hello")
    ratios+="$(ratio "$ours" "$theirs")"$'\n'
done
hello_ratio=$(printf '%s' "$ratios" | middle)
row "hello, 32 connections" "$ours req/s" "$hello_ratio of a bare actix-web app" ">= 0.90" "$hello_ratio >= 0.90"
kill "$bare"; bare=
stop_server

# --- reads
suite SQLite "sqlite://$scratch/sqlite.db"
suite MariaDB "$mariadb_url"
if [ -n "${TEST_MYSQL_URL:-}" ]; then suite MySQL "${TEST_MYSQL_URL%/}/bench"; fi

# --- a million users (P6): two databases on each engine, in turn
one_login() { curl -so /dev/null -w '%{time_total}\n' "http://$address/api/token" -d username=bench@example.com -d password=wrong; }
# million ENGINE URL-OF-ONE URL-OF-A-MILLION
million() {
    local engine=$1 size url ratios r few many
    start_server "$3"
    sign_in
    stop_server
    echo "-- $engine: filling in 1,000,000 users" >&2
    "$bin/examples/fill" "$3" 1000000
    rm -f "$scratch"/reads-* "$scratch"/logins-*
    for _ in 1 2 3; do
        for size in one million; do
            if [ $size = one ]; then url=$2; else url=$3; fi
            start_server "$url"
            sign_in
            rps -c256 -H "Authorization: Bearer $token" "http://$address/api/user/me" >>"$scratch/reads-$size"
            for _ in 1 2 3; do one_login; done >>"$scratch/logins-$size"
            stop_server
        done
    done
    ratios=$(paste "$scratch/reads-million" "$scratch/reads-one" | awk '{ printf "%.2f\n", $1 / $2 }')
    r=$(middle <<<"$ratios")
    row "$engine: user/me with 1,000,000 users, 256 connections" "$(middle <"$scratch/reads-million") req/s" "$r of the same with 1 user ($(echo $ratios))" ">= 0.90" "$r >= 0.90"
    many=$(sort -n "$scratch/logins-million" | head -1) few=$(sort -n "$scratch/logins-one" | head -1)
    r=$(ratio "$many" "$few")
    row "$engine: one login among 1,000,000" "$many s" "$r of the time among 1" "<= 1.10" "$r <= 1.10"
}
mariadb_root -e "CREATE DATABASE million; SET GLOBAL innodb_max_dirty_pages_pct_lwm = 0, GLOBAL innodb_max_dirty_pages_pct = 0"
million SQLite "sqlite://$scratch/sqlite.db" "sqlite://$scratch/million.db"
million MariaDB "$mariadb_url" "${mariadb_url%/bench}/million"
if [ -n "${TEST_MYSQL_URL:-}" ]; then million MySQL "${TEST_MYSQL_URL%/}/bench" "${TEST_MYSQL_URL%/}/million"; fi
start_server "$mariadb_url"
sign_in

# --- logins and the storm (P3, P4, P5)
idle=$(rss VmRSS)
cat >"$scratch/login.lua" <<'LUA'
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
wrk.body = "username=nobody%40example.com&password=wrong+horse"
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init() served = 0 end
function response(status) if status == 401 then served = served + 1 end end
function done(summary)
    local all = 0
    for _, thread in ipairs(threads) do all = all + thread:get("served") end
    print("served", all / summary.duration * 1e6)
end
LUA
logins=$(wrk -t1 -c8 -d$((seconds * 3)) -s "$scratch/login.lua" "http://$address/api/token" | awk '$1 == "served" { printf "%.2f", $2 }')
crate=$("$bin/examples/bare" scrypt $((seconds * 2)))
r=$(ratio "$logins" "$crate")
row "logins, 8 connections" "$logins/s" "$r of the bare scrypt crate on all cores ($crate/s)" ">= 0.90" "$r >= 0.90"

storm=$("$bin/examples/storm" "$address" "$token" 500 64 10 $((seconds * 4)) 10 docs/img/storm.svg)
set -- $(grep ^storm <<<"$storm")
row "user/me at 500 req/s while 64 log in" "p50 $4 ms, p99 $5 ms, max $6 ms, $3 errors" "quiet: p99 $(awk '/^before/ { print $5 }' <<<"$storm") ms" "p99 <= 10 ms, no error" "$5 <= 10 && $3 == 0"
r=$(ratio "$7" "$logins")
row "logins/s in that storm" "$7/s ($8/s refused)" "$r of logins without readers" ">= 0.80" "$r >= 0.80"
peak=$(rss VmHWM)
threads=$(nproc)
row "peak RSS" "$peak MiB" "idle $idle MiB before" "<= idle + $threads x 32 + 64 MiB" "$peak <= $idle + $threads * 32 + 64"
wrk -t1 -c64 -d$((seconds + 2)) -s "$scratch/login.lua" "http://$address/api/token" >/dev/null &
flood=$!
sleep 1
four=$(rps -c4 -H "Authorization: Bearer $token" "http://$address/api/user/me")
wait $flood
row "user/me on 4 connections while 64 log in" "$four req/s" "" ">= 5000 req/s" "$four >= 5000"
stop_server

# --- the page
{
    printf '# Benchmarks\n\n'
    printf 'Written by `scripts/bench.sh` on %s. Load generator, server and database share the machine: %s cores of %s, %s GiB, Linux %s.\n' \
        "$(date -u +%F)" "$(nproc)" "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" "$(awk '/MemTotal/ { printf "%d", $2 / 1048576 }' /proc/meminfo)" "$(uname -r)"
    printf 'tegata %s, %s, MariaDB %s%s. Each ratio is the middle one of three, taken in turn within this run; figures of different runs do not compare.\n\n' \
        "$("$bin/tegata" --version | cut -d' ' -f2)" "$(rustc --version | cut -d' ' -f1,2)" "$(mariadbd --version | sed 's/.*Ver \([^ ]*\).*/\1/')" "${TEST_MYSQL_VERSION:+, MySQL $TEST_MYSQL_VERSION}"
    printf '| what | figure | against | target | |\n|---|---|---|---|---|\n'
    cat "$rows"
    printf '\n![p99 of user/me and logins a second, before, during and after a login storm](img/storm.svg)\n'
} >docs/benchmarks.md
cat docs/benchmarks.md
