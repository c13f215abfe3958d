//! What breakers make of requests.

use std::collections::HashMap;
use std::time::Duration;

use super::Worker;
use super::caches::{Onward, Part};
use super::calls::Calls;
use super::effect::{ContextId, Effect};
use super::waiting::Way;
use crate::access_log::{BY_BREAKER, Entry};
use crate::breaker::answer;
use crate::breaker::board::{
    Event, Key, OPEN, OutgoingId, Refused, Said, Scope, Verdict as BoardVerdict,
};
use crate::breaker::evidence::Against;
use crate::breaker::record::Cause;
use crate::breaker::script;
use crate::breaker::told::{Standing as Is, Told};
use crate::cache::keeper::{Fetch, Series};
use crate::cache::wanted::Wanted;
use crate::exchange::{Conclusion, Fate, Tally};
use crate::metrics::{BreakerSeries, Metric, Refusal};
use crate::redis::{Ticket, Value};
use crate::roster::Standing;
use crate::shared::SharedData;
use crate::time::Now;

/// Tickets from here on are those of what the board says.
const FIRST_TICKET: u64 = 1 << 32;

/// Requests that wait for permits, with what quotas have concluded of them, and what they fetch for the cache.
pub(super) type Held = HashMap<u32, (Conclusion, Duration, Option<Box<Fetch>>)>;

impl Worker {
    /// Concludes a request that an open breaker refuses, whatever quotas say.
    pub(super) fn conclude_by_breaker(
        &mut self,
        now: Now,
        keys: &[Key],
        shared: &mut dyn SharedData,
    ) -> Option<Conclusion> {
        let refused = self.board.refuses(now, keys, shared)?;
        self.refuse(refused, Duration::ZERO)
    }

    /// Lets a request pass that quotas let pass after they have `waited`, if it is not answered from the cache and
    /// breakers let it pass too; `None` if that has to be asked.
    pub(super) fn pass(
        &mut self,
        now: Now,
        context: ContextId,
        way: Way,
        (conclusion, waited): (Conclusion, Duration),
        shared: &mut dyn SharedData,
    ) -> Option<(Conclusion, Onward)> {
        if !matches!(conclusion.fate, Fate::Pass(_)) {
            return Some((conclusion, Onward::default()));
        }
        let Way { breakers, cache } = way;
        let concluded = (conclusion, waited);
        let part = match cache {
            Some(Wanted::Answer(asking)) => {
                return self.look(now, context, breakers, asking, concluded, shared);
            }
            Some(Wanted::Change(mutation)) => Part::Change(mutation),
            Some(Wanted::Nothing { policy, why }) => {
                self.count_cache(policy, Series::Bypass(why));
                Part::None
            }
            None => Part::None,
        };
        let (conclusion, mut onward) =
            self.pass_on(now, context, &breakers, concluded, None, shared)?;
        onward.part = part;
        Some((conclusion, onward))
    }

    /// Lets a request pass that has to go to the upstream, if breakers do; `None` if that has to be asked.
    pub(super) fn pass_on(
        &mut self,
        now: Now,
        context: ContextId,
        breakers: &[Key],
        (conclusion, waited): (Conclusion, Duration),
        fetch: Option<Box<Fetch>>,
        shared: &mut dyn SharedData,
    ) -> Option<(Conclusion, Onward)> {
        if breakers.is_empty() {
            return Some((conclusion, Onward::to_fetch(Calls::default(), fetch)));
        }
        let verdict = self.board.admit(now, context.0, breakers, shared);
        if verdict == BoardVerdict::Wait {
            self.held.insert(context.0, (conclusion, waited, fetch));
            return None;
        }
        Some(self.conclude(now, verdict, (conclusion, waited), fetch))
    }

    fn conclude(
        &mut self,
        now: Now,
        verdict: BoardVerdict,
        (conclusion, waited): (Conclusion, Duration),
        fetch: Option<Box<Fetch>>,
    ) -> (Conclusion, Onward) {
        match verdict {
            BoardVerdict::Pass(calls) => (conclusion, Onward::to_fetch(self.calls(calls), fetch)),
            BoardVerdict::Refuse(refused) => {
                let stale = fetch.and_then(|fetch| self.keeper.on_refused(now, *fetch));
                let conclusion = match stale {
                    Some(reply) => self.serve(conclusion, *reply),
                    None => self.refuse(refused, waited).unwrap_or(conclusion),
                };
                (conclusion, Onward::default())
            }
            BoardVerdict::Wait => (conclusion, Onward::default()),
        }
    }

    fn refuse(&mut self, refused: Refused, waited: Duration) -> Option<Conclusion> {
        let Refused { breaker, retry_after } = refused;
        self.count_of(breaker, BreakerSeries::Refused(Refusal::Refused));
        let of = self.plan.config().breakers.get(breaker)?;
        let fate = Fate::Refuse(answer::refusal(of, retry_after));
        let entry = Entry { rule: &of.name, words: BY_BREAKER, remaining: None, waited };
        Some(Conclusion { fate, entry: Some(entry.line()) })
    }

    /// Whether a ticket is of what the board said.
    pub(super) const fn is_of_breakers(ticket: Ticket) -> bool {
        ticket.0 >= FIRST_TICKET && ticket.0 < u64::MAX
    }

    /// Redis has come or gone: the fleet decides, or this process alone.
    pub(super) fn join_or_leave_fleet(&mut self, now: Now, shared: &mut dyn SharedData) {
        if self.health.standing() == Some(Standing::Connected) {
            self.join_fleet();
        } else {
            self.board.on_lost(now, shared);
        }
    }

