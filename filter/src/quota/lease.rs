//! Leases: units that a worker takes of a hot counter ahead of need, and spends without asking Redis.
//!
//! They are taken out of the counter before they are spent, so what all workers together let pass is never more than
//! the limit. What it costs is that units may lie in one worker while another one refuses: no more than a
//! [part](Asking::part) of what was left when they were taken, and no longer than [`LIFE`]; then they are given back.
//! Whoever crashes, or does not hear that it was given units, loses them until their window ends.
//!
//! Units of a window may be spent as long as it lasts. Those of a bucket may not outlive a life for which the bucket
//! was made smaller ([`Policy::leased`]), and are not given back.
//!
//! How many units a worker takes is what it has needed lately, for 250 ms; what is asked for less often than once
//! in a [`LIFE`] is asked for one by one. The table has a fixed size: a flood of keys pushes out what it has learnt of
//! others, but no units.

use std::num::NonZeroU64;
use std::time::Duration;

use super::policy::Policy;
use super::script::Grant;
use super::{Check, Standing};
use crate::config::{Algorithm, Per};
use crate::key::KeyHash;
use crate::time::Instant;

/// Longest time for which units are held unspent.
pub const LIFE: Duration = Duration::from_secs(1);

/// For how long the units of a lease are meant to suffice.
const DEMAND: Duration = Duration::from_millis(250);
/// Shortest time over which the demand is measured.
const MEASURED: Duration = Duration::from_millis(5);
/// All workers together hold at most one of so many parts of what was left.
const PARTS: u64 = 4;
/// Sets of the table. With [`WAYS`] entries: room for 2,048 hot keys in a worker.
const SETS: usize = 512;
/// Entries of one set: which keys compete for a place is decided by a keyed hash that clients do not know.
const WAYS: usize = 4;
/// Most counters that are given back to in one call.
const MOST_UNSPENT: usize = 64;

/// What decides how much a question takes ahead.
pub trait Ahead {
    /// Units wanted ahead on the counter of `check`.
    fn wanted(&mut self, check: &Check) -> u64;
    /// The part of what is left that may be taken at once: 8 for an eighth.
    fn part(&self) -> u64;
}

/// Takes nothing ahead.
#[derive(Clone, Copy, Debug)]
pub struct Exact;

impl Ahead for Exact {
    fn wanted(&mut self, _check: &Check) -> u64 {
        0
    }

    fn part(&self) -> u64 {
        1
    }
}

/// The leases of one worker.
#[derive(Debug)]
pub struct Leases {
    entries: Vec<Lease>,
    /// What a former worker has left.
    inherited: Vec<Unspent>,
}

#[derive(Clone, Debug, Default)]
struct Lease {
    tag: u64,
    /// Units that were asked for since `since`.
    demand: u64,
    since: Instant,
    /// Units that are held, and until when.
    units: u64,
    until: Instant,
    /// What was left in Redis when they were taken, and until when.
    remaining: u64,
    reset_at: Instant,
    window_end_ms: u64,
    /// What to give them back to.
    origin: Option<Box<(Vec<u8>, Policy)>>,
}

impl Lease {
    /// Takes out its units, if there is still something to give them back to.
    fn take_unspent(&mut self, now: Instant) -> Option<Unspent> {
        let (units, window_end_ms) = (std::mem::take(&mut self.units), self.window_end_ms);
        let (name, policy) = *self.origin.take()?;
        let is_some = units > 0 && window_end_ms > 0 && self.reset_at > now;
        is_some.then_some(Unspent { name, policy, units, window_end_ms })
    }
}

/// Units to give back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unspent {
    /// Name of the counter.
    pub name: Vec<u8>,
    /// What it is held against.
    pub policy: Policy,
    /// How many.
    pub units: u64,
    /// When the window ends that they were taken in, by the clock of Redis.
    pub window_end_ms: u64,
}

impl Default for Leases {
    fn default() -> Self {
        Self { entries: vec![Lease::default(); SETS * WAYS], inherited: Vec::new() }
    }
}

impl Leases {
    /// Pays for a request out of what was taken ahead: all of its checks, or none.
    pub fn pay(&mut self, now: Instant, checks: &[Check]) -> Option<Vec<Standing>> {
        let suffices = |check: &Check| {
            let lease = check.lease_life.and_then(|_| self.entries.get(self.find(check.hash)?));
            lease.is_some_and(|lease| lease.until > now && lease.units >= check.cost)
        };
        if !checks.iter().all(suffices) {
            return None;
        }
        let standings = checks.iter().filter_map(|check| {
            let place = self.find(check.hash)?;
            let lease = self.entries.get_mut(place)?;
            lease.units = lease.units.saturating_sub(check.cost);
            lease.demand = lease.demand.saturating_add(check.cost);
            let remaining = lease.remaining.saturating_add(lease.units);
            let reset_after = lease.reset_at.saturating_since(now);
            Some(Standing::Within { remaining, reset_after })
        });
        Some(standings.collect())
    }

