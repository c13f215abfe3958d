//! Invalidation: by hand, and by requests that may have changed something.
//!
//! An invalidation is done once Redis has noted it: nothing older is stored or found there from then on. What workers
//! remember goes when they are told of it, a moment later. Who invalidates by hand is answered after that moment: each
//! worker is sent a message behind what it was told, and says that it has read it. One that does not has lost its
//! connection, and uses what it remembers for [`LEASE`] at most; so that long is the longest that is waited.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use super::fetch::{Filling, Header};
use super::outbox::{About, Outgoing, Whose};
use super::series::{Miss, Series};
use super::{Arrival, Asking, Event, Keeper, LEASE, Said};
use crate::cache::groups;
use crate::cache::invalidation;
use crate::cache::key::{self, Target};
use crate::cache::storable::stands_for_target;
use crate::cache::store::{Mode, ObjectId, Scope, Url};
use crate::time::{Instant, Now};

/// For how long an invalidation is repeated to a store that has come back: a failover may have lost it.
const REPEATED_FOR: Duration = Duration::from_secs(60);

/// Most invalidations that are repeated.
const MOST_REPEATED: usize = 256;

/// A request that may change what is stored, and the request that its answer may be stored for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutation {
    /// Its method.
    pub method: Vec<u8>,
    /// A GET of its target, as the cache has it.
    pub asking: Asking,
}

/// An invalidation that somebody waits for.
#[derive(Debug)]
struct Purge {
    asker: u32,
    /// How many workers have to say that they know.
    wanted: Option<usize>,
    heard: usize,
    until: Instant,
}

/// What is to become of the answer to an unsafe request that is stored: it has to be newer than what that request has
/// invalidated.
#[derive(Debug, Default)]
struct Post {
    epoch: Option<u64>,
    filled: Option<Box<Filling>>,
}

#[derive(Debug)]
struct Repeated {
    at: Instant,
    scopes: Vec<Scope>,
    mode: Mode,
}

#[derive(Debug, Default)]
pub(super) struct Purges {
    last: u64,
    waiting: HashMap<u64, Purge>,
    posts: HashMap<u64, Post>,
    recent: VecDeque<Repeated>,
}

impl Purges {
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.waiting.values().map(|purge| purge.until).min()
    }

    const fn next(&mut self) -> u64 {
        self.last = self.last.wrapping_add(1);
        self.last
    }
}

impl Keeper {
    /// Has all of this invalidated, for one who wants to know when that is done ([`Event::Invalidated`]).
    pub fn purge(&mut self, now: Now, scopes: Vec<Scope>, mode: Mode, asker: u32) {
        self.outbox.on_now(now.mono);
        if self.outbox.is_open() {
            self.invalidate(now, scopes, mode, Whose::Purge(asker));
        } else {
            self.events.push_back(Event::Invalidated { asker, done: false });
        }
    }

    fn invalidate(&mut self, now: Now, scopes: Vec<Scope>, mode: Mode, whose: Whose) {
        let recent = &mut self.purges.recent;
        recent.retain(|said| now.mono.saturating_since(said.at) < REPEATED_FOR);
        if recent.len() >= MOST_REPEATED {
            recent.pop_front();
        }
        recent.push_back(Repeated { at: now.mono, scopes: scopes.clone(), mode });
        self.say_invalid(scopes, mode, whose);
    }

    fn say_invalid(&mut self, scopes: Vec<Scope>, mode: Mode, whose: Whose) {
        let kept = self.longest_kept();
        let outgoing = Outgoing::Invalidate { scopes, mode, seen: self.epoch, kept };
        self.outbox.say(outgoing, About::Invalidate { whose });
    }

