//! Scripts go by digest, and by source where the server has lost them.

use std::time::Duration;

use super::rig::{DIGEST, HELLO, READY, Rig, TICK, overdue, pong, reply};
use crate::redis::{COMMAND_TIMEOUT, SubmitError, Value};

const BY_SOURCE: &str = "*4\r\n$4\r\nEVAL\r\n$8\r\nreturn 1\r\n$1\r\n1\r\n$1\r\nk\r\n";
const NO_SCRIPT: &str = "-NOSCRIPT No matching script.\r\n";

#[test]
fn a_script_is_called_by_its_digest() {
    let mut rig = Rig::ready();
    rig.call(0, 1).unwrap();
    let expected = format!("*4\r\n$7\r\nEVALSHA\r\n$40\r\n{DIGEST}\r\n$1\r\n1\r\n$1\r\nk\r\n");
    assert_eq!(rig.sent(), expected);
    assert_eq!(rig.input(":5\r\n"), [reply(1, Value::Integer(5), Duration::ZERO)]);
}

#[test]
fn a_script_the_server_has_lost_is_sent_by_source_once() {
    let mut rig = Rig::ready();
    rig.call(0, 1).unwrap();
    rig.submit(2).unwrap();
    rig.sent();
    assert_eq!(rig.input(NO_SCRIPT), []);
    assert_eq!(rig.sent(), BY_SOURCE);
    assert_eq!(rig.input("+PONG\r\n"), [pong(2)]);
    assert_eq!(rig.input(":5\r\n"), [reply(1, Value::Integer(5), Duration::ZERO)]);

    rig.call(0, 3).unwrap();
    assert_eq!(rig.input(NO_SCRIPT), []);
    let error = Value::Error(b"NOSCRIPT No matching script.".to_vec());
    assert_eq!(rig.input(NO_SCRIPT), [reply(3, error, Duration::ZERO)]);
}

#[test]
fn a_script_that_is_sent_again_keeps_its_deadline() {
    let mut rig = Rig::ready();
    rig.call(0, 1).unwrap();
    assert_eq!(rig.ticks(COMMAND_TIMEOUT - TICK), []);
    rig.submit(2).unwrap();
    assert_eq!(rig.input(NO_SCRIPT), []);
    assert_eq!(rig.ticks(TICK), [overdue(1)]);
    let elapsed = TICK;
    assert_eq!(rig.input(":2\r\n"), [reply(2, Value::Integer(2), elapsed)]);
    assert_eq!(rig.input(":1\r\n"), []);
}

#[test]
fn a_script_that_has_failed_is_not_sent_again() {
    let mut rig = Rig::ready();
    rig.call(0, 1).unwrap();
    assert_eq!(rig.ticks(COMMAND_TIMEOUT), [overdue(1)]);
    rig.sent();
    assert_eq!((rig.input(NO_SCRIPT), rig.sent()), (vec![], String::new()));
}

#[test]
fn a_script_the_server_would_not_load_is_called_by_source() {
    let mut rig = Rig::new();
    rig.tick();
    rig.sent();
    let refused = "-ERR unknown command 'SCRIPT'\r\n".repeat(2);
    assert_eq!(rig.input(&format!("{HELLO}{refused}")), [READY]);
    rig.call(0, 1).unwrap();
    assert_eq!(rig.sent(), BY_SOURCE);
}

#[test]
fn a_script_we_do_not_have_is_refused() {
    let mut rig = Rig::ready();
    assert_eq!(rig.call(1, 1), Ok(()));
    assert_eq!(rig.call(2, 2), Err(SubmitError::Unavailable));
}
