//! A hundred crashes on each engine.

use crate::crashes::f16;
use crate::scene::Scene;

#[test]
fn f16_killed_a_hundred_times_on_sqlite() {
    f16(Scene::on_sqlite(&[]), 100);
}

#[test]
fn f16_killed_a_hundred_times_on_mariadb() {
    f16(Scene::on_mariadb(&[]), 100);
}
