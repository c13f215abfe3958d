//! `cache[]`: which responses are stored, and used again.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::duration::{DurationRange, Unit, WHOLE_SECONDS, Written};
use super::super::key::{Absent, Key, Object, Reads};
use super::super::kind::{List, Text, Words};
use super::super::reader::Value;
use super::super::size::{self, SizeRange};
use super::super::{Cache, Transport};
use super::cache_key;
use super::name::NAME;
use super::redis::TRANSPORT;
use super::rule::{ROUTE_NAMES, read_routes};
use crate::cache::policy::{Policy, Profile};

const NAME_KEY: Key<Text> = Key {
    name: "name",
    doc: "what metrics call it; unique among policies",
    takes: NAME,
    absent: Absent::Refused,
};

const ROUTES: Key<List<Text>> = Key {
    name: "routes",
    doc: "which requests it is about; no route is in two policies",
    takes: ROUTE_NAMES,
    absent: Absent::Means(
        "every request that no other policy is for, also those of no route; in one policy at most",
    ),
};

const PROFILE: Key<Words<Profile>> = Key {
    name: "profile",
    doc: "`rfc9111`: what RFC 9111 allows a shared cache; `strict`: less, no response that sets cookies unless it says \
          that it is for all, and no heuristics for how long one is fresh",
    takes: Words(&[("rfc9111", Profile::Rfc9111), ("strict", Profile::Strict)]),
    absent: Absent::Is(r#""rfc9111""#),
};

const TTL: DurationRange =
    DurationRange { units: WHOLE_SECONDS, min: Written(1, Unit::S), max: Written(365, Unit::D) };

const DEFAULT_TTL: Key<DurationRange> = Key {
    name: "default_ttl",
    doc: "for how long a response is fresh that does not say so itself; not more than `max_ttl`",
    takes: TTL,
    absent: Absent::Means("by the heuristics of the profile"),
};

const MAX_TTL: Key<DurationRange> = Key {
    name: "max_ttl",
    doc: "for how long a response is fresh at most, whatever it says",
    takes: TTL,
    absent: Absent::Is(r#""1d""#),
};

const MAX_OBJECT: Key<SizeRange> = Key {
    name: "max_object",
    doc: "the largest body that is stored",
    takes: SizeRange {
        units: &[size::Unit::Bytes, size::Unit::Kib, size::Unit::Mib],
        min: Written(1, size::Unit::Bytes),
        max: Written(8, size::Unit::Mib),
    },
    absent: Absent::Is(r#""1MiB""#),
};

const STALE_IF_ERROR: Key<DurationRange> = Key {
    name: "stale_if_error",
    doc: "for how long a stale response may be used while the upstream gives no answer, if it does not say so itself",
    takes: DurationRange {
        units: WHOLE_SECONDS,
        min: Written(0, Unit::S),
        max: Written(365, Unit::D),
    },
    absent: Absent::Is(r#""0s""#),
};

pub(super) const OBJECT: Object = Object {
    keys: &[
        &NAME_KEY,
        &ROUTES,
        &PROFILE,
        &DEFAULT_TTL,
        &MAX_TTL,
        &MAX_OBJECT,
        &STALE_IF_ERROR,
        &cache_key::KEY,
    ],
    between: "{}",
};

/// Reads all policies of a file whose routes have these names, as far as they can be read. No two of them may be for
/// the same requests.
pub(super) fn read_all(
    values: &[Value<'_>],
    route_names: Option<&[Option<&str>]>,
) -> Option<Vec<Cache>> {
    let policies: Vec<_> = values.iter().map(|value| read(value, route_names)).collect();
    refuse_shared(values, route_names.unwrap_or_default());
    policies.into_iter().collect()
}

fn read(value: &Value<'_>, route_names: Option<&[Option<&str>]>) -> Option<Cache> {
    OBJECT.read(value, |cache| {
        let default = Policy::default();
        let name = NAME_KEY.read(cache);
        let routes = read_routes(&ROUTES.of(cache), route_names);
        let profile = PROFILE.read_or(cache, default.profile);
        let default_ttl_value = DEFAULT_TTL.of(cache);
        let default_ttl = default_ttl_value.optional(|value| DEFAULT_TTL.takes.read(value));
        let max_ttl = MAX_TTL.read_or(cache, default.max_ttl);
        let max_object_bytes = MAX_OBJECT.read_or(cache, default.max_object_bytes);
        let stale_if_error = STALE_IF_ERROR.read_or(cache, default.stale_if_error);
        let key = cache_key::KEY.of(cache).or(default.key, cache_key::read);
        let (default_ttl, max_ttl) = (default_ttl?, max_ttl?);
        refuse_cut(&default_ttl_value, default_ttl, max_ttl)?;
        let policy = Policy {
            profile: profile?,
            default_ttl,
            max_ttl,
            max_object_bytes: max_object_bytes?,
            stale_if_error: stale_if_error?,
            key: key?,
        };
        Some(Cache { name: name?.to_owned(), routes: routes?, policy })
    })
}

/// Refuses a default that would never be what it says.
fn refuse_cut(value: &Value<'_>, default_ttl: Option<Duration>, max_ttl: Duration) -> Option<()> {
    if default_ttl.is_some_and(|default_ttl| default_ttl > max_ttl) {
        return value.refuse(r#"no more than "max_ttl" ("1d" by default)"#);
    }
    Some(())
}

/// Refuses a route that an earlier policy names, and a second policy for all that is left.
fn refuse_shared(policies: &[Value<'_>], route_names: &[Option<&str>]) {
    let mut owners = BTreeMap::new();
    for policy in policies.iter().filter(|policy| policy.as_object().is_some()) {
        let routes = policy.member(ROUTES.name);
        let named: Vec<_> = if routes.is_present() {
            let items = routes.as_list().unwrap_or_default().into_iter();
            let known = items.map(|item| (item.as_text(), item));
            known.filter(|(name, _)| name.is_some() && route_names.contains(name)).collect()
        } else {
            vec![(None, routes)]
        };
        for (name, value) in &named {
            if let Some(owner) = owners.get(name) {
                let found = format!("{} as in {owner}", value.found());
                value.refuse_found::<()>(
                    found,
                    match name {
                        Some(_) => "a route that no other policy names",
                        None => "routes, in all policies but one",
                    },
                );
            }
        }
        for (name, _) in named {
            owners.entry(name).or_insert_with(|| policy.path().to_owned());
        }
    }
}

/// Refuses policies without what all replicas share, and without what they hear of each other by.
pub(super) fn refuse_without_stream(policies: &Value<'_>, redis: &Value<'_>) {
    if !redis.is_present() {
        policies.refuse::<()>(r#"an empty list (policies are for files with "redis" alone)"#);
    }
    let transport = redis.member(TRANSPORT.name);
    let meaning = transport.as_text().and_then(|text| TRANSPORT.takes.meaning(text));
    if meaning == Some(Transport::Callout) {
        transport.refuse::<()>(r#""stream" (by which "cache" hears what is purged)"#);
    }
}
