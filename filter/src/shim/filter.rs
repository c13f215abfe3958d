//! The filter: hands a worker what happens in Envoy, and does to Envoy what the worker wants.
//!
//! Each root context has a worker of its own. When a new configuration arrives, Envoy makes a new root beside the old
//! one; requests in flight end on the old one, with its rules and its stream, and then it is retired.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, BufferType, LogLevel};

use super::host::{self, EndOfCall, Headers, HostSharedData, ResponseHeaders};
use super::link::Link;
use crate::access_log;
use crate::config::{Config, Transport};
use crate::exchange::{Conclusion, Fate};
use crate::http::Fields;
use crate::key::HashSeed;
use crate::metrics::{self, Kind, Metric};
use crate::plan::Plan;
use crate::quota::lease::Unspent;
use crate::redis::{Client, CloseCause, Credentials, Options, Password};
use crate::rng::Rng;
use crate::shared::SharedData;
use crate::time::Now;
use crate::worker::{self, Callback, Calls, ContextId, Effect, Place, Verdict, Worker};

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
    metric_ids: Vec<Option<u32>>,
    rules_count: usize,
    /// By request that was paused and goes on: what its response gets, and the calls that it is.
    passed: RefCell<HashMap<u32, Passed>>,
}

/// What is kept of a request that passed, until its end.
#[derive(Default)]
struct Passed {
    /// What its response gets.
    fields: Fields,
    calls: Calls,
}

impl Filter {
    /// Reads the plugin's configuration of `length` bytes. Without side effects until it is known to be good: Envoy
    /// first tries it in a VM that it throws away.
    pub(super) fn configured(root: u32, length: usize) -> Result<Self, String> {
        let text = host::buffer(BufferType::PluginConfiguration, 0, length).unwrap_or_default();
        let config = Config::parse(&text).map_err(|problems| problems.to_string())?;
        let rules = config.rules.iter().map(|rule| rule.name.as_str());
        let breakers = config.breakers.iter().map(|breaker| breaker.name.as_str());
        let metric_ids = metric_ids(metrics::definitions(rules, breakers));
        let rules_count = config.rules.len();
        let credentials = Credentials {
            username: host::environment("MELIPROXY_REDIS_USERNAME"),
            password: host::environment("MELIPROXY_REDIS_PASSWORD").map(Password::new),
        };
        let transport = config.redis.as_ref().map_or(Transport::Stream, |redis| redis.transport);
        let link = Link::new(transport, &credentials);
        let redis = config.redis.as_ref().map(|redis| {
            let options = Options {
                credentials,
                scripts: worker::SCRIPTS,
                channels: worker::channels(&config),
                command_timeout: redis.timeout,
                ..Options::default()
            };
            Client::new(options, Rng::with_seed(u64::from_le_bytes(host::random())))
        });
        let plan = Rc::new(Plan::new(config, HashSeed(of_process("hash-seed", host::random()))));
        let process = u64::from_le_bytes(of_process("process", host::random()));
        let worker = Worker::new(u64::from_le_bytes(host::random()), process, plan, redis);
        let (worker, passed) = (RefCell::new(worker), RefCell::default());
        let shared = Shared { root, worker, link, metric_ids, rules_count, passed };
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
        if self.shared.link.is_open(token) {
            let bytes = host::buffer(BufferType::GrpcReceiveBuffer, 0, length).unwrap_or_default();
            self.shared.tell(|worker, now| worker.on_input(now, &bytes, &mut HostSharedData));
        }
    }

    pub(super) fn on_stream_close(&self, token: u32, status: u32) {
        if self.shared.link.is_open(token) {
            self.shared.on_closed(CloseCause::Status(status));
        }
    }

    pub(super) fn on_call_answer(&self, token: u32, headers: usize, length: usize) {
        match self.shared.link.calls().and_then(|calls| calls.answer(token, headers, length)) {
            Some(Ok(replies)) => {
                self.shared.tell(|worker, now| worker.on_input(now, &replies, &mut HostSharedData));
            }
            Some(Err(cause)) => self.shared.on_closed(cause),
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
        self.shared.drop_connection();
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
            Effect::OpenStream => self.open_connection(),
            Effect::DropStream => self.drop_connection(),
            Effect::Send(bytes) => {
                self.link.send(&bytes);
                if let (Callback::Request, Some(calls)) = (callback, self.link.calls()) {
                    calls.wake();
                }
            }
            Effect::Release(context, Conclusion { fate, entry }, calls) => {
                if callback == Callback::Root && host::act_on(context.0) {
                    tell_access_log(entry);
                    match fate {
                        Fate::Pass(fields) => {
                            if !fields.is_empty() || !calls.is_empty() {
                                let passed = Passed { fields, calls };
                                self.passed.borrow_mut().insert(context.0, passed);
                            }
                            host::resume_request();
                        }
                        Fate::Refuse(reply) => host::reply(&reply),
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
        self.metric_ids.get(metrics::index(metric, self.rules_count)).copied().flatten()
    }

    fn open_connection(&self) {
        host::act_on(self.root);
        if let Err(cause) = self.link.open() {
            self.worker.borrow_mut().on_closed(host::now(), cause, &mut HostSharedData);
        }
    }

    fn drop_connection(&self) {
        host::act_on(self.root);
        self.link.drop();
    }

    fn on_closed(&self, cause: CloseCause) {
        self.drop_connection();
        self.tell(|worker, now| worker.on_closed(now, cause, &mut HostSharedData));
    }

    /// At the end of a callback of the root: makes the call that is due, if one is.
    fn make_call(&self) {
        if let Some(calls) = self.link.calls() {
            host::act_on(self.root);
            if let Err(cause) = calls.make() {
                self.on_closed(cause);
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
        let (path, verdict) = {
            let mut worker = self.shared.worker.borrow_mut();
            let now = host::now();
            worker.begin_callback(now, Callback::Request);
            worker.on_request(now, self.context, &mut Headers, &mut HostSharedData)
        };
        if let Some(path) = path {
            host::set_path(&path);
        }
        self.shared.drain(Callback::Request);
        let (Conclusion { fate, entry }, calls) = match verdict {
            Verdict::Conclude(conclusion, calls) => (conclusion, calls),
            Verdict::Pause(place) => {
                self.place = Some(place);
                return Action::Pause;
            }
        };
        tell_access_log(entry);
        match fate {
            Fate::Pass(fields) => {
                self.passed = Passed { fields, calls };
                Action::Continue
            }
            Fate::Refuse(reply) => {
                host::reply(&reply);
                Action::Pause
            }
        }
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        let shared = Rc::clone(&self.shared);
        self.with_passed(|Passed { fields, calls }| {
            for (name, value) in fields.drain(..) {
                host::set_response_field(name, &value);
            }
            if calls.wants_response() {
                shared.worker.borrow_mut().on_response(host::now(), calls, &mut ResponseHeaders);
            }
        });
        Action::Continue
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
        let calls = passed.calls;
        if !calls.is_empty() {
            let (ended, end, shared) = (self.ended, &mut EndOfCall, &mut HostSharedData);
            worker.borrow_mut().on_calls_done(&calls, ended, end, shared);
            self.shared.drain(Callback::End);
        }
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
