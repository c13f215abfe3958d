//! Quotas: how many requests may pass, counted exactly over all replicas.
//!
//! A request meets the rules of its route; each rule names one counter for it ([`crate::key`]) and says on what
//! [`terms`], for some keys by [`overrides`]. What is already known to be over its limit is refused here ([`refusals`]), what was taken
//! ahead for a hot key is spent here ([`lease`]); otherwise one script call asks Redis about all counters at once
//! ([`script`]), all or none; out of reach of Redis the process counts for itself ([`process`]), by the same
//! [`algorithm`]. A refusal is answered by [`answer`], and all responses tell by [`fields`] how the client stands.

pub mod algorithm;
pub mod answer;
mod calendar;
pub mod fields;
pub mod lease;
pub mod overrides;
pub mod policy;
pub mod process;
pub mod refusals;
pub mod script;
pub mod terms;

use std::time::Duration;

use self::algorithm::Counter;
use self::policy::Policy;
use crate::key::KeyHash;

/// One rule applied to one request.
#[derive(Clone, Debug)]
pub struct Check {
    /// Index of the rule in the configuration.
    pub rule: usize,
    /// What its counter is held against.
    pub policy: Policy,
    /// Units that the request takes.
    pub cost: u64,
    /// Name of the counter: its Redis key.
    pub name: Vec<u8>,
    /// Keyed hash of the name, for tables of fixed size.
    pub hash: KeyHash,
    /// Whether the rule refuses requests of this key; otherwise it only tells what it would have done.
    pub enforced: bool,
    /// How long units of it may be held that were taken ahead; `None` if none may.
    pub lease_life: Option<Duration>,
}

/// How one check stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There was room for the request.
    Within {
        /// Units that are left.
        remaining: u64,
        /// Time until the window ends or the bucket is full; if nothing is left, until there is a unit.
        reset_after: Duration,
    },
    /// The limit refuses the request.
    Exceeded {
        /// Units that are left: fewer than it costs.
        remaining: u64,
        /// Time until there is room for it.
        reset_after: Duration,
    },
}

impl Standing {
    /// How a counter stands to a request that costs so much, and of which it was `taken` or not.
    fn of(counter: &Counter, cost: u64, taken: bool) -> Self {
        let remaining = counter.remaining();
        if taken || counter.has(cost) {
            Self::Within { remaining, reset_after: counter.reset_after(1) }
        } else {
            Self::Exceeded { remaining, reset_after: counter.reset_after(cost) }
        }
    }

    /// Whether the limit refuses the request.
    #[must_use]
    pub const fn is_exceeded(&self) -> bool {
        matches!(self, Self::Exceeded { .. })
    }

    /// Units that are left.
    #[must_use]
    pub const fn remaining(&self) -> u64 {
        match self {
            Self::Within { remaining, .. } | Self::Exceeded { remaining, .. } => *remaining,
        }
    }

    /// Time until the window ends, the bucket is full, or there is room.
    #[must_use]
    pub const fn reset_after(&self) -> Duration {
        match self {
            Self::Within { reset_after, .. } | Self::Exceeded { reset_after, .. } => *reset_after,
        }
    }
}

/// What became of all checks of one request, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    is_allowed: bool,
    standings: Vec<Standing>,
}

impl Decision {
    /// A request that is `allowed` or not, with the standings of its checks. In one that is allowed only checks that
    /// are not enforced can be exceeded: those, and no others, have not counted it.
    #[must_use]
    pub const fn new(is_allowed: bool, standings: Vec<Standing>) -> Self {
        Self { is_allowed, standings }
    }

    /// Whether the request may pass.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        self.is_allowed
    }

    /// How each check stands.
    #[must_use]
    pub fn standings(&self) -> &[Standing] {
        &self.standings
    }
}
