//! The cache of one worker: what it remembers, who waits for what, and what is said to the fleet's store.
//!
//! A machine without IO, as the board of breakers is: it is told what happened by `on_*` and [`Keeper::look`], and is
//! asked for what to do by `poll_*`. A request goes this way:
//!
//! 1. [`Keeper::look`]: what is in memory answers at once (`memory`). Otherwise it waits for the store, together with
//!    all requests of this worker that want the same (`line`).
//! 2. The store's answer answers them, or makes one of them fetch the response, or validate it (`settle`, `turn`). The
//!    others of this worker, of its process and of the fleet wait for that one, but not for ever: who dies is replaced
//!    once its lease is over.
//! 3. Who fetches asks the upstream as [`Fetch`] says, and hands in what comes (`fetch`, `keep`): it is stored and
//!    answers those who wait, or sets them free to ask for themselves.
//!
//! What invalidates is in `purge`. Without Redis everybody goes to the upstream, and what is in memory is used for
//! [`LEASE`] at most. Nothing that fails here fails a request.

mod fetch;
mod keep;
mod known;
mod line;
mod memory;
mod outbox;
mod purge;
mod series;
mod settle;
#[cfg(test)]
mod tests;
mod turn;

use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

pub use self::fetch::{Arrival, Fetch, Filling, Header, MOST_FILLING_BYTES};
pub use self::keep::KEPT_TO_VALIDATE;
use self::known::Known;
pub use self::line::MOST_WAITING;
use self::line::{Line, Waiter};
pub use self::memory::LEASE;
use self::memory::Memory;
use self::outbox::{About, Outbox};
pub use self::outbox::{Expected, Outgoing, OutgoingId, Said, Storing};
pub use self::purge::Mutation;
use self::purge::Purges;
pub use self::series::{Miss, Series, Stale, Tier};
use super::policy::Policy;
use super::request::Request;
use super::reuse::{self, Answer, Reuse};
use super::status::Handling;
use super::store::{ObjectId, Place, Token};
use super::stored::Stored;
use super::vary::Names;
use crate::rng::Rng;
use crate::time::{Instant, Now};

/// For how long a request waits for others that fetch what it wants; then it asks for itself.
pub const COLLAPSE_TIMEOUT: Duration = Duration::from_secs(10);

/// After which time those who wait look whether somebody still fetches it.
pub const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// For how long the fleet waits for one that fetches: who dies is replaced after it.
pub const FETCH_LEASE: Duration = Duration::from_secs(5);

/// For how long nobody waits for a response that has turned out not to be stored.
pub const USELESS_FOR: Duration = Duration::from_secs(10);

/// The same if the upstream has failed: whoever waited asks for themselves, and is not made to wait in turns.
pub const FAILED_FOR: Duration = Duration::from_secs(1);

/// How often the store may send a request elsewhere.
const MOST_HOPS: u8 = 3;

/// 9999-12-31: the last date that HTTP can write.
const LAST_DATE_S: u64 = 253_402_300_799;

/// A request that the cache may answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking {
    /// Place of its policy.
    pub policy: usize,
    /// Its primary key ([`super::key::primary`]).
    pub key: Rc<[u8]>,
    /// Scheme, authority and path as they are sent.
    pub target: Rc<[Vec<u8>; 3]>,
    /// It.
    pub request: Rc<Request>,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Look {
    /// It is answered.
    Reply(Box<Reply>),
    /// The upstream is asked.
    Forward(Box<Fetch>),
    /// It waits: [`Event::Decided`].
    Wait,
}

/// The answer to a request.
#[derive(Debug)]
pub struct Reply {
    /// Its header, and what of the body.
    pub answer: Answer,
    /// The whole body.
    pub body: Rc<[u8]>,
    /// What is told of it.
    pub handling: Handling,
    /// Place of the policy.
    pub policy: usize,
}

/// What has happened.
#[derive(Debug)]
pub enum Event {
    /// A request that waited is answered or goes on.
    Decided {
        /// Who.
        asker: u32,
        /// What becomes of it: not [`Look::Wait`].
        look: Look,
    },
    /// A stored response is to be validated, for nobody in particular.
    Refresh(Box<Fetch>),
    /// What was to be invalidated is, and no worker uses it any more.
    Invalidated {
        /// Who wanted it.
        asker: u32,
        /// Whether it was done.
        done: bool,
    },
    /// Something to be counted.
    Counted {
        /// Place of the policy.
        policy: usize,
        /// What.
        series: Series,
    },
}

