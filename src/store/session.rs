//! What a query may ask of a database, in the words that both engines share.

use crate::store::error::StoreError;
use crate::store::migrate::Migration;

/// A parameter or a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// BIGINT, also for times (unix seconds) and booleans (0, 1).
    Int(i64),
    /// Text in UTF-8.
    Text(String),
    /// Bytes, compared as such.
    Bytes(Vec<u8>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(value.to_vec())
    }
}

/// One row of an answer, columns in the order of the SELECT.
#[derive(Debug)]
pub struct Row(pub Vec<Value>);

impl Row {
    /// Column `at` as an integer. Errors: [`StoreError::Corrupt`] if it is none.
    pub fn int(&self, at: usize) -> Result<i64, StoreError> {
        match self.0.get(at) {
            Some(Value::Int(value)) => Ok(*value),
            other => Err(corrupt(at, "an integer", other)),
        }
    }

    /// Column `at` as an integer or NULL. Errors: [`StoreError::Corrupt`] if it is neither.
    pub fn optional_int(&self, at: usize) -> Result<Option<i64>, StoreError> {
        match self.0.get(at) {
            Some(Value::Null) => Ok(None),
            _ => self.int(at).map(Some),
        }
    }

    /// Column `at` as exactly `N` bytes. Errors: [`StoreError::Corrupt`] if it is not.
    pub fn bytes<const N: usize>(&self, at: usize) -> Result<[u8; N], StoreError> {
        let found = self.0.get(at);
        let Some(Value::Bytes(bytes)) = found else { return Err(corrupt(at, "bytes", found)) };
        bytes
            .as_slice()
            .try_into()
            .map_err(|_| StoreError::Corrupt(format!("column {at} has {} bytes, not {N}", bytes.len())))
    }

    /// Column `at` as text. Errors: [`StoreError::Corrupt`] if it is none.
    pub fn text(&self, at: usize) -> Result<String, StoreError> {
        self.optional_text(at)?.ok_or_else(|| corrupt(at, "text", Some(&Value::Null)))
    }

    /// Column `at` as text or NULL, bytes that are not UTF-8 replaced: for what is judged further on anyway.
    pub fn lossy_text(&self, at: usize) -> Result<Option<String>, StoreError> {
        match self.0.get(at) {
            Some(Value::Bytes(bytes)) => Ok(Some(String::from_utf8_lossy(bytes).into_owned())),
            _ => self.optional_text(at),
        }
    }

    /// Column `at` as text or NULL. MySQL hands text over as bytes. Errors: [`StoreError::Corrupt`] if it is neither.
    pub fn optional_text(&self, at: usize) -> Result<Option<String>, StoreError> {
        match self.0.get(at) {
            Some(Value::Null) => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text.clone())),
            Some(Value::Bytes(bytes)) => match String::from_utf8(bytes.clone()) {
                Ok(text) => Ok(Some(text)),
                Err(_) => Err(corrupt(at, "text", None)),
            },
            other => Err(corrupt(at, "text", other)),
        }
    }
}

/// Says which column is wrong and how, never its content: it may be a secret.
fn corrupt(at: usize, wanted: &str, found: Option<&Value>) -> StoreError {
    let found = match found {
        Some(Value::Null) => "NULL",
        Some(Value::Int(_)) => "an integer",
        Some(Value::Text(_)) => "text",
        Some(Value::Bytes(_)) => "bytes",
        None => "nothing of that kind",
    };
    StoreError::Corrupt(format!("column {at} should be {wanted} and is {found}"))
}

/// What an INSERT or UPDATE did.
#[derive(Clone, Copy, Debug)]
pub struct Changed {
    /// How many rows it changed.
    pub rows: u64,
    /// The id that an INSERT was given.
    pub last_insert_id: i64,
}

/// Whether a connection can be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// As good as new.
    Sound,
    /// To be closed, for reasons of its own.
    Spent,
    /// It broke: others to the same server may be broken too.
    Lost,
    /// It waits for an answer that did not come in time, and that could be mistaken for the next one's.
    Stalled,
}

/// One connection. Both engines take `?` for parameters; statements stay prepared for as long as the connection lives.
pub trait Session: Send + 'static {
    /// Runs one statement that changes rows.
    fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<Changed, StoreError>;

    /// Runs one SELECT and takes all its rows.
    fn query(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, StoreError>;

    /// Opens a transaction that may write; on SQLite it takes the write lock at once, since upgrading a read lock
    /// later would ignore the busy timeout.
    fn begin(&mut self) -> Result<(), StoreError>;

    /// Makes the transaction durable. An error leaves the outcome unknown if the connection was lost.
    fn commit(&mut self) -> Result<(), StoreError>;

    /// Undoes the transaction.
    fn rollback(&mut self) -> Result<(), StoreError>;

    /// Whether it can be used again.
    fn condition(&self) -> Condition;

    /// Asks the server for a sign of life.
    fn ping(&mut self) -> Result<(), StoreError>;

    /// The schema's files for this engine, in order.
    fn migrations(&self) -> &'static [Migration];

    /// Runs the one statement of a schema file, unprepared.
    fn apply(&mut self, statement: &str) -> Result<(), StoreError>;

    /// Keeps other processes from changing the schema until [`Session::unlock_schema`].
    fn lock_schema(&mut self) -> Result<(), StoreError>;

    /// Lets them again.
    fn unlock_schema(&mut self) -> Result<(), StoreError>;
}
