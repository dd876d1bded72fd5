//! The judge judged: what the ledger must notice, it notices.

use std::time::Duration;

use crate::ledger::Ledger;
use crate::scene::Scene;
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
