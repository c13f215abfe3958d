//! What is said to Redis about the fleet's breakers, and what comes back.
//!
//! A worker that has joined hears of every change by a message; what it says itself is answered with the state too. A
//! message may be lost, and some ways to Redis have none, so it also asks now and then which breakers are not closed.
//!
//! **A worker without Redis** goes on from what it knew: of a breaker that was open the record of the process takes over,
//! and makes trial requests of its own. When it joins again, the fleet's breaker has the word, unless it is still in the
//! state that was taken over and the process has closed it since: then the process says so, and it closes.

use std::sync::Arc;
use std::time::Duration;

use super::outbox::{
    AGAIN_AFTER, Expected, Fleet, LOOK_EVERY, LOOK_EVERY_UNTOLD, Link, MOST_OPS, Op, Outgoing,
    OutgoingId, Said,
};
use super::table::{Entry, Key};
use super::{Board, Event, ProbeResult, Scope, Terms, process};
use crate::breaker::evidence::{Report, SETTLE_MS};
use crate::breaker::record::{self, Epoch, Outcome, State};
use crate::breaker::told::{Standing, Told};
use crate::key::KeyHash;
use crate::shared::SharedData;
use crate::time::Now;

impl Board {
    /// Redis is there; the worker is `told` of changes by messages, or is not. How the breakers stand is asked first.
    pub fn on_joined(&mut self, told: bool) {
        self.fleet.link = Link::Joining { told };
        self.fleet.knows_index = false;
        self.fleet.wants_index = true;
    }

    /// Redis is gone.
    pub fn on_lost(&mut self, now: Now, shared: &mut dyn SharedData) {
        if self.fleet.link == Link::Alone {
            return;
        }
        let lost = Fleet { last_id: self.fleet.last_id, ..Fleet::default() };
        let before = std::mem::replace(&mut self.fleet, lost);
        for op in before.waiting.into_iter().chain(before.sent.into_values().flatten()) {
            self.on_unsaid(now, op, shared);
        }
        // What could not be said is not said to another Redis.
        self.fleet.again.clear();
        let open = self.table.iter().filter(|entry| !entry.fleet.is_closed());
        let open: Vec<Key> = open.map(|entry| entry.key.clone()).collect();
        for key in open {
            self.take_over(now, &key, shared);
        }
    }

    /// What is to be sent next.
    pub fn poll_outgoing(&mut self) -> Option<(OutgoingId, Outgoing)> {
        if self.fleet.link == Link::Alone {
            return None;
        }
        let outgoing = if std::mem::take(&mut self.fleet.wants_index) {
            Outgoing::Index
        } else if self.fleet.waiting.is_empty() {
            return None;
        } else {
            let count = self.fleet.waiting.len().min(MOST_OPS);
            Outgoing::Ops(self.fleet.waiting.drain(..count).collect())
        };
        self.fleet.last_id = self.fleet.last_id.wrapping_add(1);
        let id = OutgoingId(self.fleet.last_id);
        let ops = match &outgoing {
            Outgoing::Index => Vec::new(),
            Outgoing::Ops(ops) => ops.clone(),
        };
        self.fleet.sent.insert(id, ops);
        Some((id, outgoing))
    }

    /// What has to come back for a call: names, or so many answers.
    #[must_use]
    pub fn expected(&self, id: OutgoingId) -> Option<Expected> {
        self.fleet.sent.get(&id).map(|ops| match ops.len() {
            0 => Expected::Index,
            ops => Expected::Ops(ops),
        })
    }

    /// Something has come back.
    pub fn on_said(&mut self, now: Now, id: OutgoingId, said: Said, shared: &mut dyn SharedData) {
        let Some(ops) = self.fleet.sent.remove(&id) else { return };
        match said {
            Said::Index(names) => self.on_index(now, &names),
            Said::Ops(answers) => {
                let mut answers = answers.into_iter();
                for op in ops {
                    match answers.next().flatten() {
                        Some((outcome, told)) => self.on_answer(now, op, outcome, &told, shared),
                        None => self.on_unsaid(now, op, shared),
                    }
                }
            }
            Said::Nothing if ops.is_empty() => {
                self.fleet.look_at = Some(now.mono.saturating_add(AGAIN_AFTER));
            }
            Said::Nothing => {
                for op in ops {
                    self.on_unsaid(now, op, shared);
                }
            }
        }
        self.finish_joining();
    }

    /// A message: a name, the end of the line, and what is told of it.
    pub fn on_message(&mut self, now: Now, payload: &[u8], shared: &mut dyn SharedData) {
        let Some(end) = payload.iter().position(|byte| *byte == b'\n') else { return };
        let (name, line) = (payload.get(..end), payload.get(end.saturating_add(1)..));
        let told = line.and_then(Told::parse);
        if let (Some(key), Some(told)) = (name.and_then(|name| self.key_of(name)), told) {
            self.learn_fleet(now, &key, &told, false, shared);
        }
    }

