//! Every setting there is, told to people: docs/configuration.md and `--help` are made from this one list.

use std::fmt::Write;

/// One setting, as the reference lists it.
pub(super) struct Setting {
    pub(super) name: &'static str,
    default: &'static str,
    meaning: &'static str,
    /// Has a form `NAME_FILE` that names a file with the value.
    pub(super) is_secret: bool,
}

/// Every setting there is: the reference in docs/configuration.md and in `--help` is made from this.
pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        name: "SECRET_KEY",
        default: "SQLite: made on the first start and kept in `DATA_DIR/secret.key`",
        meaning: "Signs the tokens; at least 32 bytes. Required with MySQL, because replicas must agree. Make one: `openssl rand -hex 32`",
        is_secret: true,
    },
    Setting {
        name: "SECRET_KEY_PREVIOUS",
        default: "none",
        meaning: "The key before this one: tokens that it signed still count, new ones are signed with `SECRET_KEY`. Drop it once the longest session has been renewed",
        is_secret: true,
    },
    Setting {
        name: "SIGNING_ALGORITHM",
        default: "`HS256`",
        meaning: "`HS256` signs access tokens with `SECRET_KEY`; with `EdDSA` or `ES256` other services check them with the public keys at `/.well-known/jwks.json`",
        is_secret: false,
    },
    Setting {
        name: "KEY_ROTATION_DAYS",
        default: "`90`",
        meaning: "How long a key of `EdDSA` or `ES256` signs before the next one does, 0 to 3650 days; 0: until `tegata keys rotate`",
        is_secret: false,
    },
    Setting {
        name: "ISSUER",
        default: "none: tokens say `tegata`",
        meaning: "Where clients find this server, such as `https://auth.example.com`: the `iss` of tokens, and the metadata at `/.well-known/oauth-authorization-server`",
        is_secret: false,
    },
    Setting {
        name: "DATABASE_URL",
        default: "`sqlite://DATA_DIR/tegata.db`",
        meaning: "Or `mysql://user:password@host:3306/database` (MySQL and MariaDB); after `?`: `socket=PATH`, `tls=true`, `root_cert_path=PATH`",
        is_secret: true,
    },
    Setting {
        name: "DATA_DIR",
        default: "`./data`",
        meaning: "Where SQLite and the made key live; created with mode 0700",
        is_secret: false,
    },
    Setting {
        name: "BIND_ADDR",
        default: "`127.0.0.1:8000`",
        meaning: "Where to listen; port 0 picks a free one, which is printed",
        is_secret: false,
    },
    Setting {
        name: "ACCESS_TOKEN_EXPIRE_MINUTES",
        default: "`30`",
        meaning: "How long a token is valid, 1 to 60 minutes",
        is_secret: false,
    },
    Setting {
        name: "REFRESH_TOKEN_EXPIRE_DAYS",
        default: "`30`",
        meaning: "How long a session goes on after its tokens were renewed last, 1 to 365 days; up to 3 % less, so that those who signed in together do not come back together",
        is_secret: false,
    },
    Setting {
        name: "SESSION_MAX_DAYS",
        default: "`90`",
        meaning: "How long a session goes on however often it is renewed, 1 to 3650 days",
        is_secret: false,
    },
    Setting {
        name: "PASSWORD_MIN_LENGTH",
        default: "`8`",
        meaning: "Fewest characters (code points) of a new password, 8 to 64",
        is_secret: false,
    },
    Setting {
        name: "SCRYPT_LOG_N",
        default: "`15`",
        meaning: "scrypt cost: N is 2 to this power. Memory of a hash: 128 * N * r bytes",
        is_secret: false,
    },
    Setting { name: "SCRYPT_R", default: "`8`", meaning: "scrypt block size", is_secret: false },
    Setting { name: "SCRYPT_P", default: "`3`", meaning: "scrypt repetitions, one after the other", is_secret: false },
    Setting {
        name: "ALLOW_WEAK_SCRYPT",
        default: "`false`",
        meaning: "`true` accepts a cost below OWASP's table; for tests",
        is_secret: false,
    },
    Setting {
        name: "HASH_THREADS",
        default: "the number of cores",
        meaning: "Threads that hash passwords; memory is at most this many hashes",
        is_secret: false,
    },
    Setting {
        name: "DB_THREADS",
        default: "`4`",
        meaning: "Threads that read from the database, each with one connection; on a server as many more write, on SQLite one",
        is_secret: false,
    },
    Setting {
        name: "REQUEST_DEADLINE_SECS",
        default: "`5`",
        meaning: "No request waits longer, 1 to 60 seconds",
        is_secret: false,
    },
    Setting {
        name: "RATE_LIMIT",
        default: "`on`",
        meaning: "`off` for load tests: neither clients nor attempts to sign in are counted, and passwords can be guessed without end",
        is_secret: false,
    },
    Setting {
        name: "TRUSTED_PROXIES",
        default: "none",
        meaning: "Addresses or networks of your proxies, such as `127.0.0.1, 10.0.0.0/8`: whom they name in `X-Forwarded-For` is the client, by the right-most hop that is not theirs",
        is_secret: false,
    },
    Setting {
        name: "MAX_CONNECTIONS",
        default: "`10000`",
        meaning: "Most connections at once; when all are taken, the one that has waited longest for its client goes. Lowered to what `ulimit -n` leaves",
        is_secret: false,
    },
    Setting {
        name: "MAX_CONNECTIONS_PER_ADDRESS",
        default: "a quarter of MAX_CONNECTIONS",
        meaning: "The same from one IPv4 address or IPv6 /64; those of `TRUSTED_PROXIES` may have all",
        is_secret: false,
    },
    Setting {
        name: "METRICS_ADDR",
        default: "none",
        meaning: "A second address to listen on, for `GET /metrics` (Prometheus); keep it from the public",
        is_secret: false,
    },
    Setting { name: "LOG_FORMAT", default: "`text`", meaning: "`json` for machines", is_secret: false },
    Setting {
        name: "RUST_LOG",
        default: "`info`",
        meaning: "What is logged: `error`, `warn`, `info`, `debug`, or by module: `info,tegata::store=debug`",
        is_secret: false,
    },
];

/// docs/configuration.md.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(
        "# Settings\n\n\
         Read from environment variables, and from a file `.env` in the working directory; the environment wins. \
         Every problem is reported at once, and the server does not start.\n\
         A name in `.env` that is nearly one of these is an error; other names are left alone. An empty value counts \
         as not set. In `.env`, put values with special characters in 'single quotes': otherwise `$NAME` is replaced.\n\n\
         <!-- Generated from src/config/reference.rs; `cargo test --test docs` writes it. -->\n\n\
         | name | default | meaning |\n|---|---|---|\n",
    );
    for Setting { name, default, meaning, is_secret } in SETTINGS {
        let file =
            if *is_secret { format!(" (or `{name}_FILE`, the path of a file with the value)") } else { String::new() };
        let _ = writeln!(page, "| `{name}` | {default} | {meaning}{file} |");
    }
    page
}

/// The settings for `--help`.
#[must_use]
pub fn help() -> String {
    let mut text = String::from("Settings (environment variables, or a file .env in the working directory):\n");
    for Setting { name, default, meaning, .. } in SETTINGS {
        let _ =
            writeln!(text, "  {name}\n      {}\n      Default: {}", meaning.replace('`', ""), default.replace('`', ""));
    }
    text
}
