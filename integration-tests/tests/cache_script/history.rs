//! Random histories of fetches and invalidations, held against a model: nothing that was asked for before an
//! invalidation of it is ever found after it.

use std::collections::BTreeMap;

use meliproxy::cache::groups::Group;
use meliproxy::cache::store::{Found, Mode, Put, Scope, Url};
use meliproxy::cache::stored::Stored;
use meliproxy::rng::Rng;

use crate::{Store, Wanted};

#[path = "../../../filter/tests/common/seeds.rs"]
mod seeds;

const PATHS: [&str; 6] = ["/a", "/a/b", "/a/b?c", "/ab", "/d", "/d/e"];
const GROUPS: [&str; 3] = ["g", "h", "i"];
const PREFIXES: [&str; 4] = ["/a", "/a/", "/d/e", "/"];
/// In each history.
const STEPS: usize = 10_000;

/// What is known of one path.
#[derive(Default)]
struct Known {
    stored: Option<Stored>,
    /// When fetches under way were asked for.
    fetching: Vec<u64>,
}

struct World {
    rng: Rng,
    store: Store,
    known: BTreeMap<&'static str, Known>,
    /// All invalidations: what, how, and when.
    invalidations: Vec<(Scope, Mode, u64)>,
    next_body: u64,
    refused: usize,
    found: usize,
    gone: usize,
    stale: usize,
}

fn is_of(scope: &Scope, path: &str, stored: &Stored) -> bool {
    let url = format!("http\nexample.com\n{path}");
    match scope {
        Scope::Url(of) => of.text == url.as_bytes(),
        Scope::Group(group) => {
            stored.groups.contains(&meliproxy::cache::stored::GroupId::of(group))
        }
        Scope::Host(host) => host == b"example.com",
        Scope::Prefix(prefix) => {
            let prefix = std::str::from_utf8(prefix).unwrap();
            let after = url.strip_prefix(prefix);
            after.is_some_and(|after| {
                prefix.ends_with('/') || after.is_empty() || after.starts_with(['/', '?'])
            })
        }
        Scope::All => true,
    }
}

impl World {
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.rng.up_to(from.len() as u64 - 1)).unwrap()]
    }

    fn step(&mut self) {
        let path = self.pick(&PATHS);
        match self.rng.up_to(9) {
            0..=2 => self.fetch(path),
            3..=5 => self.arrive(path),
            6 => self.invalidate(path),
            _ => self.look(path),
        }
    }

    fn fetch(&mut self, path: &'static str) {
        let wanted = Wanted::plain(&format!("{path}#"));
        // The epoch is that of all; a path that never is there tells it.
        let epoch = self.store.epoch(&wanted);
        let last = self.invalidations.last().map_or(0, |(_, _, epoch)| *epoch);
        assert_eq!(epoch, last);
        let fetching = &mut self.known.entry(path).or_default().fetching;
        fetching.push(epoch);
        fetching.truncate(4);
    }

    /// A response comes, some time after it was asked for.
    fn arrive(&mut self, path: &'static str) {
        let Some(epoch) = self.known.entry(path).or_default().fetching.pop() else { return };
        let groups: Vec<&str> = GROUPS.into_iter().filter(|_| self.rng.up_to(2) == 0).collect();
        self.next_body += 1;
        let wanted = Wanted::plain(path);
        let groups = groups.join(" ");
        let stored = wanted.response(&[("surrogate-key", &groups)], self.next_body, epoch);
        let is_invalid = self.newest(path, &stored, None) > epoch;
        let put = self.store.put(&wanted, &stored, None);
        assert_eq!(put, if is_invalid { Put::Invalidated } else { Put::Stored });
        if is_invalid {
            self.refused += 1;
        } else {
            self.known.entry(path).or_default().stored = Some(stored);
        }
    }

    fn newest(&self, path: &str, stored: &Stored, only: Option<Mode>) -> u64 {
        let of = |(scope, mode, _): &&(Scope, Mode, u64)| {
            is_of(scope, path, stored) && only.is_none_or(|only| only == *mode)
        };
        self.invalidations.iter().rev().find(of).map_or(0, |(_, _, epoch)| *epoch)
    }

    fn look(&mut self, path: &'static str) {
        let found = self.store.look(&Wanted::plain(path), None);
        let stored = self.known.entry(path).or_default().stored.clone();
        let stored =
            stored.filter(|stored| self.newest(path, stored, Some(Mode::Hard)) <= stored.epoch);
        match (found, stored) {
            (Found::Stored { stored: found, invalid_since, epoch }, Some(stored)) => {
                assert_eq!(*found, stored);
                let newest = self.newest(path, &stored, Some(Mode::Soft));
                let is_stale = newest > stored.epoch;
                assert_eq!(invalid_since, is_stale.then_some(newest));
                assert!(epoch >= newest, "what is asked for now is newer");
                self.found += 1;
                self.stale += usize::from(is_stale);
            }
            (Found::Missing { .. }, None) => self.gone += 1,
            (found, stored) => panic!("{path}: {found:?} and not {stored:?}"),
        }
    }

    fn invalidate(&mut self, path: &str) {
        let url = |path: &str| format!("http\nexample.com\n{path}").into_bytes();
        let scope = match self.rng.up_to(19) {
            0..=11 => Scope::Url(Url::of(&url(path))),
            12..=15 => Scope::Group(Group::shared(self.pick(&GROUPS).as_bytes())),
            16..=17 => Scope::Prefix(url(self.pick(&PREFIXES))),
            18 => Scope::Host(b"example.com".to_vec()),
            _ => Scope::All,
        };
        let mode = if self.rng.up_to(1) == 0 { Mode::Hard } else { Mode::Soft };
        let epoch = self.store.invalidate(std::slice::from_ref(&scope), mode);
        assert!(self.invalidations.last().is_none_or(|(_, _, last)| epoch > *last));
        self.invalidations.push((scope, mode, epoch));
    }
}

#[test]
fn what_was_asked_for_before_an_invalidation_is_never_found_after_it() {
    seeds::for_each(3, |seed| {
        let mut world = World {
            rng: Rng::with_seed(seed),
            store: Store::start(),
            known: BTreeMap::new(),
            invalidations: Vec::new(),
            next_body: 0,
            refused: 0,
            found: 0,
            gone: 0,
            stale: 0,
        };
        (0..STEPS).for_each(|_| world.step());
        let World { refused, found, gone, stale, .. } = world;
        println!("{refused} refused, {found} found ({stale} stale), {gone} gone");
        assert!(refused > 100 && found > 100 && gone > 100 && stale > 100);
    });
}
