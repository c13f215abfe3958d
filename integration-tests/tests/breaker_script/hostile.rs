//! Whatever somebody has stored in its place: no op fails, and the breaker works.

use meliproxy::breaker::board::{Expected, Key, Said};
use meliproxy::breaker::evidence::Report;
use meliproxy::breaker::record::{Epoch, Event, Outcome, Token};
use meliproxy::breaker::script::said;
use meliproxy::breaker::told::Told;
use meliproxy::config::Config;
use meliproxy::redis::Value;
use meliproxy::rng::Rng;

use crate::server::{Connection, Server};
use crate::{INDEX, PROCESSES, calls, key, say, terms};

const FIELDS: [&str; 12] = [
    "state",
    "epoch",
    "cause",
    "trips",
    "wait",
    "against",
    "permits",
    "successes",
    "streak",
    "suspect",
    "bad_since",
    "slots",
];

const GARBAGE: [&[u8]; 9] = [
    b"",
    b" ",
    b"nan",
    b"inf",
    b"-1",
    b"1e300",
    b"99999999999999999999999999",
    b"\r\n\0\xff;;; ; 1 2 3",
    b"closed",
];

fn policy() -> meliproxy::breaker::policy::Policy {
    let config = Config::parse(br#"{"version": 1, "breakers": [{"name": "b"}]}"#).unwrap();
    meliproxy::breaker::policy::Policy::of(&config.breakers[0])
}

/// Tells of an event about the state that it is in, and returns what has come of it; it has to be readable.
fn tell(connection: &mut Connection, key: &Key, event: impl Fn(Epoch) -> Event) -> (Outcome, Told) {
    let (calls, mut rng) = (calls(1, &[terms(policy())]), Rng::with_seed(1));
    let mut ask = |epoch, event| {
        let reply = connection.ask(vec![say(&calls, &mut rng, vec![(key.clone(), epoch, event)])]);
        assert!(!matches!(reply[0], Value::Error(_)), "{reply:?}");
        let Said::Ops(mut said) = said(Expected::Ops(1), &reply[0]) else { panic!("{reply:?}") };
        said.pop().unwrap().unwrap_or_else(|| panic!("{reply:?}"))
    };
    let (_, told) = ask(Epoch(0), None);
    ask(told.epoch, Some(event(told.epoch)))
}

fn failures(_: Epoch) -> Event {
    let mut report = Report::default();
    (0..5).for_each(|_| report.failure(true, false, 0));
    Event::Report(report)
}

fn ask(_: Epoch) -> Event {
    Event::Ask { token: Token(1), lapsed: None }
}

fn clear(connection: &mut Connection, key: &Key) {
    connection.command(&[b"DEL", &key.name, INDEX]);
}

#[test]
fn a_field_that_is_garbage_fails_no_op() {
    let server = Server::start();
    let mut connection = server.connect(real_script());
    let key = key(0, 1);
    for state in 0..3 {
        for field in FIELDS {
            for garbage in GARBAGE {
                clear(&mut connection, &key);
                if state > 0 {
                    assert_eq!(tell(&mut connection, &key, failures).0, Outcome::Changed);
                } else {
                    tell(&mut connection, &key, |_| Event::Report(Report::default()));
                }
                if state > 1 {
                    assert_eq!(tell(&mut connection, &key, ask).0, Outcome::Granted);
                }
                connection.command(&[b"HSET", &key.name, field.as_bytes(), garbage]);
                for event in [failures, ask] {
                    tell(&mut connection, &key, event);
                }
            }
        }
    }
}

#[test]
fn another_kind_of_value_in_its_place_is_none() {
    let server = Server::start();
    let mut connection = server.connect(real_script());
    let key = key(0, 1);
    for command in [b"SET".as_slice(), b"LPUSH", b"SADD"] {
        clear(&mut connection, &key);
        connection.command(&[command, &key.name, b"x"]);
        connection.command(&[b"SET", PROCESSES, b"x"]);
        assert_eq!(tell(&mut connection, &key, failures).0, Outcome::Changed);
        assert_eq!(tell(&mut connection, &key, ask).0, Outcome::Granted);
    }
}

#[test]
fn what_is_stored_expires() {
    let server = Server::start();
    let mut connection = server.connect(real_script());
    let (key, policy) = (key(0, 1), policy());
    let expires_in = |connection: &mut Connection| connection.integer(&[b"PTTL", &key.name]);
    tell(&mut connection, &key, |_| Event::Report(Report::default()));
    let closed = i64::try_from(2 * policy.window_ms + 60_000).unwrap();
    assert!((closed - 10_000..=closed).contains(&expires_in(&mut connection)));
    tell(&mut connection, &key, failures);
    let lease = u64::try_from(policy.lease().as_millis()).unwrap();
    let open = i64::try_from(policy.open_for_ms + lease + 600_000).unwrap();
    assert!((open - 10_000..=open).contains(&expires_in(&mut connection)));
    // What has expired is no longer in the index, once somebody looks.
    connection.command(&[b"DEL", &key.name]);
    assert_eq!(connection.integer(&[b"SCARD", INDEX]), 1);
    tell(&mut connection, &key, |_| Event::Recovered);
    assert_eq!(connection.integer(&[b"SCARD", INDEX]), 0);
}

fn real_script() -> &'static [&'static str] {
    &[meliproxy::breaker::script::SOURCE]
}
