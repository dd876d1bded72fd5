//! The table `sign_in_budgets`.

use futures_util::future::join_all;
use tegata::domain::clock::UnixTime;
use tegata::store::Database;
use tegata::store::budgets::{
    BURST, Bucket, Buckets, CountAttempt, Counting, FindBudget, KNOWN_SECS, PERIOD_SECS, RetryAfterSecs, SettleAttempt,
    Whose,
};
use tegata::store::purge::{Expired, Purge};

use crate::{NOW, workers};

/// Of somebody on `network`, which is a name like any other here.
fn of(name: &str, network: &str) -> Buckets {
    let bucket = |text: String| {
        let mut bucket = [0; 32];
        bucket[..text.len()].copy_from_slice(text.as_bytes());
        Bucket(bucket)
    };
    Buckets { strangers: bucket(name.to_owned()), own: bucket(format!("{name} {network}")) }
}

fn at(network: &str) -> Buckets {
    of("a", network)
}

async fn count(pool: &Database, buckets: Buckets, now: UnixTime) -> Counting {
    pool.call(CountAttempt { buckets, now }).await.unwrap().unwrap()
}

async fn settle(pool: &Database, buckets: Buckets, whose: Whose, now: UnixTime) {
    pool.call(SettleAttempt { buckets, whose, now }).await.unwrap().unwrap();
}

const STRANGER: Counting = Counting::Counted(Whose::Strangers);
const OWNER: Counting = Counting::Counted(Whose::Owner);

#[actix_web::test]
async fn strangers_share_ten_attempts_and_get_one_more_each_quarter_of_an_hour() {
    let (pool, _database) = workers();
    for attempt in 0..BURST {
        let address = format!("192.0.2.{attempt}");
        assert_eq!(count(&pool, at(&address), NOW).await, STRANGER);
    }
    let over = |secs| Counting::Over(Whose::Strangers, RetryAfterSecs(secs));
    assert_eq!(count(&pool, at("192.0.2.99"), NOW).await, over(PERIOD_SECS));
    assert_eq!(count(&pool, at("2001:db8::1"), NOW.plus(PERIOD_SECS - 1)).await, over(1));
    assert_eq!(count(&pool, at("192.0.2.1"), NOW.plus(PERIOD_SECS)).await, STRANGER);
    assert_eq!(count(&pool, at("192.0.2.1"), NOW.plus(PERIOD_SECS)).await, over(PERIOD_SECS));
    let other = of("b", "192.0.2.1");
    assert_eq!(count(&pool, other, NOW).await, STRANGER, "another account's");
}

/// "At most about 106 hashed guesses a day", whoever asks as often as possible.
#[actix_web::test]
async fn a_day_has_room_for_106_guesses() {
    let (pool, _database) = workers();
    let mut hashed = 0;
    for minute in 0..24 * 60 {
        while count(&pool, at("192.0.2.1"), NOW.plus(minute * 60)).await == STRANGER {
            hashed += 1;
        }
    }
    assert_eq!(hashed, 10 + 95);
}

#[actix_web::test]
async fn of_many_at_once_as_many_are_counted_as_there_is_budget_for() {
    let (pool, database) = workers();
    // First on no row at all, then on what is left of one.
    for (now, expected) in [(NOW, 10), (NOW.plus(3 * PERIOD_SECS), 3)] {
        let outcomes = join_all((0..200).map(|number| count(&pool, at(&format!("10.0.0.{number}")), now))).await;
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == STRANGER).count(), expected);
        for outcome in outcomes {
            if let Counting::Over(_, RetryAfterSecs(wait)) = outcome {
                assert!((1..=PERIOD_SECS).contains(&wait), "{wait}");
            }
        }
    }
    assert_eq!(database.column("SELECT COUNT(*) FROM sign_in_budgets"), ["1"]);
}

