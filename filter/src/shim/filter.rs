//! The filter: hands a worker what happens in Envoy, and does to Envoy what the worker wants.
//!
//! Each root context has a worker of its own. When a new configuration arrives, Envoy makes a new root beside the old
//! one; requests in flight end on the old one, with its rules and its stream, and then it is retired.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, BufferType, LogLevel};

use super::host::{self, EndOfCall, Headers, HostSharedData, ResponseHeaders, WholeHeader};
use super::link::Link;
use super::wire;
use crate::access_log;
use crate::cache::reuse::SET_ASIDE;
use crate::config::{Config, Transport};
use crate::exchange::{Conclusion, Fate};
use crate::http::{Fields, RequestView};
use crate::key::HashSeed;
use crate::metrics::{self, Kind, Layout, Metric};
use crate::plan::Plan;
use crate::quota::lease::Unspent;
use crate::redis::{Client, CloseCause, Credentials, Options, Password};
use crate::rng::Rng;
use crate::shared::SharedData;
use crate::time::Now;
use crate::worker::{
    self, Callback, ContextId, Effect, LinkId, Onward, Outcome, Part, Place, Verdict, Worker,
};

thread_local! {
    /// The host's numbers of series, by name. The host makes a new one at each definition, so a series is defined once
    /// in a VM, however often the configuration changes.
    static METRIC_IDS: RefCell<HashMap<String, Option<u32>>> = RefCell::default();

    /// What retired roots of this VM had taken ahead: the next tick of another one gives it back.
    static UNSPENT: RefCell<Vec<Unspent>> = RefCell::default();
}

/// One configured root context.
pub(super) struct Filter {
    shared: Rc<Shared>,
}

/// What the root and its requests have in common.
struct Shared {
    root: u32,
    worker: RefCell<Worker>,
    link: Link,
    cache_link: Link,
    has_cache: bool,
    metric_ids: Vec<Option<u32>>,
    layout: Layout,
    /// By request that was paused and goes on: what its response gets, and what it is.
    passed: RefCell<HashMap<u32, Passed>>,
    /// Requests that this VM makes to itself, by the host's number.
    refreshes: RefCell<HashMap<u32, u64>>,
}

/// The filter chain by which invalidations are ordered.
const PURGE_CHAIN: &[u8] = b"meliproxy-purge";

/// The filter chain, and the cluster that leads there, by which this VM's own requests come back to it.
const REFRESH_CHAIN: &[u8] = b"meliproxy-refresh";
const REFRESH_CLUSTER: &str = "cache_refresh";

/// The field that tells which request of its own it is.
const REFRESH_FIELD: &str = "x-meliproxy-refresh";

/// How long such a request may take.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(60);

/// What is kept of a request that passed, until its end.
#[derive(Default)]
struct Passed {
    /// What its response gets.
    fields: Fields,
    onward: Onward,
}

