//! A user as the rest of the program sees one.

use crate::domain::password::PasswordHash;

/// The stable name of a user: the `sub` of tokens. Never reused, and never the email, which can change hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(pub i64);

/// A row of `users` without its password hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The stable id.
    pub id: UserId,
    /// The address as the person gave it.
    pub email: String,
    /// A disabled user can neither sign in nor use a token issued before.
    pub is_disabled: bool,
}

/// What signing in needs to know about an account.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Whose they are.
    pub user: User,
    /// `None`: an account without a password (imported, or signing in some other way).
    pub password_hash: Option<PasswordHash>,
}