    /// A store that has come back may be another one, which was not told everything.
    pub(super) fn repeat_invalidations(&mut self, now: Now) {
        let recent = &mut self.purges.recent;
        recent.retain(|said| now.mono.saturating_since(said.at) < REPEATED_FOR);
        let again: Vec<_> = recent.iter().map(|said| (said.scopes.clone(), said.mode)).collect();
        for (scopes, mode) in again {
            self.say_invalid(scopes, mode, Whose::Nobody);
        }
    }

    pub(super) fn on_purge_said(&mut self, now: Now, about: About, said: &Said) {
        match (about, said) {
            (About::Invalidate { whose }, Said::Epoch(epoch)) => {
                self.epoch = self.epoch.max(*epoch);
                match whose {
                    Whose::Nobody => {}
                    Whose::Purge(asker) => self.ask_whether_known(now, asker),
                    Whose::Post(number) => self.on_post_invalidated(now, number, *epoch),
                }
            }
            (About::Invalidate { whose: Whose::Purge(asker) }, _) => {
                self.events.push_back(Event::Invalidated { asker, done: false });
            }
            // Nothing is known of an epoch that it could be stored with.
            (About::Invalidate { whose: Whose::Post(number) }, _) => self.forget_post(number),
            (About::Sync { number }, Said::Count(workers)) => {
                if let Some(purge) = self.purges.waiting.get_mut(&number) {
                    purge.wanted = usize::try_from(*workers).ok();
                    // What was asked after this is answered behind the message, so nobody trusts for longer.
                    purge.until = now.mono.saturating_add(LEASE);
                }
                self.end_purges(now);
            }
            // Whoever is not answered is answered by time.
            _ => {}
        }
    }

    fn ask_whether_known(&mut self, now: Now, asker: u32) {
        let number = self.purges.next();
        let purge = Purge { asker, wanted: None, heard: 0, until: now.mono.saturating_add(LEASE) };
        self.purges.waiting.insert(number, purge);
        let outgoing = Outgoing::Sync { worker: self.id, number };
        self.outbox.say(outgoing, About::Sync { number });
    }

    /// A message of the store.
    pub fn on_message(&mut self, now: Now, payload: &[u8]) {
        self.outbox.on_now(now.mono);
        if let Some(object) = ObjectId::parse(payload) {
            self.on_changed(now, object);
            return;
        }
        let mut words = payload.split(|byte| *byte == b' ');
        let number = |word: Option<&[u8]>| std::str::from_utf8(word?).ok()?.parse::<u64>().ok();
        match words.next() {
            Some(b"sync") => {
                if let (Some(worker), Some(number)) = (number(words.next()), number(words.next())) {
                    self.outbox.say(Outgoing::Known { worker, number }, About::Other);
                }
            }
            Some(b"known") => {
                let purge =
                    number(words.next()).and_then(|number| self.purges.waiting.get_mut(&number));
                if let Some(purge) = purge {
                    purge.heard = purge.heard.saturating_add(1);
                }
                self.end_purges(now);
            }
            _ => {}
        }
    }

    /// Somebody has written records of invalidations with these names; none: perhaps all of them.
    pub fn on_invalidated(&mut self, names: Option<&[Vec<u8>]>) {
        match names {
            Some(names) => names.iter().for_each(|name| self.memory.invalidate(name)),
            None => self.memory.clear(),
        }
    }

    pub(super) fn end_purges(&mut self, now: Now) {
        let is_known = |purge: &Purge| purge.wanted.is_some_and(|wanted| purge.heard >= wanted);
        let is_over = |purge: &Purge| is_known(purge) || purge.until <= now.mono;
        let over: Vec<u64> = self
            .purges
            .waiting
            .iter()
            .filter(|(_, purge)| is_over(purge))
            .map(|(number, _)| *number)
            .collect();
        for number in over {
            if let Some(Purge { asker, .. }) = self.purges.waiting.remove(&number) {
                self.events.push_back(Event::Invalidated { asker, done: true });
            }
        }
    }

