//! What an invalidation costs stays bounded, however many there are.

use std::time::Duration;

use integration_tests::stack::wait_until;
use meliproxy::cache::store::{Found, Kept, Mode, Put, Scope, Url};
use meliproxy::redis::Value;

use crate::{SOON, Store, Wanted};

const RECORDS: &[u8] = b"mp:{test}:cache-records:1:";
const PREFIXES: &[u8] = b"mp:{test}:cache-invalid:1:p";

fn prefix(number: usize) -> Scope {
    Scope::Prefix(format!("http\nexample.com\n/{number}").into_bytes())
}

#[test]
fn too_many_prefixes_become_one_record_of_all() {
    let (mut store, wanted) = (Store::start(), Wanted::plain("/a"));
    let put = |store: &mut Store, body| {
        let epoch = store.epoch(&Wanted::plain("/never"));
        assert_eq!(store.put(&wanted, &wanted.response(&[], body, epoch), None), Put::Stored);
    };
    put(&mut store, 1);
    for number in 0..1000 {
        store.invalidate(&[prefix(number)], Mode::Hard);
    }
    assert!(matches!(store.look(&wanted, None), Found::Stored { .. }), "none is about it");
    store.invalidate(&[prefix(1000)], Mode::Hard);
    assert!(matches!(store.look(&wanted, None), Found::Missing { .. }), "more than is said");
    assert_eq!(store.connection.integer(&[b"HLEN", PREFIXES]), 1000);
    put(&mut store, 2);
    assert!(matches!(store.look(&wanted, None), Found::Stored { .. }), "what comes later is good");
}

#[test]
fn records_that_nothing_is_as_old_as_go() {
    let mut store = Store::start();
    let url =
        |number: usize| Scope::Url(Url::of(format!("http\nexample.com\n/{number}").as_bytes()));
    let count = |store: &mut Store| store.connection.integer(&[b"ZCARD", RECORDS]);
    for number in 0..100 {
        store.invalidate(&[url(number), prefix(number)], Mode::Hard);
    }
    assert_eq!(count(&mut store), 200);
    // With what is kept for a moment only, all but the last are older than anything.
    let moment = Kept(Duration::from_millis(1));
    wait_until("all but the last to go", SOON, || {
        let call = store.calls.invalidate(&[url(1)], Mode::Hard, 0, moment);
        assert!(matches!(store.ask(call), Value::Integer(_)));
        let left = count(&mut store);
        if left == 1 { Ok(()) } else { Err(left.to_string()) }
    })
    .unwrap();
    assert_eq!(store.connection.integer(&[b"HLEN", PREFIXES]), 0);
    let Value::Array(names) = store.connection.command(&[b"KEYS", b"*"]) else { panic!() };
    assert!(names.len() <= 4, "{names:?}");
}

#[test]
fn time_does_not_go_back_for_who_has_seen_more() {
    let mut store = Store::start();
    let first = store.invalidate(&[Scope::All], Mode::Hard);
    let seen = first + 1_000_000_000_000;
    let call = store.calls.invalidate(&[Scope::All], Mode::Hard, seen, crate::KEPT);
    let Value::Integer(next) = store.ask(call) else { panic!() };
    assert_eq!(u64::try_from(next).unwrap(), seen + 1);
    assert_eq!(store.invalidate(&[Scope::All], Mode::Soft), seen + 2);
}
