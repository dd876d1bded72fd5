//! The table `sessions`, and what tokens are held against.

use futures_util::future::join_all;
use tegata::domain::clock::UnixTime;
use tegata::domain::session::{Anchor, Client, SessionId, Standing};
use tegata::domain::user::{User, UserId};
use tegata::store::Database;
use tegata::store::purge::{Expired, Purge};
use tegata::store::sessions::{
    CreateSession, ListSessions, ReplacePassword, RevokeAll, RevokeSession, RotateSession, Rotation,
};
use tegata::store::standings::{FindStandings, MAX_ANCHORS};

use crate::users::{FIRST_HASH, create, hash};
use crate::{NOW, workers};

const DAY: i64 = 24 * 60 * 60;

fn id(number: u8) -> SessionId {
    SessionId([number; 16])
}

async fn open(pool: &Database, number: u8, user: &User, expires_at: UnixTime) -> SessionId {
    let client = Client::new("agent", "192.0.2.1".to_owned());
    let hash = hash(FIRST_HASH);
    let create = CreateSession { id: id(number), user: user.id, hash, client, now: NOW, expires_at, settles: None };
    assert!(pool.call(create).await.unwrap().unwrap());
    id(number)
}

async fn rotate(pool: &Database, id: SessionId, generation: i64, now: UnixTime) -> Rotation {
    let (grace_secs, lifetime_secs, max_secs) = (10, 30 * DAY, 90 * DAY);
    let rotate = RotateSession { id, generation, now, grace_secs, lifetime_secs, max_secs };
    pool.call(rotate).await.unwrap().unwrap()
}

async fn standing(pool: &Database, anchor: Anchor) -> Option<Standing> {
    let found = pool.call(FindStandings { anchors: vec![anchor] }).await.unwrap().unwrap();
    found.into_iter().next().map(|(found, standing)| {
        assert_eq!(found, anchor);
        standing.unwrap()
    })
}

#[actix_web::test]
async fn a_session_is_found_with_its_user_until_it_ends() {
    let (pool, database) = workers();
    let user = create(&pool, "a@example.com").await.unwrap();
    let session = Anchor::Session(open(&pool, 1, &user, NOW.plus(DAY)).await);
    let found = standing(&pool, session).await.unwrap();
    assert_eq!((found.user, found.valid_until), (user.clone(), NOW.plus(DAY)));
    assert!(standing(&pool, Anchor::Session(id(2))).await.is_none());
    let revoke = |user| pool.call(RevokeSession { id: id(1), user, now: NOW });
    assert_eq!(revoke(Some(UserId(user.id.0 + 1))).await.unwrap(), Ok(false), "another user's");
    assert_eq!(revoke(Some(user.id)).await.unwrap(), Ok(true));
    assert_eq!(revoke(None).await.unwrap(), Ok(false), "only once");
    assert!(standing(&pool, session).await.unwrap().valid_until < UnixTime(0));
    database.execute("DELETE FROM users");
    assert!(standing(&pool, session).await.is_none());
}

#[actix_web::test]
async fn any_number_of_sessions_and_users_up_to_64_is_found_at_once() {
    let (pool, _database) = workers();
    let user = create(&pool, "a@example.com").await.unwrap();
    let mut anchors = vec![Anchor::User(user.id)];
    for number in 1..u8::try_from(MAX_ANCHORS).unwrap() {
        anchors.push(Anchor::Session(open(&pool, number, &user, NOW).await));
    }
    for count in 1..=MAX_ANCHORS {
        let asked = anchors[..count].to_vec();
        let found = pool.call(FindStandings { anchors: asked.clone() }).await.unwrap().unwrap();
        assert!(found.len() == count && asked.iter().all(|anchor| found.iter().any(|(found, _)| found == anchor)));
    }
    let unknown = vec![Anchor::User(UserId(0)), anchors[3], Anchor::Session(id(200))];
    assert_eq!(pool.call(FindStandings { anchors: unknown }).await.unwrap().unwrap().len(), 1);
}

/// of twenty that present one token at once, all get the same successor and one step is taken.
#[actix_web::test]
async fn twenty_rotations_of_one_generation_are_one_step() {
    let (pool, database) = workers();
    let user = create(&pool, "a@example.com").await.unwrap();
    let session = open(&pool, 1, &user, NOW.plus(DAY)).await;
    let outcomes = join_all((0..20).map(|_| rotate(&pool, session, 0, NOW))).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Rotation::Renewed(user.clone())), "{outcomes:?}");
    assert_eq!(database.column("SELECT generation FROM sessions"), ["1"]);
}

///
#[actix_web::test]
async fn a_token_used_again_is_a_race_for_ten_seconds_and_a_theft_afterwards() {
    let (pool, _database) = workers();
    let user = create(&pool, "a@example.com").await.unwrap();
    let session = open(&pool, 1, &user, NOW.plus(DAY)).await;
    let renewed = Rotation::Renewed(user.clone());
    assert_eq!(rotate(&pool, session, 1, NOW).await, Rotation::Over, "not made yet");
    assert_eq!(rotate(&pool, session, 0, NOW).await, renewed);
    assert_eq!(rotate(&pool, session, 0, NOW.plus(10)).await, renewed);
    assert_eq!(rotate(&pool, session, 0, NOW.plus(11)).await, Rotation::Reused(user.id));
    assert_eq!(rotate(&pool, session, 1, NOW.plus(11)).await, Rotation::Over, "the newest is dead too");
}