    /// Has the result of a trial request told.
    pub(super) fn return_to_fleet(&mut self, hash: KeyHash, epoch: Epoch, event: record::Event) {
        if self.fleet.link != Link::Alone
            && let Some(entry) = self.table.get(hash)
        {
            self.fleet.say(&entry.key, epoch, event, None);
        }
    }

    /// Which key has this name.
    fn key_of(&self, name: &[u8]) -> Option<Key> {
        let is_of = |terms: &Terms| terms.is_fleet && name.starts_with(&terms.prefix);
        let breaker = self.terms.iter().position(is_of)?;
        Some(Key { breaker, name: name.into(), hash: KeyHash::of(&self.seed, name) })
    }

    /// These breakers are not closed; of others that were not, it has to be asked.
    fn on_index(&mut self, now: Now, names: &[Vec<u8>]) {
        for name in names.iter().take(super::MOST_KEYS) {
            if let Some(key) = self.key_of(name) {
                self.fleet.look(&key);
            }
        }
        self.fleet.knows_index = true;
        let is_other = |entry: &&Entry| {
            !entry.fleet.is_closed() && !names.iter().any(|name| **name == *entry.key.name)
        };
        let fleet = &mut self.fleet;
        self.table.iter().filter(is_other).for_each(|entry| fleet.look(&entry.key));
        let every = match self.fleet.link {
            Link::Joining { told: true } | Link::Joined { told: true } => LOOK_EVERY,
            Link::Joining { told: false } | Link::Joined { told: false } | Link::Alone => {
                LOOK_EVERY_UNTOLD
            }
        };
        self.fleet.look_at = Some(now.mono.saturating_add(every));
    }

    /// Once nothing is open any more that was asked at joining, the fleet decides.
    fn finish_joining(&mut self) {
        let fleet = &mut self.fleet;
        let is_done = fleet.knows_index
            && fleet.waiting.is_empty()
            && fleet.sent.is_empty()
            && fleet.again.is_empty()
            && !fleet.wants_index;
        if let (Link::Joining { told }, true) = (fleet.link, is_done) {
            fleet.link = Link::Joined { told };
        }
    }

    fn on_answer(
        &mut self,
        now: Now,
        op: Op,
        outcome: Outcome,
        told: &Told,
        shared: &mut dyn SharedData,
    ) {
        let key = Key { breaker: op.breaker, name: Arc::clone(&op.name), hash: op.hash };
        let is_joining = matches!(self.fleet.link, Link::Joining { .. });
        if is_joining && op.event.is_none() {
            self.join(now, &key, told, shared);
        } else {
            // Answers and messages come in their order. One that is older than what is known here is of a Redis that has
            // lost its last writes.
            self.learn_fleet(now, &key, told, true, shared);
        }
        let Some(entry) = self.table.get(op.hash) else { return };
        match op.event {
            Some(record::Event::Report(report)) if outcome == Outcome::Unsettled => {
                let at = now.mono.saturating_add(Duration::from_millis(SETTLE_MS));
                entry.report_at = Some(entry.report_at.map_or(at, |due| due.min(at)));
                if entry.fleet_report.retry_after_ms == 0 {
                    entry.fleet_report.retry_after_ms = report.retry_after_ms;
                }
                self.fleet.is_due(at);
            }
            Some(record::Event::Ask { token, lapsed }) => {
                entry.asking = false;
                let granted = (outcome == Outcome::Granted).then_some((token, told.epoch));
                if granted.is_some() && lapsed.is_some() {
                    let result = ProbeResult::Lapsed;
                    self.events.push_back(Event::Probe { breaker: op.breaker, result });
                }
                if let Some(ask) = op.ask {
                    self.on_permit(now, ask, granted, shared);
                }
            }
            _ => {}
        }
    }

    /// Something was not said, or nobody knows whether it was.
    fn on_unsaid(&mut self, now: Now, op: Op, shared: &mut dyn SharedData) {
        match op.event {
            Some(record::Event::Ask { token, .. }) => {
                if let Some(entry) = self.table.get(op.hash) {
                    entry.asking = false;
                    entry.ask_after = now.mono.saturating_add(AGAIN_AFTER);
                }
                // Perhaps it was granted: then it is seen among the permits, and given back.
                self.fleet.remember_unknown(token);
                if let Some(ask) = op.ask {
                    self.on_permit(now, ask, None, shared);
                }
            }
            Some(record::Event::Result { .. }) => {
                let is_current =
                    self.table.get(op.hash).is_some_and(|entry| entry.fleet.epoch() == op.epoch);
                if is_current {
                    self.fleet.say_again(now.mono, op);
                }
            }
            None if matches!(self.fleet.link, Link::Joining { .. }) => {
                self.fleet.say_again(now.mono, op);
            }
            _ => {}
        }
    }