    /// What a question at `now` takes ahead, of a worker that is one of `holders`.
    pub fn asking(&mut self, now: Instant, holders: u64) -> Asking<'_> {
        Asking { leases: self, now, holders }
    }

    /// Puts in what was taken ahead for `check`, asked for at `asked_at` at the earliest. Redis took it later, so
    /// that all that is counted from then ends too early rather than too late.
    pub fn put(&mut self, asked_at: Instant, check: &Check, standing: &Standing, grant: &Grant) {
        let (Some(life), true) = (check.lease_life, grant.units > 0) else { return };
        let Some(lease) = self.place_for(check.hash).and_then(|at| self.entries.get_mut(at)) else {
            return;
        };
        if lease.tag != check.hash.tag() {
            *lease = Lease { tag: check.hash.tag(), since: asked_at, ..Lease::default() };
        }
        let is_window = grant.window_end_ms > 0;
        if !is_window || lease.window_end_ms != grant.window_end_ms {
            lease.units = 0;
        }
        lease.units = lease.units.saturating_add(grant.units);
        lease.until =
            asked_at.saturating_add(if is_window { life.min(grant.window_left) } else { life });
        lease.remaining = standing.remaining().saturating_sub(grant.units);
        let reset_after = if is_window { grant.window_left } else { standing.reset_after() };
        lease.reset_at = asked_at.saturating_add(reset_after);
        lease.window_end_ms = grant.window_end_ms;
        lease.origin.get_or_insert_with(|| Box::new((check.name.clone(), check.policy)));
    }

    /// Takes out what has not been spent in time and what was inherited, as much as fits into one call.
    pub fn take_unspent(&mut self, now: Instant) -> Vec<Unspent> {
        let mut unspent =
            self.inherited.split_off(self.inherited.len().saturating_sub(MOST_UNSPENT));
        let over = self.entries.iter_mut().filter(|lease| lease.units > 0 && lease.until <= now);
        let places = MOST_UNSPENT - unspent.len();
        unspent.extend(over.filter_map(|lease| lease.take_unspent(now)).take(places));
        unspent
    }

    /// Takes out all there is, for another worker to give back.
    pub fn bequeath(&mut self, now: Instant) -> Vec<Unspent> {
        let held = self.entries.iter_mut().filter_map(|lease| lease.take_unspent(now));
        held.chain(self.inherited.drain(..)).collect()
    }

    /// Takes over what a former worker has left.
    pub fn inherit(&mut self, unspent: Vec<Unspent>) {
        self.inherited.extend(unspent);
        self.inherited.truncate(SETS * WAYS);
    }

    fn find(&self, key: KeyHash) -> Option<usize> {
        let mut places = Self::set_of(key);
        places.find(|at| self.entries.get(*at).is_some_and(|lease| lease.tag == key.tag()))
    }

    /// The key's entry, or one that it may have: of those that hold nothing the one that was asked for longest ago.
    fn place_for(&self, key: KeyHash) -> Option<usize> {
        let free = || {
            let places = Self::set_of(key).filter_map(|at| Some((at, self.entries.get(at)?)));
            let free = places.filter(|(_, lease)| lease.units == 0);
            free.min_by_key(|(_, lease)| lease.since).map(|(at, _)| at)
        };
        self.find(key).or_else(free)
    }

    fn set_of(key: KeyHash) -> std::ops::Range<usize> {
        let first = key.slot(SETS) * WAYS;
        first..first + WAYS
    }
}

/// What one question takes ahead.
#[derive(Debug)]
pub struct Asking<'l> {
    leases: &'l mut Leases,
    now: Instant,
    holders: u64,
}

impl Ahead for Asking<'_> {
    fn wanted(&mut self, check: &Check) -> u64 {
        let (leases, now) = (&mut *self.leases, self.now);
        let Some(life) = check.lease_life else { return 0 };
        let Some(lease) = leases.place_for(check.hash).and_then(|at| leases.entries.get_mut(at))
        else {
            return 0;
        };
        let measured = now.saturating_since(lease.since);
        let is_new = lease.tag != check.hash.tag();
        if is_new {
            *lease = Lease { tag: check.hash.tag(), ..Lease::default() };
        }
        if is_new || measured > LIFE {
            (lease.demand, lease.since) = (check.cost, now);
            return 0;
        }
        lease.demand = lease.demand.saturating_add(check.cost);
        if measured < MEASURED || (lease.units > 0 && lease.until > now) {
            return 0;
        }
        let wanted = scaled(lease.demand, life.min(DEMAND).as_micros(), measured.as_micros());
        (lease.demand, lease.since) = (0, now);
        wanted
    }

    fn part(&self) -> u64 {
        PARTS.saturating_mul(self.holders.max(1))
    }
}

impl Policy {
    /// The policy of a counter whose units may be taken ahead, and how long they may be held then; no time if they may
    /// not at all.
    ///
    /// For a bucket: in any stretch of time no more may be spent than was taken in it and, before it, in one life. So
    /// it holds less than the rule says by what flows into it in a life, at most an eighth.
    #[must_use]
    pub fn leased(self) -> (Self, Option<Duration>) {
        let (Algorithm::TokenBucket { burst }, Per::Span(span)) = (self.algorithm, self.per) else {
            return (self, Some(LIFE));
        };
        let flows_in = scaled(burst.get() / 8, span.as_micros(), u128::from(self.limit));
        let life = LIFE.min(Duration::from_micros(flows_in));
        let reserve = scaled(self.limit, life.as_micros(), span.as_micros()).saturating_add(1);
        match NonZeroU64::new(burst.get().saturating_sub(reserve)) {
            Some(burst) if life >= MEASURED => {
                (Self { algorithm: Algorithm::TokenBucket { burst }, ..self }, Some(life))
            }
            Some(_) | None => (self, None),
        }
    }
}

/// `units` times `by` through `of`, rounded down.
fn scaled(units: u64, by: u128, of: u128) -> u64 {
    u64::try_from(u128::from(units).saturating_mul(by) / of.max(1)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
