//! Calls, and what there is to say of them and of breakers.

use std::sync::Arc;
use std::time::Duration;

use crate::breaker::record::{Epoch, Token};
use crate::breaker::told::Told;
use crate::key::KeyHash;
use crate::time::Instant;

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// This process.
    Replica,
    /// All processes, in Redis.
    Fleet,
}

/// A call that was let pass, from its request to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub(super) key: KeyHash,
    pub(super) breaker: usize,
    /// What the two records were when it passed.
    pub(super) local: Epoch,
    pub(super) fleet: Epoch,
    /// The permits by which it passed, if it is a trial request.
    pub(super) local_probe: Option<Token>,
    pub(super) fleet_probe: Option<Token>,
    pub(super) began_at: Instant,
}

impl Call {
    /// Whether it is a trial request.
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        self.local_probe.is_some() || self.fleet_probe.is_some()
    }

    /// By which permit of the fleet it is a trial request.
    #[must_use]
    pub const fn fleet_permit(&self) -> Option<Token> {
        self.fleet_probe
    }

    /// Its breaker's place in the configuration.
    #[must_use]
    pub const fn breaker(&self) -> usize {
        self.breaker
    }

    /// When it began.
    #[must_use]
    pub const fn began_at(&self) -> Instant {
        self.began_at
    }
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The upstream answered, and not with a failure.
    Success {
        /// Whether that took too long.
        slow: bool,
    },
    /// It failed.
    Failure {
        /// Whether the upstream answered: with a status that is a failure.
        answered: bool,
        /// Whether that took too long.
        slow: bool,
        /// How long the upstream wants to be left alone, in milliseconds; 0 if it did not say.
        retry_after_ms: u64,
    },
    /// Nothing is to be learnt from it: the client left, or it was answered on the way.
    Nothing,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes, as these calls.
    Pass(Vec<Call>),
    /// It is refused.
    Refuse(Refused),
    /// [`Event::Decided`] will tell.
    Wait,
}

/// Who refuses a request, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Place of the breaker in the configuration.
    pub breaker: usize,
    /// After that time another one may pass.
    pub retry_after: Duration,
}

/// How trial requests end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeResult {
    /// Well.
    Succeeded,
    /// Badly, or not in time.
    Failed,
    /// Without a result.
    GivenUp,
    /// Whoever made it was not heard of any more.
    Lapsed,
}

/// What has happened.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// A breaker of this process or of the fleet is in another state; told once in a process.
    Transition {
        /// Place of the breaker in the configuration.
        breaker: usize,
        /// Whose it is.
        scope: Scope,
        /// Its name.
        name: Arc<[u8]>,
        /// What it is now.
        told: Told,
    },
    /// A trial request has ended.
    Probe {
        /// Place of the breaker in the configuration.
        breaker: usize,
        /// How.
        result: ProbeResult,
    },
    /// A request passed although this breaker, which is a shadow, would have refused it.
    Shadowed {
        /// Place of the breaker in the configuration.
        breaker: usize,
    },
    /// A request that waited needs to no longer; never [`Verdict::Wait`].
    Decided {
        /// Who asked.
        asker: u32,
        /// What becomes of it.
        verdict: Verdict,
    },
}
