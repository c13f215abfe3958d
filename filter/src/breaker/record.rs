//! The state machine of one breaker, where it is decided: in a process, or for the fleet.
//!
//! **Who decides.** A process keeps one record of each breaker in its shared data, the fleet one in Redis. Workers
//! report what they have seen and ask for permits; the record decides, once. The script `lua/breaker.lua` does in Redis
//! what this does in a process, step by step, so that the two can be held against each other.
//!
//! What it takes to trip a breaker is in [`super::evidence`].
//!
//! **Epochs.** Each transition has a number, and whatever is reported or asked names the one it is about. What belongs
//! to another one is ignored: a late result never changes a newer state.
//!
//! **No clock decides when a breaker half-opens or a permit lapses**, as clocks jump. Who asks says that it has waited
//! as long as it was told, or that it has seen the same permit for the time of a lease, by a clock that never goes back
//! (`view`). The clock that comes in here only names slots and epochs.

use serde::{Deserialize, Serialize};

use super::evidence::{Against, Context, Evidence, Reason, Report, Verdict};
use super::policy::Policy;

/// Which transition a state came from: grows with each of them.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch(pub u64);

/// Names the permit of one trial request among all that ever were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Token(pub u64);

/// Why the last transition was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Cause {
    /// To open: failures in a row.
    ConsecutiveFailures,
    /// To open: the share of failures in the window.
    FailureRatio,
    /// To open: the share of slow calls in the window.
    SlowCalls,
    /// To open again: a trial request failed.
    ProbeFailed,
    /// To half-open: it was open as long as it had to be.
    WaitOver,
    /// To closed: enough trial requests succeeded.
    ProbesSucceeded,
    /// To closed: a process that had to decide alone has found the upstream well.
    Recovered,
    /// To open: the fleet's breaker was, when this process lost Redis.
    TakenOver,
    /// To closed: the fleet's breaker decides from here on.
    GivenWay,
}

impl From<Reason> for Cause {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::ConsecutiveFailures => Self::ConsecutiveFailures,
            Reason::FailureRatio => Self::FailureRatio,
            Reason::SlowCalls => Self::SlowCalls,
        }
    }
}

/// One breaker.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Record {
    /// Of the last transition.
    pub epoch: Epoch,
    /// Why that was; none if there was none.
    pub cause: Option<Cause>,
    /// What there was against it when it tripped last.
    pub against: Against,
    /// How often it has opened since it was closed last.
    pub trips: u64,
    /// What it is now.
    pub state: State,
}

/// What a breaker is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant, reason = "nearly all breakers are closed nearly always")]
pub enum State {
    /// Calls pass, and what becomes of them is evidence.
    Closed(Evidence),
    /// Calls are refused.
    Open {
        /// For so long, in milliseconds since it was learnt.
        wait_ms: u64,
    },
    /// Trial requests pass, so many at a time.
    HalfOpen {
        /// Of the trial requests without a result.
        permits: Vec<Token>,
        /// Trial requests that succeeded.
        successes: u64,
    },
}

impl Default for State {
    fn default() -> Self {
        Self::Closed(Evidence::default())
    }
}

/// What happens to a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A worker reports.
    Report(Report),
    /// A worker wants to make a trial request, after it has waited as long as it was told.
    Ask {
        /// What its permit will be called.
        token: Token,
        /// A permit that it has seen for the time of a lease.
        lapsed: Option<Token>,
    },
    /// A trial request has a result.
    Result {
        /// By this permit.
        token: Token,
        /// Whether it succeeded; none if it was given up without one.
        succeeded: Option<bool>,
        /// As in [`Report::retry_after_ms`].
        retry_after_ms: u64,
    },
    /// A process that lost the fleet's breaker has found the upstream well since.
    Recovered,
    /// The process that this record is of has lost the fleet's breaker, which was open, and for so long still.
    TakeOver {
        /// In milliseconds.
        wait_ms: u64,
    },
    /// The fleet's breaker has opened, or is back and open: this record is not needed.
    GiveWay,
}

/// What has come of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Noted, and nothing else.
    Noted,
    /// It was about another epoch, or about what this state does not know.
    Ignored,
    /// [`Verdict::Unsettled`]: report again after [`super::evidence::SETTLE_MS`].
    Unsettled,
    /// The trial request may be made.
    Granted,
    /// It may not: there are enough.
    Refused,
    /// A transition, and none of the above.
    Changed,
}

