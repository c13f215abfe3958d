//! Does to Envoy what a worker wants, and tells it what has come of that.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::types::LogLevel;

use super::host::{self, HostSharedData, ResponseHeaders};
use super::link::Link;
use super::wire;
use crate::access_log;
use crate::cache::reuse::SET_ASIDE;
use crate::exchange::{Conclusion, Fate};
use crate::http::Fields;
use crate::metrics::{self, Layout, Metric};
use crate::redis::CloseCause;
use crate::time::Now;
use crate::worker::{Callback, Effect, LinkId, Onward, Outcome, Part, Worker};

/// The cluster by which this VM's own requests come back to it.
const REFRESH_CLUSTER: &str = "cache_refresh";

/// The field that tells which request of its own it is.
pub(super) const REFRESH_FIELD: &str = "x-meliproxy-refresh";

/// How long such a request may take.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(60);

/// What the root and its requests have in common.
pub(super) struct Driver {
    pub(super) root: u32,
    pub(super) worker: RefCell<Worker>,
    pub(super) link: Link,
    pub(super) cache_link: Link,
    pub(super) has_cache: bool,
    pub(super) metric_ids: Vec<Option<u32>>,
    pub(super) layout: Layout,
    /// By request that was paused and goes on: what its response gets, and what it is.
    pub(super) passed: RefCell<HashMap<u32, Passed>>,
    /// Requests that this VM makes to itself, by the host's number.
    pub(super) refreshes: RefCell<HashMap<u32, u64>>,
}

/// What is kept of a request that passed, until its end.
#[derive(Default)]
pub(super) struct Passed {
    /// What its response gets.
    pub(super) fields: Fields,
    pub(super) onward: Onward,
}

impl Driver {
    /// Tells the worker of an event in a callback of the root, and does what it wants.
    pub(super) fn tell(&self, event: impl FnOnce(&mut Worker, Now)) {
        {
            let now = host::now();
            let mut worker = self.worker.borrow_mut();
            worker.begin_callback(now, Callback::Root);
            event(&mut worker, now);
        }
        self.drain(Callback::Root);
    }

    /// Does all the worker wants. It is not borrowed meanwhile: a call of the host may lead back here.
    pub(super) fn drain(&self, callback: Callback) {
        loop {
            let effect = self.worker.borrow_mut().poll_effect();
            let Some(effect) = effect else { return };
            self.apply(effect, callback);
        }
    }

    pub(super) fn apply(&self, effect: Effect, callback: Callback) {
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
                // The client that it is made for may have sent one too.
                lines.remove(REFRESH_FIELD.as_bytes());
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

    pub(super) fn metric_id(&self, metric: Metric) -> Option<u32> {
        self.metric_ids.get(metrics::index(metric, self.layout)).copied().flatten()
    }

    pub(super) const fn link(&self, link: LinkId) -> &Link {
        match link {
            LinkId::Main => &self.link,
            LinkId::Cache => &self.cache_link,
        }
    }

    /// Which link has this stream open.
    pub(super) fn link_of(&self, token: u32) -> Option<LinkId> {
        [LinkId::Main, LinkId::Cache].into_iter().find(|link| self.link(*link).is_open(token))
    }

    pub(super) fn open_connection(&self, link: LinkId) {
        host::act_on(self.root);
        if let Err(cause) = self.link(link).open() {
            let mut worker = self.worker.borrow_mut();
            worker.on_closed(host::now(), link, cause, &mut HostSharedData);
        }
    }

    pub(super) fn drop_connection(&self, link: LinkId) {
        host::act_on(self.root);
        self.link(link).drop();
    }

    pub(super) fn on_closed(&self, link: LinkId, cause: CloseCause) {
        self.drop_connection(link);
        self.tell(|worker, now| worker.on_closed(now, link, cause, &mut HostSharedData));
    }

    /// At the end of a callback of the root: makes the call that is due, if one is.
    pub(super) fn make_call(&self) {
        if let Some(calls) = self.link.calls() {
            host::act_on(self.root);
            if let Err(cause) = calls.make() {
                self.on_closed(LinkId::Main, cause);
            }
        }
    }

    /// Has the cache see the header of a response; whether it was answered by another one.
    pub(super) fn exchange(&self, onward: &mut Onward, fields: &mut Fields, is_over: bool) -> bool {
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
    pub(super) fn fill(&self, part: &mut Part, bytes: &[u8], is_over: bool) {
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

/// Puts what the cache wants to know into the request of the current context.
pub(super) fn ask_upstream(onward: &Onward) {
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
pub(super) fn tell_access_log(entry: Option<String>) {
    if let Some(entry) = entry {
        host::set_filter_state(access_log::FILTER_STATE, &entry);
    }
}
