//! The signing key of a server that was given none: made on the first start, kept in a file that only its owner
//! can read.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::tokens::{SecretKey, SecretKeyError};

/// Why there is no key. `Display` says what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read or made.
    #[error("{0}: {1}")]
    Io(String, io::Error),
    /// Others could read it.
    #[error("{0} can be read by others; run: chmod 600 {0}")]
    Permissions(String),
    /// Its content is no key.
    #[error("the key in {0} {1}")]
    Content(String, SecretKeyError),
}

/// Makes `dir` with mode 0700 unless it is there.
pub(crate) fn make_private_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Reads the key from `path`, or makes one. `true`: made just now.
pub(crate) fn read_or_make(path: &Path) -> Result<(SecretKey, bool), KeyFileError> {
    let io = |error| KeyFileError::Io(path.display().to_string(), error);
    match read(path) {
        Err(KeyFileError::Io(_, error)) if error.kind() == io::ErrorKind::NotFound => {
            let is_ours = make(path)?.map_err(io)?;
            Ok((read(path)?, is_ours))
        }
        outcome => outcome.map(|key| (key, false)),
    }
}

fn read(path: &Path) -> Result<SecretKey, KeyFileError> {
    let name = || path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| KeyFileError::Io(name(), error))?;
    let mode = fs::metadata(path).map_err(|error| KeyFileError::Io(name(), error))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Permissions(name()));
    }
    SecretKey::parse(&text).map_err(|error| KeyFileError::Content(name(), error))
}

/// Writes a new key beside `path` and links it there, which fails if another process was first. Nobody ever reads
/// half a key, and two servers that start at once agree. `false`: the other one's key counts.
fn make(path: &Path) -> Result<io::Result<bool>, KeyFileError> {
    let key = SecretKey::generate().map_err(|error| KeyFileError::Content(path.display().to_string(), error))?;
    let draft = path.with_extension(format!("draft.{}", std::process::id()));
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        writeln!(file, "{}", key.expose())?;
        file.sync_all()?;
        match fs::hard_link(&draft, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            outcome => outcome.map(|()| true),
        }
    };
    let outcome = write();
    let _ = fs::remove_file(&draft);
    Ok(outcome)
}
