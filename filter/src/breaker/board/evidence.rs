//! What calls tell: kept by each worker, and reported once it matters.

use std::time::Duration;

use super::table::Entry;
use super::{Board, Call, Ended};
use crate::breaker::evidence::{Report, slot_ms};
use crate::breaker::policy::Policy;
use crate::breaker::record::Event;
use crate::shared::SharedData;
use crate::time::{Instant, Now};

/// How long failures collect for one report to the fleet.
const BAD_NEWS_AFTER: Duration = Duration::from_millis(10);

/// How long successes do, while somebody has failures. With the time that messages take it must be less than
/// [`crate::breaker::evidence::SETTLE_MS`].
const GOOD_NEWS_AFTER: Duration = Duration::from_millis(30);

/// Calls of one closed breaker that a worker looks at in each [`SLICE`] in any case: all of them below 3,200 a second.
const SEEN_IN_SLICE: u64 = 32;

/// Of further ones one of so many, as long as nobody has failures. To ask Envoy how a call ended costs 2 µs.
const SEEN_BEYOND: u64 = 16;

/// See [`SEEN_IN_SLICE`].
const SLICE: Duration = Duration::from_millis(10);

impl Board {
    /// Whether it has to be found out how a call ended. If not, it is taken for a success.
    pub fn wants_to_know(&mut self, now: Now, call: &Call) -> bool {
        let Some(entry) = self.table.get(call.key) else { return false };
        let views = [&entry.local, &entry.fleet];
        let is_calm = views.iter().all(|view| view.is_closed() && !view.is_suspect(now.mono));
        if call.is_probe() || !is_calm {
            return true;
        }
        if now.mono.saturating_since(entry.slice_since) >= SLICE {
            (entry.slice_since, entry.slice_calls) = (now.mono, 0);
        }
        entry.slice_calls = entry.slice_calls.saturating_add(1);
        entry.slice_calls <= SEEN_IN_SLICE || entry.slice_calls.is_multiple_of(SEEN_BEYOND)
    }

    /// A call has ended.
    pub fn on_end(&mut self, now: Now, call: &Call, ended: Ended, shared: &mut dyn SharedData) {
        if call.is_probe() {
            self.on_probe_end(now, call, ended, shared);
            return;
        }
        let Some(terms) = self.terms.get(call.breaker) else { return };
        let (policy, is_fleet) = (terms.policy, terms.is_fleet && self.fleet.decides());
        let Some(entry) = self.table.get(call.key) else { return };
        entry.forget_what_is_old(now.mono, &policy);
        let counts_here = entry.local.is_closed() && entry.local.epoch() == call.local;
        if counts_here
            && add(&mut entry.local_report, ended, entry.local.has_streak())
            && entry.has_news_for_process(now.mono)
        {
            let report = std::mem::take(&mut entry.local_report);
            let epoch = entry.local.epoch();
            self.tell_process(now, call.key, &policy, (epoch, Event::Report(report)), shared);
        }
        let Some(entry) = self.table.get(call.key) else { return };
        let counts_there = is_fleet && entry.fleet.is_closed() && entry.fleet.epoch() == call.fleet;
        if counts_there && add(&mut entry.fleet_report, ended, entry.fleet.has_streak()) {
            let after = if entry.fleet_report.is_bad() {
                BAD_NEWS_AFTER
            } else if entry.fleet.is_suspect(now.mono) {
                GOOD_NEWS_AFTER
            } else {
                return;
            };
            let at = now.mono.saturating_add(after);
            entry.report_at = Some(entry.report_at.map_or(at, |due| due.min(at)));
            self.fleet.is_due(at);
        }
    }

    /// Hands over what is to be reported by now.
    pub(super) fn report_what_is_due(&mut self, now: Now) {
        if !self.fleet.take_due(now.mono) {
            return;
        }
        for entry in self.table.iter_mut() {
            match entry.report_at {
                Some(at) if at <= now.mono => {
                    entry.report_at = None;
                    let report = std::mem::take(&mut entry.fleet_report);
                    if report.streak > 0 {
                        entry.fleet.expect_streak();
                    }
                    let epoch = entry.fleet.epoch();
                    self.fleet.say(&entry.key, epoch, Event::Report(report), None);
                }
                Some(at) => self.fleet.is_due(at),
                None => {}
            }
        }
    }
}

impl Entry {
    /// Of what nobody has to know, only the last part of a window is kept: so much success counts beside a failure.
    fn forget_what_is_old(&mut self, now: Instant, policy: &Policy) {
        let slot = Duration::from_millis(slot_ms(policy));
        if now.saturating_since(self.since) < slot {
            return;
        }
        self.since = now;
        for (report, is_waited_for) in [
            (&mut self.local_report, self.local.is_suspect(now)),
            (&mut self.fleet_report, self.report_at.is_some() || self.fleet.is_suspect(now)),
        ] {
            if !is_waited_for && !report.is_bad() {
                *report = Report::default();
            }
        }
    }

    /// Whether the process has to know at once: of each failure, of the success that ends a row of them, and of others
    /// as soon as it has failures, and now and then while it has.
    fn has_news_for_process(&mut self, now: Instant) -> bool {
        let report = &self.local_report;
        let ends_streak = report.succeeded && self.local.has_streak();
        let was_suspect = std::mem::replace(&mut self.is_suspect, self.local.is_suspect(now));
        let is_time = || self.is_suspect && (!was_suspect || report.calls >= MOST_UNREPORTED);
        report.is_bad() || ends_streak || is_time()
    }
}

/// Successes that a worker keeps from its process while that has failures: enough to cost little, few enough not to
/// matter in a share of failures.
const MOST_UNREPORTED: u64 = 16;

/// Adds a call; false if nothing is to be learnt from it. A success ends a row of failures if the worker knew that there
/// is one: what was well before, or at the same time elsewhere, is no answer to it.
fn add(report: &mut Report, ended: Ended, has_streak: bool) -> bool {
    match ended {
        Ended::Success { slow } => report.success(slow, has_streak || report.failures > 0),
        Ended::Failure { answered, slow, retry_after_ms } => {
            report.failure(answered, slow, retry_after_ms);
        }
        Ended::Nothing => return false,
    }
    true
}
