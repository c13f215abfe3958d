//! One worker: all that one VM of Envoy knows and does, as a machine that is told events and returns effects.
//!
//! The driver (the shim, or a test) announces each callback of the host by [`Worker::begin_callback`], calls one `on_*`
//! method, and drains [`Worker::poll_effect`] until it returns `None`. Effects that act on another context than the
//! calling one come out in root callbacks alone, and at most [`MOST_RELEASES`] requests are let go in one of them.

mod counts;
mod effect;
mod health;
mod peers;
mod store;
mod ticks;
mod waiting;

use std::collections::VecDeque;
use std::rc::Rc;

use self::counts::Counts;
pub use self::effect::{Callback, ContextId, Effect, Place, Verdict};
use self::health::Health;
use self::peers::Peers;
use self::store::{failure, live};
use self::ticks::Ticks;
pub use self::waiting::MOST_WAITING;
use self::waiting::Waiting;
use crate::exchange::{Exchange, Tally, conclude_by_config};
use crate::http::RequestView;
use crate::metrics::{self, Metric};
use crate::plan::Plan;
use crate::quota::lease::{Leases, Unspent};
use crate::quota::refusals::Refusals;
use crate::redis::{Client, CloseCause};
use crate::roster;
use crate::shared::SharedData;
use crate::time::{Instant, Now};

/// Requests let go in one callback of the host. Above about 300 the host's stack overflows and the VM dies, since it
/// runs what follows from each release nested in the one before.
pub const MOST_RELEASES: usize = 64;

/// The state of one worker.
#[derive(Debug)]
pub struct Worker {
    id: u64,
    plan: Rc<Plan>,
    redis: Option<Client>,
    refusals: Refusals,
    leases: Leases,
    waiting: Waiting,
    /// The processes that count together; none without Redis.
    peers: Option<Peers>,
    releases: VecDeque<Effect>,
    /// Effects that are possible in every callback.
    effects: VecDeque<Effect>,
    counts: Counts,
    /// Effects on the stream itself, for root callbacks alone.
    stream_effects: VecDeque<Effect>,
    now: Instant,
    callback: Callback,
    released_count: usize,
    ticks: Ticks,
    /// Whether this VM has shown that it serves requests. Envoy's main thread has one too, which never does: it must
    /// neither count as connected or degraded nor complain.
    serves: bool,
    health: Health,
    /// Workers of this process that are connected to Redis, as far as is known.
    connected: u64,
    renewed_at: Option<Instant>,
}

impl Worker {
    /// A worker of `plan`. `id` is random, and names it among the workers of its process; so is `process`, which names
    /// that among all that count together.
    #[must_use]
    pub fn new(id: u64, process: u64, plan: Rc<Plan>, redis: Option<Client>) -> Self {
        let config = plan.config().redis.as_ref();
        let peers = config.map(|redis| Peers::new(&redis.namespace, process));
        Self {
            id,
            plan,
            redis,
            refusals: Refusals::default(),
            leases: Leases::default(),
            waiting: Waiting::default(),
            peers,
            releases: VecDeque::new(),
            effects: VecDeque::new(),
            counts: Counts::default(),
            stream_effects: VecDeque::new(),
            now: Instant::default(),
            callback: Callback::Root,
            released_count: 0,
            ticks: Ticks::default(),
            serves: false,
            health: Health::default(),
            connected: 1,
            renewed_at: None,
        }
    }

    /// Says that a callback of the host has begun.
    pub const fn begin_callback(&mut self, now: Now, callback: Callback) {
        self.now = now.mono;
        self.callback = callback;
        self.ticks.on_callback();
        self.released_count = 0;
    }

