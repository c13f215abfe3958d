//! What is published on the channels of a client.

use std::time::Duration;

use super::rig::{DIGEST, HELLO, Rig, reply};
use crate::redis::client::MAX_PUSHES;
use crate::redis::{Event, LostCause, Options, Value};

const SUBSCRIBED: &str = ">3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n";

fn message(payload: &str) -> String {
    let length = payload.len();
    format!(">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n${length}\r\n{payload}\r\n")
}

fn heard(payload: &str) -> Event {
    Event::Message { channel: b"news".to_vec(), payload: payload.as_bytes().to_vec() }
}

/// A client with a channel, whose first flight was answered.
fn asking() -> Rig {
    let channels = vec!["news".to_owned()];
    let mut rig = Rig::with(Options { channels, ..Options::default() });
    assert_eq!(rig.tick(), [Event::Connect]);
    assert!(!rig.sent().contains("SUBSCRIBE"), "not before RESP3 is agreed on");
    let digests = format!("$40\r\n{DIGEST}\r\n").repeat(2);
    assert_eq!(rig.input(&format!("{HELLO}{digests}")), []);
    assert!(rig.sent().contains("SUBSCRIBE\r\n$4\r\nnews"));
    rig
}

#[test]
fn what_is_published_is_told_and_answers_nobody() {
    let mut rig = asking();
    let ready = Event::Ready { subscribed: true };
    assert_eq!(rig.input(&format!("{SUBSCRIBED}{HELLO}")), [ready]);
    rig.submit(1).unwrap();
    let expected =
        [heard("a"), reply(1, Value::Simple(b"PONG".to_vec()), Duration::ZERO), heard("")];
    assert_eq!(rig.input(&format!("{}+PONG\r\n{}", message("a"), message(""))), expected);
}

#[test]
fn who_may_not_subscribe_is_served_without() {
    let mut rig = asking();
    let ready = Event::Ready { subscribed: false };
    assert_eq!(rig.input("-NOPERM this user has no permissions\r\n"), []);
    assert_eq!(rig.input(HELLO), [ready]);
}

#[test]
fn a_flood_ends_the_connection() {
    let mut rig = asking();
    rig.input(&format!("{SUBSCRIBED}{HELLO}"));
    assert_eq!(rig.input(&message("x").repeat(MAX_PUSHES)).len(), MAX_PUSHES);
    let events = rig.input(&message("x").repeat(MAX_PUSHES + 1));
    let lost = Event::Lost { cause: LostCause::TooManyPushes };
    assert!(events.ends_with(&[Event::Disconnect, lost]), "{:?}", events.last());
}
