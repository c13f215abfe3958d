//! What a worker asks of Redis, and what it makes of the answers, or of their absence.

use std::time::Duration;

use super::Worker;
use super::effect::{ContextId, Effect, LinkId};
use super::health::Health;
use super::peers::Peers;
use super::waiting::{Waiter, Way};
use crate::config::Transport;
use crate::exchange::{Conclusion, Tally};
use crate::metrics::{Failure, Metric};
use crate::quota::script;
use crate::redis::{self, Client, Event, SubmitError, Ticket, Value};
use crate::shared::SharedData;
use crate::time::Now;

/// What the one question is called that is on its way.
const TICKET: Ticket = Ticket(0);
/// What nobody waits for: that units are given back. The tickets between are those of [`Peers`].
const GIVEN_BACK: Ticket = Ticket(u64::MAX);

impl Worker {
    /// Takes all that the client has to say, and sends what it has to send.
    pub(super) fn after_redis(&mut self, now: Now, shared: &mut dyn SharedData) {
        let mut failed = None;
        while let Some(event) = self.redis.as_mut().and_then(Client::poll_event) {
            match event {
                Event::Connect => self.root_effects.push_back(Effect::OpenStream(LinkId::Main)),
                Event::Disconnect => self.root_effects.push_back(Effect::DropStream(LinkId::Main)),
                Event::Ready { subscribed } => self.on_ready(now, subscribed, shared),
                Event::Lost { cause } => self.on_lost(now, &cause.to_string(), shared),
                Event::Reply { ticket: TICKET, value, elapsed } => {
                    let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
                    self.record(Metric::RedisLatency, micros);
                    self.on_answer(now, &value, elapsed, shared);
                }
                Event::Reply { ticket, value, .. } if Self::is_of_breakers(ticket) => {
                    self.on_breaker_answer(now, ticket, Some(&value), shared);
                    self.check_up(now, shared, |health| {
                        if matches!(value, Value::Error(_)) {
                            health.on_error(now.mono, &value)
                        } else {
                            health.on_answer(now.mono)
                        }
                    });
                }
                Event::Reply { ticket, value, .. } => self.on_peers(now, ticket, &value),
                Event::Failed { ticket, cause } if Self::is_of_breakers(ticket) => {
                    self.on_breaker_answer(now, ticket, None, shared);
                    if cause == redis::Failure::Deadline {
                        self.check_up(now, shared, |health| health.on_late(now.mono));
                    }
                }
                Event::Failed { ticket, .. } if ticket != TICKET => {}
                Event::Failed { cause, .. } => {
                    let failure = match cause {
                        redis::Failure::Deadline => Failure::Deadline,
                        redis::Failure::Closed => Failure::Closed,
                    };
                    failed = Some(failure);
                    self.on_failure(now, failure, shared);
                }
                // The one channel there is.
                Event::Message { payload, .. } => self.board.on_message(now, &payload, shared),
                // Nothing else is pushed.
                Event::Push(_) => {}
            }
        }
        self.after_board(now, shared);
        self.ask(now, failed, shared);
    }

    /// Asks Redis about those in line, as far as it is time, and sends what is to be sent. Who came while Redis was
    /// there and is not asked about because something `failed` meanwhile has failed of that.
    pub(super) fn ask(&mut self, now: Now, failed: Option<Failure>, shared: &mut dyn SharedData) {
        let holders = live(self.peers.as_ref()).saturating_mul(self.connected.max(1));
        while let Some(redis) = &mut self.redis
            && let Some((request, since)) =
                self.waiting.next_question(&mut self.leases.asking(now.mono, holders))
        {
            if let Some(failure) = failure(redis.submit_for(now.mono, since, request, TICKET)) {
                self.on_failure(now, failed.unwrap_or(failure), shared);
            }
        }
        self.transmit();
    }

    pub(super) fn transmit(&mut self) {
        if let Some(bytes) = self.redis.as_mut().and_then(Client::poll_transmit) {
            self.effects.push_back(Effect::Send(LinkId::Main, bytes));
        }
        self.transmit_to_store();
    }

    /// Tells the other processes that this one is there, if it is time to.
    pub(super) fn announce(&mut self, now: Now) {
        if let (Some(redis), Some(peers)) = (&mut self.redis, &mut self.peers)
            && redis.is_ready()
            && let Some((ticket, request)) = peers.due(now.mono)
        {
            // What Redis does not take now is tried again.
            let _ = redis.submit(now.mono, request, ticket);
            self.transmit();
        }
    }