/// A stored response and its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Have {
    pub(super) stored: Rc<Stored>,
    pub(super) body: Rc<[u8]>,
}

/// The cache of one worker.
#[derive(Debug)]
pub struct Keeper {
    policies: Vec<Policy>,
    id: u64,
    rng: Rng,
    /// Whether the store tells of invalidations: only then anything is remembered.
    is_told: bool,
    memory: Memory,
    known: Known,
    line: Line,
    /// What this worker fetches for others too, and of which there is nothing that could answer them meanwhile.
    fetching: HashSet<ObjectId>,
    filling_bytes: usize,
    outbox: Outbox,
    purges: Purges,
    /// The newest epoch that was seen.
    epoch: u64,
    events: VecDeque<Event>,
}

impl Asking {
    /// Whether its response may be stored for others to wait for: a whole one.
    fn may_fill(&self) -> bool {
        let fields = &self.request.fields;
        self.may_validate() && !reuse::SET_ASIDE.iter().any(|name| fields.has(name))
    }

    /// The same if what is stored is validated: what the client has already is looked at afterwards.
    fn may_validate(&self) -> bool {
        !self.request.is_head && !self.request.directives.no_store
    }
}

impl Keeper {
    /// A cache under these policies, which keeps so much in memory. `id` names the worker in the fleet.
    #[must_use]
    pub fn new(policies: Vec<Policy>, memory_bytes: u64, id: u64, rng: Rng) -> Self {
        Self {
            policies,
            id,
            rng,
            is_told: false,
            memory: Memory::new(memory_bytes),
            known: Known::default(),
            line: Line::default(),
            fetching: HashSet::new(),
            filling_bytes: 0,
            outbox: Outbox::default(),
            purges: Purges::default(),
            epoch: 0,
            events: VecDeque::new(),
        }
    }

    /// Whether there is anything to do at all.
    #[must_use]
    pub const fn is_off(&self) -> bool {
        self.policies.is_empty()
    }

