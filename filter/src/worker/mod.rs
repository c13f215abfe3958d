//! One worker: all that one VM of Envoy knows and does, as a machine that is told events and returns effects.
//!
//! The driver (the shim, or a test) announces each callback of the host by [`Worker::begin_callback`], calls one `on_*`
//! method, and drains [`Worker::poll_effect`] until it returns `None`. Effects that act on another context than the
//! calling one come out in root callbacks alone, and at most [`MOST_RELEASES`] requests are let go in one of them.

mod breakers;
mod caches;
mod calls;
mod counts;
mod effect;
mod health;
mod peers;
mod store;
mod store_link;
mod ticks;
mod waiting;

use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use self::breakers::Held;
use self::caches::Shelved;
pub use self::caches::{Onward, Outcome, Part};
pub use self::calls::{Calls, ResponseView};
use self::counts::Counts;
pub use self::effect::{Callback, ContextId, Effect, LinkId, Place, Verdict};
use self::health::Health;
use self::peers::Peers;
use self::store::{failure, live};
use self::store_link::Store;
pub use self::store_link::{CACHE_MOST_BYTES, CACHE_SCRIPTS, CACHE_TIMEOUTS, cache_subscriptions};
use self::ticks::Ticks;
pub use self::waiting::MOST_WAITING;
use self::waiting::{Waiting, Way};
use crate::breaker::board::Board;
use crate::breaker::script as breaker_script;
use crate::cache::keeper::{Fetch, Keeper};
use crate::cache::wanted::Wanted;
use crate::config::{Breaker, Config, Scope, Transport};
use crate::exchange::{Exchange, Tally, conclude_by_config};
use crate::http::RequestView;
use crate::metrics::Metric;
use crate::plan::Plan;
use crate::quota::lease::{Leases, Unspent};
use crate::quota::refusals::Refusals;
use crate::quota::script as quota_script;
use crate::redis::{Client, CloseCause, ScriptId};
use crate::rng::Rng;
use crate::roster;
use crate::shared::SharedData;
use crate::time::{Instant, Now};

/// Requests let go in one callback of the host. Above about 300 the host's stack overflows and the VM dies, since it
/// runs what follows from each release nested in the one before.
pub const MOST_RELEASES: usize = 64;

/// The scripts that a client of Redis has to load for a worker.
pub const SCRIPTS: &[&str] = {
    let [quota, give_back] = quota_script::SOURCES;
    &[quota, give_back, breaker_script::SOURCE]
};

/// The channels that a client of Redis has to subscribe to for a worker of `config`.
#[must_use]
pub fn channels(config: &Config) -> Vec<String> {
    let redis = config.redis.as_ref().filter(|redis| redis.transport == Transport::Stream);
    let is_fleet = |breaker: &Breaker| breaker.scope == Scope::Fleet;
    let redis = redis.filter(|_| config.breakers.iter().any(is_fleet));
    redis.map(|redis| breaker_script::channel(&redis.namespace)).into_iter().collect()
}