impl Filter {
    /// Reads the plugin's configuration of `length` bytes. Without side effects until it is known to be good: Envoy
    /// first tries it in a VM that it throws away.
    pub(super) fn configured(root: u32, length: usize) -> Result<Self, String> {
        let text = host::buffer(BufferType::PluginConfiguration, 0, length).unwrap_or_default();
        let config = Config::parse(&text).map_err(|problems| problems.to_string())?;
        let rules = config.rules.iter().map(|rule| rule.name.as_str());
        let breakers = config.breakers.iter().map(|breaker| breaker.name.as_str());
        let caches = config.cache.iter().map(|cache| cache.name.as_str());
        let metric_ids = metric_ids(metrics::definitions(rules, breakers, caches));
        let layout = Layout { rules: config.rules.len(), breakers: config.breakers.len() };
        let credentials = Credentials {
            username: host::environment("MELIPROXY_REDIS_USERNAME"),
            password: host::environment("MELIPROXY_REDIS_PASSWORD").map(Password::new),
        };
        let transport = config.redis.as_ref().map_or(Transport::Stream, |redis| redis.transport);
        let link = Link::new(transport, &credentials);
        let (cache_link, has_cache) =
            (Link::new(Transport::Stream, &credentials), !config.cache.is_empty());
        let id = u64::from_le_bytes(host::random());
        let client =
            |options| Client::new(options, Rng::with_seed(u64::from_le_bytes(host::random())));
        let redis = config.redis.as_ref().map(|redis| {
            client(Options {
                credentials: credentials.clone(),
                scripts: worker::SCRIPTS,
                channels: worker::channels(&config),
                command_timeout: redis.timeout,
                ..Options::default()
            })
        });
        let store = config.redis.as_ref().filter(|_| has_cache).map(|redis| {
            let (channels, tracked) = worker::cache_subscriptions(&redis.namespace, id);
            client(Options {
                credentials: credentials.clone(),
                client_name: "meliproxy-cache".to_owned(),
                scripts: worker::CACHE_SCRIPTS,
                channels,
                tracked: Some(tracked),
                command_timeout: redis.timeout * worker::CACHE_TIMEOUTS,
                most_bytes: worker::CACHE_MOST_BYTES,
            })
        });
        let plan = Rc::new(Plan::new(config, HashSeed(of_process("hash-seed", host::random()))));
        let process = u64::from_le_bytes(of_process("process", host::random()));
        let mut worker = Worker::new(id, process, plan, redis);
        if let Some(store) = store {
            worker = worker.with_cache(store);
        }
        let (worker, passed, refreshes) =
            (RefCell::new(worker), RefCell::default(), RefCell::default());
        let shared = Shared {
            root,
            worker,
            link,
            cache_link,
            has_cache,
            metric_ids,
            layout,
            passed,
            refreshes,
        };
        shared.drain(Callback::Root);
        Ok(Self { shared: Rc::new(shared) })
    }

    pub(super) fn request(&self, context: u32) -> Request {
        let shared = Rc::clone(&self.shared);
        let (context, passed) = (ContextId(context), Passed::default());
        Request { context, shared, place: None, ended: false, passed }
    }

    pub(super) fn on_tick(&self) {
        let unspent = UNSPENT.take();
        self.shared.tell(|worker, now| {
            worker.inherit(unspent);
            worker.on_tick(now, &mut HostSharedData);
        });
        self.shared.make_call();
    }

    pub(super) fn on_stream_message(&self, token: u32, length: usize) {
        if let Some(link) = self.shared.link_of(token) {
            let bytes = host::buffer(BufferType::GrpcReceiveBuffer, 0, length).unwrap_or_default();
            self.shared.tell(|worker, now| worker.on_input(now, link, &bytes, &mut HostSharedData));
        }
    }

    pub(super) fn on_stream_close(&self, token: u32, status: u32) {
        if let Some(link) = self.shared.link_of(token) {
            self.shared.on_closed(link, CloseCause::Status(status));
        }
    }

    pub(super) fn on_call_answer(&self, token: u32, headers: usize, length: usize) {
        let refresh = self.shared.refreshes.borrow_mut().remove(&token);
        if let Some(ticket) = refresh {
            self.shared
                .tell(|worker, now| worker.on_refresh_done(now, ticket, &mut HostSharedData));
            return;
        }
        match self.shared.link.calls().and_then(|calls| calls.answer(token, headers, length)) {
            Some(Ok(replies)) => {
                self.shared.tell(|worker, now| {
                    worker.on_input(now, LinkId::Main, &replies, &mut HostSharedData);
                });
            }
            Some(Err(cause)) => self.shared.on_closed(LinkId::Main, cause),
            None => {}
        }
        self.shared.make_call();
    }

    pub(super) fn on_queue_ready(&self, queue: u32) {
        host::empty_queue(queue);
        self.shared.make_call();
    }
}

/// The root is gone: its configuration was replaced, and its last request is over. That is known without the callback
/// `proxy_on_done`, which every request would pay for.
impl Drop for Filter {
    fn drop(&mut self) {
        for link in [LinkId::Main, LinkId::Cache] {
            self.shared.drop_connection(link);
        }
        let mut unspent = Vec::new();
        self.shared.tell(|worker, now| unspent = worker.on_retired(now, &mut HostSharedData));
        UNSPENT.with_borrow_mut(|all| all.append(&mut unspent));
    }
}

impl Shared {
    /// Tells the worker of an event in a callback of the root, and does what it wants.
    fn tell(&self, event: impl FnOnce(&mut Worker, Now)) {
        {
            let now = host::now();
            let mut worker = self.worker.borrow_mut();
            worker.begin_callback(now, Callback::Root);
            event(&mut worker, now);
        }
        self.drain(Callback::Root);
    }

