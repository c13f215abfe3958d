//! The cache's scripts in a real Redis: who fetches, what is stored, what is invalidated, and whatever else may be there.
//!
//! `SEED=n` repeats a history.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::arithmetic_side_effects,
    reason = "a test that meets the unexpected ends here"
)]

mod bounds;
mod history;
mod hostile;
mod locks;
#[path = "../quota_script/server.rs"]
mod server;
#[path = "../breaker_script/subscriber.rs"]
mod subscriber;

use std::time::Duration;

use meliproxy::cache::fields::Fields;
use meliproxy::cache::freshness::Times;
use meliproxy::cache::policy::Policy;
use meliproxy::cache::request::Request;
use meliproxy::cache::storable::storable;
use meliproxy::cache::store::{self, Calls, Found, Kept, Mode, Place, Put, SOURCES, Scope, Token};
use meliproxy::cache::stored::{BodyId, Stored};
use meliproxy::cache::vary::Names;
use meliproxy::redis::{ScriptCall, ScriptId, Value};

use crate::server::{Connection, Server};

/// When responses come, as far as these tests are concerned.
const NOW_MS: u64 = 1_795_500_000_000;
/// For how long they are kept.
const KEPT: Kept = Kept(Duration::from_secs(3600));
/// For what is waited for.
const SOON: Duration = Duration::from_secs(10);
/// Of locks.
const LEASE: Duration = Duration::from_secs(3600);

/// The store in a Redis of its own.
struct Store {
    connection: Connection,
    calls: Calls,
    server: Server,
}

/// A request, as far as the store is concerned.
#[derive(Clone, Debug)]
struct Wanted {
    key: Vec<u8>,
    fields: Fields,
    names: Names,
}

impl Wanted {
    /// A GET of a path at example.com, and what it has in the field `a`.
    fn new(path: &str, a: &str, names: &str) -> Self {
        let key = format!("http\nexample.com\n{path}").into_bytes();
        let fields = [("a", a)].into_iter().collect();
        Self { key, fields, names: Names::parse(names.as_bytes()).unwrap() }
    }

    fn plain(path: &str) -> Self {
        Self::new(path, "", "")
    }

    fn place(&self) -> Place {
        Place::of(&self.key, &self.names.values(&self.fields))
    }

    /// A response to it.
    fn response(&self, fields: &[(&str, &str)], body: u64, epoch: u64) -> Stored {
        let times = Times { requested_ms: NOW_MS, received_ms: NOW_MS };
        let request = Request::of(b"GET", b"/", self.fields.clone(), true, &[]).unwrap();
        let mut all: Fields = [("cache-control", "max-age=60")].into_iter().collect();
        fields.iter().for_each(|(name, value)| all.push(name.as_bytes(), value.as_bytes()));
        let storable = storable(&Policy::default(), &request, 200, &all, times).unwrap();
        let vary = storable.vary.values(&self.fields);
        let stored = Stored::new(self.key.clone(), vary, 200, storable, times, (BodyId(body), 4));
        Stored { epoch, ..stored }
    }
}

impl Store {
    fn start() -> Self {
        let server = Server::start();
        let connection = server.connect(&SOURCES);
        Self { connection, calls: Calls::new("test", ScriptId(0)), server }
    }

    fn ask(&mut self, call: ScriptCall) -> Value {
        self.connection.ask(vec![call.into()]).pop().unwrap()
    }

    fn look(&mut self, wanted: &Wanted, token: Option<u64>) -> Found {
        let fetch = token.map(|token| (Token(token), LEASE));
        let answer = self.ask(self.calls.lookup(&wanted.place(), &wanted.names, fetch));
        store::found(&answer, &wanted.key).unwrap_or_else(|| panic!("{answer:?}"))
    }

    /// The epoch of what is fetched from now on.
    fn epoch(&mut self, wanted: &Wanted) -> u64 {
        let Found::Missing { epoch, .. } = self.look(wanted, None) else { panic!("it is there") };
        epoch
    }

    fn put(&mut self, wanted: &Wanted, stored: &Stored, token: Option<u64>) -> Put {
        let header = stored.write().unwrap();
        let place = Place::of(&wanted.key, &stored.vary);
        let token = token.map(Token);
        let call = self.calls.put(&place, stored, &header, Some(b"body"), KEPT, token);
        let answer = self.ask(call);
        store::put(&answer).unwrap_or_else(|| panic!("{answer:?}"))
    }

