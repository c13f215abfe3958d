//! The breakers of one worker: what it knows of each, what it has to report, and who waits for a permit.
//!
//! A machine without IO, as the Redis client is: it is told what happened by `on_*` and [`Board::admit`], and is asked
//! for what to do by `poll_*`. Every breaker is decided within the process (`process`); those of the fleet are decided
//! in Redis as well (`fleet`). A call passes if both let it pass:
//!
//! - The record of the process takes all evidence at once, so that it protects a process that is cut off from an
//!   upstream that serves the others, and every process while there is no Redis.
//! - The record of the fleet takes evidence in batches. Once it has tripped, the record of the process gives way, so
//!   that there is one breaker and one lot of trial requests.
//!
//! While all is well nothing is reported: only once somebody has a failure are all told so, and report for as long as
//! the window lasts. A breaker that nobody has anything against costs Redis nothing.

mod call;
mod evidence;
mod fleet;
mod outbox;
mod permits;
mod process;
mod table;

use std::collections::VecDeque;
use std::time::Duration;

pub use self::call::{Call, Ended, Event, ProbeResult, Refused, Scope, Verdict};
use self::outbox::Fleet;
pub use self::outbox::{Expected, MOST_OPS, Op, Outgoing, OutgoingId, Said};
use self::permits::{Asks, Probe};
pub use self::process::{MOST_IN_SLOT, SLOTS};
use self::table::{Entry, Table};
pub use self::table::{Key, MOST_KEYS};
use super::policy::Policy;
use super::record::Token;
use super::told::Told;
use super::view::Admission;
use crate::key::HashSeed;
use crate::rng::Rng;
use crate::shared::SharedData;
use crate::time::{Instant, Now};

/// One breaker of the configuration, as the board has to know it.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The numbers it is held to.
    pub policy: Policy,
    /// Whether it is the fleet's.
    pub is_fleet: bool,
    /// Whether it only tells what it would do.
    pub is_shadow: bool,
    /// What it is by hand, whatever happens.
    pub forced: Option<Forced>,
    /// What the names of all its keys begin with.
    pub prefix: Vec<u8>,
}

/// What a breaker is by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forced {
    /// Refuses all calls.
    Open,
    /// Refuses none.
    Closed,
}

/// The breakers of one worker.
#[derive(Debug)]
pub struct Board {
    terms: Vec<Terms>,
    process: u64,
    seed: HashSeed,
    rng: Rng,
    table: Table,
    fleet: Fleet,
    asks: Asks,
    probes: Vec<Probe>,
    events: VecDeque<Event>,
}

impl Board {
    /// A board for these breakers, in a worker of `process`; `seed` is that of the keys' hashes.
    #[must_use]
    pub fn new(terms: Vec<Terms>, process: u64, seed: HashSeed, rng: Rng) -> Self {
        Self {
            terms,
            process,
            seed,
            rng,
            table: Table::default(),
            fleet: Fleet::default(),
            asks: Asks::default(),
            probes: Vec::new(),
            events: VecDeque::new(),
        }
    }

