//! What can go wrong below, in the terms that the layers above decide by. Each engine's file classifies its own
//! driver's errors into these. The texts are for the log and never reach a client.

/// Why a query gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A unique key is taken.
    #[error("duplicate key")]
    Duplicate,
    /// The database cannot serve now: away, read-only, full, shutting down.
    #[error("database unavailable: {0}")]
    Unavailable(String),
    /// The connection broke while it was used; the database itself may be well.
    #[error("connection lost: {0}")]
    Lost(String),
    /// The tables are not there (yet).
    #[error("the schema is missing: {0}")]
    SchemaMissing(String),
    /// The transaction lost a race (deadlock, lock wait) and was undone: it may run again.
    #[error("lost a race: {0}")]
    Retry(String),
    /// A row holds what no version of this program wrote.
    #[error("corrupt row: {0}")]
    Corrupt(String),
    /// Everything else is a mistake of ours.
    #[error("unexpected database error: {0}")]
    Bug(String),
}

impl StoreError {
    /// Whether it may pass without anybody doing anything here.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Lost(_) | Self::Retry(_) => true,
            Self::Duplicate | Self::SchemaMissing(_) | Self::Corrupt(_) | Self::Bug(_) => false,
        }
    }
}
