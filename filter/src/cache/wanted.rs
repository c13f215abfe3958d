//! What a request wants of the cache, by the configuration.

use std::rc::Rc;

use super::keeper::{Asking, Mutation};
use super::key::{self, Target};
use super::policy::{KeyOptions, Policy};
use super::request::{Bypass, Request};
use crate::config::Config;
use crate::http::RequestView;

/// What a request that falls under a policy wants.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// An answer.
    Answer(Asking),
    /// To change something, perhaps.
    Change(Box<Mutation>),
    /// Nothing.
    Nothing {
        /// Place of the policy.
        policy: usize,
        /// Why not.
        why: Bypass,
    },
}

/// Which policy requests fall under.
#[derive(Debug)]
pub struct Policies {
    by_route: Vec<Option<usize>>,
    other: Option<usize>,
    all: Vec<Policy>,
}

impl Policies {
    /// Of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let mut by_route = vec![None; config.routes.len()];
        let mut other = None;
        for (place, cache) in config.cache.iter().enumerate() {
            match &cache.routes {
                None => other = Some(place),
                Some(routes) => {
                    for route in routes {
                        if let Some(policy) = by_route.get_mut(*route) {
                            *policy = Some(place);
                        }
                    }
                }
            }
        }
        Self {
            by_route,
            other,
            all: config.cache.iter().map(|cache| cache.policy.clone()).collect(),
        }
    }

    /// Whether there are any.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The policy of a route.
    #[must_use]
    pub fn of(&self, route: Option<usize>) -> Option<usize> {
        let of_route = route.and_then(|route| self.by_route.get(route).copied().flatten());
        of_route.or(self.other)
    }

    /// What requests of a policy have to agree in.
    #[must_use]
    pub fn key_options(&self, policy: Option<usize>) -> Option<&KeyOptions> {
        self.all.get(policy?).map(|policy| &policy.key)
    }

    /// What a request wants, of which `path` is sent to the upstream. It falls under a policy, as a GET of it does.
    pub fn wanted(&self, policy: usize, path: &[u8], view: &mut dyn RequestView) -> Option<Wanted> {
        let terms = self.all.get(policy)?;
        let mut fields = view.lines();
        let first = |name, otherwise: &[u8]| fields.first(name).unwrap_or(otherwise).to_vec();
        let method = first(":method", b"");
        // What the upstream is told counts: HTTP/1.1 has no scheme of its own.
        let told = fields.joined("x-forwarded-proto").map(|told| told.to_ascii_lowercase());
        let is_clear = told.as_ref().is_none_or(|told| matches!(&told[..], b"http" | b"https"));
        let told = told.filter(|_| is_clear);
        let scheme = told.unwrap_or_else(|| first(":scheme", b"http"));
        let sent = Rc::new([scheme, first(":authority", b""), path.to_vec()]);
        fields.retain(|name| !name.starts_with(b":"));
        let [scheme, authority, path] = &*sent;
        let target = Target { scheme, authority, path };
        let nothing = |why| Some(Wanted::Nothing { policy, why });
        let Some(key) = key::primary(&terms.key, target, &fields) else {
            return nothing(Bypass::Target);
        };
        let asking = |request| {
            let (target, request) = (Rc::clone(&sent), Rc::new(request));
            Asking { policy, key: key.into(), target, request }
        };
        match Request::bypass(&method, path, &fields, view.is_over(), &terms.key.headers) {
            None if !is_clear => nothing(Bypass::Unkeyed),
            None => Some(Wanted::Answer(asking(Request::new(&method, fields)))),
            Some(Bypass::Method) if super::invalidation::is_unsafe(&method) => {
                let asking = asking(Request::new(&method, fields));
                Some(Wanted::Change(Box::new(Mutation { method, asking })))
            }
            Some(why) => nothing(why),
        }
    }
}