    /// What happened since.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Self::on_time`] has to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let probes = self.probes.iter().map(|probe| probe.until);
        probes.chain(self.fleet.due_at()).min()
    }

    /// Time has passed.
    pub fn on_time(&mut self, now: Now, shared: &mut dyn SharedData) {
        self.end_late_probes(now, shared);
        self.report_what_is_due(now);
    }

    /// Whether a request passes that falls under these breakers.
    pub fn admit(
        &mut self,
        now: Now,
        asker: u32,
        keys: &[Key],
        shared: &mut dyn SharedData,
    ) -> Verdict {
        let mut calls = Vec::with_capacity(keys.len());
        let mut asks = Vec::new();
        for key in keys {
            match self.consider(now, key, shared) {
                Considered::Call(call) => calls.push(call),
                Considered::Ask(call, lapsed) => asks.push((call, lapsed)),
                Considered::Unwatched => {}
                Considered::Refuse(retry_after) => {
                    let given_up = calls.into_iter().chain(asks.into_iter().map(|(call, _)| call));
                    for call in given_up {
                        self.on_end(now, &call, Ended::Nothing, shared);
                    }
                    return Verdict::Refuse(Refused { breaker: key.breaker, retry_after });
                }
            }
        }
        if asks.is_empty() {
            self.begin_probes(&calls);
            return Verdict::Pass(calls);
        }
        self.ask_fleet(asker, calls, asks);
        Verdict::Wait
    }

    /// Whether an open breaker refuses a request that falls under these, without asking or changing anything.
    pub fn refuses(
        &mut self,
        now: Now,
        keys: &[Key],
        shared: &mut dyn SharedData,
    ) -> Option<Refused> {
        for key in keys {
            let Some(terms) = self.terms.get(key.breaker) else { continue };
            let (policy, is_fleet) = (terms.policy, terms.is_fleet && self.fleet.decides());
            let refuse = |retry_after| Some(Refused { breaker: key.breaker, retry_after });
            match terms.forced {
                Some(Forced::Open) => return refuse(FORCED_RETRY),
                Some(Forced::Closed) => continue,
                None if terms.is_shadow => continue,
                None => {}
            }
            let Some(entry) = self.table.get(key.hash) else { continue };
            if entry.local.is_closed() && entry.fleet.is_closed() {
                // What others have changed is looked at when it is admitted.
                continue;
            }
            entry.look(now, &policy, shared);
            let views = [Some(&entry.local), is_fleet.then_some(&entry.fleet)];
            let open_for = views.into_iter().flatten().filter_map(|view| view.open_for(now.mono));
            if let Some(retry_after) = open_for.max().filter(|left| !left.is_zero()) {
                return refuse(retry_after);
            }
        }
        None
    }

    fn consider(&mut self, now: Now, key: &Key, shared: &mut dyn SharedData) -> Considered {
        let Some(terms) = self.terms.get(key.breaker) else { return Considered::Unwatched };
        let (policy, is_shadow) = (terms.policy, terms.is_shadow);
        let is_fleet = terms.is_fleet && self.fleet.decides();
        match terms.forced {
            Some(Forced::Open) => return Considered::Refuse(FORCED_RETRY),
            Some(Forced::Closed) => return Considered::Unwatched,
            None => {}
        }
        let considered = self.consider_views(now, key, &policy, is_fleet, shared);
        if is_shadow && matches!(considered, Considered::Refuse(_)) {
            self.events.push_back(Event::Shadowed { breaker: key.breaker });
            return Considered::Unwatched;
        }
        considered
    }

    fn consider_views(
        &mut self,
        now: Now,
        key: &Key,
        policy: &Policy,
        is_fleet: bool,
        shared: &mut dyn SharedData,
    ) -> Considered {
        let Some(entry) = self.table.entry(now.mono, key) else { return Considered::Unwatched };
        entry.look(now, policy, shared);
        let mut call = Call {
            key: key.hash,
            breaker: key.breaker,
            local: entry.local.epoch(),
            fleet: entry.fleet.epoch(),
            local_probe: None,
            fleet_probe: None,
            began_at: now.mono,
        };
        let fleet = if is_fleet {
            match entry.fleet.admit(now.mono, policy, &mut self.rng) {
                Admission::Ask { .. } if entry.asking || now.mono < entry.ask_after => {
                    return Considered::Refuse(ASKED_RETRY);
                }
                Admission::Refuse { retry_after } => return Considered::Refuse(retry_after),
                admission @ (Admission::Pass | Admission::Ask { .. }) => admission,
            }
        } else {
            Admission::Pass
        };
        match entry.local.admit(now.mono, policy, &mut self.rng) {
            Admission::Pass => {}
            Admission::Refuse { retry_after } => return Considered::Refuse(retry_after),
            Admission::Ask { lapsed } => {
                let Some((token, epoch)) = self.ask_process(now, key, policy, lapsed, shared)
                else {
                    return Considered::Refuse(ASKED_RETRY);
                };
                (call.local_probe, call.local) = (Some(token), epoch);
            }
        }
        match fleet {
            Admission::Ask { lapsed } => Considered::Ask(call, lapsed),
            Admission::Pass | Admission::Refuse { .. } => Considered::Call(call),
        }
    }

    /// Learns what other workers have made of the breakers that this one knows.
    pub fn refresh(&mut self, now: Now, shared: &mut dyn SharedData) {
        let news = process::news(shared);
        let Self { terms, table, .. } = self;
        for entry in table.iter_mut().filter(|entry| entry.news != news) {
            if let Some(terms) = terms.get(entry.key.breaker) {
                entry.look(now, &terms.policy, shared);
            }
        }
    }

    /// How a breaker stands: [`CLOSED`], [`HALF_OPEN`] or [`OPEN`], of several keys the highest. None if this worker has
    /// never had to do with it: others may know.
    #[must_use]
    pub fn state(&self, breaker: usize, scope: Scope) -> Option<u64> {
        match self.terms.get(breaker).and_then(|terms| terms.forced) {
            Some(Forced::Open) => return Some(OPEN),
            Some(Forced::Closed) => return Some(CLOSED),
            None => {}
        }
        let of = self.table.iter().filter(|entry| entry.key.breaker == breaker);
        let state = |entry: &Entry| {
            let view = match scope {
                Scope::Replica => &entry.local,
                Scope::Fleet => &entry.fleet,
            };
            match (view.is_closed(), view.is_open()) {
                (true, _) => CLOSED,
                (false, true) => OPEN,
                (false, false) => HALF_OPEN,
            }
        };
        of.map(state).max()
    }

    /// Whole seconds since any worker of the process was told so of this breaker, for one of those that know it to count.
    pub fn seconds_to_count(&self, breaker: usize, now: Now, shared: &mut dyn SharedData) -> u64 {
        let prefix = self.terms.get(breaker).map_or(&[][..], |terms| &terms.prefix);
        process::seconds_to_count(shared, prefix, now.unix.as_millis())
    }

    fn policy(&self, breaker: usize) -> Option<Policy> {
        self.terms.get(breaker).map(|terms| terms.policy)
    }
}

/// When those may come again whom a breaker refuses that is open by hand.
const FORCED_RETRY: Duration = Duration::from_secs(30);

/// When those may come again who are refused because another one has asked.
const ASKED_RETRY: Duration = Duration::from_secs(1);

/// Calls pass.
pub const CLOSED: u64 = 0;
/// Trial requests pass.
pub const HALF_OPEN: u64 = 1;
/// Calls are refused.
pub const OPEN: u64 = 2;

/// What one breaker says of a request.
enum Considered {
    Call(Call),
    Ask(Call, Option<Token>),
    Refuse(Duration),
    Unwatched,
}

impl Entry {
    /// Learns what others of this process have changed.
    fn look(&mut self, now: Now, policy: &Policy, shared: &mut dyn SharedData) {
        let news = process::news(shared);
        if news != self.news {
            self.news = news;
            let stored = process::read(shared, self.key.hash);
            let told = Told::of(&stored.record, policy, now.unix.as_millis());
            self.learn_local(now, policy, &told);
        }
    }

    /// Learns what the record of the process tells.
    fn learn_local(&mut self, now: Now, policy: &Policy, told: &Told) {
        self.local.accept(now.mono, policy, told);
    }
}

#[cfg(test)]
mod tests;