#[actix_web::test]
async fn a_network_that_the_owner_signed_in_from_has_a_budget_of_its_own() {
    let (pool, _database) = workers();
    let (home, office, elsewhere) = (at("192.0.2.1"), at("2001:db8::/64"), at("198.51.100.1"));
    for own in [home, office] {
        assert_eq!(count(&pool, own, NOW).await, STRANGER);
        settle(&pool, own, Whose::Strangers, NOW).await;
    }
    for _ in 0..BURST {
        assert_eq!(count(&pool, elsewhere, NOW).await, STRANGER, "what the owner took was given back");
    }
    assert!(matches!(count(&pool, elsewhere, NOW).await, Counting::Over(Whose::Strangers, _)));
    for _ in 0..BURST {
        assert_eq!(count(&pool, home, NOW).await, OWNER);
    }
    assert_eq!(count(&pool, home, NOW).await, Counting::Over(Whose::Owner, RetryAfterSecs(PERIOD_SECS)));
    let found = pool.call(FindBudget { buckets: home, now: NOW }).await.unwrap().unwrap();
    assert_eq!((found.whose, found.wait_secs(NOW)), (Whose::Owner, PERIOD_SECS));
}

#[actix_web::test]
async fn signing_in_gives_back_what_it_took_and_no_more() {
    let (pool, _database) = workers();
    let home = at("192.0.2.1");
    assert_eq!(count(&pool, home, NOW).await, STRANGER);
    settle(&pool, home, Whose::Strangers, NOW).await;
    for _ in 0..50 {
        assert_eq!(count(&pool, home, NOW).await, OWNER);
        settle(&pool, home, Whose::Owner, NOW).await;
    }
    for _ in 0..BURST {
        assert_eq!(count(&pool, home, NOW).await, OWNER);
    }
    assert!(matches!(count(&pool, home, NOW).await, Counting::Over(Whose::Owner, _)), "never more than it holds");
}

#[actix_web::test]
async fn a_network_is_forgotten_ninety_days_after_the_last_sign_in() {
    let (pool, _database) = workers();
    let home = at("192.0.2.1");
    settle(&pool, home, Whose::Strangers, NOW).await;
    let late = NOW.plus(KNOWN_SECS - 1);
    assert_eq!(count(&pool, home, late).await, OWNER);
    assert_eq!(count(&pool, home, late.plus(1)).await, STRANGER, "guessing does not keep it known");
    // The row is still there, and becomes what it was.
    settle(&pool, home, Whose::Strangers, late.plus(1)).await;
    assert_eq!(count(&pool, home, late.plus(2)).await, OWNER);
    settle(&pool, home, Whose::Owner, late.plus(2)).await;
    assert_eq!(count(&pool, home, late.plus(KNOWN_SECS)).await, OWNER, "signing in does");
}

#[actix_web::test]
async fn many_sign_ins_at_once_make_one_network_known() {
    let (pool, database) = workers();
    let home = at("192.0.2.1");
    join_all((0..50).map(|_| settle(&pool, home, Whose::Strangers, NOW))).await;
    assert_eq!(database.column("SELECT COUNT(*) FROM sign_in_budgets"), ["1"]);
    join_all((0..50).map(|number| settle(&pool, at(&format!("10.0.0.{number}")), Whose::Strangers, NOW))).await;
    assert_eq!(database.column("SELECT COUNT(*) FROM sign_in_budgets"), ["51"]);
}

#[actix_web::test]
async fn what_says_nothing_any_more_is_removed() {
    let (pool, database) = workers();
    for number in 0..150 {
        let buckets = of(&format!("nobody {number}"), "192.0.2.1");
        assert_eq!(count(&pool, buckets, NOW).await, STRANGER);
    }
    settle(&pool, at("192.0.2.1"), Whose::Strangers, NOW).await;
    let purge = async |before| pool.call(Purge { expired: Expired::Budgets, before }).await.unwrap().unwrap();
    // However much was used up of it, a budget is whole by then.
    let whole = NOW.plus(BURST * PERIOD_SECS);
    assert!(!purge(whole).await);
    assert!(purge(whole.plus(1)).await);
    assert!(!purge(whole.plus(1)).await);
    assert_eq!(database.column("SELECT COUNT(*) FROM sign_in_budgets"), ["1"], "the network of somebody's");
}