    fn body(&mut self, wanted: &Wanted, stored: &Stored) -> Option<Vec<u8>> {
        let command = self.calls.body(wanted.place().object);
        store::body(&self.connection.ask(vec![command.into()])[0], stored)
    }

    fn invalidate(&mut self, scopes: &[Scope], mode: Mode) -> u64 {
        let answer = self.ask(self.calls.invalidate(scopes, mode, 0, KEPT));
        let Value::Integer(epoch) = answer else { panic!("{answer:?}") };
        u64::try_from(epoch).unwrap()
    }
}

#[test]
fn what_is_stored_is_found_with_its_body() {
    let (mut store, wanted) = (Store::start(), Wanted::plain("/a"));
    let epoch = store.epoch(&wanted);
    let stored = wanted.response(&[("etag", "\"a\""), ("surrogate-key", "g h")], 1, epoch);
    assert_eq!(store.put(&wanted, &stored, None), Put::Stored);
    let (found, invalid_since) = (Box::new(stored.clone()), None);
    let found = Found::Stored { stored: found, invalid_since, epoch };
    assert_eq!(store.look(&wanted, None), found);
    assert_eq!(store.body(&wanted, &stored), Some(b"body".to_vec()));
    let other = wanted.response(&[], 2, epoch);
    assert_eq!(store.body(&wanted, &other), None, "the body of another one");
    assert!(matches!(store.look(&Wanted::plain("/b"), None), Found::Missing { .. }));
}

#[test]
fn a_newer_header_is_stored_with_the_body_that_it_is_of() {
    let (mut store, wanted) = (Store::start(), Wanted::plain("/a"));
    let stored = wanted.response(&[("x", "old")], 1, 0);
    store.put(&wanted, &stored, None);
    let mut touch = |body, expected| {
        let newer = wanted.response(&[("x", "new")], body, 0);
        let (place, header) = (wanted.place(), newer.write().unwrap());
        let call = store.calls.put(&place, &newer, &header, None, KEPT, None);
        let answer = store.ask(call);
        assert_eq!(store::put(&answer), Some(expected), "{answer:?}");
        store.look(&wanted, None)
    };
    let x = |found: &Found| match found {
        Found::Stored { stored, .. } => stored.fields.first("x").unwrap().to_vec(),
        Found::Names(_) | Found::Missing { .. } => panic!("{found:?}"),
    };
    assert_eq!(x(&touch(2, Put::Changed)), b"old");
    assert_eq!(x(&touch(1, Put::Stored)), b"new");
    assert_eq!(store.body(&wanted, &stored), Some(b"body".to_vec()));
}

#[test]
fn what_it_varies_on_leads_to_the_variant() {
    let mut store = Store::start();
    for value in ["1", "2"] {
        let wanted = Wanted::new("/a", value, "a");
        store.put(&wanted, &wanted.response(&[("vary", "A"), ("x", value)], 1, 0), None);
    }
    for value in ["1", "2", "3"] {
        let guess = Wanted::new("/a", value, "");
        let Found::Names(names) = store.look(&guess, None) else { panic!("it varies") };
        assert_eq!(names, Names::parse(b"a").unwrap());
        match store.look(&Wanted { names, ..guess }, None) {
            Found::Stored { stored, .. } => {
                assert_eq!(stored.fields.first("x"), Some(value.as_bytes()));
            }
            Found::Missing { .. } => assert_eq!(value, "3"),
            Found::Names(names) => panic!("{names:?}"),
        }
    }
    // Not any more.
    let plain = Wanted::plain("/a");
    store.put(&plain, &plain.response(&[], 2, 0), None);
    assert!(matches!(store.look(&plain, None), Found::Stored { .. }));
}

#[test]
fn what_is_kept_for_a_time_is_gone_after_it() {
    let (mut store, wanted) = (Store::start(), Wanted::plain("/a"));
    store.put(&wanted, &wanted.response(&[], 1, 0), None);
    store.look(&Wanted::plain("/b"), Some(7));
    let Value::Array(names) = store.connection.command(&[b"KEYS", b"*"]) else { panic!() };
    assert_eq!(names.len(), 2, "{names:?}");
    for name in names {
        let left = store.connection.integer(&[b"PTTL", name.as_bytes().unwrap()]);
        assert!((3_500_000..=3_600_000).contains(&left), "{name:?}: {left} ms");
    }
}
