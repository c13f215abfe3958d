//! Who waits for what: for an answer of the store, or for somebody else's fetch.

use std::collections::HashMap;
use std::time::Duration;

use super::{Asking, COLLAPSE_TIMEOUT, LOOK_AGAIN_AFTER};
use crate::cache::store::ObjectId;
use crate::time::{Instant, Now};

/// Most requests that wait at once; further ones go to the upstream. Several times what one worker of Envoy takes in
/// while a response is fetched.
pub const MOST_WAITING: usize = 16_384;

/// How often those who wait are looked through, whatever their number.
const GRAIN: Duration = Duration::from_millis(100);

/// A request that waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) asker: u32,
    pub(super) asking: Asking,
    pub(super) since: Now,
    /// How often the store has sent it elsewhere.
    pub(super) hops: u8,
    /// Whether it has waited for a fetch.
    pub(super) waited: bool,
}

/// Those who wait for one fetch.
#[derive(Debug, Default)]
struct Crowd {
    waiters: Vec<Waiter>,
    /// When it is looked whether the fetch is still under way: who does it may have died, or a message may be lost.
    look_at: Instant,
}

/// All that wait in a worker.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// The store is being asked about these.
    asked: HashMap<ObjectId, Vec<Waiter>>,
    /// Somebody fetches these.
    awaited: HashMap<ObjectId, Crowd>,
    /// When `awaited` is looked through next.
    look_at: Option<Instant>,
    count: usize,
}

impl Waiter {
    pub(super) const fn new(asker: u32, asking: Asking, now: Now) -> Self {
        Self { asker, asking, since: now, hops: 0, waited: false }
    }

    /// Until when it waits for others.
    pub(super) fn until(&self) -> Instant {
        self.since.mono.saturating_add(COLLAPSE_TIMEOUT)
    }
}

impl Line {
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    pub(super) const fn is_full(&self) -> bool {
        self.count >= MOST_WAITING
    }

    /// Waits for the store. Whether it has to be asked: it is not being asked about this.
    pub(super) fn ask(&mut self, object: ObjectId, waiter: Waiter) -> bool {
        self.count = self.count.saturating_add(1);
        let waiters = self.asked.entry(object).or_default();
        waiters.push(waiter);
        waiters.len() == 1
    }

    /// The store is being asked about something on behalf of these, if of any.
    pub(super) fn asks(&mut self, object: ObjectId, waiters: Vec<Waiter>) {
        self.count = self.count.saturating_add(waiters.len());
        self.asked.entry(object).or_default().extend(waiters);
    }

    /// The store has answered.
    pub(super) fn take_asked(&mut self, object: ObjectId) -> Vec<Waiter> {
        let waiters = self.asked.remove(&object).unwrap_or_default();
        self.count = self.count.saturating_sub(waiters.len());
        waiters
    }

    /// Waits for who fetches it.
    pub(super) fn wait(&mut self, now: Instant, object: ObjectId, mut waiter: Waiter) {
        self.count = self.count.saturating_add(1);
        waiter.waited = true;
        let crowd = self.awaited.entry(object).or_default();
        if crowd.waiters.is_empty() {
            crowd.look_at = now.saturating_add(LOOK_AGAIN_AFTER);
        }
        crowd.waiters.push(waiter);
        self.look_at.get_or_insert_with(|| now.saturating_add(GRAIN));
    }

    /// What was waited for is there, or not to be had.
    pub(super) fn take_awaiting(&mut self, object: ObjectId) -> Vec<Waiter> {
        let crowd = self.awaited.remove(&object).unwrap_or_default();
        self.count = self.count.saturating_sub(crowd.waiters.len());
        crowd.waiters
    }

    /// When [`Self::take_due`] has to be called.
    pub(super) const fn due_at(&self) -> Option<Instant> {
        self.look_at
    }

    /// Those for whom it is to be looked again now: `Err` who has waited for long enough.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Result<Waiter, Waiter>> {
        if self.look_at.is_none_or(|at| now < at) {
            return Vec::new();
        }
        let due = |(object, crowd): (&ObjectId, &Crowd)| (crowd.look_at <= now).then_some(*object);
        let due: Vec<_> = self.awaited.iter().filter_map(due).collect();
        let waiters: Vec<_> =
            due.into_iter().flat_map(|object| self.take_awaiting(object)).collect();
        let judge = |waiter: Waiter| if waiter.until() <= now { Err(waiter) } else { Ok(waiter) };
        let judged = waiters.into_iter().map(judge).collect();
        self.look_at = (!self.awaited.is_empty()).then(|| now.saturating_add(GRAIN));
        judged
    }

    /// Everybody.
    pub(super) fn take_all(&mut self) -> Vec<Waiter> {
        self.count = 0;
        self.look_at = None;
        let asked = std::mem::take(&mut self.asked).into_values().flatten();
        let awaited = std::mem::take(&mut self.awaited).into_values();
        asked.chain(awaited.flat_map(|crowd| crowd.waiters)).collect()
    }

    /// Whoever asked has gone. What the store is asked about stays: it is to be answered.
    pub(super) fn forget(&mut self, asker: u32) {
        let asked = self.asked.values_mut();
        let all = asked.chain(self.awaited.values_mut().map(|crowd| &mut crowd.waiters));
        for waiters in all {
            let before = waiters.len();
            waiters.retain(|waiter| waiter.asker != asker);
            self.count = self.count.saturating_sub(before.saturating_sub(waiters.len()));
        }
        self.awaited.retain(|_, crowd| !crowd.waiters.is_empty());
    }
}
