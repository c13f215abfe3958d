//! The filter: hands a worker what happens in Envoy, and does to Envoy what the worker wants.
//!
//! Each root context has a worker of its own. When a new configuration arrives, Envoy makes a new root beside the old
//! one; requests in flight end on the old one, with its rules and its stream, and then it is retired.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use proxy_wasm::types::BufferType;

use super::driver::Driver;
use super::host::{self, HostSharedData};
use super::link::Link;
use super::request::Request;
use crate::config::{Config, Transport};
use crate::key::HashSeed;
use crate::metrics::{self, Kind, Layout};
use crate::plan::Plan;
use crate::quota::lease::Unspent;
use crate::redis::{Client, CloseCause, Credentials, Options, Password};
use crate::rng::Rng;
use crate::shared::SharedData;
use crate::worker::{self, Callback, LinkId, Worker};

thread_local! {
    /// The host's numbers of series, by name. The host makes a new one at each definition, so a series is defined once
    /// in a VM, however often the configuration changes.
    static METRIC_IDS: RefCell<HashMap<String, Option<u32>>> = RefCell::default();

    /// What retired roots of this VM had taken ahead: the next tick of another one gives it back.
    static UNSPENT: RefCell<Vec<Unspent>> = RefCell::default();
}

/// One configured root context.
pub(super) struct Filter {
    driver: Rc<Driver>,
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
        let driver = Driver {
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
        driver.drain(Callback::Root);
        Ok(Self { driver: Rc::new(driver) })
    }

    pub(super) fn request(&self, context: u32) -> Request {
        Request::new(context, Rc::clone(&self.driver))
    }

    pub(super) fn on_tick(&self) {
        let unspent = UNSPENT.take();
        self.driver.tell(|worker, now| {
            worker.inherit(unspent);
            worker.on_tick(now, &mut HostSharedData);
        });
        self.driver.make_call();
    }

    pub(super) fn on_stream_message(&self, token: u32, length: usize) {
        if let Some(link) = self.driver.link_of(token) {
            let bytes = host::buffer(BufferType::GrpcReceiveBuffer, 0, length).unwrap_or_default();
            self.driver.tell(|worker, now| worker.on_input(now, link, &bytes, &mut HostSharedData));
        }
    }

    pub(super) fn on_stream_close(&self, token: u32, status: u32) {
        if let Some(link) = self.driver.link_of(token) {
            self.driver.on_closed(link, CloseCause::Status(status));
        }
    }

    pub(super) fn on_call_answer(&self, token: u32, headers: usize, length: usize) {
        let refresh = self.driver.refreshes.borrow_mut().remove(&token);
        if let Some(ticket) = refresh {
            self.driver
                .tell(|worker, now| worker.on_refresh_done(now, ticket, &mut HostSharedData));
            return;
        }
        match self.driver.link.calls().and_then(|calls| calls.answer(token, headers, length)) {
            Some(Ok(replies)) => {
                self.driver.tell(|worker, now| {
                    worker.on_input(now, LinkId::Main, &replies, &mut HostSharedData);
                });
            }
            Some(Err(cause)) => self.driver.on_closed(LinkId::Main, cause),
            None => {}
        }
        self.driver.make_call();
    }

    pub(super) fn on_queue_ready(&self, queue: u32) {
        host::empty_queue(queue);
        self.driver.make_call();
    }
}

/// The root is gone: its configuration was replaced, and its last request is over. That is known without the callback
/// `proxy_on_done`, which every request would pay for.
impl Drop for Filter {
    fn drop(&mut self) {
        for link in [LinkId::Main, LinkId::Cache] {
            self.driver.drop_connection(link);
        }
        let mut unspent = Vec::new();
        self.driver.tell(|worker, now| unspent = worker.on_retired(now, &mut HostSharedData));
        UNSPENT.with_borrow_mut(|all| all.append(&mut unspent));
    }
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
