//! What the store's answers are to those who wait.

use std::rc::Rc;
use std::time::Duration;

use super::outbox::{About, OutgoingId};
use super::series::{Miss, Series, Stale, Tier};
use super::turn::Turn;
use super::{Asking, Have, Keeper, LEASE, Look, Reply, Said, Waiter};
use crate::cache::fields::Fields;
use crate::cache::range::Part;
use crate::cache::reuse::{self, Answer, Forward, Reuse};
use crate::cache::status::Handling;
use crate::cache::store::{Found, Lock, ObjectId, Place, Put, Token};
use crate::time::{Instant, Now};

/// What is known about one place, for those who want what is there.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) place: Place,
    pub(super) have: Option<Have>,
    /// Whether that was made stale: then it is not what anybody has waited for, whatever the clock says of who has
    /// received it.
    pub(super) is_invalid: bool,
    /// What is invalidated from here on is newer than what is fetched now.
    pub(super) epoch: u64,
    /// Why the upstream is asked, if there is nothing.
    pub(super) miss: Miss,
}

impl Keeper {
    /// The store has answered, or has not.
    pub fn on_said(&mut self, now: Now, id: OutgoingId, said: Said) {
        self.outbox.on_now(now.mono);
        let Some(sent) = self.outbox.take(id) else { return };
        if self.is_told && said != Said::Nothing {
            self.memory.trust(sent.at);
        }
        match (sent.about, said) {
            (About::Lookup { place, token, .. }, Said::Found(found, body)) => {
                // Who is silent for that long is not waited for by who invalidates.
                let (waiters, late) = self.take_asked(place.object, sent.at.saturating_add(LEASE));
                self.on_found(now, place, token, waiters, (found, body));
                late.into_iter().for_each(|waiter| self.look_again(now, waiter));
            }
            (About::Lookup { place, token, .. }, _) => {
                self.release_unheard(&place, token);
                for waiter in self.line.take_asked(place.object) {
                    self.forward_alone(now, waiter, Miss::Unavailable);
                }
            }
            (About::Acquire { finding, token, refresh }, said) => {
                let turn = if let Said::Lock(lock) = said {
                    Turn::of(lock, Some(token))
                } else {
                    self.release_unheard(&finding.place, Some(token));
                    Turn::Everyone
                };
                // What was found before they came may have been invalidated before they came.
                let (waiters, late) = self.take_asked(finding.place.object, sent.at);
                let refresh = refresh.filter(|_| !matches!(turn, Turn::Everyone));
                self.settle(now, *finding, waiters, turn, refresh);
                late.into_iter().for_each(|waiter| self.look_again(now, waiter));
            }
            (About::Put { finding, locked, policy }, said) => {
                self.on_put(now, *finding, locked, policy, &said);
            }
            (about, said) => self.on_purge_said(now, about, &said),
        }
    }

    fn on_found(
        &mut self,
        now: Now,
        place: Place,
        token: Option<Token>,
        waiters: Vec<Waiter>,
        (found, body): (Found, Option<Vec<u8>>),
    ) {
        match found {
            Found::Names(names) => {
                self.known.learn(place.primary, &names);
                self.send_elsewhere(now, waiters);
            }
            Found::Missing { epoch, lock } => {
                self.epoch = self.epoch.max(epoch);
                let varies = !self.known.names(&place.primary).is_empty();
                let missing = if varies { Miss::Vary } else { Miss::Uri };
                let miss = if lock == Lock::Useless { Miss::Useless } else { missing };
                let finding = Finding { place, have: None, is_invalid: false, epoch, miss };
                self.settle(now, finding, waiters, Turn::of(lock, token), None);
            }
            Found::Stored { mut stored, invalid_since, epoch } => {
                self.epoch = self.epoch.max(epoch);
                let Some(body) = body else {
                    // It was replaced in between.
                    self.send_elsewhere(now, waiters);
                    return;
                };
                let is_invalid = invalid_since.is_some();
                if let Some(since) = invalid_since {
                    // By the clock of the store, which may be ahead of this one.
                    stored.expire_at((since / 1000).min(now.unix.as_millis()));
                }
                let have = Have { stored: Rc::from(stored), body: body.into() };
                self.remember(now, &place, &have);
                let (have, miss) = (Some(have), Miss::Stale);
                let finding = Finding { place, have, is_invalid, epoch, miss };
                self.settle(now, finding, waiters, Turn::Unasked, None);
            }
        }
    }