impl Record {
    /// Takes in an event that is about `epoch`.
    ///
    /// |           | report     | ask              | result ²                     | recovered | take over | give way |
    /// |-----------|------------|------------------|------------------------------|-----------|-----------|----------|
    /// | closed    | → open ¹   | –                | –                            | –         | → open    | forgets  |
    /// | open      | –          | → half-open      | –                            | → closed  | –         | → closed |
    /// | half-open | –          | granted, refused | → open, → closed, or noted   | → closed  | –         | → closed |
    ///
    /// ¹ if there is enough against it. ² by a permit that it has given. A dash: ignored.
    pub fn on_event(
        &mut self,
        policy: &Policy,
        context: &Context,
        epoch: Epoch,
        event: Event,
    ) -> Outcome {
        if epoch != self.epoch {
            return Outcome::Ignored;
        }
        match (&mut self.state, event) {
            (State::Closed(evidence), Event::Report(report)) => {
                match evidence.add(policy, context, &report) {
                    Verdict::Passes => Outcome::Noted,
                    Verdict::Unsettled => Outcome::Unsettled,
                    Verdict::Trips(reason, against) => {
                        self.against = against;
                        self.open(policy, context, reason.into(), report.retry_after_ms)
                    }
                }
            }
            (State::Closed(_), Event::TakeOver { wait_ms }) => {
                self.trips = self.trips.max(1);
                self.turn(context, Cause::TakenOver, State::Open { wait_ms })
            }
            (State::Open { .. }, Event::Ask { token, lapsed: _ }) => {
                let permits = vec![token];
                self.turn(context, Cause::WaitOver, State::HalfOpen { permits, successes: 0 });
                Outcome::Granted
            }
            (State::Open { .. } | State::HalfOpen { .. }, Event::Recovered) => {
                self.close(context, Cause::Recovered)
            }
            (State::HalfOpen { permits, .. }, Event::Ask { token, lapsed }) => {
                permits.retain(|held| Some(*held) != lapsed);
                if permits.len() as u64 >= policy.probes {
                    return Outcome::Refused;
                }
                permits.push(token);
                Outcome::Granted
            }
            (
                State::HalfOpen { permits, successes },
                Event::Result { token, succeeded, retry_after_ms },
            ) => {
                let held = permits.len();
                permits.retain(|held| *held != token);
                match succeeded {
                    _ if permits.len() == held => Outcome::Ignored,
                    None => Outcome::Noted,
                    Some(false) => self.open(policy, context, Cause::ProbeFailed, retry_after_ms),
                    Some(true) => {
                        *successes = successes.saturating_add(1);
                        if *successes < policy.close_after {
                            return Outcome::Noted;
                        }
                        self.close(context, Cause::ProbesSucceeded)
                    }
                }
            }
            (State::Closed(evidence), Event::GiveWay) => {
                *evidence = Evidence::default();
                Outcome::Noted
            }
            (State::Open { .. } | State::HalfOpen { .. }, Event::GiveWay) => {
                self.close(context, Cause::GivenWay)
            }
            (State::Closed(_), Event::Ask { .. } | Event::Result { .. } | Event::Recovered)
            | (
                State::Open { .. },
                Event::Report(_) | Event::Result { .. } | Event::TakeOver { .. },
            )
            | (State::HalfOpen { .. }, Event::Report(_) | Event::TakeOver { .. }) => {
                Outcome::Ignored
            }
        }
    }

    fn open(&mut self, policy: &Policy, context: &Context, cause: Cause, said_ms: u64) -> Outcome {
        self.trips = self.trips.saturating_add(1);
        let wait_ms = match said_ms {
            0 => policy.wait_ms(self.trips, context.roll),
            said_ms => said_ms.min(policy.max_open_for_ms),
        };
        self.turn(context, cause, State::Open { wait_ms })
    }

    fn close(&mut self, context: &Context, cause: Cause) -> Outcome {
        self.trips = 0;
        self.turn(context, cause, State::default())
    }

    fn turn(&mut self, context: &Context, cause: Cause, state: State) -> Outcome {
        // The time, so that no two histories of a Redis that has lost its last writes use the same number.
        self.epoch = Epoch(context.now_us.max(self.epoch.0.saturating_add(1)));
        self.cause = Some(cause);
        self.state = state;
        Outcome::Changed
    }
}

#[cfg(test)]
mod tests;
