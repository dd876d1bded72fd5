# Sourced by test.sh and bench.sh: a MariaDB of our own in a temporary directory, gone when the script ends.
# Sets scratch (the directory), mariadb_port, mariadb_pid; $scratch/ca.pem is the authority of its certificate.

PATH=$PATH:/usr/sbin
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

free_port() {
    # The kernel's range for outgoing connections starts above; a port that answers is taken.
    local port
    while :; do
        port=$((20000 + RANDOM % 10000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
    done
}

# start_mariadb [option ...]: starts it and makes the user tegata@localhost with the password `p@ss w/ord`, whose
# special characters are there on purpose.
start_mariadb() {
    local as_root=()
    [ "$(id -u)" -ne 0 ] || as_root=(--user=root)
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
    mariadb_port=$(free_port)
    mariadbd --no-defaults --datadir="$scratch/mariadb" --socket="$scratch/m.sock" --pid-file="$scratch/m.pid" \
        --port="$mariadb_port" --bind-address=127.0.0.1 --max-connections=500 \
        --ssl-cert="$scratch/cert.pem" --ssl-key="$scratch/key.pem" \
        "${as_root[@]}" "$@" >"$scratch/mariadb.log" 2>&1 &
    mariadb_pid=$!
    for _ in $(seq 150); do
        if mariadb-admin --no-defaults --socket="$scratch/m.sock" -uroot ping >/dev/null 2>&1; then
            mariadb_root -e "CREATE USER tegata@localhost IDENTIFIED BY 'p@ss w/ord';
                GRANT ALL ON *.* TO tegata@localhost WITH GRANT OPTION;"
            return
        fi
        kill -0 "$mariadb_pid" 2>/dev/null || break
        sleep 0.2
    done
    cat "$scratch/mariadb.log"
    exit 1
}

mariadb_root() { mariadb --no-defaults --socket="$scratch/m.sock" -uroot "$@"; }