    /// Joins the fleet, if there is anything to share and this worker serves: who never does need not know.
    pub(super) fn join_fleet(&mut self) {
        if self.serves && !self.plan.config().breakers.is_empty() {
            self.board.on_joined(self.is_told);
        }
    }

    /// Redis has answered what the board said, or has not.
    pub(super) fn on_breaker_answer(
        &mut self,
        now: Now,
        ticket: Ticket,
        answer: Option<&Value>,
        shared: &mut dyn SharedData,
    ) {
        let Some(id) = ticket.0.checked_sub(FIRST_TICKET).map(OutgoingId) else { return };
        let said = match (answer, self.board.expected(id)) {
            (Some(answer), Some(expected)) => script::said(expected, answer),
            _ => Said::Nothing,
        };
        self.board.on_said(now, id, said, shared);
    }

    /// Does what the board wants, and lets those go who no longer wait for it.
    pub(super) fn after_board(&mut self, now: Now, shared: &mut dyn SharedData) {
        while let Some(redis) = &mut self.redis
            && let Some((id, outgoing)) = self.board.poll_outgoing()
        {
            let request = self.breaker_calls.request(&mut self.rng, &outgoing);
            let ticket = Ticket(FIRST_TICKET.saturating_add(id.0));
            if redis.submit(now.mono, request, ticket).is_err() {
                self.board.on_said(now, id, Said::Nothing, shared);
            }
        }
        self.tell_of_board(now);
    }

    /// Tells of what has happened.
    pub(super) fn tell_of_board(&mut self, now: Now) {
        while let Some(event) = self.board.poll_event() {
            match event {
                Event::Decided { asker, verdict } => {
                    let Some((conclusion, waited, fetch)) = self.held.remove(&asker) else {
                        continue;
                    };
                    let (conclusion, onward) =
                        self.conclude(now, verdict, (conclusion, waited), fetch);
                    self.releases.push_back(Effect::Release(ContextId(asker), conclusion, onward));
                }
                Event::Shadowed { breaker } => {
                    self.count_of(breaker, BreakerSeries::Refused(Refusal::Shadowed));
                }
                Event::Probe { breaker, result } => {
                    self.count_of(breaker, BreakerSeries::Probes(result));
                }
                Event::Transition { breaker, scope, name, told } => {
                    if let Some(cause) = told.cause {
                        self.count_of(breaker, BreakerSeries::Transitions(scope, cause));
                    }
                    let of = self.plan.config().breakers.get(breaker);
                    let line = of.map(|of| describe(&of.name, scope, &name, &told));
                    self.effects.extend(line.map(|line| match told.standing {
                        Is::Open { .. } => Effect::Warn(line),
                        Is::Closed { .. } | Is::HalfOpen { .. } => Effect::Info(line),
                    }));
                    self.record_states();
                }
            }
        }
    }

    /// Renews the gauges, and adds to the time for which breakers have been open.
    pub(super) fn renew_breakers(&mut self, now: Now, shared: &mut dyn SharedData) {
        if self.plan.config().breakers.is_empty() {
            return;
        }
        self.board.refresh(now, shared);
        for breaker in 0..self.plan.config().breakers.len() {
            let is_open = |scope: &Scope| self.board.state(breaker, *scope) == Some(OPEN);
            let open: Vec<Scope> =
                [Scope::Replica, Scope::Fleet].into_iter().filter(is_open).collect();
            if open.is_empty() {
                continue;
            }
            let seconds = self.board.seconds_to_count(breaker, now, shared);
            for scope in open.into_iter().filter(|_| seconds > 0) {
                let series = BreakerSeries::OpenSeconds(scope);
                self.counts.add(Metric::Breaker { breaker, series }, seconds);
            }
        }
        self.record_states();
    }

    /// The gauges are those of the process: who has never had to do with a breaker says nothing.
    fn record_states(&mut self) {
        for breaker in 0..self.plan.config().breakers.len() {
            for scope in [Scope::Replica, Scope::Fleet] {
                let series = BreakerSeries::State(scope);
                if let Some(state) = self.board.state(breaker, scope) {
                    self.record(Metric::Breaker { breaker, series }, state);
                }
            }
        }
    }

    fn count_of(&mut self, breaker: usize, series: BreakerSeries) {
        self.counts.count(Metric::Breaker { breaker, series });
    }
}

/// A transition, for people to read: with all that led to it.
fn describe(breaker: &str, scope: Scope, name: &[u8], told: &Told) -> String {
    let of = match scope {
        Scope::Replica => "of this process",
        Scope::Fleet => "of the fleet",
    };
    let name = String::from_utf8_lossy(name);
    let key = name.split_once(&format!(":{breaker}:")).map_or("", |(_, key)| key);
    let cause = told.cause.map_or("", Cause::word);
    let Against { streak, calls, failures, slow } = told.against;
    let is = match &told.standing {
        Is::Closed { .. } => "closed".to_owned(),
        Is::HalfOpen { .. } => "half-open".to_owned(),
        Is::Open { wait_ms } => format!("open for {wait_ms} ms"),
    };
    let evidence =
        format!("{streak} failures in a row, {failures} of {calls} calls failed, {slow} slow");
    format!("breaker {breaker} {of} is {is}: {cause}; key {key:?}; tripped last on {evidence}")
}
