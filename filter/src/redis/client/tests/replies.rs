//! Which reply belongs to which command, and what is no reply.

use std::time::Duration;

use super::rig::{READY, Rig, TICK, overdue, pong, reply};
use crate::redis::{COMMAND_TIMEOUT, Event, Value};

#[test]
fn a_late_reply_is_nobody_elses() {
    let mut rig = Rig::ready();
    rig.submit(1).unwrap();
    rig.pass(TICK);
    rig.submit(2).unwrap();
    assert_eq!(rig.ticks(COMMAND_TIMEOUT - TICK), [overdue(1)]);
    assert_eq!(rig.input(":1\r\n"), []);
    let elapsed = COMMAND_TIMEOUT - TICK;
    assert_eq!(rig.input(":2\r\n"), [reply(2, Value::Integer(2), elapsed)]);
}

#[test]
fn pushes_come_between_replies_and_in_the_handshake() {
    let push = || Event::Push(vec![Value::Integer(7)]);
    let mut rig = Rig::new();
    rig.tick();
    assert_eq!(rig.input(">1\r\n:7\r\n"), [push()]);
    assert_eq!(rig.shake_hands().1, [READY]);
    assert_eq!(rig.input(">1\r\n:7\r\n"), [push()]);
    rig.submit(1).unwrap();
    assert_eq!(rig.input(">1\r\n:7\r\n+PONG\r\n>1\r\n:7\r\n"), [push(), pong(1), push()]);
}

#[test]
fn other_errors_are_replies() {
    let mut rig = Rig::ready();
    rig.submit(1).unwrap();
    let error = Value::Error(b"OOM no".to_vec());
    assert_eq!(rig.input("-OOM no\r\n"), [reply(1, error, Duration::ZERO)]);
    assert_eq!(rig.submit(2), Ok(()));
}
