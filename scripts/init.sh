#!/usr/bin/env bash
# Applies sql/<engine>/*.sql with the plain client, in order, for those who keep schema changes in their own hands.
# The server embeds the same files and accepts what this makes; running it again changes nothing.
#
#   DATABASE_URL=mysql://user:password@host:3306/database scripts/init.sh
#   DATABASE_URL=sqlite://./data/tegata.db               scripts/init.sh
#
# Needs the client mariadb or mysql, or sqlite3.
set -euo pipefail
cd "$(dirname "$0")/.."

die() { printf 'init.sh: %s\n' "$*" >&2; exit 1; }
decode() { local text=${1//+/%2B}; printf '%b' "${text//%/\\x}"; }

url=${DATABASE_URL:-}
[ -n "$url" ] || die "set DATABASE_URL, for example mysql://user:password@host:3306/database"

case $url in
sqlite://?*)
    engine=sqlite
    file=${url#sqlite://}
    command -v sqlite3 >/dev/null || die "the client sqlite3 is missing; on Debian: apt-get install sqlite3"
    [ -e "$file" ] || { (umask 077 && mkdir -p "$(dirname "$file")" && : >"$file"); }
    run() { sqlite3 -bail -cmd '.timeout 10000' "$file"; }
    ;;
mysql://?* | mariadb://?*)
    engine=mysql
    client=$(command -v mariadb || command -v mysql) || die "no client; on Debian: apt-get install mariadb-client"
    rest=${url#*://}
    query=
    case $rest in *\?*) query=${rest#*\?} rest=${rest%%\?*} ;; esac
    case $rest in */?*) database=$(decode "${rest#*/}") ;; *) die "DATABASE_URL names no database" ;; esac
    authority=${rest%%/*}
    user= password=
    case $authority in
    *@*)
        credentials=${authority%@*} authority=${authority##*@}
        user=$(decode "${credentials%%:*}")
        case $credentials in *:*) password=$(decode "${credentials#*:}") ;; esac
        ;;
    esac
    port=3306
    case $authority in
    \[*\]:*) port=${authority##*:} host=${authority%:*} ;;
    \[*\]) host=$authority ;;
    *:*) port=${authority##*:} host=${authority%:*} ;;
    *) host=$authority ;;
    esac
    host=${host#\[} host=${host%\]}
    socket= ca= tls=
    IFS='&' read -ra options <<<"$query"
    for option in "${options[@]}"; do
        case $option in
        socket=*) socket=$(decode "${option#*=}") ;;
        root_cert_path=*) ca=$(decode "${option#*=}") ;;
        tls=true) tls=1 ;;
        '' | *=*) ;; # the server's own options
        esac
    done
    # The password goes through a file that only we can read: arguments can be seen by everybody.
    settings=$(mktemp)
    trap 'rm -f "$settings"' EXIT
    quoted=${password//\\/\\\\}
    {
        printf '[client]\nuser="%s"\npassword="%s"\n' "$user" "${quoted//\"/\\\"}"
        if [ -n "$socket" ]; then
            printf 'socket="%s"\n' "$socket"
        else
            printf 'host="%s"\nport=%s\nprotocol=tcp\n' "$host" "$port"
        fi
        if [ -n "$ca" ]; then printf 'ssl-ca="%s"\n' "$ca"; fi
        if [ -n "$ca$tls" ]; then
            # One client's word for "encrypted and checked" is the other's unknown option.
            if "$client" --version | grep -qi mariadb; then printf 'ssl-verify-server-cert\n'; else printf 'ssl-mode=VERIFY_IDENTITY\n'; fi
        elif ! "$client" --version | grep -qi mariadb; then
            printf 'get-server-public-key\n'
        fi
    } >"$settings"
    run() { "$client" --defaults-extra-file="$settings" --batch --skip-column-names "$database"; }
    ;;
*) die "DATABASE_URL must start with sqlite:// or mysql://" ;;
esac

applied=0
for path in sql/"$engine"/*.sql; do
    name=$(basename "$path" .sql)
    version=$((10#${name%%_*}))
    # The first file makes the record itself, so it is applied before anybody can ask.
    if [ "$version" -eq 0 ]; then
        { cat "$path"; echo ';'; } | run
    fi
    if [ "$(echo "SELECT COUNT(*) FROM schema_migrations WHERE version = $version;" | run)" = 0 ]; then
        # A change that was made before, by a run that was stopped before it recorded it, is as good as made now.
        [ "$version" -eq 0 ] || problem=$({ cat "$path"; echo ';'; } | run 2>&1) ||
            case $problem in *'Duplicate column name'* | *'duplicate column name'*) ;; *) die "$problem" ;; esac
        # Two that run at once may both come here; the second finds the record made.
        case $engine in sqlite) ignore='INSERT OR IGNORE' ;; *) ignore='INSERT IGNORE' ;; esac
        echo "$ignore INTO schema_migrations (version, name, applied_at) VALUES ($version, '$name', $(date +%s));" | run
        echo "applied $name"
        applied=$((applied + 1))
    fi
done
[ "$applied" -gt 0 ] || echo "the schema is up to date"
