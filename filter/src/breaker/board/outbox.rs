//! What waits to be said to Redis about the fleet's breakers, and what has been said.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::table::Key;
use crate::breaker::record::{self, Epoch, Outcome, Token};
use crate::breaker::told::Told;
use crate::key::KeyHash;
use crate::time::Instant;

/// Most breakers in one call of the script.
pub const MOST_OPS: usize = 64;

/// Most that waits to be said: several times what one tick can make.
const MOST_WAITING: usize = 4096;

/// How often a worker asks which breakers are not closed, if it is told of changes.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The same if it is not.
pub(super) const LOOK_EVERY_UNTOLD: Duration = Duration::from_millis(100);

/// When something is said again that did not get through.
pub(super) const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Permits of which nobody knows whether they were granted; others lapse by themselves.
const MOST_UNKNOWN: usize = 64;

/// Names one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutgoingId(pub u64);

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// Ask for the names of all breakers that are not closed.
    Index,
    /// Call the script with these.
    Ops(Vec<Op>),
}

/// What has to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Names.
    Index,
    /// So many answers.
    Ops(usize),
}

/// What is said about one breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// Place of the breaker in the configuration.
    pub breaker: usize,
    /// Its name.
    pub name: Arc<[u8]>,
    /// Which state it is about.
    pub epoch: Epoch,
    /// What happens; nothing: only how it stands is to be told.
    pub event: Option<record::Event>,
    pub(super) hash: KeyHash,
    /// Who waits for it: an ask, and the place of the call in it.
    pub(super) ask: Option<(usize, usize)>,
}

impl Op {
    /// What happens to the breaker of that key; nothing: only how it stands is to be told.
    #[must_use]
    pub fn new(key: &Key, epoch: Epoch, event: Option<record::Event>) -> Self {
        let (breaker, name, hash) = (key.breaker, Arc::clone(&key.name), key.hash);
        Self { breaker, name, epoch, event, hash, ask: None }
    }
}

/// What comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The names that were asked for.
    Index(Vec<Vec<u8>>),
    /// What has come of each op, and how its breaker stands.
    Ops(Vec<Option<(Outcome, Told)>>),
    /// Nothing usable, or not in time.
    Nothing,
}

/// The way to the fleet.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    pub(super) link: Link,
    pub(super) waiting: VecDeque<Op>,
    pub(super) wants_index: bool,
    /// Whether it has been told since it was connected.
    pub(super) knows_index: bool,
    pub(super) sent: HashMap<OutgoingId, Vec<Op>>,
    pub(super) last_id: u64,
    /// When a report is due, or something has to be said again.
    pub(super) due: Option<Instant>,
    pub(super) again: Vec<Op>,
    /// Permits that were asked for without an answer.
    pub(super) unknown: VecDeque<Token>,
    pub(super) look_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Link {
    /// No Redis: the process decides alone.
    #[default]
    Alone,
    /// It is there, but how the breakers stand is not known yet.
    Joining { told: bool },
    /// The fleet decides.
    Joined { told: bool },
}

impl Fleet {
    pub(super) fn decides(&self) -> bool {
        matches!(self.link, Link::Joined { .. })
    }

    pub(super) fn due_at(&self) -> Option<Instant> {
        [self.due, self.look_at].into_iter().flatten().min()
    }

    /// Something is due at that time.
    pub(super) fn is_due(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Whether anything is due by now; then all that is not done has to be announced anew.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        if self.look_at.is_some_and(|at| at <= now) {
            self.look_at = None;
            self.wants_index = true;
        }
        if self.due.is_none_or(|at| now < at) {
            return false;
        }
        self.due = None;
        let again = std::mem::take(&mut self.again);
        again.into_iter().for_each(|op| self.push(op));
        true
    }

    pub(super) fn say(
        &mut self,
        key: &Key,
        epoch: Epoch,
        event: record::Event,
        ask: Option<(usize, usize)>,
    ) {
        self.push(Op { ask, ..Op::new(key, epoch, Some(event)) });
    }

    pub(super) fn look(&mut self, key: &Key) {
        self.push(Op::new(key, Epoch(0), None));
    }

    fn push(&mut self, op: Op) {
        if self.waiting.len() < MOST_WAITING {
            self.waiting.push_back(op);
        }
    }

    /// Nobody knows whether this permit was granted.
    pub(super) fn remember_unknown(&mut self, token: Token) {
        self.unknown.truncate(MOST_UNKNOWN.saturating_sub(1));
        self.unknown.push_front(token);
    }

    /// To be said once more, a little later.
    pub(super) fn say_again(&mut self, now: Instant, op: Op) {
        if self.again.len() < MOST_WAITING {
            self.again.push(op);
            self.is_due(now.saturating_add(AGAIN_AFTER));
        }
    }
}
