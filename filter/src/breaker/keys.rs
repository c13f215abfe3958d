//! Which breakers a request falls under.

use super::board::{Forced, Key, Terms};
use super::policy::Policy;
use crate::config::{Breaker, Config, Force, KeyPart, RouteIndex, Scope};
use crate::key::{self, HashSeed, KeyHash, PartList, PartPlace, Parts};

/// The breakers of a configuration, ready for requests.
#[derive(Debug)]
pub struct Keys {
    breakers: Vec<Watched>,
    /// Breakers of each route, and last those of requests that take none.
    by_route: Vec<Vec<usize>>,
    seed: HashSeed,
}

#[derive(Debug)]
struct Watched {
    prefix: Vec<u8>,
    by: Vec<PartPlace>,
    /// The key of each route, and last that without one, if the route alone makes it.
    fixed: Vec<Key>,
}

/// What the names of all keys of a breaker begin with; `1` is the version of what is stored there.
fn prefix(namespace: &str, breaker: &Breaker) -> Vec<u8> {
    format!("mp:{{{namespace}}}:breaker:1:{}:", breaker.name).into_bytes()
}

/// The breakers of a configuration, as the board has to know them.
#[must_use]
pub fn terms(namespace: &str, config: &Config) -> Vec<Terms> {
    let terms = |breaker: &Breaker| Terms {
        policy: Policy::of(breaker),
        is_fleet: breaker.scope == Scope::Fleet,
        is_shadow: breaker.shadow,
        forced: breaker.force.map(|force| match force {
            Force::Open => Forced::Open,
            Force::Closed => Forced::Closed,
        }),
        prefix: prefix(namespace, breaker),
    };
    config.breakers.iter().map(terms).collect()
}

impl Keys {
    /// Those of `config`; what they need of requests is added to `parts`.
    #[must_use]
    pub fn new(namespace: &str, config: &Config, parts: &mut PartList, seed: HashSeed) -> Self {
        let routes = || (0..config.routes.len()).map(Some).chain([None]);
        let breakers = config.breakers.iter().enumerate().map(|(index, breaker)| {
            let prefix = prefix(namespace, breaker);
            let by: Vec<_> = breaker.by.iter().map(|part| parts.add(part)).collect();
            let fixed = |route: Option<RouteIndex>| {
                let route = route.and_then(|route| config.routes.get(route));
                let part = route.map(|route| route.name.as_bytes());
                make_key(index, key::name(&prefix, &[part]), &seed)
            };
            let is_fixed = breaker.by == [KeyPart::Route];
            let fixed = if is_fixed { routes().map(fixed).collect() } else { Vec::new() };
            Watched { prefix, by, fixed }
        });
        let applies = |breaker: &Breaker, route: Option<RouteIndex>| match (&breaker.routes, route)
        {
            (None, _) => true,
            (Some(routes), Some(route)) => routes.contains(&route),
            (Some(_), None) => false,
        };
        let breakers = breakers.collect();
        let of = |route| {
            let all = config.breakers.iter().enumerate();
            all.filter(|(_, breaker)| applies(breaker, route)).map(|(index, _)| index).collect()
        };
        Self { breakers, by_route: routes().map(of).collect(), seed }
    }

    /// The keys of a request that takes this route, in the order of the configuration.
    pub fn of(&self, route: Option<RouteIndex>, parts: &mut Parts<'_>) -> Vec<Key> {
        let place = route.unwrap_or_else(|| self.by_route.len().saturating_sub(1));
        let Some(breakers) = self.by_route.get(place) else { return Vec::new() };
        let key = |breaker: &usize| {
            let watched = self.breakers.get(*breaker)?;
            Some(match watched.fixed.get(place) {
                Some(key) => key.clone(),
                None => make_key(*breaker, parts.name(&watched.prefix, &watched.by), &self.seed),
            })
        };
        breakers.iter().filter_map(key).collect()
    }
}

fn make_key(breaker: usize, name: Vec<u8>, seed: &HashSeed) -> Key {
    Key { breaker, hash: KeyHash::of(seed, &name), name: name.into() }
}
