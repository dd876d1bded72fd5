//! The judge judged: what the ledger must notice, it notices.

use std::time::{Duration, Instant};

use crate::client::{Answer, Silence};
use crate::ledger::{Account, Action, Attempt, DEADLINE, Ledger, Presented};
use crate::scene::{Row, Scene};
use crate::{load, wait};

fn some_load(scene: &Scene) -> Ledger {
    load::hold(scene.address, 200, Duration::from_millis(1500))
}

#[test]
fn a_quiet_day_has_nothing_to_complain_about() {
    for scene in [Scene::on_sqlite(&[]), Scene::on_mariadb(&[])] {
        wait::until(Duration::from_secs(5), "ready", || scene.is_ready());
        let ledger = some_load(&scene);
        let verdict = ledger.settle(scene.address, || scene.engine.rows());
        verdict.expect_clean();
        assert_eq!(ledger.count(|attempt| !attempt.is_well()), 0);
        let kinds: std::collections::BTreeSet<_> = ledger.attempts.iter().filter_map(|a| a.status()).collect();
        assert_eq!(kinds.into_iter().collect::<Vec<_>>(), [200, 201, 401, 409]);
    }
}

/// One damage a rule; a judge that overlooks one would pass everything.
#[test]
fn the_ledger_notices_what_is_lost_forged_or_damaged() {
    let scene = Scene::on_sqlite(&[]);
    let ledger = some_load(&scene);
    let rows = scene.engine.rows();
    let [lost, damaged, intruder] = [&rows[0].email, &rows[1].email, &rows[2].email];
    for damage in [
        format!("DELETE FROM users WHERE email = '{lost}'"),
        format!("UPDATE users SET password_hash = 'x' WHERE email = '{damaged}'"),
        format!(
            "UPDATE users SET password_hash = (SELECT password_hash FROM users WHERE email = '{intruder}') \
             WHERE email = '{}'",
            rows[3].email
        ),
        "INSERT INTO users (email, email_key, password_hash, is_disabled, created_at) VALUES ('n', X'6E', NULL, 0, 0)"
            .to_owned(),
    ] {
        scene.engine.execute(&damage);
    }
    let verdict = ledger.settle(scene.address, || scene.engine.rows());
    for complaint in [
        format!("L1: {lost} was acknowledged and is not there"),
        format!("L1: {lost} signs in: Ok(401)"),
        format!("L3: {damaged} has no valid hash"),
        format!("L1: {damaged} signs in: Ok(401)"),
        format!("L1: {} signs in: Ok(401)", rows[3].email),
        "L3: nobody attempted n".to_owned(),
        "L3: n has no valid hash".to_owned(),
    ] {
        assert!(verdict.complaints.contains(&complaint), "{complaint} is missing in {:?}", verdict.complaints);
    }
    assert_eq!(verdict.lost, 3);
}

fn attempt(action: Action, outcome: Result<(u16, &str, &str), Silence>) -> Attempt {
    let outcome = outcome.map(|(status, header, body)| {
        let head = format!("http/1.1 {status}\r\n{header}\r\n\r\n");
        Answer { status, head, body: body.to_owned() }
    });
    Attempt { action, began: Instant::now(), took: Duration::from_millis(1), outcome }
}

/// Answers that no fault excuses.
#[test]
fn the_ledger_notices_wrong_answers() {
    let account = Account { email: "a@example.com".to_owned(), password: "p".to_owned() };
    let sign_in = |is_right| Action::SignIn { account: account.clone(), is_right };
    let nobody = || Action::IsLogined { presented: Presented::Nothing };
    let somebody = || Action::IsLogined { presented: Presented::Token("t".to_owned()) };
    let me = || Action::Me { token: "t".to_owned() };
    let mut late = attempt(me(), Ok((200, "", "{}")));
    late.took = DEADLINE + Duration::from_millis(1);
    let bad = [
        (attempt(sign_in(false), Ok((200, "", "{}"))), "L5"),
        (attempt(Action::RegisterTaken { account: account.clone() }, Ok((201, "", "{}"))), "L2"),
        (late, "L6, too late"),
        (attempt(me(), Err(Silence::Reset)), "L6: Reset"),
        (attempt(me(), Err(Silence::Closed)), "L6: Closed"),
        (attempt(me(), Err(Silence::TimedOut)), "L6: TimedOut"),
        (attempt(me(), Ok((401, "", "{}"))), "contract"),
        (attempt(me(), Ok((500, "", "{}"))), "contract"),
        (attempt(me(), Ok((503, "", "{}"))), "503 without Retry-After"),
        (attempt(sign_in(true), Ok((401, "", "{}"))), "contract"),
        (attempt(nobody(), Ok((503, "retry-after: 1", "{}"))), "asks no database"),
        (attempt(nobody(), Ok((200, "", r#"{"is_logined":true}"#))), "a wrong verdict"),
        (attempt(somebody(), Ok((200, "", r#"{"is_logined":false}"#))), "a wrong verdict"),
    ];
    for (attempt, complaint) in bad {
        let found = Ledger { attempts: vec![attempt] }.complaints(|_| false);
        assert!(found.len() == 1 && found[0].starts_with(complaint), "{complaint}: {found:?}");
    }
    let good = [
        attempt(me(), Err(Silence::Refused)),
        attempt(me(), Ok((503, "retry-after: 1", "{}"))),
        attempt(sign_in(false), Ok((401, "", "{}"))),
        attempt(somebody(), Ok((200, "", r#"{"is_logined":true}"#))),
    ];
    assert_eq!(Ledger { attempts: good.into() }.complaints(|_| false), [""; 0]);
}

/// L2 and L4 cannot be broken through the schema: the judge is shown rows that no database would hold, and a server
/// that takes an address as free which is not.
#[test]
fn the_ledger_notices_two_rows_of_one_address_and_retries_that_end_badly() {
    let scene = Scene::on_sqlite(&[]);
    let ledger = some_load(&scene);
    let twice = || {
        let rows = scene.engine.rows().into_iter();
        rows.flat_map(|row| {
            let Row { id, email, email_key, hash } = row;
            let again = Row { id, email: email.clone(), email_key: email_key.clone(), hash: hash.clone() };
            [Row { id, email, email_key, hash }, again]
        })
        .collect()
    };
    let verdict = ledger.settle(scene.address, twice);
    assert!(verdict.complaints.iter().any(|complaint| complaint.starts_with("L2: ")), "{:?}", verdict.complaints);
    // One that nobody acknowledged, although it is there: the rows that the judge sees do not have it.
    let mut forgetful = some_load(&scene);
    let at = forgetful.attempts.iter().position(|attempt| attempt.status() == Some(201)).unwrap();
    forgetful.attempts[at].outcome = Err(Silence::Reset);
    let verdict = forgetful.settle_with(scene.address, Vec::new, |_| true);
    assert!(verdict.complaints.iter().any(|complaint| complaint.starts_with("L4: ")), "{:?}", verdict.complaints);
}
