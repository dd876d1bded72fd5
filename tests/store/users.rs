//! The table `users`.

use futures_util::future::join_all;
use tegata::domain::email::Email;
use tegata::domain::password::PasswordHash;
use tegata::domain::user::{User, UserId};
use tegata::store::users::{CreateUser, EmailTaken, FindByEmail, Ping, SetPasswordHash};
use tegata::store::{Database, StoreError};

use crate::{NOW, workers};

fn email(text: &str) -> Email {
    Email::parse(text).unwrap()
}

/// What [`create`] gives everybody.
pub const FIRST_HASH: &str = "$scrypt$";

pub fn hash(text: &str) -> PasswordHash {
    PasswordHash::new(text.to_owned())
}

pub async fn create(pool: &Database, address: &str) -> Result<User, EmailTaken> {
    let message = CreateUser { email: email(address), password_hash: hash(FIRST_HASH), now: NOW };
    pool.call(message).await.unwrap().unwrap()
}

#[actix_web::test]
async fn what_was_created_is_found_by_any_spelling_of_its_email() {
    let (pool, _database) = workers();
    let created = create(&pool, "Alice@Example.com").await.unwrap();
    assert_eq!(created, User { id: UserId(1), email: "Alice@Example.com".to_owned(), is_disabled: false });
    let found = pool.call(FindByEmail { email: email("alice@example.COM") }).await.unwrap().unwrap().unwrap();
    assert_eq!((found.user, found.password_hash), (created, Some(hash("$scrypt$"))));
    assert!(pool.call(FindByEmail { email: email("bob@example.com") }).await.unwrap().unwrap().is_none());
}

/// C-20: keys are compared as bytes, so no collation merges two people.
#[actix_web::test]
async fn keys_differ_when_their_bytes_differ() {
    let (pool, _database) = workers();
    for address in [
        "jose@x.org",
        "jos\u{e9}@x.org",
        "ss@x.org",
        "\u{df}@x.org",
        "i@x.org",
        "\u{131}@x.org",
        "\u{1f600}@x.org",
        "\u{1f601}@x.org",
    ] {
        assert!(create(&pool, address).await.is_ok(), "{address}");
        assert_eq!(create(&pool, address).await, Err(EmailTaken), "{address}");
    }
}

/// C-21.
#[actix_web::test]
async fn of_many_that_create_one_email_at_once_one_wins() {
    let (pool, database) = workers();
    let outcomes = join_all((0..100).map(|_| create(&pool, "a@example.com"))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(database.column("SELECT COUNT(*) FROM users"), ["1"]);
}

/// C-26.
#[actix_web::test]
async fn ids_are_never_reused() {
    let (pool, database) = workers();
    create(&pool, "a@example.com").await.unwrap();
    let last = create(&pool, "b@example.com").await.unwrap();
    database.execute("DELETE FROM users");
    assert!(create(&pool, "c@example.com").await.unwrap().id > last.id);
}

#[actix_web::test]
async fn a_hash_is_replaced_only_if_it_is_the_expected_one() {
    let (pool, database) = workers();
    let user = create(&pool, "a@example.com").await.unwrap();
    let set = |expected: &str, replacement: &str| {
        pool.call(SetPasswordHash { id: user.id, expected: hash(expected), replacement: hash(replacement) })
    };
    assert!(!set("$other$", "$new$").await.unwrap().unwrap());
    assert!(set("$scrypt$", "$new$").await.unwrap().unwrap());
    assert_eq!(database.column("SELECT password_hash FROM users"), ["$new$"]);
}

#[actix_web::test]
async fn a_missing_table_is_told_apart_from_a_mistake() {
    let (pool, database) = workers();
    assert_eq!(pool.call(Ping).await.unwrap(), Ok(()));
    database.execute("DROP TABLE users");
    assert!(matches!(pool.call(Ping).await.unwrap(), Err(StoreError::SchemaMissing(_))));
    let error = pool.call(CreateUser { email: email("a@x.org"), password_hash: hash(""), now: NOW }).await.unwrap();
    assert!(matches!(error, Err(StoreError::SchemaMissing(_))), "and the transaction is rolled back: {error:?}");
}
