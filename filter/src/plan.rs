//! What follows from the configuration alone, worked out once: routes, rules and the beginnings of their keys.

use std::borrow::Cow;

use crate::breaker::board::{Key, Terms as BreakerTerms};
use crate::breaker::keys::{self, Keys};
use crate::cache::policy::KeyOptions;
use crate::cache::wanted::{Policies, Wanted};
use crate::config::{Config, OnStoreFailure};
use crate::http::path::{self, Resource};
use crate::http::{Fields, LocalReply, RequestView};
use crate::key::{Found, HashSeed, PartList, Parts};
use crate::quota::fields::Announcer;
use crate::quota::terms::{Application, Terms};
use crate::quota::{Check, Standing, answer};
use crate::route::Router;

/// Namespace of counters and breakers when there is no Redis: they live in this process alone.
const LOCAL_NAMESPACE: &str = "local";

/// The configuration, ready for requests.
#[derive(Debug)]
pub struct Plan {
    config: Config,
    router: Router,
    /// What rules read of requests.
    parts: PartList,
    /// Of each rule.
    terms: Vec<Terms>,
    announcer: Announcer,
    keys: Keys,
    caches: Policies,
    seed: HashSeed,
}

/// What a request is held against.
#[derive(Debug)]
pub struct Opening {
    /// The path the upstream has to be sent, if it is not the one that came: what was counted is what is served.
    pub rewritten_path: Option<Vec<u8>>,
    /// The rules that refuse it whatever was counted, by an override. If there are any, nothing is to be counted.
    pub refused_by: Vec<usize>,
    /// The rules that would refuse it likewise, were they enforced for its key.
    pub would_refuse: Vec<usize>,
    /// The other rules that apply, in the order of the configuration.
    pub checks: Vec<Check>,
    /// The breakers that it falls under, in the order of the configuration.
    pub breakers: Vec<Key>,
    /// What it wants of the cache, if it has to do with it.
    pub cache: Option<Wanted>,
}

impl Plan {
    /// Works out the plan of `config`; `seed` must be the same for all workers of a process.
    #[must_use]
    pub fn new(config: Config, seed: HashSeed) -> Self {
        let namespace = namespace(&config);
        let mut parts = PartList::default();
        let terms =
            config.rules.iter().map(|rule| Terms::new(namespace, rule, &mut parts)).collect();
        let router = Router::new(&config);
        let announcer = Announcer::new(&config);
        let keys = Keys::new(namespace, &config, &mut parts, seed);
        let caches = Policies::new(&config);
        Self { config, router, parts, terms, announcer, keys, caches, seed }
    }

    /// The breakers, as the board of a worker has to know them.
    #[must_use]
    pub fn breakers(&self) -> Vec<BreakerTerms> {
        keys::terms(namespace(&self.config), &self.config)
    }

    /// Whether there is a cache at all.
    #[must_use]
    pub const fn has_cache(&self) -> bool {
        !self.caches.is_empty()
    }

    /// What requests of the cache for this path, in the spelling that is sent, have to agree in.
    #[must_use]
    pub fn key_options(&self, path: &[u8]) -> Option<&KeyOptions> {
        let resource = Resource::of(path::without_query(path));
        self.caches.key_options(self.caches.of(self.router.find(b"GET", &resource)))
    }

    /// The seed of all keys' hashes.
    #[must_use]
    pub const fn seed(&self) -> HashSeed {
        self.seed
    }

    /// The configuration it was made of.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The fields that tell the client of a request that passes how it stands.
    pub fn announce<'c>(
        &self,
        checks: &'c [Check],
        standings: impl Iterator<Item = (&'c Check, Standing)> + Clone,
    ) -> Fields {
        self.announcer.fields(checks, standings)
    }

    /// The answer to a request that some of its checks refuse, each until its standing's reset. Of the others nothing
    /// is told but their policies: who obeys `Retry-After` must not be held up by a longer window that has room.
    #[must_use]
    pub fn refuse(&self, checks: &[Check], exceeded: &[(&Check, Standing)]) -> LocalReply {
        let rule = |(check, _): &(&Check, Standing)| self.config.rules.get(check.rule);
        let violated: Vec<_> = exceeded.iter().filter_map(rule).collect();
        let waits = exceeded.iter().map(|(_, standing)| standing.reset_after());
        let fields = self.announcer.fields(checks, exceeded.iter().copied());
        answer::refusal(&violated, Some(waits.max().unwrap_or_default()), fields)
    }

    /// The answer to a request that these rules refuse whatever was counted.
    #[must_use]
    pub fn refuse_by_config(&self, rules: &[usize]) -> LocalReply {
        let violated: Vec<_> =
            rules.iter().filter_map(|rule| self.config.rules.get(*rule)).collect();
        answer::refusal(&violated, None, Fields::new())
    }

    /// What decides for a rule while Redis does not.
    #[must_use]
    pub fn on_store_failure(&self, rule: usize) -> OnStoreFailure {
        let rule = self.config.rules.get(rule);
        rule.map_or(OnStoreFailure::Local, |rule| rule.on_store_failure)
    }

    /// Reads of a request what its rules need, and no more.
    pub fn open(&self, view: &mut dyn RequestView) -> Opening {
        let target = view.path().unwrap_or_default();
        let canonical = path::canonical(&target);
        let resource = Resource::of(path::without_query(&canonical));
        let is_cached = !self.caches.is_empty();
        let method = (self.router.needs_method() || is_cached).then(|| view.method());
        let method = method.as_ref().map(Option::as_deref);
        let route = self.router.find(method.flatten().unwrap_or_default(), &resource);
        let found = Found {
            target: &target,
            path: resource.as_bytes(),
            route: route
                .and_then(|index| self.config.routes.get(index))
                .map(|route| route.name.as_str()),
            method,
        };
        let prefix = self.config.client_address.ipv6_prefix;
        let mut parts = Parts::new(&self.parts, view, found, prefix);
        let (mut refused_by, mut would_refuse) = (Vec::new(), Vec::new());
        let rules = self.router.rules(route);
        let mut checks = Vec::with_capacity(rules.len());
        for rule in rules {
            let Some(terms) = self.terms.get(*rule) else { continue };
            match terms.apply(*rule, &mut parts, &self.seed) {
                Application::Check(check) => checks.push(check),
                Application::Refuse { enforced: true } => refused_by.push(*rule),
                Application::Refuse { enforced: false } => would_refuse.push(*rule),
                Application::Exempt => {}
            }
        }
        let breakers = self.keys.of(route, &mut parts);
        let cache = is_cached.then(|| {
            // What may change something is about what a GET would get, whose route may be another one.
            let route = match method.flatten() {
                Some(b"GET" | b"HEAD") => route,
                _ => self.router.find(b"GET", &resource),
            };
            self.caches.wanted(self.caches.of(route)?, &canonical, view)
        });
        let rewritten_path = match &canonical {
            Cow::Borrowed(_) => None,
            Cow::Owned(path) => Some(path.clone()),
        };
        Opening {
            rewritten_path,
            refused_by,
            would_refuse,
            checks,
            breakers,
            cache: cache.flatten(),
        }
    }
}

fn namespace(config: &Config) -> &str {
    config.redis.as_ref().map_or(LOCAL_NAMESPACE, |redis| &redis.namespace)
}