    /// Gives back what was taken ahead and is not needed.
    pub(super) fn give_back(&mut self, now: Now) {
        if let Some(redis) = &mut self.redis
            && redis.is_ready()
        {
            let unspent = self.leases.take_unspent(now.mono);
            if !unspent.is_empty() {
                // What Redis does not take now lapses with its window.
                let _ = redis.submit(now.mono, script::give_back(&unspent), GIVEN_BACK);
                self.transmit();
            }
        }
    }

    fn on_peers(&mut self, now: Now, ticket: Ticket, answer: &Value) {
        let (Some(redis), Some(peers)) = (&mut self.redis, &mut self.peers) else { return };
        for (ticket, request) in peers.on_answer(ticket, answer) {
            let _ = redis.submit(now.mono, request, ticket);
        }
    }

    fn on_ready(&mut self, now: Now, subscribed: bool, shared: &mut dyn SharedData) {
        self.is_told = subscribed;
        // Envoy's main thread cannot open a stream, but it can make calls.
        let redis = self.plan.config().redis.as_ref();
        if !self.serves && redis.is_some_and(|redis| redis.transport == Transport::Stream) {
            self.serves = true;
            self.join_store(now);
        }
        if let Some(peers) = &mut self.peers {
            peers.on_ready();
        }
        if self.serves {
            self.counts.count(Metric::RedisConnects);
        }
        self.check_up(now, shared, Health::on_ready);
    }

    fn on_lost(&mut self, now: Now, cause: &str, shared: &mut dyn SharedData) {
        if self.serves {
            self.counts.count(Metric::RedisDisconnects);
            self.check_up(now, shared, |health| health.on_lost(cause));
        } else {
            self.health = Health::default();
        }
    }

    /// The question on its way was answered, so long after it was asked.
    fn on_answer(&mut self, now: Now, answer: &Value, took: Duration, shared: &mut dyn SharedData) {
        let Some((question, waiters)) = self.waiting.take() else { return };
        let Some(script::Answer { decisions, grants }) = question.answer(answer) else {
            self.conclude_without_store(now, waiters, Failure::Error, shared);
            self.check_up(now, shared, |health| health.on_error(now.mono, answer));
            return;
        };
        for grant in &grants {
            if let Some(waiter) = waiters.get(grant.request)
                && let Some(decision) = decisions.get(grant.request)
            {
                waiter.exchange.take_lease(grant, decision, &mut self.leases);
            }
        }
        for shortage in question.shortages(&decisions) {
            self.refusals.remember(now.mono, shortage, took);
        }
        for (waiter, decision) in waiters.into_iter().zip(decisions) {
            let Waiter { context, exchange, way } = waiter;
            let waited = exchange.waited(now);
            let conclusion =
                exchange.conclude_by_redis(now, &decision, &self.plan, &mut self.counts);
            self.release(now, context, way, (conclusion, waited), shared);
        }
        self.check_up(now, shared, |health| health.on_answer(now.mono));
    }

    fn on_failure(&mut self, now: Now, failure: Failure, shared: &mut dyn SharedData) {
        if let Some((_, waiters)) = self.waiting.take() {
            self.conclude_without_store(now, waiters, failure, shared);
        }
        if failure == Failure::Deadline {
            self.check_up(now, shared, |health| health.on_late(now.mono));
        }
    }

    fn conclude_without_store(
        &mut self,
        now: Now,
        waiters: Vec<Waiter>,
        failure: Failure,
        shared: &mut dyn SharedData,
    ) {
        let live = live(self.peers.as_ref());
        for Waiter { context, exchange, way } in waiters {
            self.counts.count(Metric::RedisFailures(failure));
            let (waited, counts) = (exchange.waited(now), &mut self.counts);
            let conclusion = exchange.conclude_without_store(now, live, &self.plan, shared, counts);
            self.release(now, context, way, (conclusion, waited), shared);
        }
    }

    /// Lets a request go that waited for quotas, unless its client has gone or breakers hold it.
    fn release(
        &mut self,
        now: Now,
        context: Option<ContextId>,
        way: Way,
        concluded: (Conclusion, Duration),
        shared: &mut dyn SharedData,
    ) {
        let Some(context) = context else { return };
        if let Some((conclusion, onward)) = self.pass(now, context, way, concluded, shared) {
            self.releases.push_back(Effect::Release(context, conclusion, onward));
        }
    }
}

/// How many processes share the limits while each counts for itself.
pub(super) fn live(peers: Option<&Peers>) -> u64 {
    peers.map_or(1, Peers::live)
}

/// Why Redis was not asked, if so.
pub(super) fn failure(submitted: Result<(), SubmitError>) -> Option<Failure> {
    match submitted {
        Ok(()) => None,
        Err(SubmitError::Unavailable) => Some(Failure::Unavailable),
        Err(SubmitError::Overloaded) => Some(Failure::Overloaded),
    }
}