    /// Does all the worker wants. It is not borrowed meanwhile: a call of the host may lead back here.
    fn drain(&self, callback: Callback) {
        loop {
            let effect = self.worker.borrow_mut().poll_effect();
            let Some(effect) = effect else { return };
            self.apply(effect, callback);
        }
    }

    fn apply(&self, effect: Effect, callback: Callback) {
        match effect {
            Effect::OpenStream(link) => self.open_connection(link),
            Effect::DropStream(link) => self.drop_connection(link),
            Effect::Send(link, bytes) => {
                let link = self.link(link);
                link.send(&bytes);
                if let (Callback::Request, Some(calls)) = (callback, link.calls()) {
                    calls.wake();
                }
            }
            Effect::Release(context, Conclusion { fate, entry }, onward) => {
                if callback == Callback::Root && host::act_on(context.0) {
                    tell_access_log(entry);
                    match fate {
                        Fate::Pass(fields) => {
                            ask_upstream(&onward);
                            if !fields.is_empty() || !onward.is_empty() {
                                let passed = Passed { fields, onward };
                                self.passed.borrow_mut().insert(context.0, passed);
                            }
                            host::resume_request();
                        }
                        Fate::Refuse(reply) => host::reply(&reply),
                        Fate::Serve(reply) => wire::serve(&reply),
                    }
                } else {
                    // Its client has gone meanwhile.
                    self.worker.borrow_mut().on_left(onward);
                }
            }
            Effect::Refresh(ticket, mut lines) => {
                host::act_on(self.root);
                lines.push(REFRESH_FIELD.as_bytes(), ticket.to_string().as_bytes());
                match host::request(REFRESH_CLUSTER, &lines, REFRESH_TIMEOUT) {
                    Ok(token) => {
                        self.refreshes.borrow_mut().insert(token, ticket);
                    }
                    Err(_status) => {
                        let mut worker = self.worker.borrow_mut();
                        worker.on_refresh_done(host::now(), ticket, &mut HostSharedData);
                    }
                }
            }
            Effect::Add(metric, amount) => {
                if let Some(id) = self.metric_id(metric) {
                    host::add_metric(id, amount);
                }
            }
            Effect::Record(metric, value) => {
                if let Some(id) = self.metric_id(metric) {
                    host::record_metric(id, value);
                }
            }
            Effect::TickEvery(period) => {
                let _ = hostcalls::set_tick_period(period);
            }
            Effect::Warn(line) => host::log(LogLevel::Warn, &line),
            Effect::Info(line) => host::log(LogLevel::Info, &line),
        }
    }

    fn metric_id(&self, metric: Metric) -> Option<u32> {
        self.metric_ids.get(metrics::index(metric, self.layout)).copied().flatten()
    }

    const fn link(&self, link: LinkId) -> &Link {
        match link {
            LinkId::Main => &self.link,
            LinkId::Cache => &self.cache_link,
        }
    }

    /// Which link has this stream open.
    fn link_of(&self, token: u32) -> Option<LinkId> {
        [LinkId::Main, LinkId::Cache].into_iter().find(|link| self.link(*link).is_open(token))
    }

    fn open_connection(&self, link: LinkId) {
        host::act_on(self.root);
        if let Err(cause) = self.link(link).open() {
            let mut worker = self.worker.borrow_mut();
            worker.on_closed(host::now(), link, cause, &mut HostSharedData);
        }
    }

    fn drop_connection(&self, link: LinkId) {
        host::act_on(self.root);
        self.link(link).drop();
    }

    fn on_closed(&self, link: LinkId, cause: CloseCause) {
        self.drop_connection(link);
        self.tell(|worker, now| worker.on_closed(now, link, cause, &mut HostSharedData));
    }

    /// At the end of a callback of the root: makes the call that is due, if one is.
    fn make_call(&self) {
        if let Some(calls) = self.link.calls() {
            host::act_on(self.root);
            if let Err(cause) = calls.make() {
                self.on_closed(LinkId::Main, cause);
            }
        }
    }
}

/// One request on its way through the filter.
pub(super) struct Request {
    context: ContextId,
    shared: Rc<Shared>,
    /// Set once the request was paused.
    place: Option<Place>,
    /// Whether the request was over with its header.
    ended: bool,
    /// What there is of it, unless it was paused.
    passed: Passed,
}