    /// The next thing to do in this callback.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        let in_root = self.callback == Callback::Root;
        // Before what is sent: that is for the stream just opened.
        let on_stream = if in_root { self.stream_effects.pop_front() } else { None };
        if let Some(effect) = on_stream.or_else(|| self.effects.pop_front()) {
            return Some(effect);
        }
        if in_root
            && self.released_count < MOST_RELEASES
            && let Some(release) = self.releases.pop_front()
        {
            self.released_count += 1;
            return Some(release);
        }
        self.counts.pop().or_else(|| self.tick_as_needed())
    }

    /// A request has arrived. Returns the path to send upstream if it must be another one, and what becomes of it.
    pub fn on_request(
        &mut self,
        now: Now,
        context: ContextId,
        view: &mut dyn RequestView,
        shared: &mut dyn SharedData,
    ) -> (Option<Vec<u8>>, Verdict) {
        if !self.serves {
            self.begin_to_serve();
        }
        let opening = self.plan.open(view);
        let counts = &mut self.counts;
        let verdict = match conclude_by_config(&opening, &self.plan, counts) {
            Some(conclusion) => Verdict::Conclude(conclusion),
            None => {
                let would_refuse = opening.would_refuse.first().copied();
                let exchange = Exchange::new(now, opening.checks, would_refuse);
                self.begin(now, context, exchange, shared)
            }
        };
        (opening.rewritten_path, verdict)
    }

    /// This is not Envoy's main thread, so what it has connected counts.
    fn begin_to_serve(&mut self) {
        self.serves = true;
        if self.health.standing() == Some(roster::Standing::Connected) {
            self.counts.count(Metric::RedisConnects);
        }
    }

    fn begin(
        &mut self,
        now: Now,
        context: ContextId,
        exchange: Exchange,
        shared: &mut dyn SharedData,
    ) -> Verdict {
        let (plan, leases, counts) = (&self.plan, &mut self.leases, &mut self.counts);
        let here = exchange.conclude_here(now, plan, leases, &mut self.refusals, counts);
        if let Some(conclusion) = here {
            return Verdict::Conclude(conclusion);
        }
        if let Some(redis) = &self.redis {
            let Some(failure) = self.waiting.refuses().or_else(|| failure(redis.admits())) else {
                let place = self.waiting.join(context, exchange);
                self.ask(now, None, shared);
                return Verdict::Pause(place);
            };
            counts.count(Metric::RedisFailures(failure));
            let live = live(self.peers.as_ref());
            let conclusion = exchange.conclude_without_store(now, live, plan, shared, counts);
            return Verdict::Conclude(conclusion);
        }
        Verdict::Conclude(exchange.conclude_by_process(now, plan, shared, counts))
    }

    /// A request that was paused at `place` is over, whatever became of it.
    pub fn on_request_done(&mut self, context: ContextId, place: Place) {
        self.waiting.leave(context, place);
    }

    /// Requests that wait for Redis now, those included whose client has gone.
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes have come from Redis.
    pub fn on_input(&mut self, now: Now, bytes: &[u8], shared: &mut dyn SharedData) {
        if let Some(redis) = &mut self.redis {
            redis.handle_input(now.mono, bytes);
        }
        self.after_redis(now, shared);
    }

    /// The stream is gone, or could not be opened.
    pub fn on_closed(&mut self, now: Now, cause: CloseCause, shared: &mut dyn SharedData) {
        if let Some(redis) = &mut self.redis {
            redis.handle_closed(now.mono, cause);
        }
        self.after_redis(now, shared);
    }

    /// Time has passed.
    pub fn on_tick(&mut self, now: Now, shared: &mut dyn SharedData) {
        self.ticks.on_tick();
        if let Some(redis) = &mut self.redis {
            redis.handle_timeout(now.mono);
        }
        self.after_redis(now, shared);
        self.announce(now);
        self.give_back(now);
        let renewed_at = self.renewed_at;
        if renewed_at.is_none_or(|at| now.mono.saturating_since(at) >= roster::RENEW_EVERY) {
            self.renew(now, shared);
        }
    }

    /// What the worker of a former configuration has left is to be given back.
    pub fn inherit(&mut self, unspent: Vec<Unspent>) {
        if self.redis.is_some() {
            self.leases.inherit(unspent);
        }
    }

    /// The configuration was replaced and the last request of this worker is over. Returns what [`Self::inherit`] of
    /// the next one is to be told.
    #[must_use]
    pub fn on_retired(&mut self, now: Now, shared: &mut dyn SharedData) -> Vec<Unspent> {
        self.redis = None;
        self.serves = false;
        self.check_up(now, shared, |health| {
            *health = Health::default();
            None
        });
        self.leases.bequeath(now.mono)
    }

    fn record(&mut self, metric: Metric, value: u64) {
        self.effects.push_back(Effect::Record(metrics::index(metric), value));
    }

    /// Hands the news to `health`, says what is to be said, and tells the roster if the standing has changed.
    fn check_up(
        &mut self,
        now: Now,
        shared: &mut dyn SharedData,
        news: impl FnOnce(&mut Health) -> Option<Effect>,
    ) {
        let before = self.health.standing();
        self.effects.extend(news(&mut self.health));
        if self.health.standing() != before {
            self.renew(now, shared);
        }
    }

    fn renew(&mut self, now: Now, shared: &mut dyn SharedData) {
        self.renewed_at = Some(now.mono);
        let standing = self.health.standing().filter(|_| self.serves);
        if let Some(totals) = roster::renew(shared, now, self.id, standing) {
            self.connected = totals.connected;
            self.record(Metric::RedisConnections, totals.connected);
            self.record(Metric::Degraded, totals.degraded);
        }
    }

    fn tick_as_needed(&mut self) -> Option<Effect> {
        let due = self.redis.as_ref().and_then(Client::poll_timeout);
        let due_after = due.map(|at| at.saturating_since(self.now));
        self.ticks.adapt(!self.releases.is_empty(), due_after)
    }
}