    /// Learns how a breaker of the fleet stands: what it has not known, or, if `anew`, whatever it knew.
    pub(super) fn learn_fleet(
        &mut self,
        now: Now,
        key: &Key,
        told: &Told,
        anew: bool,
        shared: &mut dyn SharedData,
    ) {
        let Some(policy) = self.policy(key.breaker) else { return };
        let is_closed = matches!(told.standing, Standing::Closed { .. });
        let entry =
            if is_closed { self.table.get(key.hash) } else { self.table.entry(now.mono, key) };
        let Some(entry) = entry else { return };
        if let Standing::HalfOpen { permits } = &told.standing {
            for token in permits {
                if let Some(place) = self.fleet.unknown.iter().position(|lost| lost == token) {
                    self.fleet.unknown.remove(place);
                    let event =
                        record::Event::Result { token: *token, succeeded: None, retry_after_ms: 0 };
                    self.fleet.say(key, told.epoch, event, None);
                }
            }
        }
        let is_new = if anew {
            entry.fleet.accept(now.mono, &policy, told)
        } else {
            entry.fleet.learn(now.mono, &policy, told)
        };
        if !is_new {
            return;
        }
        entry.fleet_report = Report::default();
        entry.report_at = None;
        if !is_closed {
            let epoch = entry.local.epoch();
            self.tell_process(now, key.hash, &policy, (epoch, record::Event::GiveWay), shared);
        }
        let is_first = process::update(shared, key.hash, now.unix.as_millis(), |stored| {
            let is_first = stored.told_of < told.epoch;
            stored.told_of = stored.told_of.max(told.epoch);
            is_first
        });
        if is_first == Some(true) {
            let (breaker, name) = (key.breaker, Arc::clone(&key.name));
            let (scope, told) = (Scope::Fleet, told.clone());
            self.events.push_back(Event::Transition { breaker, scope, name, told });
        }
    }

    /// The record of this process goes on from the fleet's, which is not closed.
    fn take_over(&mut self, now: Now, key: &Key, shared: &mut dyn SharedData) {
        let Some(policy) = self.policy(key.breaker) else { return };
        let Some(entry) = self.table.get(key.hash) else { return };
        let fleet = entry.fleet.epoch();
        let left = entry.fleet.open_for(now.mono).unwrap_or_default();
        let wait_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let is_first = process::update(shared, key.hash, now.unix.as_millis(), |stored| {
            std::mem::replace(&mut stored.taken_over, fleet) != fleet
        });
        entry.look(now, &policy, shared);
        if is_first == Some(true) {
            let epoch = entry.local.epoch();
            let event = record::Event::TakeOver { wait_ms };
            self.tell_process(now, key.hash, &policy, (epoch, event), shared);
        }
    }

    /// How a breaker of the fleet stands after a time without Redis.
    fn join(&mut self, now: Now, key: &Key, told: &Told, shared: &mut dyn SharedData) {
        let Some(policy) = self.policy(key.breaker) else { return };
        let stored = process::read(shared, key.hash);
        let is_known = told.epoch == stored.taken_over && told.epoch != Epoch(0);
        let is_closed = matches!(told.standing, Standing::Closed { .. });
        if is_closed || !is_known {
            self.learn_fleet(now, key, told, true, shared);
        } else if matches!(stored.record.state, State::Closed(_)) {
            // The fleet has not noticed what this process has.
            self.fleet.say(key, told.epoch, record::Event::Recovered, None);
        } else {
            // Should Redis be lost again, the same state is taken over again.
            process::update(shared, key.hash, now.unix.as_millis(), |stored| {
                stored.taken_over = Epoch(0);
            });
            let left = self.table.entry(now.mono, key).and_then(|entry| {
                // A worker that was not there when it was taken over waits as long as it finds that it has to.
                entry.look(now, &policy, shared);
                entry.local.open_for(now.mono)
            });
            self.learn_fleet(now, key, told, true, shared);
            if let Some(entry) = self.table.get(key.hash) {
                entry.fleet.hurry(now.mono.saturating_add(left.unwrap_or_default()));
                entry.look(now, &policy, shared);
                let epoch = entry.local.epoch();
                self.tell_process(now, key.hash, &policy, (epoch, record::Event::GiveWay), shared);
            }
        }
    }
}