impl Request {
    /// Has `look` see what is kept of it since it passed.
    fn with_passed<T>(&mut self, look: impl FnOnce(&mut Passed) -> T) -> Option<T> {
        if self.place.is_some() {
            self.shared.passed.borrow_mut().get_mut(&self.context.0).map(look)
        } else {
            Some(look(&mut self.passed))
        }
    }
}

impl Context for Request {}

impl HttpContext for Request {
    fn on_http_request_headers(&mut self, _count: usize, end: bool) -> Action {
        self.ended = end;
        #[cfg(feature = "fault-injection")]
        crash_if_asked();
        let (path, verdict) = if self.shared.has_cache {
            let mut header = WholeHeader::read(end);
            if header.first(":method") == Some(b"PURGE") && host::filter_chain() == PURGE_CHAIN {
                return self.purge(&mut header);
            }
            let refresh = header.first(REFRESH_FIELD);
            let refresh = refresh.filter(|_| host::filter_chain() == REFRESH_CHAIN);
            match refresh.map(|number| std::str::from_utf8(number).ok()?.parse().ok()) {
                Some(ticket) => self.refresh(ticket.unwrap_or_default(), &mut header),
                None => self.ask(&mut header),
            }
        } else {
            self.ask(&mut Headers)
        };
        if let Some(path) = path {
            host::set_path(&path);
        }
        self.shared.drain(Callback::Request);
        let (Conclusion { fate, entry }, onward) = match verdict {
            Verdict::Conclude(conclusion, onward) => (conclusion, onward),
            Verdict::Pause(place) => {
                self.place = Some(place);
                return Action::Pause;
            }
        };
        tell_access_log(entry);
        match fate {
            Fate::Pass(fields) => {
                ask_upstream(&onward);
                self.passed = Passed { fields, onward };
                Action::Continue
            }
            Fate::Refuse(reply) => {
                host::reply(&reply);
                Action::Pause
            }
            Fate::Serve(reply) => {
                wire::serve(&reply);
                Action::Pause
            }
        }
    }

    fn on_http_response_headers(&mut self, _count: usize, end: bool) -> Action {
        let shared = Rc::clone(&self.shared);
        self.with_passed(|Passed { fields, onward }| {
            if onward.calls.wants_response() {
                let mut worker = shared.worker.borrow_mut();
                worker.on_response(host::now(), &mut onward.calls, &mut ResponseHeaders);
            }
            if !matches!(onward.part, Part::None) && shared.exchange(onward, fields, end) {
                return;
            }
            for (name, value) in fields.drain(..) {
                host::set_response_field(name, &value);
            }
        });
        Action::Continue
    }

    fn on_http_response_body(&mut self, length: usize, end: bool) -> Action {
        let shared = Rc::clone(&self.shared);
        self.with_passed(|Passed { onward, .. }| {
            if matches!(onward.part, Part::Filling(_)) {
                let bytes = host::buffer(BufferType::HttpResponseBody, 0, length);
                shared.fill(&mut onward.part, &bytes.unwrap_or_default(), end);
            }
        });
        Action::Continue
    }
}

impl Request {
    fn ask(&self, view: &mut dyn RequestView) -> (Option<Vec<u8>>, Verdict) {
        let mut worker = self.shared.worker.borrow_mut();
        let now = host::now();
        worker.begin_callback(now, Callback::Request);
        worker.on_request(now, self.context, view, &mut HostSharedData)
    }

    /// A request of this VM itself has come back: what it is for goes to the upstream.
    fn refresh(&self, ticket: u64, header: &mut WholeHeader) -> (Option<Vec<u8>>, Verdict) {
        host::remove_request_field(REFRESH_FIELD);
        let mut worker = self.shared.worker.borrow_mut();
        let now = host::now();
        worker.begin_callback(now, Callback::Request);
        let refreshed = worker.on_refresh(now, self.context, ticket, header, &mut HostSharedData);
        refreshed.unwrap_or_else(|| (None, Verdict::gone()))
    }

