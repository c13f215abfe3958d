//! What there is against a closed breaker, and when it is enough.
//!
//! A breaker trips on failures in a row, on the share of failures in a window, or on the share of slow calls; the shares
//! count from a minimum of calls on. A window has [`SLOTS`] slots, of which the oldest is dropped as a whole.
//!
//! **Whose word counts.** Where several processes live, one of them alone may be cut off from an upstream that serves
//! all others. So failures without an answer of the upstream (no connection, reset, time-out) count only once two
//! processes have them. Answers that are failures (5xx) count from one process too, but only after [`SETTLE_MS`], in
//! which others may report successes.

use serde::{Deserialize, Serialize};

use super::policy::Policy;

/// Parts of a window.
pub const SLOTS: usize = 10;

/// How much less the number of the oldest slot of a window is than that of the newest.
const NEWEST: u64 = SLOTS as u64 - 1;

/// Length of one slot in milliseconds.
#[must_use]
pub fn slot_ms(policy: &Policy) -> u64 {
    policy.window_ms.checked_div(SLOTS as u64).unwrap_or(0).max(1)
}

/// How long the failures of one process alone wait for others to object: longer than it takes those to be told that
/// somebody has failures, and to report.
pub const SETTLE_MS: u64 = 60;

/// Who says so, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The clock by which windows go, in microseconds since 1970.
    pub now_us: u64,
    /// Whose worker it is.
    pub process: u64,
    /// How many processes there are that use the breaker, or could.
    pub live: u64,
    /// Chance, 0 to [`super::policy::ROLLS`].
    pub roll: u64,
}

/// What evidence comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is not enough.
    Passes,
    /// It would be if it were not for one process alone: others may object within [`SETTLE_MS`].
    Unsettled,
    /// The breaker trips.
    Trips(Reason, Against),
}

/// Why a breaker trips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Failures in a row.
    ConsecutiveFailures,
    /// The share of failures in the window.
    FailureRatio,
    /// The share of slow calls in the window.
    SlowCalls,
}

/// What a breaker tripped on, for people to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Against {
    /// Failures in a row.
    pub streak: u64,
    /// Calls in the window.
    pub calls: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Those of them that took too long.
    pub slow: u64,
}

/// What is known against a closed breaker.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Failures since the last success.
    pub streak: u64,
    /// Those of them that the upstream answered.
    pub streak_answered: u64,
    /// Who had them.
    pub streak_by: By,
    /// When the first of them was reported.
    pub streak_since_ms: u64,
    /// When others were last told that there are failures; 0: never.
    pub suspect_ms: u64,
    /// When the failures of the window began to be reported.
    pub bad_since_ms: u64,
    /// The window. A slot belongs to the time `number × length`; others are in its place later.
    pub slots: [Slot; SLOTS],
}

/// What happened in one part of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Slot {
    /// Which part of all time it is.
    pub number: u64,
    /// Calls that have ended.
    pub calls: u64,
    /// Those that failed.
    pub failures: u64,
    /// Those of these that the upstream answered.
    pub answered: u64,
    /// Calls that took too long.
    pub slow: u64,
    /// Who had failures or slow calls.
    pub by: By,
}

/// Which processes have had failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum By {
    /// None.
    #[default]
    Nobody,
    /// This one.
    One(u64),
    /// More than one.
    Several,
}

impl By {
    const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nobody, by) | (by, Self::Nobody) => by,
            (Self::One(a), Self::One(b)) if a == b => self,
            (Self::One(_) | Self::Several, Self::One(_) | Self::Several) => Self::Several,
        }
    }
}

/// What one worker has seen since its last report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Report {
    /// Calls that have ended.
    pub calls: u64,
    /// Those that failed.
    pub failures: u64,
    /// Those of these that the upstream answered.
    pub answered: u64,
    /// Calls that took too long.
    pub slow: u64,
    /// Failures since the last success.
    pub streak: u64,
    /// Those of these that the upstream answered.
    pub streak_answered: u64,
    /// Whether there was a success that ends all failures in a row before it.
    pub succeeded: bool,
    /// How long the upstream wants to be left alone, in milliseconds, as it last said; 0 if it did not.
    pub retry_after_ms: u64,
}

impl Evidence {
    /// Adds a report.
    pub(super) fn add(&mut self, policy: &Policy, context: &Context, report: &Report) -> Verdict {
        let (now_ms, slot_ms) = (context.now_us / 1000, slot_ms(policy));
        let number = now_ms.checked_div(slot_ms).unwrap_or(0);
        let by = if report.failures > 0 || report.slow > 0 {
            By::One(context.process)
        } else {
            By::Nobody
        };
        self.note_streak(now_ms, by, report);

        let is_bad = self.window(number).by != By::Nobody;
        let place = number.checked_rem(SLOTS as u64).and_then(|place| usize::try_from(place).ok());
        if let Some(slot) = place.and_then(|place| self.slots.get_mut(place)) {
            if slot.number != number {
                *slot = Slot { number, ..Slot::default() };
            }
            slot.add(report, by);
        }
        if by != By::Nobody {
            if !is_bad || self.bad_since_ms > now_ms {
                self.bad_since_ms = now_ms;
            }
            let announced = now_ms.checked_sub(self.suspect_ms);
            if announced.is_none_or(|ms| ms >= policy.window_ms / 2) {
                self.suspect_ms = now_ms;
            }
        }
        self.judge(policy, context, now_ms, &self.window(number))
    }

