//! Whose turn it is to fetch a response, or to validate one.

use std::time::Duration;

use super::outbox::{About, Outgoing};
use super::series::Series;
use super::settle::Finding;
use super::{Asking, Event, Fetch, Keeper, Look, Waiter};
use crate::cache::reuse::{self, Forward};
use crate::cache::store::{Lock, Token};
use crate::time::Now;

/// Who fetches what is missing.
#[derive(Clone, Copy)]
pub(super) enum Turn {
    /// That has not been asked.
    Unasked,
    /// This worker.
    Mine(Token),
    /// Somebody else.
    Taken,
    /// That has not been asked either, as there is something, which cannot be read.
    Unreadable,
    /// Everyone for themselves.
    Everyone,
    /// That has to be asked anew.
    Again,
}

/// A waiter that is not answered by what is there, and how that is validated if it can be.
pub(super) type Wanting = (Waiter, Option<Forward>);

impl Keeper {
    /// Who asked could not have stored the response; others may.
    pub(super) fn ask_anew(&mut self, now: Now, finding: &Finding, wanting: Vec<Wanting>) {
        for (waiter, forward) in wanting {
            if waiter.asking.may_fill() {
                self.send_elsewhere(now, vec![waiter]);
            } else {
                self.fetch_alone(now, finding, (waiter, forward));
            }
        }
    }

    /// Asks who validates what is there, or puts something else in its place.
    pub(super) fn acquire(
        &mut self,
        now: Now,
        finding: Finding,
        wanting: Vec<Wanting>,
        refresh: Option<Asking>,
    ) {
        let may_wait = |(waiter, forward): &Wanting| waiter.asking.may_lead(forward.as_ref());
        let (waiting, alone): (Vec<_>, Vec<_>) = wanting.into_iter().partition(may_wait);
        for one in alone {
            self.fetch_alone(now, &finding, one);
        }
        if waiting.is_empty() && refresh.is_none() {
            return;
        }
        let (place, token) = (finding.place.clone(), self.token());
        let received_ms = finding.have.as_ref().map(|have| have.stored.received_ms);
        let waiters = waiting.into_iter().map(|(waiter, _)| waiter).collect();
        self.line.asks(place.object, waiters);
        let about = About::Acquire { finding: Box::new(finding), token, refresh };
        self.outbox.say(Outgoing::Acquire { place, token, received_ms }, about);
    }

    /// The first that can makes the fetch on which the others wait.
    pub(super) fn take_turn(
        &mut self,
        now: Now,
        finding: &Finding,
        wanting: Vec<Wanting>,
        refresh: Option<Asking>,
        token: Token,
    ) {
        let mut token = Some(token);
        for (waiter, forward) in wanting {
            if !waiter.asking.may_lead(forward.as_ref()) {
                self.fetch_alone(now, finding, (waiter, forward));
            } else if let Some(token) = token.take() {
                self.count(waiter.asking.policy, Series::Miss(finding.miss_of(forward.as_ref())));
                let fetch = self.lead(now, finding, &waiter.asking, forward, token);
                self.decide(waiter.asker, Look::Forward(fetch));
            } else {
                self.line.wait(now.mono, finding.place.object, waiter);
            }
        }
        let Some(token) = token else { return };
        match refresh {
            Some(asking) => {
                let forward = finding
                    .have
                    .as_ref()
                    .map(|have| reuse::forward(&have.stored, reuse::Cause::Stale));
                let fetch = self.lead(now, finding, &asking, forward, token);
                self.events.push_back(Event::Refresh(fetch));
            }
            // Nobody is left who wants it.
            None => self.release(&finding.place, token, Duration::ZERO),
        }
    }

    pub(super) fn let_wait(&mut self, now: Now, finding: &Finding, wanting: Vec<Wanting>) {
        for (waiter, forward) in wanting {
            if waiter.asking.may_lead(forward.as_ref()) {
                self.line.wait(now.mono, finding.place.object, waiter);
            } else {
                self.fetch_alone(now, finding, (waiter, forward));
            }
        }
    }

    fn lead(
        &mut self,
        now: Now,
        finding: &Finding,
        asking: &Asking,
        forward: Option<Forward>,
        token: Token,
    ) -> Box<Fetch> {
        let mut fetch = self.fetch_of(now, finding, asking, forward);
        fetch.token = Some(token);
        // While something is validated others may still be answered by it.
        if finding.have.is_none() {
            self.fetching.insert(finding.place.object);
        }
        Box::new(fetch)
    }

    pub(super) fn fetch_alone(&mut self, now: Now, finding: &Finding, (waiter, forward): Wanting) {
        self.count(waiter.asking.policy, Series::Miss(finding.miss_of(forward.as_ref())));
        let fetch = self.fetch_of(now, finding, &waiter.asking, forward);
        self.decide(waiter.asker, Look::Forward(Box::new(fetch)));
    }

    fn fetch_of(
        &self,
        now: Now,
        finding: &Finding,
        asking: &Asking,
        forward: Option<Forward>,
    ) -> Fetch {
        let miss = finding.miss_of(forward.as_ref());
        let mut fetch = self.fetch(now, asking, finding.place.clone(), miss);
        fetch.epoch = Some(finding.epoch);
        if let (Some(have), Some(forward)) = (&finding.have, forward) {
            fetch.validate(have.clone(), forward);
        }
        fetch
    }
}

impl Turn {
    pub(super) const fn of(lock: Lock, token: Option<Token>) -> Self {
        match (lock, token) {
            (Lock::Mine, Some(token)) => Self::Mine(token),
            (Lock::Taken, _) => Self::Taken,
            (Lock::Changed, _) => Self::Again,
            (Lock::Useless, _) => Self::Everyone,
            (Lock::NotAsked, Some(_)) => Self::Unreadable,
            (Lock::NotAsked | Lock::Mine, None) => Self::Unasked,
        }
    }
}

impl Asking {
    /// Whether others may wait for its response, which validates what is there as `forward` says, or is the first one.
    fn may_lead(&self, forward: Option<&Forward>) -> bool {
        match forward {
            Some(forward) if !forward.conditions.is_empty() => self.may_validate(),
            _ => self.may_fill(),
        }
    }
}