/// Place of the breakers' script among [`SCRIPTS`].
const BREAKER_SCRIPT: ScriptId = ScriptId(2);

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
    board: Board,
    breaker_calls: breaker_script::Calls,
    /// Requests that wait for breakers.
    held: Held,
    /// Whether Redis tells of changes.
    is_told: bool,
    keeper: Keeper,
    store: Option<Store>,
    /// Whether the store is connected, and tells of changes.
    store_is_ready: Option<bool>,
    /// Requests that wait for the cache.
    shelved: Shelved,
    /// Those that wait until something is invalidated.
    purging: HashSet<u32>,
    /// Fetches for nobody in particular, until their requests come back.
    refreshes: HashMap<u64, Box<Fetch>>,
    last_refresh: u64,
    rng: Rng,
    releases: VecDeque<Effect>,
    /// Effects that are possible in every callback.
    effects: VecDeque<Effect>,
    counts: Counts,
    /// Effects for root callbacks alone.
    root_effects: VecDeque<Effect>,
    now: Now,
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
        let (breakers, mut rng) = (plan.breakers(), Rng::with_seed(id));
        let breaker_calls = breaker_script::Calls::new(
            BREAKER_SCRIPT,
            config.map_or("", |redis| &redis.namespace),
            process,
            &breakers,
        );
        let board = Board::new(breakers, process, plan.seed(), Rng::with_seed(rng.next_u64()));
        let policies = plan.config().cache.iter().map(|cache| cache.policy.clone()).collect();
        let (memory_bytes, seed) = (plan.config().cache_memory_bytes, rng.next_u64());
        let keeper = Keeper::new(policies, memory_bytes, id, Rng::with_seed(seed));
        Self {
            id,
            plan,
            redis,
            refusals: Refusals::default(),
            leases: Leases::default(),
            waiting: Waiting::default(),
            peers,
            board,
            breaker_calls,
            held: Held::default(),
            is_told: false,
            keeper,
            store: None,
            store_is_ready: None,
            shelved: Shelved::default(),
            purging: HashSet::new(),
            refreshes: HashMap::new(),
            last_refresh: 0,
            rng,
            releases: VecDeque::new(),
            effects: VecDeque::new(),
            counts: Counts::default(),
            root_effects: VecDeque::new(),
            now: Now::default(),
            callback: Callback::Root,
            released_count: 0,
            ticks: Ticks::default(),
            serves: false,
            health: Health::default(),
            connected: 1,
            renewed_at: None,
        }
    }

    /// Gives it the client of its cache, made with [`CACHE_SCRIPTS`] and [`cache_subscriptions`].
    #[must_use]
    pub fn with_cache(mut self, client: Client) -> Self {
        let namespace = self.plan.config().redis.as_ref().map_or("", |redis| &redis.namespace);
        self.store = Some(Store::new(client, namespace));
        self
    }

    /// Whether there is a cache.
    #[must_use]
    pub fn has_cache(&self) -> bool {
        self.plan.has_cache()
    }

    /// Says that a callback of the host has begun.
    pub const fn begin_callback(&mut self, now: Now, callback: Callback) {
        self.now = now;
        self.callback = callback;
        self.ticks.on_callback();
        self.released_count = 0;
    }

    /// The next thing to do in this callback.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        if self.callback == Callback::End {
            return self.counts.pop().or_else(|| self.tick_as_needed());
        }
        let in_root = self.callback == Callback::Root;
        // Before what is sent: that is for the stream just opened.
        let on_stream = if in_root { self.root_effects.pop_front() } else { None };
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
            self.begin_to_serve(now);
        }
        let opening = self.plan.open(view);
        let counts = &mut self.counts;
        let verdict = match conclude_by_config(&opening, &self.plan, counts) {
            Some(conclusion) => Verdict::Conclude(conclusion, Onward::default()),
            None => {
                let would_refuse = opening.would_refuse.first().copied();
                let exchange = Exchange::new(now, opening.checks, would_refuse);
                let way = Way { breakers: opening.breakers, cache: opening.cache };
                self.begin(now, context, exchange, way, shared)
            }
        };
        (opening.rewritten_path, verdict)
    }

    /// This is not Envoy's main thread, so what it has connected counts.
    fn begin_to_serve(&mut self, now: Now) {
        self.serves = true;
        self.join_store(now);
        if self.health.standing() == Some(roster::Standing::Connected) {
            self.counts.count(Metric::RedisConnects);
            self.join_fleet();
        }
    }

    fn begin(
        &mut self,
        now: Now,
        context: ContextId,
        exchange: Exchange,
        way: Way,
        shared: &mut dyn SharedData,
    ) -> Verdict {
        // Nothing is counted of what is refused anyway. What may be answered from the cache is not.
        if !exchange.checks().is_empty()
            && !matches!(way.cache, Some(Wanted::Answer(_)))
            && let Some(conclusion) = self.conclude_by_breaker(now, &way.breakers, shared)
        {
            return Verdict::Conclude(conclusion, Onward::default());
        }
        let (plan, leases, counts) = (&self.plan, &mut self.leases, &mut self.counts);
        let here = exchange.conclude_here(now, plan, leases, &mut self.refusals, counts);
        let conclusion = if let Some(conclusion) = here {
            conclusion
        } else if let Some(redis) = &self.redis {
            let Some(failure) = self.waiting.refuses().or_else(|| failure(redis.admits())) else {
                let place = self.waiting.join(context, exchange, way);
                self.ask(now, None, shared);
                return Verdict::Pause(place);
            };
            counts.count(Metric::RedisFailures(failure));
            let live = live(self.peers.as_ref());
            exchange.conclude_without_store(now, live, plan, shared, counts)
        } else {
            exchange.conclude_by_process(now, plan, shared, counts)
        };
        let passed = self.pass(now, context, way, (conclusion, Duration::ZERO), shared);
        self.after_board(now, shared);
        self.transmit();
        match passed {
            Some((conclusion, onward)) => Verdict::Conclude(conclusion, onward),
            None => Verdict::Pause(Place::NONE),
        }
    }

    /// A request that was paused at `place` is over, whatever became of it.
    pub fn on_request_done(&mut self, context: ContextId, place: Place) {
        self.waiting.leave(context, place);
        if let Some((_, _, fetch)) = self.held.remove(&context.0) {
            self.board.forget(context.0);
            if let Some(fetch) = fetch {
                self.keeper.on_abandoned(self.now, *fetch);
            }
        }
        if self.shelved.remove(&context.0).is_some() {
            self.keeper.forget(context.0);
        }
        self.purging.remove(&context.0);
    }

    /// Requests that wait for Redis now, those included whose client has gone.
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        self.waiting.len().saturating_add(self.held.len())
    }

    /// Bytes have come from Redis.
    pub fn on_input(&mut self, now: Now, link: LinkId, bytes: &[u8], shared: &mut dyn SharedData) {
        if let Some(client) = self.client(link) {
            client.handle_input(now.mono, bytes);
        }
        self.after_link(now, link, shared);
    }

    /// A stream is gone, or could not be opened.
    pub fn on_closed(
        &mut self,
        now: Now,
        link: LinkId,
        cause: CloseCause,
        shared: &mut dyn SharedData,
    ) {
        if let Some(client) = self.client(link) {
            client.handle_closed(now.mono, cause);
        }
        self.after_link(now, link, shared);
    }

    fn client(&mut self, link: LinkId) -> Option<&mut Client> {
        match link {
            LinkId::Main => self.redis.as_mut(),
            LinkId::Cache => self.store.as_mut().map(Store::client),
        }
    }

    fn after_link(&mut self, now: Now, link: LinkId, shared: &mut dyn SharedData) {
        match link {
            LinkId::Main => self.after_redis(now, shared),
            LinkId::Cache => self.after_store(now, shared),
        }
    }

    /// Time has passed.
    pub fn on_tick(&mut self, now: Now, shared: &mut dyn SharedData) {
        self.ticks.on_tick();
        for link in [LinkId::Main, LinkId::Cache] {
            if let Some(client) = self.client(link) {
                client.handle_timeout(now.mono);
            }
        }
        self.board.on_time(now, shared);
        self.after_redis(now, shared);
        if !self.keeper.is_off() {
            self.keeper.on_time(now);
            self.after_store(now, shared);
        }
        self.announce(now);
        self.give_back(now);
        let renewed_at = self.renewed_at;
        if renewed_at.is_none_or(|at| now.mono.saturating_since(at) >= roster::RENEW_EVERY) {
            self.renew(now, shared);
            self.renew_breakers(now, shared);
            if self.serves && !self.keeper.is_off() {
                self.record(Metric::CacheMemory, self.keeper.memory_bytes() as u64);
            }
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
        (self.redis, self.store) = (None, None);
        self.serves = false;
        self.check_up(now, shared, |health| {
            *health = Health::default();
            None
        });
        self.leases.bequeath(now.mono)
    }

    fn record(&mut self, metric: Metric, value: u64) {
        self.effects.push_back(Effect::Record(metric, value));
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
            self.join_or_leave_fleet(now, shared);
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
        let of_store = self.store.as_ref().and_then(Store::poll_timeout);
        let of_keeper = [of_store, self.keeper.poll_timeout()].into_iter().flatten();
        let due = due.into_iter().chain(self.board.poll_timeout()).chain(of_keeper).min();
        let due_after = due.map(|at| at.saturating_since(self.now.mono));
        self.ticks.adapt(!self.releases.is_empty(), due_after)
    }
}
