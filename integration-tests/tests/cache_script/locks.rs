//! One worker of the fleet fetches, the others wait and are woken.

use std::time::Duration;

use integration_tests::stack::wait_until;
use meliproxy::cache::store::{self, Found, Lock, Token};
use meliproxy::redis::Value;

use crate::subscriber::Subscriber;
use crate::{SOON, Store, Wanted};

impl Store {
    fn lock(&mut self, wanted: &Wanted, token: u64) -> Lock {
        match self.look(wanted, Some(token)) {
            Found::Missing { lock, .. } => lock,
            Found::Names(_) | Found::Stored { .. } => panic!("it is there"),
        }
    }

    fn release(&mut self, wanted: &Wanted, token: u64, useless_for: Duration) -> bool {
        let call = self.calls.release(&wanted.place(), Token(token), useless_for);
        self.ask(call) == Value::Integer(1)
    }
}

#[test]
fn one_fetches_and_who_waits_is_told() {
    let (mut store, wanted) = (Store::start(), Wanted::plain("/a"));
    let mut subscriber = Subscriber::new(&store.server.socket(), &store.calls.channel());
    assert_eq!(store.lock(&wanted, 1), Lock::Mine);
    assert_eq!(store.lock(&wanted, 2), Lock::Taken);
    assert_eq!(store.lock(&wanted, 3), Lock::Taken);
    assert!(!store.release(&wanted, 2, Duration::ZERO), "it is not theirs");
    store.put(&wanted, &wanted.response(&[], 1, 0), Some(1));
    assert_eq!(subscriber.hear(), wanted.place().object.word());
    assert!(matches!(store.look(&wanted, Some(2)), Found::Stored { .. }));
}

#[test]
fn without_anybody_who_waits_nothing_is_told() {
    let (mut store, wanted) = (Store::start(), Wanted::plain("/a"));
    let mut subscriber = Subscriber::new(&store.server.socket(), &store.calls.channel());
    assert_eq!(store.lock(&wanted, 1), Lock::Mine);
    store.put(&wanted, &wanted.response(&[], 1, 0), Some(1));
    // But what was there before is in some memories.
    store.put(&wanted, &wanted.response(&[], 2, 0), None);
    assert_eq!(subscriber.hear(), wanted.place().object.word());
    let told = store.connection.integer(&[b"PUBLISH", store.calls.channel().as_bytes(), b"end"]);
    assert_eq!(told, 1);
    assert_eq!(subscriber.hear(), "end", "once");
}

#[test]
fn who_gives_up_lets_the_next_one_try() {
    let (mut store, wanted) = (Store::start(), Wanted::plain("/a"));
    let mut subscriber = Subscriber::new(&store.server.socket(), &store.calls.channel());
    assert_eq!(store.lock(&wanted, 1), Lock::Mine);
    assert_eq!(store.lock(&wanted, 2), Lock::Taken);
    assert!(store.release(&wanted, 1, Duration::ZERO));
    assert_eq!(subscriber.hear(), wanted.place().object.word());
    assert_eq!(store.lock(&wanted, 2), Lock::Mine);
}

#[test]
fn what_is_not_stored_is_not_waited_for() {
    let (mut store, wanted) = (Store::start(), Wanted::plain("/a"));
    assert_eq!(store.lock(&wanted, 1), Lock::Mine);
    assert!(store.release(&wanted, 1, Duration::from_secs(3600)));
    assert_eq!(store.lock(&wanted, 2), Lock::Useless);
    assert_eq!(store.lock(&Wanted::plain("/b"), 2), Lock::Mine, "another one");
}

#[test]
fn what_is_there_can_be_locked_for_validation() {
    let (mut store, wanted) = (Store::start(), Wanted::plain("/a"));
    let stored = wanted.response(&[], 1, 0);
    store.put(&wanted, &stored, None);
    let acquire_of = |store: &mut Store, token, received_ms| {
        let call = store.calls.acquire(&wanted.place(), Token(token), crate::LEASE, received_ms);
        let answer = store.ask(call);
        store::lock(&answer).unwrap()
    };
    let acquire = |store: &mut Store, token| acquire_of(store, token, Some(stored.received_ms));
    // What has been refreshed meanwhile is not refreshed again.
    assert_eq!(acquire_of(&mut store, 9, Some(stored.received_ms - 1)), Lock::Changed);
    assert_eq!([1, 2].map(|token| acquire(&mut store, token)), [Lock::Mine, Lock::Taken]);
    assert!(store.release(&wanted, 1, Duration::ZERO));
    assert_eq!(acquire(&mut store, 2), Lock::Mine);
    assert!(store.release(&wanted, 2, Duration::ZERO));
    assert_eq!(acquire_of(&mut store, 3, None), Lock::Mine, "whatever there is");
}

#[test]
fn a_lock_ends_with_its_lease() {
    let (mut store, wanted) = (Store::start(), Wanted::plain("/a"));
    let call = |store: &Store| {
        let fetch = Some((Token(1), Duration::from_millis(50)));
        store.calls.lookup(&wanted.place(), &wanted.names, fetch)
    };
    let first = call(&store);
    store.ask(first);
    wait_until("the lease to end", SOON, || match store.lock(&wanted, 2) {
        Lock::Mine => Ok(()),
        lock @ (Lock::Taken | Lock::Useless | Lock::NotAsked | Lock::Changed) => {
            Err(format!("{lock:?}"))
        }
    })
    .unwrap();
    assert!(!store.release(&wanted, 1, Duration::ZERO), "it was taken over");
    assert_eq!(store.lock(&wanted, 3), Lock::Taken);
}
