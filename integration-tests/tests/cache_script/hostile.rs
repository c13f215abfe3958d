//! Whatever somebody has put in their place: nothing of it is served, and requests go on.

use meliproxy::cache::store::{Found, Lock, Mode, Put, Scope};
use meliproxy::redis::Value;

use crate::{Store, Wanted};

const GARBAGE: [&[u8]; 7] =
    [b"", b" ", b"-1 -1", b"nan inf", b"1e300 1", b"99999999999999999999999 0", b"\xff\0"];

/// All names that a response and its invalidations have.
fn names(store: &mut Store) -> Vec<Vec<u8>> {
    let Value::Array(names) = store.connection.command(&[b"KEYS", b"*"]) else { panic!() };
    names.iter().map(|name| name.as_bytes().unwrap().to_vec()).collect()
}

#[test]
fn no_value_of_any_type_makes_a_lookup_fail() {
    let mut store = Store::start();
    let wanted = Wanted::new("/a", "1", "a");
    let fields = [("vary", "a"), ("surrogate-key", "g")];
    store.put(&wanted, &wanted.response(&fields, 1, 0), None);
    assert!(matches!(store.look(&wanted, Some(1)), Found::Stored { .. }));
    store.look(&Wanted::plain("/b"), Some(1));
    let scopes = [
        Scope::Url(wanted.place().url),
        Scope::All,
        Scope::Prefix(b"http\nexample.com\n/x".to_vec()),
    ];
    store.invalidate(&scopes, Mode::Soft);
    let all = names(&mut store);
    assert!(all.len() >= 7, "{all:?}");
    for name in &all {
        let other_types: [&[&[u8]]; 4] = [
            &[b"SET", name, b"text"],
            &[b"RPUSH", name, b"item"],
            &[b"SADD", name, b"member"],
            &[b"HSET", name, b"m", b"?", b"e", b"?", b"g", b"?", b"t", b"?", b"i", b"?"],
        ];
        for words in other_types {
            store.connection.command(&[b"DEL", name]);
            store.connection.command(words);
            for wanted in [&wanted, &Wanted::plain("/b")] {
                let answer = store.calls.lookup(&wanted.place(), &wanted.names, None);
                let answer = store.ask(answer);
                assert!(!matches!(answer, Value::Error(_)), "{name:?} as {words:?}: {answer:?}");
            }
        }
        store.connection.command(&[b"DEL", name]);
    }
}

#[test]
fn records_that_cannot_be_read_hide_all() {
    let (mut store, wanted) = (Store::start(), Wanted::plain("/a"));
    store.invalidate(&[Scope::All], Mode::Soft);
    let epoch = store.epoch(&wanted);
    assert_eq!(store.put(&wanted, &wanted.response(&[], 1, epoch), None), Put::Stored);
    let record = names(&mut store).into_iter().find(|name| name.ends_with(b":a")).unwrap();
    for garbage in GARBAGE {
        store.connection.command(&[b"SET", &record, garbage]);
        let missing = Found::Missing { epoch, lock: Lock::NotAsked };
        let found = store.look(&wanted, None);
        assert_eq!(found, missing, "{garbage:?}");
    }
}

#[test]
fn a_response_of_another_key_is_not_served() {
    let mut store = Store::start();
    let (one, other) = (Wanted::plain("/a"), Wanted::plain("/b"));
    store.put(&one, &one.response(&[], 1, 0), None);
    // As a collision of digests, or somebody with access, would have it.
    let place = |wanted: &Wanted| format!("mp:{{test}}:cache:1:{}", wanted.place().object.word());
    store.connection.command(&[b"COPY", place(&one).as_bytes(), place(&other).as_bytes()]);
    assert!(matches!(store.look(&other, None), Found::Missing { .. }));
}
