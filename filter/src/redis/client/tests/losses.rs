//! How a connection ends, and that nothing of it gets into the next.

use std::time::Duration;

use super::rig::{Rig, STATUS_2, cut_off, lost, pong, reply};
use crate::redis::{Event, LostCause, ProtocolError, Value};

#[test]
fn nothing_of_a_lost_connection_is_sent_on_the_next() {
    let mut rig = Rig::ready();
    rig.submit(1).unwrap();
    assert_eq!(rig.closed(), [lost(STATUS_2), cut_off(1)]);
    assert_eq!(rig.sent(), "");
    rig.now = rig.due.unwrap();
    rig.tick();
    assert!(!rig.shake_hands().0.contains("PING"));
}

#[test]
fn nothing_of_a_lost_connection_is_read_on_the_next() {
    let mut rig = Rig::ready();
    rig.submit(1).unwrap();
    assert_eq!(rig.input("$100\r\nhalf a reply"), []);
    assert_eq!(rig.closed(), [lost(STATUS_2), cut_off(1)]);
    assert_eq!(rig.input("+PONG\r\n"), []);
    rig.reconnect();
    rig.submit(2).unwrap();
    assert_eq!(rig.input("+PONG\r\n"), [pong(2)]);
}

#[test]
fn more_replies_than_commands_end_the_connection() {
    let mut rig = Rig::ready();
    rig.submit(1).unwrap();
    let events = rig.input("+PONG\r\n+PONG\r\n+PONG\r\n");
    assert_eq!(events, [pong(1), Event::Disconnect, lost(LostCause::UnexpectedReply)]);
}

#[test]
fn garbage_ends_the_connection() {
    let mut rig = Rig::ready();
    rig.submit(1).unwrap();
    let cause = LostCause::Protocol(ProtocolError::UnknownType(b'H'));
    assert_eq!(rig.input("HTTP/1.1 400"), [Event::Disconnect, lost(cause), cut_off(1)]);
    rig.reconnect();
}

#[test]
fn a_node_that_is_no_primary_is_left_after_its_reply() {
    let mut rig = Rig::ready();
    (1..3).for_each(|ticket| rig.submit(ticket).unwrap());
    let events = rig.input("-READONLY You can't write\r\n+PONG\r\n");
    let error = Value::Error(b"READONLY You can't write".to_vec());
    let left = [Event::Disconnect, lost(LostCause::NotPrimary), cut_off(2)];
    assert_eq!(events[0], reply(1, error, Duration::ZERO));
    assert_eq!(events[1..], left);
}