    /// Puts a fresh response into memory. Only what the store has just confirmed gets there.
    fn remember(&mut self, now: Now, place: &Place, have: &Have) {
        let now_ms = now.unix.as_millis();
        if self.is_told && have.stored.is_fresh(now_ms) && !have.stored.no_cache {
            self.memory.insert(now_ms, place, have);
        }
    }

    /// What was looked for is elsewhere.
    pub(super) fn send_elsewhere(&mut self, now: Now, waiters: Vec<Waiter>) {
        for mut waiter in waiters {
            waiter.hops = waiter.hops.saturating_add(1);
            self.look_again(now, waiter);
        }
    }

    /// Those who wait for an answer of the store: who came until then, and who came later.
    fn take_asked(&mut self, object: ObjectId, until: Instant) -> (Vec<Waiter>, Vec<Waiter>) {
        let waiters = self.line.take_asked(object);
        waiters.into_iter().partition(|waiter| waiter.since.mono <= until)
    }

    /// Gives back a lock of which nobody has heard whether it was got: else all would wait for it to lapse.
    fn release_unheard(&mut self, place: &Place, token: Option<Token>) {
        if let Some(token) = token {
            self.release(place, token, Duration::ZERO);
        }
    }

    /// Answers those whom what is there answers; of the others one fetches it, if it is the turn of this worker.
    fn settle(
        &mut self,
        now: Now,
        finding: Finding,
        waiters: Vec<Waiter>,
        turn: Turn,
        mut refresh: Option<Asking>,
    ) {
        let mut wanting = Vec::new();
        for waiter in waiters {
            match self.answer(now, &finding, &waiter) {
                Fit::Reply(reply, is_refreshing) => {
                    if is_refreshing && waiter.asking.may_validate() {
                        refresh.get_or_insert_with(|| waiter.asking.clone());
                    }
                    self.decide(waiter.asker, Look::Reply(Box::new(reply)));
                }
                Fit::Wanting(_) if waiter.asking.request.directives.only_if_cached => {
                    let reply = not_cached(&waiter.asking);
                    self.decide(waiter.asker, Look::Reply(Box::new(reply)));
                }
                Fit::Wanting(forward) => wanting.push((waiter, forward)),
            }
        }
        match turn {
            Turn::Unasked if finding.have.is_none() => self.ask_anew(now, &finding, wanting),
            Turn::Unasked | Turn::Unreadable => self.acquire(now, finding, wanting, refresh),
            Turn::Mine(token) => self.take_turn(now, &finding, wanting, refresh, token),
            Turn::Taken => self.let_wait(now, &finding, wanting),
            Turn::Everyone => {
                for one in wanting {
                    self.fetch_alone(now, &finding, one);
                }
            }
            Turn::Again => {
                self.send_elsewhere(now, wanting.into_iter().map(|(waiter, _)| waiter).collect())
            }
        }
    }

