//! What the file says of the cache.

use super::RouteIndex;
use crate::cache::policy::Policy;

/// One entry of `cache`: which responses are stored for the whole fleet, and used again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// `name`: what metrics call it. Written as a route's; unique among policies.
    pub name: String,
    /// `routes`: which requests it is about, at least one route, none of which another policy names. Absent: every
    /// request that no other policy is for, also those of no route; at most one policy is without.
    pub routes: Option<Vec<RouteIndex>>,
    /// The other keys, each of which is absent as in [`Policy::default`].
    ///
    /// - `profile`. Default: `rfc9111`.
    /// - `default_ttl`: 1 s to 365 d and not above `max_ttl`. Absent: none.
    /// - `max_ttl`: 1 s to 365 d. Default: 1 d.
    /// - `max_object`: 1 byte to 8 MiB. Default: 1 MiB.
    /// - `stale_if_error`: 0 s to 365 d. Default: 0 s.
    /// - `key`: `drop_query` of at most 64 names as they stand in a query, `sort_query`, `headers` of at most 16 names
    ///   in lower case, `cookies` of at most 16 names. Default: nothing but the target counts.
    pub policy: Policy,
}
