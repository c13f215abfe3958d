//! An own stall, in which the driver did not look at the clock, costs no command a reply that has arrived.

use std::time::Duration;

use super::rig::{READY, Rig, TICK, overdue, reply};
use crate::redis::{COMMAND_TIMEOUT, DEAD_AFTER, GRACE, HANDSHAKE_TIMEOUT, OWN_STALL, Value};

#[test]
fn after_a_stall_of_our_own_replies_are_read_first() {
    let mut rig = Rig::ready();
    rig.submit(1).unwrap();
    let stall = COMMAND_TIMEOUT * 3;
    rig.pass(stall);
    assert_eq!(rig.tick(), []);
    assert_eq!(rig.input(":1\r\n"), [reply(1, Value::Integer(1), stall)]);
}

#[test]
fn after_a_stall_of_our_own_what_stays_overdue_fails_after_the_grace() {
    let mut rig = Rig::ready();
    rig.submit(1).unwrap();
    rig.pass(COMMAND_TIMEOUT * 3);
    assert_eq!(rig.tick(), []);
    assert_eq!(rig.due, Some(rig.now.saturating_add(GRACE)));
    rig.pass(GRACE - Duration::from_micros(1));
    assert_eq!(rig.tick(), []);
    rig.pass(Duration::from_micros(1));
    assert_eq!(rig.tick(), [overdue(1)]);
}

#[test]
fn a_gap_as_long_as_is_allowed_is_no_stall_of_our_own() {
    let mut rig = Rig::ready();
    rig.submit(1).unwrap();
    assert_eq!(rig.ticks(TICK), []);
    rig.pass(OWN_STALL);
    assert_eq!(rig.tick(), [overdue(1)]);
}

#[test]
fn time_in_which_nothing_was_owed_is_no_stall() {
    let mut rig = Rig::with_timeout(TICK).connected();
    rig.pass(Duration::from_secs(60));
    rig.submit(1).unwrap();
    assert_eq!(rig.ticks(TICK), [overdue(1)]);
}

#[test]
fn a_stall_of_our_own_does_not_end_a_connection() {
    let mut rig = Rig::ready();
    rig.submit(1).unwrap();
    rig.pass(DEAD_AFTER * 2);
    assert_eq!(rig.tick(), []);
    let events = rig.input("+PONG\r\n");
    assert_eq!(events, [reply(1, Value::Simple(b"PONG".to_vec()), DEAD_AFTER * 2)]);

    let mut rig = Rig::new();
    rig.tick();
    rig.pass(HANDSHAKE_TIMEOUT * 2);
    assert_eq!(rig.tick(), []);
    assert_eq!(rig.shake_hands().1, [READY]);
}