    /// What of what is there answers a waiter.
    fn answer(&mut self, now: Now, finding: &Finding, waiter: &Waiter) -> Fit {
        let Waiter { asking, since, waited, .. } = waiter;
        let Some(Have { stored, body }) = &finding.have else { return Fit::Wanting(None) };
        if !stored.vary.matches(&asking.request.fields) {
            return Fit::Wanting(None);
        }
        let now_ms = now.unix.as_millis();
        // What was fetched or validated since it came is as fresh as it can be.
        let is_later = stored.received_ms >= since.unix.as_millis();
        let is_answer = *waited && is_later && !finding.is_invalid;
        let reuse = if is_answer {
            Reuse::Answer(reuse::answer(stored, &asking.request, now_ms))
        } else {
            reuse::reuse(stored, &asking.request, now_ms)
        };
        let (answer, is_refreshing) = match reuse {
            Reuse::Answer(answer) => (answer, false),
            Reuse::AnswerAndRefresh(answer) => (answer, true),
            Reuse::Forward(forward) => return Fit::Wanting(Some(forward)),
        };
        let (handling, series) = describe(&answer, Tier::Redis, is_answer, is_refreshing);
        self.count(asking.policy, series);
        let body = Rc::clone(body);
        Fit::Reply(Reply { answer, body, handling, policy: asking.policy }, is_refreshing)
    }

    /// What was put is stored, or not: those who wait for it are answered, or look again.
    fn on_put(
        &mut self,
        now: Now,
        finding: Finding,
        locked: Option<ObjectId>,
        policy: usize,
        said: &Said,
    ) {
        let is_stored = *said == Said::Put(Put::Stored);
        if is_stored {
            self.count(policy, Series::Stored);
            if let Some(have) = &finding.have {
                self.remember(now, &finding.place, have);
            }
        } else if matches!(said, Said::Put(_)) {
            self.count(policy, Series::Outrun);
        }
        let Some(locked) = locked else { return };
        self.fetching.remove(&locked);
        let waiters = self.line.take_awaiting(locked);
        if is_stored && locked == finding.place.object {
            self.settle(now, finding, waiters, Turn::Again, None);
        } else {
            for waiter in waiters {
                self.look_again(now, waiter);
            }
        }
    }
}

/// What of what is there answers a waiter.
enum Fit {
    /// It does; whether it is to be validated meanwhile.
    Reply(Reply, bool),
    /// It does not.
    Wanting(Option<Forward>),
}

impl Finding {
    pub(super) const fn miss_of(&self, forward: Option<&Forward>) -> Miss {
        match forward {
            Some(Forward { cause: reuse::Cause::Request, .. }) => Miss::Request,
            Some(Forward { cause: reuse::Cause::Stale, .. }) => Miss::Stale,
            // There is something, and the request does not match it.
            None if matches!(self.miss, Miss::Stale) => Miss::Vary,
            None => self.miss,
        }
    }
}

/// What is told and counted of an answer out of a stored response, which was fetched for who `waited`.
pub(super) fn describe(
    answer: &Answer,
    tier: Tier,
    waited: bool,
    is_refreshing: bool,
) -> (Handling, Series) {
    let ttl_s = answer.ttl_s;
    if waited {
        let collapsed = Handling::Forwarded {
            cause: "uri-miss",
            status: None,
            stored: false,
            collapsed: true,
            detail: None,
        };
        return (collapsed, Series::Collapsed);
    }
    let stale = if is_refreshing { Stale::WhileRevalidating } else { Stale::Wanted };
    if is_refreshing || ttl_s <= 0 {
        (Handling::Hit { ttl_s, detail: Some(stale.name()) }, Series::Stale(stale))
    } else {
        (Handling::Hit { ttl_s, detail: Some(tier.name()) }, Series::Hit(tier))
    }
}

/// The answer to a request that takes a stored response only, if there is none (RFC 9111 §5.2.1.7).
pub(super) fn not_cached(asking: &Asking) -> Reply {
    let fields = [("content-type", "text/plain"), ("cache-control", "no-store")];
    let fields: Fields = fields.into_iter().collect();
    let is_head = asking.request.is_head;
    let answer = Answer { status: 504, fields, part: Part::Whole, ttl_s: 0, is_head };
    let handling = Handling::Refused { detail: "only-if-cached" };
    Reply { answer, body: Rc::new([]), handling, policy: asking.policy }
}
