//! What one worker knows of a breaker, and by that what becomes of a call.
//!
//! All waiting is done here, by the worker's own clock that never goes back: how long a breaker has been open since the
//! worker learnt of it, and since when it has seen each permit. So neither a clock that jumps nor a message that is
//! late lets a trial request pass early.

use std::time::Duration;

use super::policy::Policy;
use super::record::{Epoch, Token};
use super::told::{Standing, Told};
use crate::rng::Rng;
use crate::time::Instant;

/// What a worker knows.
#[derive(Clone, Debug, Default)]
pub struct View {
    epoch: Epoch,
    phase: Phase,
    /// Until when calls are to be reported.
    suspect_until: Instant,
    /// Whether there are failures in a row, which any success ends.
    streak: bool,
}

#[derive(Clone, Debug)]
enum Phase {
    Closed {
        /// Since when a rising share of calls passes.
        ramp_since: Option<Instant>,
    },
    Open {
        until: Instant,
    },
    HalfOpen {
        /// With since when each was seen.
        permits: Vec<(Token, Instant)>,
    },
}

impl Default for Phase {
    fn default() -> Self {
        Self::Closed { ramp_since: None }
    }
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It passes.
    Pass,
    /// It is refused; another one may have better luck after that time.
    Refuse {
        /// Until something may change.
        retry_after: Duration,
    },
    /// It may be a trial request: the record has to be asked.
    Ask {
        /// A permit that has been seen for the time of a lease.
        lapsed: Option<Token>,
    },
}

/// When those may come again whom a half-open or ramping breaker refuses.
const SOON: Duration = Duration::from_secs(1);