    fn purge(&mut self, header: &mut WholeHeader) -> Action {
        let ordered = {
            let mut worker = self.shared.worker.borrow_mut();
            let now = host::now();
            worker.begin_callback(now, Callback::Request);
            worker.on_purge(now, self.context, &header.lines(), &mut HostSharedData)
        };
        self.shared.drain(Callback::Request);
        match ordered {
            Ok(place) => self.place = Some(place),
            Err(reply) => wire::serve(&reply),
        }
        Action::Pause
    }
}

impl Shared {
    /// Has the cache see the header of a response; whether it was answered by another one.
    fn exchange(&self, onward: &mut Onward, fields: &mut Fields, is_over: bool) -> bool {
        let header = ResponseHeaders::read();
        let now = host::now();
        let outcome = {
            let mut worker = self.worker.borrow_mut();
            worker.begin_callback(now, Callback::Request);
            let fields = std::mem::take(fields);
            worker.on_header(now, onward, &header, fields, &mut ResponseHeaders)
        };
        let is_replaced = match outcome {
            Outcome::Replace(reply) => {
                wire::serve(&reply);
                true
            }
            Outcome::Pass { removed, rewritten, cache_status, fields: told } => {
                removed.iter().for_each(|name| host::remove_response_field(name));
                for (name, value) in rewritten {
                    host::replace_response_field(name, &value);
                }
                if let Some(status) = cache_status {
                    host::add_response_field("cache-status", &status);
                }
                *fields = told;
                false
            }
        };
        if is_over && !is_replaced {
            self.fill(&mut onward.part, &[], true);
        } else {
            self.worker.borrow_mut().after_response(now, &mut HostSharedData);
            self.drain(Callback::Request);
        }
        is_replaced
    }

    /// Hands the cache a part of a body.
    fn fill(&self, part: &mut Part, bytes: &[u8], is_over: bool) {
        {
            let mut worker = self.worker.borrow_mut();
            let now = host::now();
            worker.begin_callback(now, Callback::Request);
            worker.on_body(now, part, bytes, is_over);
            worker.after_response(now, &mut HostSharedData);
        }
        self.drain(Callback::Request);
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let Shared { worker, passed, .. } = &*self.shared;
        let passed = if let Some(place) = self.place {
            worker.borrow_mut().on_request_done(self.context, place);
            passed.borrow_mut().remove(&self.context.0).unwrap_or_default()
        } else {
            std::mem::take(&mut self.passed)
        };
        if !passed.onward.is_empty() {
            let (ended, end, shared) = (self.ended, &mut EndOfCall, &mut HostSharedData);
            worker.borrow_mut().on_onward_done(passed.onward, ended, end, shared);
            self.shared.drain(Callback::End);
        }
    }
}

/// Puts what the cache wants to know into the request of the current context.
fn ask_upstream(onward: &Onward) {
    let conditions = onward.conditions();
    if conditions.is_empty() {
        return;
    }
    for name in SET_ASIDE {
        host::remove_request_field(name);
    }
    for (name, value) in conditions {
        host::set_request_field(name, value);
    }
}

/// At the decision: a client may leave, and be logged, before its response comes.
fn tell_access_log(entry: Option<String>) {
    if let Some(entry) = entry {
        host::set_filter_state(access_log::FILTER_STATE, &entry);
    }
}

/// Traps, as a defect would.
#[cfg(feature = "fault-injection")]
#[allow(clippy::panic, reason = "the fault that a test asks for")]
fn crash_if_asked() {
    use proxy_wasm::types::MapType;
    let header = hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, "x-meliproxy-crash");
    assert!(!matches!(header, Ok(Some(_))), "crash asked for by the request");
}

fn metric_ids(definitions: Vec<(Kind, String)>) -> Vec<Option<u32>> {
    METRIC_IDS.with_borrow_mut(|ids| {
        let define = |(kind, name): (Kind, String)| {
            *ids.entry(name).or_insert_with_key(|name| host::define_metric(kind, name))
        };
        definitions.into_iter().map(define).collect()
    })
}

/// What is the same for all workers of this process: whoever is first stores its own.
fn of_process<const N: usize>(name: &str, own: [u8; N]) -> [u8; N] {
    let mut shared = HostSharedData;
    let _ = shared.set(name, &own, None);
    let stored = shared.get(name).and_then(|(stored, _)| stored.try_into().ok());
    stored.unwrap_or(own)
}
