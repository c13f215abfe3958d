//! When commands go out: they wait for the first handshake, and for no other.

use super::rig::{READY, Rig, STATUS_2, TICK, cut_off, lost, overdue, pong};
use crate::redis::{
    COMMAND_TIMEOUT, Client, Credentials, Event, HANDSHAKE_TIMEOUT, LostCause, Options, Password,
    SubmitError,
};
use crate::rng::Rng;
use crate::time::Instant;

#[test]
fn commands_wait_for_the_first_handshake() {
    let mut rig = Rig::new();
    assert_eq!(rig.submit(1), Ok(()));
    assert_eq!(rig.sent(), "");
    assert_eq!(rig.tick(), [Event::Connect]);
    assert_eq!(rig.submit(2), Ok(()));
    let (hello, events) = rig.shake_hands();
    assert!(hello.starts_with("*4\r\n$5\r\nHELLO\r\n") && !hello.contains("PING"), "{hello}");
    assert_eq!(events, [READY]);
    assert_eq!(rig.sent(), "*1\r\n$4\r\nPING\r\n".repeat(2));
    assert_eq!(rig.input("+PONG\r\n+PONG\r\n"), [pong(1), pong(2)]);
    assert_eq!(rig.due, None);
}

#[test]
fn commands_submitted_together_go_out_as_one_piece() {
    let mut rig = Rig::ready();
    (1..4).for_each(|ticket| rig.submit(ticket).unwrap());
    assert_eq!(rig.sent(), "*1\r\n$4\r\nPING\r\n".repeat(3));
    assert_eq!(rig.client.poll_transmit(), None);
}

#[test]
fn a_command_does_not_wait_longer_than_its_deadline_for_the_first_handshake() {
    let mut rig = Rig::new();
    rig.tick();
    rig.submit(1).unwrap();
    let deadline = rig.now.saturating_add(COMMAND_TIMEOUT);
    assert_eq!(rig.ticks(COMMAND_TIMEOUT - TICK), []);
    assert_eq!(rig.due, Some(deadline));
    assert_eq!(rig.ticks(TICK), [overdue(1)]);
    assert_eq!(rig.submit(2), Err(SubmitError::Unavailable));
    assert_eq!(rig.shake_hands().1, [READY]);
    assert_eq!((rig.submit(3), rig.sent()), (Ok(()), "*1\r\n$4\r\nPING\r\n".to_owned()));
}

#[test]
fn after_a_failed_attempt_commands_do_not_wait() {
    let mut rig = Rig::new();
    rig.tick();
    rig.submit(1).unwrap();
    assert_eq!(rig.closed(), [lost(STATUS_2), cut_off(1)]);
    assert_eq!(rig.submit(2), Err(SubmitError::Unavailable));
    rig.now = rig.due.unwrap();
    assert_eq!(rig.tick(), [Event::Connect]);
    assert_eq!(rig.submit(3), Err(SubmitError::Unavailable));
    assert_eq!(rig.shake_hands().1, [READY]);
    assert_eq!(rig.submit(4), Ok(()));
}

#[test]
fn the_handshake_has_a_timeout() {
    let mut rig = Rig::new();
    rig.tick();
    assert_eq!(rig.ticks(HANDSHAKE_TIMEOUT - TICK), []);
    assert_eq!(rig.ticks(TICK), [Event::Disconnect, lost(LostCause::HandshakeTimeout)]);
}

#[test]
fn a_server_that_refuses_us_is_left_and_tried_again() {
    let mut rig = Rig::new();
    rig.tick();
    let events = rig.input("-WRONGPASS invalid username-password pair\r\n");
    assert_eq!(events, [Event::Disconnect, lost(LostCause::AuthRefused)]);
    assert_eq!(rig.submit(1), Err(SubmitError::Unavailable));
    rig.reconnect();
}

#[test]
fn the_password_is_not_shown() {
    let credentials = Credentials { username: None, password: Some(Password::new("hush".into())) };
    let mut client = Client::new(Options { credentials, ..Options::default() }, Rng::with_seed(1));
    client.handle_timeout(Instant::from_micros(1));
    let shown = format!("{client:?} {:?}", client.options);
    assert!(!shown.contains("hush") && !shown.contains(&format!("{:?}", b"hush")), "{shown}");
}