#[actix_web::test]
async fn a_session_slides_up_to_its_longest_life() {
    let (pool, _database) = workers();
    let user = create(&pool, "a@example.com").await.unwrap();
    let session = open(&pool, 1, &user, NOW.plus(30 * DAY)).await;
    let expires = async || standing(&pool, Anchor::Session(session)).await.unwrap().valid_until;
    for (generation, (day, expected)) in [(20, 50), (40, 70), (60, 90), (80, 90)].into_iter().enumerate() {
        let outcome = rotate(&pool, session, i64::try_from(generation).unwrap(), NOW.plus(day * DAY)).await;
        assert_eq!(outcome, Rotation::Renewed(user.clone()));
        assert_eq!(expires().await, NOW.plus(expected * DAY));
    }
    assert_eq!(rotate(&pool, session, 4, NOW.plus(90 * DAY)).await, Rotation::Over);
}

#[actix_web::test]
async fn signing_out_everywhere_ends_sessions_and_tokens_without_one() {
    let (pool, _database) = workers();
    let (user, other) = (create(&pool, "a@example.com").await.unwrap(), create(&pool, "b@example.com").await.unwrap());
    for number in 1..=3 {
        open(&pool, number, &user, NOW.plus(DAY)).await;
    }
    open(&pool, 4, &other, NOW.plus(DAY)).await;
    let list = async |user: &User| {
        let list = ListSessions { user: user.id, now: NOW };
        pool.call(list).await.unwrap().unwrap().into_iter().map(|session| session.id).collect::<Vec<_>>()
    };
    assert_eq!(list(&user).await, [id(1), id(2), id(3)]);
    for _ in 0..2 {
        pool.call(RevokeAll { user: user.id, now: NOW }).await.unwrap().unwrap();
    }
    assert_eq!((list(&user).await, list(&other).await), (vec![], vec![id(4)]));
    assert_eq!(standing(&pool, Anchor::User(user.id)).await.unwrap().valid_after, NOW);
    assert_eq!(standing(&pool, Anchor::User(other.id)).await.unwrap().valid_after, UnixTime(0));
}

#[actix_web::test]
async fn what_has_expired_is_removed_a_hundred_at_a_time() {
    let (pool, database) = workers();
    let user = create(&pool, "a@example.com").await.unwrap();
    for number in 0..=149 {
        open(&pool, number, &user, NOW.plus(i64::from(number))).await;
    }
    let purge = async || pool.call(Purge { expired: Expired::Sessions, before: NOW.plus(120) }).await.unwrap();
    assert_eq!((purge().await, purge().await, purge().await), (Ok(true), Ok(false), Ok(false)));
    assert_eq!(database.column("SELECT COUNT(*) FROM sessions WHERE expires_at >= 0"), ["30"]);
}

/// ASVS 7.4.3: who had the old password, also half a second ago, has nothing left.
#[actix_web::test]
async fn no_session_is_opened_with_a_password_that_was_replaced_meanwhile() {
    let (pool, database) = workers();
    let user = create(&pool, "a@example.com").await.unwrap();
    let with = async |number: u8, hash_of: &str| {
        let (client, expires_at) = (Client::new("agent", "192.0.2.1".to_owned()), NOW.plus(DAY));
        let (id, user, hash) = (id(number), user.id, hash(hash_of));
        let create = CreateSession { id, user, hash, client, now: NOW, expires_at, settles: None };
        pool.call(create).await.unwrap().unwrap()
    };
    let replace = async |expected: &str, replacement: &str| {
        let (expected, replacement) = (hash(expected), hash(replacement));
        let replace = ReplacePassword { user: user.id, expected, replacement, now: NOW, settles: None };
        pool.call(replace).await.unwrap().unwrap()
    };
    assert!(with(1, FIRST_HASH).await);
    assert!(replace(FIRST_HASH, "$second").await);
    assert!(!with(2, FIRST_HASH).await, "the old password");
    assert!(!replace(FIRST_HASH, "$third").await, "of two changes one wins");
    assert!(with(3, "$second").await);
    database.execute("UPDATE users SET is_disabled = 1");
    assert!(!with(4, "$second").await, "disabled");
    let open = pool.call(ListSessions { user: user.id, now: NOW }).await.unwrap().unwrap();
    assert_eq!(open.iter().map(|session| session.id).collect::<Vec<_>>(), [id(3)]);
}

/// The same where they really meet, many times.
#[actix_web::test]
async fn of_a_change_and_sign_ins_at_once_no_old_session_is_left() {
    let (pool, _database) = workers();
    let user = create(&pool, "a@example.com").await.unwrap();
    let mut now_is = FIRST_HASH.to_owned();
    for round in 0..20_u8 {
        let opening = join_all((0..8).map(|number| {
            let (client, expires_at) = (Client::new("agent", "192.0.2.1".to_owned()), NOW.plus(DAY));
            let (id, user, hash) = (id(round * 8 + number), user.id, hash(&now_is));
            pool.call(CreateSession { id, user, hash, client, now: NOW, expires_at, settles: None })
        }));
        let next = format!("$hash {round}");
        let (expected, replacement) = (hash(&now_is), hash(&next));
        let replace = ReplacePassword { user: user.id, expected, replacement, now: NOW, settles: None };
        let (opened, replaced) = futures_util::future::join(opening, pool.call(replace)).await;
        assert_eq!(replaced.unwrap(), Ok(true));
        assert!(opened.into_iter().all(|opened| opened.unwrap().is_ok()));
        let open = pool.call(ListSessions { user: user.id, now: NOW }).await.unwrap().unwrap();
        assert!(open.is_empty(), "round {round}: {open:?}");
        now_is = next;
    }
}