    /// Bytes of what is remembered.
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        self.memory.bytes()
    }

    /// How many requests wait.
    #[must_use]
    pub const fn waiting_count(&self) -> usize {
        self.line.count()
    }

    /// How many responses it fetches for others to wait for.
    #[must_use]
    pub fn fetching_count(&self) -> usize {
        self.fetching.len()
    }

    /// Bytes of bodies on their way into the store: at most [`MOST_FILLING_BYTES`].
    #[must_use]
    pub const fn filling_bytes(&self) -> usize {
        self.filling_bytes
    }

    /// What happened since.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What is to be said to the store next.
    pub fn poll_outgoing(&mut self) -> Option<(OutgoingId, Outgoing)> {
        self.outbox.poll()
    }

    /// What has to come back for a call.
    #[must_use]
    pub fn expected(&self, id: OutgoingId) -> Option<Expected<'_>> {
        self.outbox.expected(id)
    }

    /// When [`Self::on_time`] has to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = [self.line.due_at(), self.outbox.ping_at(), self.purges.due_at()];
        due.into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn on_time(&mut self, now: Now) {
        self.outbox.on_now(now.mono);
        for waiter in self.line.take_due(now.mono) {
            match waiter {
                Ok(waiter) => self.look_again(now, waiter),
                Err(waiter) => self.forward_alone(now, waiter, Miss::Timeout),
            }
        }
        self.end_purges(now);
        self.outbox.ping(now.mono);
    }

    /// The store is there. `is_told`: from here on it tells of invalidations.
    pub fn on_joined(&mut self, now: Now, is_told: bool) {
        self.memory.clear();
        self.is_told = is_told;
        self.outbox.open(now.mono);
        self.repeat_invalidations(now);
    }

    /// The store is gone: whoever waits goes on. What is remembered may be used until the lease is over.
    pub fn on_lost(&mut self, now: Now) {
        let purgers = self.outbox.close();
        self.fetching.clear();
        self.lose_purges(purgers);
        for waiter in self.line.take_all() {
            self.forward_alone(now, waiter, Miss::Unavailable);
        }
    }

    /// A message of the store: what was waited for is there, or not to be had; or it was replaced.
    pub(super) fn on_changed(&mut self, now: Now, object: ObjectId) {
        self.memory.remove(object);
        self.fetching.remove(&object);
        for waiter in self.line.take_awaiting(object) {
            self.look_again(now, waiter);
        }
    }

    /// Whoever asked has gone.
    pub fn forget(&mut self, asker: u32) {
        self.line.forget(asker);
    }

    /// What a request gets.
    pub fn look(&mut self, now: Now, asker: u32, asking: Asking) -> Look {
        self.outbox.on_now(now.mono);
        match self.remembered(now, &asking) {
            Some(reply) => Look::Reply(Box::new(reply)),
            None => self.join(now, Waiter::new(asker, asking, now)),
        }
    }

    /// The answer from memory.
    fn remembered(&mut self, now: Now, asking: &Asking) -> Option<Reply> {
        let now_ms = now.unix.as_millis();
        let (stored, body) =
            self.memory.get(now.mono, now_ms, &asking.key, &asking.request.fields)?;
        let Reuse::Answer(answer) = reuse::reuse(&stored, &asking.request, now_ms) else {
            return None;
        };
        let (handling, series) = settle::describe(&answer, Tier::Memory, false, false);
        self.count(asking.policy, series);
        Some(Reply { answer, body, handling, policy: asking.policy })
    }

    /// Waits for the store, or for another one of this worker that fetches it.
    fn join(&mut self, now: Now, waiter: Waiter) -> Look {
        if !self.outbox.is_open() || self.line.is_full() || waiter.hops > MOST_HOPS {
            return self.alone(now, &waiter.asking, Miss::Unavailable);
        }
        let (place, names) = self.place(&waiter.asking);
        let (object, may_fill) = (place.object, waiter.asking.may_fill());
        let key = Rc::clone(&waiter.asking.key);
        if may_fill && self.fetching.contains(&object) {
            self.line.wait(now.mono, object, waiter);
            return Look::Wait;
        }
        if self.line.ask(object, waiter) {
            let token = may_fill.then(|| self.token());
            let about = About::Lookup { place: place.clone(), key, token };
            self.outbox.say(Outgoing::Lookup { place, names, token }, about);
        }
        Look::Wait
    }

    /// Where its response is, as far as is known what it varies on.
    fn place(&self, asking: &Asking) -> (Place, Names) {
        let primary = Place::primary(&asking.key);
        let names = self.known.names(&primary);
        let values = names.values(&asking.request.fields);
        (Place::with(&asking.key, primary, &values), names)
    }

    fn token(&mut self) -> Token {
        Token(self.rng.next_u64())
    }

    fn look_again(&mut self, now: Now, waiter: Waiter) {
        let asker = waiter.asker;
        if waiter.until() <= now.mono {
            // What it waits for may have changed too often for it to be looked through.
            self.forward_alone(now, waiter, Miss::Timeout);
            return;
        }
        match self.join(now, waiter) {
            Look::Wait => {}
            look @ (Look::Reply(_) | Look::Forward(_)) => self.decide(asker, look),
        }
    }

    fn forward_alone(&mut self, now: Now, waiter: Waiter, miss: Miss) {
        let look = self.alone(now, &waiter.asking, miss);
        self.decide(waiter.asker, look);
    }

    /// What a request gets for which the store can do nothing: the upstream is asked, and nothing is stored.
    fn alone(&mut self, now: Now, asking: &Asking, miss: Miss) -> Look {
        if asking.request.directives.only_if_cached {
            return Look::Reply(Box::new(settle::not_cached(asking)));
        }
        self.count(asking.policy, Series::Miss(miss));
        let (place, _) = self.place(asking);
        Look::Forward(Box::new(self.fetch(now, asking, place, miss)))
    }

    /// Says of a waiter what it gets.
    fn decide(&mut self, asker: u32, look: Look) {
        self.events.push_back(Event::Decided { asker, look });
    }

    fn count(&mut self, policy: usize, series: Series) {
        self.events.push_back(Event::Counted { policy, series });
    }
}