impl View {
    /// Which state it is of.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether calls pass, and what becomes of them is evidence.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed { .. })
    }

    /// Whether calls are refused without exception.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    /// Whether somebody has failures, so that what others have counts too.
    #[must_use]
    pub fn is_suspect(&self, now: Instant) -> bool {
        self.streak || now < self.suspect_until
    }

    /// Whether a success ends a row of failures.
    #[must_use]
    pub const fn has_streak(&self) -> bool {
        self.streak
    }

    /// A failure has been reported, and it has not been told yet what has come of it.
    pub const fn expect_streak(&mut self) {
        self.streak = true;
    }

    /// How long it stays open.
    #[must_use]
    pub const fn open_for(&self, now: Instant) -> Option<Duration> {
        match self.phase {
            Phase::Open { until } => Some(until.saturating_since(now)),
            Phase::Closed { .. } | Phase::HalfOpen { .. } => None,
        }
    }

    /// Learns what a record tells, unless that is older than what it knows. Returns whether there was a transition.
    pub fn learn(&mut self, now: Instant, policy: &Policy, told: &Told) -> bool {
        told.epoch >= self.epoch && self.accept(now, policy, told)
    }

    /// Learns what a record tells, whatever was known: for after a loss, when an older state may be what is left.
    pub fn accept(&mut self, now: Instant, policy: &Policy, told: &Told) -> bool {
        // After a clock has jumped and a failover has lost writes, two histories may use one number.
        let is_other = match (&told.standing, &self.phase) {
            (Standing::Closed { .. }, Phase::Closed { .. })
            | (Standing::Open { .. }, Phase::Open { .. })
            | (Standing::HalfOpen { .. }, Phase::HalfOpen { .. }) => false,
            (Standing::Closed { .. } | Standing::Open { .. } | Standing::HalfOpen { .. }, _) => {
                true
            }
        };
        let is_new = told.epoch != self.epoch || is_other;
        self.epoch = told.epoch;
        let is_closed = matches!(told.standing, Standing::Closed { .. });
        self.streak = is_closed && told.against.streak > 0;
        match (&told.standing, &mut self.phase) {
            (Standing::Closed { suspect }, phase) => {
                if *suspect {
                    let window = Duration::from_millis(policy.window_ms);
                    self.suspect_until = now.saturating_add(window);
                }
                if is_new {
                    let ramps = !matches!(phase, Phase::Closed { .. }) && !policy.ramp.is_zero();
                    *phase = Phase::Closed { ramp_since: ramps.then_some(now) };
                }
            }
            (Standing::Open { .. }, Phase::Open { .. }) if !is_new => {}
            (Standing::Open { wait_ms }, phase) => {
                // No record that was written here says more.
                let wait_ms = policy.max_open_for_ms.min(*wait_ms);
                let until = now.saturating_add(Duration::from_millis(wait_ms));
                *phase = Phase::Open { until };
            }
            (Standing::HalfOpen { permits }, phase) => {
                let known = match phase {
                    Phase::HalfOpen { permits } => std::mem::take(permits),
                    Phase::Closed { .. } | Phase::Open { .. } => Vec::new(),
                };
                let since = |token| known.iter().find(|(known, _)| *known == token);
                let seen = |token: &Token| (*token, since(*token).map_or(now, |(_, at)| *at));
                *phase = Phase::HalfOpen { permits: permits.iter().map(seen).collect() };
            }
        }
        is_new
    }

    /// Waits no longer: for whoever knows that the time is over.
    pub const fn hurry(&mut self, until: Instant) {
        if let Phase::Open { until: end } = &mut self.phase {
            *end = until;
        }
    }

    /// What becomes of a call now.
    pub fn admit(&self, now: Instant, policy: &Policy, rng: &mut Rng) -> Admission {
        match &self.phase {
            Phase::Closed { ramp_since: None } => Admission::Pass,
            Phase::Closed { ramp_since: Some(since) } => {
                let (passed, ramp) = (now.saturating_since(*since), policy.ramp);
                let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
                if passed >= ramp || rng.up_to(micros(ramp)) < micros(passed) {
                    Admission::Pass
                } else {
                    Admission::Refuse { retry_after: SOON }
                }
            }
            Phase::Open { until } if now < *until => {
                Admission::Refuse { retry_after: until.saturating_since(now) }
            }
            Phase::Open { .. } => Admission::Ask { lapsed: None },
            Phase::HalfOpen { permits } => {
                let is_free = (permits.len() as u64) < policy.probes;
                let has_lapsed =
                    |(_, since): &&(Token, Instant)| now.saturating_since(*since) >= policy.lease();
                let lapsed = permits.iter().find(has_lapsed).map(|(token, _)| *token);
                if is_free || lapsed.is_some() {
                    Admission::Ask { lapsed }
                } else {
                    Admission::Refuse { retry_after: SOON }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::evidence::Against;
    use crate::breaker::policy::PLAIN;

    fn told(epoch: u64, standing: Standing) -> Told {
        Told { epoch: Epoch(epoch), cause: None, against: Against::default(), standing }
    }

    fn open(epoch: u64, wait_ms: u64) -> Told {
        told(epoch, Standing::Open { wait_ms })
    }

    fn half_open(epoch: u64, permits: &[u64]) -> Told {
        let permits = permits.iter().copied().map(Token).collect();
        told(epoch, Standing::HalfOpen { permits })
    }

    fn closed(epoch: u64) -> Told {
        told(epoch, Standing::Closed { suspect: false })
    }

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    fn admit(view: &View, policy: &Policy, millis: u64) -> Admission {
        view.admit(at(millis), policy, &mut Rng::with_seed(1))
    }

    fn refuse(millis: u64) -> Admission {
        Admission::Refuse { retry_after: Duration::from_millis(millis) }
    }

    #[test]
    fn an_open_breaker_refuses_until_its_time_is_over_and_then_asks() {
        let mut view = View::default();
        assert_eq!(admit(&view, &PLAIN, 0), Admission::Pass);
        assert!(view.learn(at(1000), &PLAIN, &open(1, 500)));
        assert_eq!(admit(&view, &PLAIN, 1000), refuse(500));
        assert_eq!(admit(&view, &PLAIN, 1499), refuse(1));
        assert_eq!(admit(&view, &PLAIN, 1500), Admission::Ask { lapsed: None });
    }

    #[test]
    fn no_record_keeps_it_open_for_longer_than_configured() {
        let mut view = View::default();
        view.learn(at(0), &PLAIN, &open(1, u64::MAX));
        assert_eq!(admit(&view, &PLAIN, 0), refuse(PLAIN.max_open_for_ms));
    }

    #[test]
    fn to_be_told_again_does_not_prolong() {
        let mut view = View::default();
        view.learn(at(0), &PLAIN, &open(1, 500));
        assert!(!view.learn(at(400), &PLAIN, &open(1, 500)));
        assert_eq!(admit(&view, &PLAIN, 450), refuse(50));
    }

    #[test]
    fn what_is_late_is_ignored_unless_it_is_what_is_left() {
        let mut view = View::default();
        view.learn(at(0), &PLAIN, &open(5, 500));
        assert!(!view.learn(at(0), &PLAIN, &closed(4)));
        assert!(view.is_open());
        assert!(view.accept(at(0), &PLAIN, &closed(4)));
        assert!(view.is_closed());
        assert_eq!(view.epoch(), Epoch(4));
    }

    #[test]
    fn one_number_for_two_states_is_two_states() {
        let mut view = View::default();
        view.learn(at(0), &PLAIN, &open(5, 500));
        assert!(view.accept(at(0), &PLAIN, &closed(5)));
        assert!(view.is_closed());
        assert!(view.accept(at(0), &PLAIN, &half_open(5, &[7])));
        assert_eq!(admit(&view, &PLAIN, 0), refuse(1000));
    }

    #[test]
    fn half_open_asks_while_there_is_room_or_a_permit_has_lapsed() {
        let policy = Policy { probes: 2, ..PLAIN };
        let lease = u64::try_from(policy.lease().as_millis()).unwrap();
        let mut view = View::default();
        view.learn(at(0), &policy, &half_open(1, &[7]));
        assert_eq!(admit(&view, &policy, 0), Admission::Ask { lapsed: None });
        view.learn(at(1000), &policy, &half_open(1, &[7, 8]));
        assert_eq!(admit(&view, &policy, lease - 1), refuse(1000));
        assert_eq!(admit(&view, &policy, lease), Admission::Ask { lapsed: Some(Token(7)) });
        view.learn(at(lease), &policy, &half_open(1, &[9, 8]));
        assert_eq!(admit(&view, &policy, lease + 999), refuse(1000));
        assert_eq!(admit(&view, &policy, lease + 1000), Admission::Ask { lapsed: Some(Token(8)) });
    }

    #[test]
    fn after_closing_the_share_that_passes_rises() {
        let policy = Policy { ramp: Duration::from_secs(10), ..PLAIN };
        let mut view = View::default();
        view.learn(at(0), &policy, &half_open(1, &[7]));
        view.learn(at(0), &policy, &closed(2));
        let mut rng = Rng::with_seed(3);
        for (millis, percent) in [(0, 0), (1000, 10), (5000, 50), (9000, 90), (10_000, 100)] {
            let passes = |_: &usize| view.admit(at(millis), &policy, &mut rng) == Admission::Pass;
            let passed = (0..10_000).filter(passes).count();
            assert!(passed.abs_diff(percent * 100) <= 200, "{passed} of 10,000 at {millis} ms");
        }
    }

    #[test]
    fn who_never_saw_it_open_does_not_ramp() {
        let policy = Policy { ramp: Duration::from_secs(10), ..PLAIN };
        let mut view = View::default();
        view.learn(at(0), &policy, &closed(2));
        assert_eq!(admit(&view, &policy, 0), Admission::Pass);
    }

    #[test]
    fn suspicion_lasts_as_long_as_the_window() {
        let mut view = View::default();
        assert!(!view.is_suspect(at(0)));
        view.learn(at(0), &PLAIN, &told(0, Standing::Closed { suspect: true }));
        assert!(view.is_suspect(at(PLAIN.window_ms - 1)));
        assert!(!view.is_suspect(at(PLAIN.window_ms)));
    }

    #[test]
    fn failures_in_a_row_are_remembered_until_they_end() {
        let mut view = View::default();
        let against = Against { streak: 1, ..Against::default() };
        view.learn(at(0), &PLAIN, &Told { against, ..closed(0) });
        assert!(view.is_suspect(at(u64::from(u32::MAX))));
        view.learn(at(0), &PLAIN, &closed(0));
        assert!(!view.is_suspect(at(0)));
    }
}