    /// The store is gone: what it has noted nobody knows, and these have not heard of theirs.
    pub(super) fn lose_purges(&mut self, mut askers: Vec<u32>) {
        askers.extend(self.purges.waiting.drain().map(|(_, purge)| purge.asker));
        let lost = askers.into_iter().map(|asker| Event::Invalidated { asker, done: false });
        self.events.extend(lost);
        let posts: Vec<u64> = self.purges.posts.keys().copied().collect();
        posts.into_iter().for_each(|number| self.forget_post(number));
    }

    /// The header of the answer to an unsafe request has come: what it has changed is invalidated.
    ///
    /// What is filled then counts as newer than that invalidation. Nobody knows whether it is newer than one that came
    /// in between: than another POST to the same URL, or a purge, while its own answer was on its way.
    pub fn on_mutated(
        &mut self,
        now: Now,
        mutation: Mutation,
        header: &Header,
    ) -> Option<Box<Filling>> {
        let Mutation { method, asking } = mutation;
        if !header.is_upstreams || !invalidation::invalidates(&method, header.status) {
            return None;
        }
        self.outbox.on_now(now.mono);
        let sent = Rc::clone(&asking.target);
        let [scheme, authority, path] = &*sent;
        let target = Target { scheme, authority, path };
        let origin = key::origin(target);
        let options = self.policies.get(asking.policy)?.key.clone();
        let url = |path: Vec<u8>| {
            let target = Target { path: &path, ..target };
            let key = key::primary(&options, target, &asking.request.fields)?;
            Some(Scope::Url(Url::of(&key)))
        };
        let paths = invalidation::paths(target, &header.fields);
        let mut scopes: Vec<_> = paths.into_iter().filter_map(url).collect();
        scopes.extend(groups::invalidated(&header.fields, &origin).into_iter().map(Scope::Group));
        let number = self.purges.next();
        self.count(asking.policy, Series::Invalidated);
        if !self.outbox.is_open() {
            return None;
        }
        self.invalidate(now, scopes, Mode::Hard, Whose::Post(number));
        if method != b"POST" {
            return None;
        }
        let (place, _) = self.place(&asking);
        let mut fetch = self.fetch(now, &asking, place, Miss::Uri);
        // The real one is known once the invalidation is.
        (fetch.epoch, fetch.post) = (Some(0), Some(number));
        let Arrival::Fill(filling, _) = self.on_header(now, Box::new(fetch), header) else {
            return None;
        };
        if !stands_for_target(target, filling.storable()) {
            return None;
        }
        self.purges.posts.insert(number, Post::default());
        Some(filling)
    }

    /// The answer to an unsafe request is whole: it is stored once what it has made invalid is.
    pub(super) fn on_post_filled(&mut self, now: Now, number: u64, filling: Box<Filling>) {
        let Some(post) = self.purges.posts.get_mut(&number) else {
            // The store was lost meanwhile.
            self.let_go(&filling);
            return;
        };
        post.filled = Some(filling);
        self.put_post(now, number);
    }

    fn on_post_invalidated(&mut self, now: Now, number: u64, epoch: u64) {
        if let Some(post) = self.purges.posts.get_mut(&number) {
            post.epoch = Some(epoch);
            self.put_post(now, number);
        }
    }

    fn put_post(&mut self, now: Now, number: u64) {
        let is_ready = |post: &Post| post.epoch.is_some() && post.filled.is_some();
        if self.purges.posts.get(&number).is_none_or(|post| !is_ready(post)) {
            return;
        }
        if let Some(Post { epoch, filled: Some(mut filling) }) = self.purges.posts.remove(&number) {
            (filling.fetch.epoch, filling.fetch.post) = (epoch, None);
            self.on_filled(now, filling);
        }
    }

    pub(super) fn forget_post(&mut self, number: u64) {
        let post = self.purges.posts.remove(&number);
        if let Some(filling) = post.and_then(|post| post.filled) {
            self.let_go(&filling);
        }
    }
}
