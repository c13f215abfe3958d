//! Trial requests: who may make one, who waits to be told, and how they end.

use std::sync::Arc;

use slab::Slab;

use super::table::Key;
use super::{Board, Call, Ended, Event, ProbeResult, Refused, Verdict, process};
use crate::breaker::evidence::Context;
use crate::breaker::policy::Policy;
use crate::breaker::record::{self, Epoch, Outcome, Token};
use crate::breaker::told::Told;
use crate::key::KeyHash;
use crate::shared::SharedData;
use crate::time::{Instant, Now};

/// Requests that wait for a permit of the fleet: at most one for each breaker of the table.
pub(super) type Asks = Slab<Ask>;

/// One request that waits.
#[derive(Debug)]
pub(super) struct Ask {
    /// None once its client has gone.
    asker: Option<u32>,
    /// As what it passes.
    calls: Vec<Call>,
    /// Answers that are still to come.
    outstanding: usize,
    refused: Option<Refused>,
}

/// A trial request of this worker, under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    call: Call,
    pub(super) until: Instant,
    /// How it stands: with headers it goes on to its end, but it is no failure if that takes long.
    headers: Option<Ended>,
}

impl Board {
    /// The permit of this process for a trial request, if there is one to have.
    pub(super) fn ask_process(
        &mut self,
        now: Now,
        key: &Key,
        policy: &Policy,
        lapsed: Option<Token>,
        shared: &mut dyn SharedData,
    ) -> Option<(Token, Epoch)> {
        let token = Token(self.rng.next_u64());
        let epoch = self.table.get(key.hash)?.local.epoch();
        let event = record::Event::Ask { token, lapsed };
        let outcome = self.tell_process(now, key.hash, policy, (epoch, event), shared);
        if outcome != Some(Outcome::Granted) {
            return None;
        }
        if lapsed.is_some() {
            let result = ProbeResult::Lapsed;
            self.events.push_back(Event::Probe { breaker: key.breaker, result });
        }
        Some((token, self.table.get(key.hash)?.local.epoch()))
    }

    /// Has the fleet asked for what `asks`, for a request that otherwise passes as `calls`.
    pub(super) fn ask_fleet(
        &mut self,
        asker: u32,
        mut calls: Vec<Call>,
        asks: Vec<(Call, Option<Token>)>,
    ) {
        let (first, outstanding) = (calls.len(), asks.len());
        calls.extend(asks.iter().map(|(call, _)| *call));
        let ask = self.asks.insert(Ask { asker: Some(asker), calls, outstanding, refused: None });
        for (index, (call, lapsed)) in asks.into_iter().enumerate() {
            let token = Token(self.rng.next_u64());
            if let Some(entry) = self.table.get(call.key) {
                entry.asking = true;
                let epoch = entry.fleet.epoch();
                let event = record::Event::Ask { token, lapsed };
                let place = first.saturating_add(index);
                self.fleet.say(&entry.key, epoch, event, Some((ask, place)));
            }
        }
    }

    /// Whoever `asker` was has gone.
    pub fn forget(&mut self, asker: u32) {
        for (_, ask) in &mut self.asks {
            if ask.asker == Some(asker) {
                ask.asker = None;
            }
        }
    }

    /// The fleet has, or has not, granted a permit to the call at `place` of an ask.
    pub(super) fn on_permit(
        &mut self,
        now: Now,
        (ask, place): (usize, usize),
        granted: Option<(Token, Epoch)>,
        shared: &mut dyn SharedData,
    ) {
        let Some(waiting) = self.asks.get_mut(ask) else { return };
        if let Some(call) = waiting.calls.get_mut(place) {
            if let Some((token, epoch)) = granted {
                (call.fleet_probe, call.fleet) = (Some(token), epoch);
            } else {
                let (breaker, retry_after) = (call.breaker, super::ASKED_RETRY);
                waiting.refused = Some(Refused { breaker, retry_after });
            }
        }
        waiting.outstanding = waiting.outstanding.saturating_sub(1);
        if waiting.outstanding > 0 {
            return;
        }
        let Ask { asker, calls, refused, .. } = self.asks.remove(ask);
        let (Some(asker), None) = (asker, refused) else {
            for call in &calls {
                self.on_end(now, call, Ended::Nothing, shared);
            }
            if let (Some(asker), Some(refused)) = (asker, refused) {
                let verdict = self.unless_shadow(refused);
                self.events.push_back(Event::Decided { asker, verdict });
            }
            return;
        };
        self.begin_probes(&calls);
        self.events.push_back(Event::Decided { asker, verdict: Verdict::Pass(calls) });
    }

    /// Refuses a request, unless by a shadow: then it passes and nothing is learnt from it.
    fn unless_shadow(&mut self, refused: Refused) -> Verdict {
        let breaker = refused.breaker;
        if self.terms.get(breaker).is_some_and(|terms| terms.is_shadow) {
            self.events.push_back(Event::Shadowed { breaker });
            return Verdict::Pass(Vec::new());
        }
        Verdict::Refuse(refused)
    }

