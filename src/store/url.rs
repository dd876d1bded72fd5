//! `DATABASE_URL`: which engine, where, and how the connection is secured.

use std::fmt;
use std::path::PathBuf;

use ::mysql::{Opts, OptsBuilder, SslOpts};

use crate::store::error::StoreError;
use crate::store::session::Session;
use crate::store::{mysql, sqlite};

/// Where the database is.
#[derive(Clone)]
pub enum DatabaseUrl {
    /// `sqlite://path/to/file.db`: the embedded engine.
    Sqlite(PathBuf),
    /// `mysql://user:password@host:port/database`, also for MariaDB.
    Mysql(Box<Opts>),
}

/// Why a text is no database URL. Never repeats the text: it may hold a password.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Neither of the two schemes.
    #[error("must start with sqlite:// or mysql:// (which serves MariaDB too)")]
    Scheme,
    /// `sqlite://` alone.
    #[error("must name a file after sqlite://")]
    NoPath,
    /// The database name is missing.
    #[error("must name a database: mysql://user:password@host:3306/app-db")]
    NoDatabase,
    /// An option after `?` that nobody knows.
    #[error(
        "has an unknown option {0:?} after `?`; there are socket, tls, root_cert_path, cert_chain_path, priv_key_path and server_key_path"
    )]
    UnknownOption(String),
    /// An option after `?` with an unusable value.
    #[error("has an unusable value for the option {0:?} after `?`")]
    OptionValue(String),
    /// The file of `root_cert_path` is not there; found out now and not when the first connection fails.
    #[error("names {0} as root_cert_path, which is not a file")]
    NoCertificate(PathBuf),
    /// Anything else, often a `/`, `#` or `@` in the password.
    #[error("is not a URL; a special character in user or password must be percent-encoded (`@` is %40, `/` is %2F)")]
    Malformed,
}

impl DatabaseUrl {
    /// Reads a URL. For MySQL the options after `?` are those of the `mysql` crate, and `tls=true`, which asks for
    /// TLS checked against the public certificate authorities (`root_cert_path` adds one of your own).
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        if let Some(path) = url.strip_prefix("sqlite://") {
            return if path.is_empty() { Err(UrlError::NoPath) } else { Ok(Self::Sqlite(PathBuf::from(path))) };
        }
        let Some(rest) = url.strip_prefix("mysql://").or_else(|| url.strip_prefix("mariadb://")) else {
            return Err(UrlError::Scheme);
        };
        let (rest, tls) = take_tls(rest)?;
        let options = Opts::from_url(&format!("mysql://{rest}")).map_err(|error| match error {
            ::mysql::UrlError::UnknownParameter(name) => UrlError::UnknownOption(name),
            ::mysql::UrlError::InvalidValue(name, _) | ::mysql::UrlError::FeatureRequired(_, name) => {
                UrlError::OptionValue(name)
            }
            _ => UrlError::Malformed,
        })?;
        if options.get_db_name().is_none_or(str::is_empty) {
            return Err(UrlError::NoDatabase);
        }
        if let Some(path) = options.get_ssl_opts().and_then(SslOpts::root_cert_path)
            && !path.is_file()
        {
            return Err(UrlError::NoCertificate(path.to_path_buf()));
        }
        let options = match options.get_ssl_opts() {
            None if tls => OptsBuilder::from_opts(options).ssl_opts(SslOpts::default()).into(),
            _ => options,
        };
        Ok(Self::Mysql(Box::new(options)))
    }

    /// Opens a connection of its own for schema changes, with more patience than a request has.
    pub(crate) fn connect_for_migration(&self) -> Result<Box<dyn Session>, StoreError> {
        match self {
            Self::Sqlite(path) => sqlite::connect_for_migration(path),
            Self::Mysql(options) => mysql::connect_for_migration(options),
        }
    }
}

/// Takes `tls=...` out of the query, which the driver does not know.
fn take_tls(url: &str) -> Result<(String, bool), UrlError> {
    let Some((address, query)) = url.split_once('?') else {
        return Ok((url.to_owned(), false));
    };
    let mut tls = false;
    let mut others = Vec::new();
    for option in query.split('&').filter(|option| !option.is_empty()) {
        match option {
            "tls=true" => tls = true,
            "tls=false" => tls = false,
            _ if option.starts_with("tls=") => return Err(UrlError::OptionValue("tls".to_owned())),
            _ => others.push(option),
        }
    }
    let query = if others.is_empty() { String::new() } else { format!("?{}", others.join("&")) };
    Ok((format!("{address}{query}"), tls))
}

/// What a person needs to recognise the database; never user or password.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite {}", path.display()),
            Self::Mysql(options) => {
                let database = options.get_db_name().unwrap_or_default();
                match options.get_socket() {
                    Some(socket) => write!(f, "mysql {database} on {socket}"),
                    None => {
                        write!(f, "mysql {database} on {}:{}", options.get_ip_or_hostname(), options.get_tcp_port())
                    }
                }
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mysql(url: &str) -> Box<Opts> {
        match DatabaseUrl::parse(url).unwrap() {
            DatabaseUrl::Mysql(options) => options,
            DatabaseUrl::Sqlite(_) => panic!("{url} is no SQLite URL"),
        }
    }

    #[test]
    fn urls_that_work() {
        assert_eq!(DatabaseUrl::parse("sqlite://./data/x.db").unwrap().to_string(), "sqlite ./data/x.db");
        let plain = mysql("mysql://me:p%40ss@db:3307/app-db");
        assert_eq!((plain.get_pass(), plain.get_db_name()), (Some("p@ss"), Some("app-db")));
        assert!(plain.get_ssl_opts().is_none());
        assert!(mysql("mysql://me@db/app?tls=true").get_ssl_opts().is_some());
        assert_eq!(mysql("mariadb://me@db/app?tls=false&socket=/run/my.sock").get_socket(), Some("/run/my.sock"));
    }

    #[test]
    fn urls_that_do_not_say_why_without_the_password() {
        let cases = [
            ("postgres://u:hush@h/d", UrlError::Scheme),
            ("sqlite://", UrlError::NoPath),
            ("mysql://u:hush@h", UrlError::NoDatabase),
            ("mysql://u:hush@h/d?ssl=1", UrlError::UnknownOption("ssl".to_owned())),
            ("mysql://u:hush@h/d?root_cert_path=/nope.pem", UrlError::NoCertificate(PathBuf::from("/nope.pem"))),
            ("mysql://u:hush@h/d?tls=yes", UrlError::OptionValue("tls".to_owned())),
            ("mysql://u:hu/sh@h/d", UrlError::Malformed),
        ];
        for (url, expected) in cases {
            let error = DatabaseUrl::parse(url).unwrap_err();
            assert!(!error.to_string().contains("hush"));
            assert_eq!(error, expected, "{url}");
        }
    }

    #[test]
    fn a_url_prints_without_user_and_password() {
        let url = DatabaseUrl::parse("mysql://someone:hush@db/app").unwrap();
        assert_eq!(format!("{url} {url:?}"), "mysql app on db:3306 DatabaseUrl(mysql app on db:3306)");
    }
}