    fn note_streak(&mut self, now_ms: u64, by: By, report: &Report) {
        if report.succeeded {
            (self.streak, self.streak_answered, self.streak_by) = (0, 0, By::Nobody);
        }
        if report.streak > 0 {
            if self.streak == 0 || self.streak_since_ms > now_ms {
                self.streak_since_ms = now_ms;
            }
            self.streak = self.streak.saturating_add(report.streak);
            self.streak_answered = self.streak_answered.saturating_add(report.streak_answered);
            self.streak_by = self.streak_by.and(by);
        }
    }

    /// All slots that are not over at the time of slot `number`, added up.
    fn window(&self, number: u64) -> Slot {
        let oldest = number.saturating_sub(NEWEST);
        let current = self.slots.iter().filter(|slot| (oldest..=number).contains(&slot.number));
        let mut sum = Slot { number, ..Slot::default() };
        for slot in current {
            sum.calls = sum.calls.saturating_add(slot.calls);
            sum.failures = sum.failures.saturating_add(slot.failures);
            sum.answered = sum.answered.saturating_add(slot.answered);
            sum.slow = sum.slow.saturating_add(slot.slow);
            sum.by = sum.by.and(slot.by);
        }
        sum
    }

    fn judge(&self, policy: &Policy, context: &Context, now_ms: u64, window: &Slot) -> Verdict {
        // What counts of failures of which so many were answered.
        let believed = |by, all: u64, answered: u64| match by {
            By::One(_) if context.live > 1 => answered,
            By::Nobody | By::One(_) | By::Several => all,
        };
        let settled = |by, since_ms: u64| match by {
            By::One(_) if context.live > 1 => now_ms.saturating_sub(since_ms) >= SETTLE_MS,
            By::Nobody | By::One(_) | By::Several => true,
        };
        let share = |part: u64| part.saturating_mul(100).checked_div(window.calls).unwrap_or(0);
        let counts = window.calls >= policy.minimum_calls;

        let streak = believed(self.streak_by, self.streak, self.streak_answered);
        let in_a_row = policy.consecutive_failures > 0 && streak >= policy.consecutive_failures;
        let failures = believed(window.by, window.failures, window.answered);
        let failing =
            counts && policy.failure_percent > 0 && share(failures) >= policy.failure_percent;
        let slow = counts && policy.slow_percent > 0 && share(window.slow) >= policy.slow_percent;

        let reasons = [
            (in_a_row, Reason::ConsecutiveFailures, settled(self.streak_by, self.streak_since_ms)),
            (failing, Reason::FailureRatio, settled(window.by, self.bad_since_ms)),
            (slow, Reason::SlowCalls, settled(window.by, self.bad_since_ms)),
        ];
        let mut verdict = Verdict::Passes;
        for (applies, reason, is_settled) in reasons {
            if applies && is_settled {
                let Slot { calls, failures, slow, .. } = *window;
                let against = Against { streak: self.streak, calls, failures, slow };
                return Verdict::Trips(reason, against);
            }
            if applies {
                verdict = Verdict::Unsettled;
            }
        }
        verdict
    }
}

impl Slot {
    fn add(&mut self, report: &Report, by: By) {
        self.calls = self.calls.saturating_add(report.calls);
        self.failures = self.failures.saturating_add(report.failures);
        self.answered = self.answered.saturating_add(report.answered);
        self.slow = self.slow.saturating_add(report.slow);
        self.by = self.by.and(by);
    }
}

impl Report {
    /// Adds a call that was answered well, or slowly; perhaps it `ends_row` of failures.
    pub fn success(&mut self, slow: bool, ends_row: bool) {
        self.calls = self.calls.saturating_add(1);
        self.slow = self.slow.saturating_add(u64::from(slow));
        (self.streak, self.streak_answered) = (0, 0);
        self.succeeded |= ends_row;
    }

    /// Adds a call that failed.
    pub fn failure(&mut self, answered: bool, slow: bool, retry_after_ms: u64) {
        self.calls = self.calls.saturating_add(1);
        self.failures = self.failures.saturating_add(1);
        self.answered = self.answered.saturating_add(u64::from(answered));
        self.slow = self.slow.saturating_add(u64::from(slow));
        self.streak = self.streak.saturating_add(1);
        self.streak_answered = self.streak_answered.saturating_add(u64::from(answered));
        if retry_after_ms > 0 {
            self.retry_after_ms = retry_after_ms;
        }
    }

    /// Whether it has something against the upstream.
    #[must_use]
    pub const fn is_bad(&self) -> bool {
        self.failures > 0 || self.slow > 0
    }
}
