//! What is said to the store, and what comes back.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use super::Asking;
use super::settle::Finding;
use crate::cache::store::{Found, Lock, Mode, ObjectId, Place, Put, Scope, Token};
use crate::cache::stored::Stored;
use crate::cache::vary::Names;
use crate::time::Instant;

/// How often the store is asked for a sign of life, if it is asked nothing else: several times in a lease of memory.
const PING_EVERY: Duration = Duration::from_millis(500);

/// Names one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutgoingId(pub u64);

/// What is to be sent: [`crate::cache::store::Calls`] writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// Look for what is there, and for its body: for the body first. So what is found was there when the answer to the
    /// last question was made, and whatever is invalidated since is told of after that answer.
    Lookup {
        /// Where.
        place: Place,
        /// For which names.
        names: Names,
        /// Who fetches it if it is missing.
        token: Option<Token>,
    },
    /// Take the lock for a validation.
    Acquire {
        /// Of what.
        place: Place,
        /// Whose.
        token: Token,
        /// When what was found was received: another one has to be looked at again. None: whatever there is.
        received_ms: Option<u64>,
    },
    /// Store a response.
    Put(Box<Storing>),
    /// Give a lock back.
    Release {
        /// Of what.
        place: Place,
        /// Whose.
        token: Token,
        /// For how long nobody is to wait.
        useless_for: Duration,
    },
    /// Invalidate.
    Invalidate {
        /// What.
        scopes: Vec<Scope>,
        /// How.
        mode: Mode,
        /// The newest epoch that was seen.
        seen: u64,
        /// The longest that anything is kept.
        kept: Duration,
    },
    /// Ask all workers to say that they know of what was invalidated before.
    Sync {
        /// Who asks.
        worker: u64,
        /// Which question of it.
        number: u64,
    },
    /// Say so.
    Known {
        /// Who has asked.
        worker: u64,
        /// Which question of it.
        number: u64,
    },
    /// Answer something.
    Ping,
}

/// A response that is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storing {
    /// Where.
    pub place: Place,
    /// It.
    pub stored: Rc<Stored>,
    /// Its header as it is written.
    pub header: Vec<u8>,
    /// Its body; none: that is there.
    pub body: Option<Rc<[u8]>>,
    /// For how long.
    pub kept: Duration,
    /// The lock that this ends.
    pub token: Option<Token>,
}

/// What has to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected<'a> {
    /// What was found under this key, and its body.
    Found(&'a [u8]),
    /// Who fetches.
    Lock,
    /// What has come of storing.
    Put,
    /// The epoch of an invalidation.
    Epoch,
    /// How many have heard a message.
    Count,
    /// Anything.
    Anything,
}

/// What comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// What was found, with the body of what was stored.
    Found(Found, Option<Vec<u8>>),
    /// Who fetches.
    Lock(Lock),
    /// What has come of storing.
    Put(Put),
    /// The epoch of an invalidation.
    Epoch(u64),
    /// How many have heard a message.
    Count(u64),
    /// An answer.
    Anything,
    /// Nothing, or nothing that could be understood.
    Nothing,
}

/// What was sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) about: About,
    pub(super) at: Instant,
}

/// What a call is about.
#[derive(Debug)]
pub(super) enum About {
    Lookup { place: Place, key: Rc<[u8]>, token: Option<Token> },
    Acquire { finding: Box<Finding>, token: Token, refresh: Option<Asking> },
    Put { finding: Box<Finding>, locked: Option<ObjectId>, policy: usize },
    Invalidate { whose: Whose },
    Sync { number: u64 },
    Other,
}

/// Who has something invalidated.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whose {
    /// Nobody who waits for it.
    Nobody,
    /// Somebody by hand.
    Purge(u32),
    /// An unsafe request.
    Post(u64),
}

/// Calls that wait, and those under way.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    is_open: bool,
    last_id: u64,
    now: Instant,
    waiting: VecDeque<(Outgoing, About)>,
    sent: HashMap<OutgoingId, Sent>,
    said_at: Instant,
}

impl Outbox {
    pub(super) const fn is_open(&self) -> bool {
        self.is_open
    }

    pub(super) fn open(&mut self, now: Instant) {
        self.is_open = true;
        (self.now, self.said_at) = (now, now);
        self.say(Outgoing::Ping, About::Other);
    }

    /// Nothing can be said any more. Who waits for having something invalidated.
    pub(super) fn close(&mut self) -> Vec<u32> {
        self.is_open = false;
        let waiting = std::mem::take(&mut self.waiting).into_iter().map(|(_, about)| about);
        let sent = std::mem::take(&mut self.sent).into_values().map(|sent| sent.about);
        let purger = |about| {
            if let About::Invalidate { whose: Whose::Purge(asker) } = about {
                Some(asker)
            } else {
                None
            }
        };
        waiting.chain(sent).filter_map(purger).collect()
    }

    pub(super) fn say(&mut self, outgoing: Outgoing, about: About) {
        if self.is_open {
            self.waiting.push_back((outgoing, about));
        }
    }

    /// When a sign of life is due.
    pub(super) fn ping_at(&self) -> Option<Instant> {
        self.is_open.then(|| self.said_at.saturating_add(PING_EVERY))
    }

    pub(super) fn ping(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if self.ping_at().is_some_and(|at| now >= at) {
            self.said_at = now;
            self.say(Outgoing::Ping, About::Other);
        }
    }

    /// Time, as far as it is known: for when things are said.
    pub(super) fn on_now(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    pub(super) fn poll(&mut self) -> Option<(OutgoingId, Outgoing)> {
        let (outgoing, about) = self.waiting.pop_front()?;
        self.last_id = self.last_id.wrapping_add(1);
        let id = OutgoingId(self.last_id);
        self.said_at = self.now;
        self.sent.insert(id, Sent { about, at: self.now });
        Some((id, outgoing))
    }

    pub(super) fn expected(&self, id: OutgoingId) -> Option<Expected<'_>> {
        self.sent.get(&id).map(|sent| match &sent.about {
            About::Lookup { key, .. } => Expected::Found(key),
            About::Acquire { .. } => Expected::Lock,
            About::Put { .. } => Expected::Put,
            About::Invalidate { .. } => Expected::Epoch,
            About::Sync { .. } => Expected::Count,
            About::Other => Expected::Anything,
        })
    }

    pub(super) fn take(&mut self, id: OutgoingId) -> Option<Sent> {
        self.sent.remove(&id)
    }
}