    /// From now on there are trial requests among these calls.
    pub(super) fn begin_probes(&mut self, calls: &[Call]) {
        for call in calls.iter().filter(|call| call.is_probe()) {
            if let Some(policy) = self.policy(call.breaker) {
                // From when it asked: others count the lease of its permit from when they saw that it was granted.
                let until = call.began_at.saturating_add(policy.probe_timeout);
                self.probes.push(Probe { call: *call, until, headers: None });
            }
        }
    }

    /// The response of a trial request has begun, and this is what it is unless its end is worse.
    pub fn on_headers(&mut self, call: &Call, so_far: Ended) {
        let same = |probe: &&mut Probe| probe.call == *call;
        if let Some(probe) = self.probes.iter_mut().find(same) {
            probe.headers = Some(so_far);
        }
    }

    /// Ends the trial requests that had their time.
    pub(super) fn end_late_probes(&mut self, now: Now, shared: &mut dyn SharedData) {
        while let Some(place) = self.probes.iter().position(|probe| probe.until <= now.mono) {
            let probe = self.probes.swap_remove(place);
            let late = Ended::Failure { answered: false, slow: true, retry_after_ms: 0 };
            self.end_probe(now, &probe.call, probe.headers.unwrap_or(late), shared);
        }
    }

    /// A trial request has ended. One that ended before, as it took too long, is over.
    pub(super) fn on_probe_end(
        &mut self,
        now: Now,
        call: &Call,
        ended: Ended,
        shared: &mut dyn SharedData,
    ) {
        let known = self.probes.iter().position(|probe| probe.call == *call);
        if let Some(place) = known {
            self.probes.swap_remove(place);
            self.end_probe(now, call, ended, shared);
        } else if ended == Ended::Nothing {
            // Its permit was taken, and it never began.
            self.give_back(now, call, shared);
        }
    }

    fn end_probe(&mut self, now: Now, call: &Call, ended: Ended, shared: &mut dyn SharedData) {
        let (succeeded, retry_after_ms, result) = match ended {
            Ended::Success { .. } => (Some(true), 0, ProbeResult::Succeeded),
            Ended::Failure { retry_after_ms, .. } => {
                (Some(false), retry_after_ms, ProbeResult::Failed)
            }
            Ended::Nothing => (None, 0, ProbeResult::GivenUp),
        };
        self.events.push_back(Event::Probe { breaker: call.breaker, result });
        self.return_permits(now, call, succeeded, retry_after_ms, shared);
    }

    fn give_back(&mut self, now: Now, call: &Call, shared: &mut dyn SharedData) {
        self.return_permits(now, call, None, 0, shared);
    }

    fn return_permits(
        &mut self,
        now: Now,
        call: &Call,
        succeeded: Option<bool>,
        retry_after_ms: u64,
        shared: &mut dyn SharedData,
    ) {
        let result = |token| record::Event::Result { token, succeeded, retry_after_ms };
        let Some(policy) = self.policy(call.breaker) else { return };
        if let Some(token) = call.local_probe {
            self.tell_process(now, call.key, &policy, (call.local, result(token)), shared);
        }
        if let Some(token) = call.fleet_probe {
            self.return_to_fleet(call.key, call.fleet, result(token));
        }
    }

    /// Tells the record of this process of an event that is about that epoch, and learns what has come of it. `None` if
    /// that could not be done.
    pub(super) fn tell_process(
        &mut self,
        now: Now,
        hash: KeyHash,
        policy: &Policy,
        (epoch, event): (Epoch, record::Event),
        shared: &mut dyn SharedData,
    ) -> Option<Outcome> {
        let context = self.context(now);
        let now_ms = now.unix.as_millis();
        let (outcome, is_new, told) = process::update(shared, hash, now_ms, |stored| {
            let before = Told::of(&stored.record, policy, now_ms);
            let outcome = stored.record.on_event(policy, &context, epoch, event);
            let told = Told::of(&stored.record, policy, now_ms);
            (outcome, told != before, told)
        })?;
        self.learn_local(now, hash, policy, &told, is_new, shared);
        Some(outcome)
    }

    /// What this process says of the time, of itself, and of chance.
    fn context(&mut self, now: Now) -> Context {
        let roll = self.rng.up_to(crate::breaker::policy::ROLLS);
        Context { now_us: now.unix.as_micros(), process: self.process, live: 1, roll }
    }

    /// Learns what the record of this process tells; others are to learn it too if it is new.
    pub(super) fn learn_local(
        &mut self,
        now: Now,
        hash: KeyHash,
        policy: &Policy,
        told: &Told,
        is_new: bool,
        shared: &mut dyn SharedData,
    ) {
        if is_new {
            process::raise_news(shared);
        }
        let Some(entry) = self.table.get(hash) else { return };
        let before = entry.local.epoch();
        entry.learn_local(now, policy, told);
        if is_new && told.epoch != before {
            let (breaker, name) = (entry.key.breaker, Arc::clone(&entry.key.name));
            let (scope, told) = (super::Scope::Replica, told.clone());
            self.events.push_back(Event::Transition { breaker, scope, name, told });
        }
    }
}
