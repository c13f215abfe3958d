//! The calls that requests are to breakers: what is seen of their responses, and what has become of them.

use std::time::Duration;

use super::Worker;
use super::caches::Onward;
use super::effect::Callback;
use crate::breaker::board::{Call, Ended};
use crate::breaker::outcome::{self, CallView, Circumstances};
use crate::config::Breaker;
use crate::shared::SharedData;
use crate::time::{Instant, Now};

/// The calls that one request is, from when it passed to its end.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Calls {
    calls: Vec<Call>,
    wants_response: bool,
    /// When its response began, if that was looked at.
    answered_at: Option<Instant>,
    /// How long the upstream wants to be left alone.
    retry_after: Option<Duration>,
    /// What there was to see of the upstream's answer, if another one went out.
    seen: Option<Seen>,
}

/// What Envoy knew of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    code: Option<u16>,
    flags: u64,
    details: Option<Vec<u8>>,
}

impl CallView for Seen {
    fn code(&mut self) -> Option<u16> {
        self.code
    }

    fn flags(&mut self) -> u64 {
        self.flags
    }

    fn code_details(&mut self) -> Option<Vec<u8>> {
        self.details.clone()
    }
}

impl Calls {
    /// Whether there are none, so that nothing has to be told of them.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Keeps what there is to see of its response: another one goes out.
    pub(super) fn remember(&mut self, view: &mut dyn CallView) {
        if !self.calls.is_empty() {
            let (code, flags) = (view.code(), view.flags());
            self.seen = Some(Seen { code, flags, details: view.code_details() });
        }
    }

    /// Whether something has to be seen of its response before its end.
    #[must_use]
    pub const fn wants_response(&self) -> bool {
        self.wants_response
    }
}

/// The response of a call, of which the header is being read.
pub trait ResponseView: CallView {
    /// The first line of the header field `retry-after`.
    fn retry_after(&mut self) -> Option<Vec<u8>>;
}

impl Worker {
    pub(super) fn calls(&self, calls: Vec<Call>) -> Calls {
        let breakers = &self.plan.config().breakers;
        let wants = |call: &Call| {
            let of = breakers.get(call.breaker());
            let asks = |of: &Breaker| of.trip.slow_percent.is_some() || of.obey_retry_after;
            call.is_probe() || of.is_some_and(asks)
        };
        let wants_response = calls.iter().any(wants);
        Calls { calls, wants_response, ..Calls::default() }
    }

    /// The response of a request that passed has begun.
    pub fn on_response(&mut self, now: Now, calls: &mut Calls, view: &mut dyn ResponseView) {
        let breakers = &self.plan.config().breakers;
        let of = |call: &Call| breakers.get(call.breaker());
        if calls.calls.iter().filter_map(of).any(|breaker| breaker.trip.slow_percent.is_some()) {
            calls.answered_at = Some(now.mono);
        }
        if calls.calls.iter().filter_map(of).any(|breaker| breaker.obey_retry_after)
            && let Some(field) = view.retry_after()
            && let Some(status) = view.code()
        {
            calls.retry_after = outcome::retry_after(status, &field, now.unix);
        }
        for call in calls.calls.iter().filter(|call| call.is_probe()) {
            if let Some(breaker) = of(call) {
                let known = circumstances(breaker, call, calls, true);
                self.board.on_headers(call, outcome::ended(view, &known));
            }
        }
    }

    /// A request that passed is over, whatever became of it. `request_ended`: it was over with its header. This is a
    /// callback of its own, and the clock is that of the one before, at most a tick ago: it has to be cheap.
    pub fn on_onward_done(
        &mut self,
        Onward { mut calls, part }: Onward,
        request_ended: bool,
        view: &mut dyn CallView,
        shared: &mut dyn SharedData,
    ) {
        let now = self.now;
        self.begin_callback(now, Callback::End);
        self.on_part_done(now, part);
        let mut seen = calls.seen.take();
        let view: &mut dyn CallView = match &mut seen {
            Some(seen) => seen,
            None => view,
        };
        for call in &calls.calls {
            let Some(breaker) = self.plan.config().breakers.get(call.breaker()) else { continue };
            let ended = if self.board.wants_to_know(now, call) {
                outcome::ended(view, &circumstances(breaker, call, &calls, request_ended))
            } else {
                Ended::Success { slow: false }
            };
            self.board.on_end(now, call, ended, shared);
        }
        self.tell_of_board(now);
    }
}

/// What is known of a call besides what Envoy knows.
fn circumstances(
    breaker: &Breaker,
    call: &Call,
    calls: &Calls,
    request_ended: bool,
) -> Circumstances {
    let took = calls.answered_at.map(|at| at.saturating_since(call.began_at()));
    let is_slow = |took| breaker.trip.slow_percent.is_some() && took > breaker.trip.slow_after;
    Circumstances {
        failure_statuses: breaker.failure_statuses,
        request_ended,
        slow: took.is_some_and(is_slow),
        retry_after: calls.retry_after.filter(|_| breaker.obey_retry_after),
        is_probe: call.is_probe(),
    }
}
