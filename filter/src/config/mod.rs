//! The configuration: what each request is checked against.
//!
//! [`Config::parse`] turns a JSON file into types in which references are indices, counts are not zero and lists that
//! must not be empty are not, so nothing downstream checks again. A file with anything unexpected in it is refused as
//! a whole, with everything that is wrong with it: a rule that was meant but misspelt must not be silently absent.
//!
//! The rooms: `json` (text to tree), `reader` (tree to values, noting problems), `key` and `kind` (what a key is, and
//! what keys take), `shape` (which keys there are), [`mod@reference`] (the same for people and their editors),
//! [`template`], `duration` and `size` (the little languages inside, the last two of the kind `measure`).

mod breaker;
mod cache;
mod duration;
mod error;
mod json;
mod key;
mod kind;
mod measure;
mod reader;
pub mod reference;
mod shape;
mod size;
pub mod template;

use std::num::NonZeroU64;
use std::time::Duration;

pub use self::breaker::{Breaker, Force, Scope, Statuses, Trip};
pub use self::cache::Cache;
pub use self::error::{ConfigErrors, MAX_PROBLEMS, Problem};
pub use self::json::MAX_FILE_BYTES;
pub use self::template::Template;

/// A configuration that holds together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `redis`: the store that all replicas share. Absent: each process counts for itself.
    pub redis: Option<Redis>,
    /// `client_address`: how clients are told apart.
    pub client_address: ClientAddress,
    /// `routes`: kinds of requests, for rules, breakers and cache policies to refer to. At most 256, no two of which
    /// take the same requests by the same template.
    pub routes: Vec<Route>,
    /// `quotas`: the rules, in the order of the file. At most 256. Absent: none.
    pub rules: Vec<Rule>,
    /// `breakers`: in the order of the file. At most 256. Absent: none.
    pub breakers: Vec<Breaker>,
    /// `cache`: in the order of the file. At most 256. Absent: none, nothing is stored. If there are any, so is
    /// [`Self::redis`], with [`Transport::Stream`].
    pub cache: Vec<Cache>,
    /// `cache_memory`: bytes of responses that each worker keeps in its memory beside Redis, 0 (none) to 1 GiB.
    /// Default: 16 MiB.
    pub cache_memory_bytes: u64,
    /// `response_fields`: which header fields tell clients how they stand. Default: `["ratelimit"]`.
    pub response_fields: ResponseFields,
}

impl Config {
    /// Reads a configuration file (JSON, RFC 8259) of at most [`MAX_FILE_BYTES`].
    ///
    /// # Errors
    /// Every problem of the file at once: each with its path, what was found there and what is allowed there.
    pub fn parse(text: &[u8]) -> Result<Self, ConfigErrors> {
        shape::read(&json::parse(text)?)
    }
}

/// How Redis is used. Where it is stands in Envoy's clusters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// `namespace`: what all keys begin with; replicas of the same namespace count together. 1 to 32 of `a-z`, `0-9`,
    /// `_` and `-`. Default: `meli`.
    pub namespace: String,
    /// `timeout`: how long a request waits for Redis before it is decided without, 1 ms to 1 s. Default: 20 ms.
    pub timeout: Duration,
    /// `transport`: how Redis is reached. Default: `stream`.
    pub transport: Transport,
}

/// How Redis is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `stream`: one long-lived stream of each worker through an internal listener of the same Envoy.
    Stream,
    /// `callout`: HTTP calls of each worker, one at a time, each a TCP connection to Redis.
    Callout,
}

/// How clients are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress {
    /// `ipv6_prefix`: IPv6 addresses that agree in so many leading bits are one client, 1 to 128. Default: 64, what
    /// one subscriber usually has.
    pub ipv6_prefix: u8,
}

/// A kind of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `name`: by which rules, breakers and cache policies refer to it, and a label of metrics. 1 to 63 of `a-z`, `0-9`,
    /// `_` and `-`, the first a letter or digit; unique among routes.
    pub name: String,
    /// `path`: the paths that it takes. Of several templates that take a path the most specific one counts: from the
    /// left, a literal segment before `{name}` before `{*name}`.
    pub path: Template,
    /// `methods`: the methods that it takes, 1 to 16. Absent: all. Requests of other methods fall to the next most
    /// specific template.
    pub methods: Option<Vec<String>>,
}

/// Place of a route in [`Config::routes`].
pub type RouteIndex = usize;

/// One entry of `quotas`: how many requests may pass in what time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `name`: what refusals and metrics call it, and part of its Redis keys. Written as a route's; unique among rules.
    pub name: String,
    /// `routes`: which requests it is about, at least one route. Absent: every request, also those of no route.
    pub routes: Option<Vec<RouteIndex>>,
    /// `by`: what requests have to agree in to be counted together, at least one part. Absent: one counter for all.
    pub by: Vec<KeyPart>,
    /// `limit`: units that may pass in each window, 1 to 999,999,999,999,999 (the largest integer of a structured
    /// header field, RFC 9651 §3.3.1). A request is one unit unless `cost` says otherwise.
    pub limit: NonZeroU64,
    /// `per`: length of the window.
    pub per: Per,
    /// `algorithm`: how time is divided. Default: `fixed_window`.
    pub algorithm: Algorithm,
    /// `precision`: whether units of hot keys are taken ahead. Default: `exact`.
    pub precision: Precision,
    /// `cost`: units that a request takes. Default: 1.
    pub cost: Cost,
    /// `overrides`: keys that are treated otherwise, at most 256; the first that matches counts.
    pub overrides: Vec<Override>,
    /// `on_store_failure`: what decides while Redis does not. Default: `local`.
    pub on_store_failure: OnStoreFailure,
    /// `shadow`: the rule counts and tells what it would have done, and refuses nothing. Default: `false`.
    pub shadow: bool,
    /// `enforce_percent`: the share of keys that the rule is for, 0 to 100; to all others it is a shadow. Which keys
    /// those are stays the same over replicas and time. Default: 100.
    pub enforce_percent: u8,
    /// `refusal`: what is answered when this rule refuses. Of several rules that refuse, the first one of the file with
    /// a refusal of its own decides. Absent: a problem description (RFC 9457) with status 429.
    pub refusal: Option<Refusal>,
}

/// Which header fields tell clients how they stand: a list of the names below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseFields {
    /// `ratelimit`: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11), all rules of a
    /// request in each.
    pub ratelimit: bool,
    /// `x-ratelimit`: `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset` (seconds), of the one rule
    /// with the fewest units left.
    pub x_ratelimit: bool,
}

/// What is answered when a rule or a breaker refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `status`: status code, 400 to 599. Default: 429, of a breaker 503.
    pub status: u16,
    /// `headers`: at most 16 further header fields, names in lower case and each once. None that is of the connection
    /// or that is set otherwise.
    pub headers: Vec<(String, String)>,
    /// Absent: a problem description (RFC 9457).
    pub content: Option<Content>,
}

/// `content_type` and `body` of a refusal: both or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// `content_type`: a media type (RFC 9110 §8.3.1) of at most 256 bytes.
    pub content_type: String,
    /// `body`: at most 4096 bytes.
    pub body: String,
}

/// What requests have to agree in to be counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyPart {
    /// `client_address`: the client, IPv6 by prefix.
    ClientAddress,
    /// `path`: the path, without query.
    Path,
    /// `route`: the route.
    Route,
    /// `method`: the method.
    Method,
    /// `host`: the host that was asked for.
    Host,
    /// `header:NAME`: the value of a request header field, its lines joined by `,` (RFC 9110 §5.3). In lower case.
    Header(String),
    /// `cookie:NAME`: the value of the first cookie of that name (RFC 6265 §4.2).
    Cookie(String),
    /// `query:NAME`: the value of the first parameter of that name in the query, percent-decoded.
    Query(String),
}

/// Length of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Per {
    /// Whole seconds from 1 s to 365 d, since 1970-01-01 UTC. `day`, a day of the calendar in UTC, is `1d`.
    Span(Duration),
    /// `month`: a month of the calendar in UTC. For `fixed_window` alone.
    Month,
}

/// What a request takes of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// `cost` as a number, or its `default`: 1 to 1,000,000. Default: 1.
    pub units: NonZeroU64,
    /// `cost.header`: a request header field that says it instead, where it is a whole number from 1 to 1,000,000.
    pub header: Option<String>,
}

/// A key that is treated otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// `match`: which keys: parts of the rule's `by` and what they have to be. All of them have to match.
    pub matches: Vec<(KeyPart, Pattern)>,
    /// What becomes of them.
    pub treatment: Treatment,
}

/// What a part of a key has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Exactly this.
    Exact(String),
    /// For `client_address`: an address, or a block of them in CIDR notation (RFC 4632, RFC 4291 §2.3).
    Block(std::net::IpAddr, u8),
}

/// What becomes of a key that an [`Override`] matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// `limit`, and for `token_bucket` `burst`: other numbers, on the same counter.
    Limit {
        /// As [`Rule::limit`].
        limit: NonZeroU64,
        /// As [`Algorithm::TokenBucket`]; by default the same as `limit`.
        burst: NonZeroU64,
    },
    /// `action: exempt`: the rule is not for it.
    Exempt,
    /// `action: refuse`: every request is refused.
    Refuse,
}

/// What decides while Redis does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStoreFailure {
    /// `local`: what this process counts itself.
    Local,
    /// `allow`: nothing is refused.
    Allow,
    /// `deny`: everything is refused.
    Deny,
}

/// When Redis is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// `exact`: about each request.
    Exact,
    /// `leased`: for hot keys ahead of need, see [`crate::quota::lease`].
    Leased,
}

/// How a rule divides time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// `fixed_window`: windows follow one another from 1970-01-01 UTC on; each starts with the full limit.
    FixedWindow,
    /// `sliding_window`: what passed in the window before counts too, by how much of it the last `per` still covers.
    SlidingWindow,
    /// `token_bucket`: a bucket of `burst` tokens that is filled steadily, `limit` tokens in each `per` (GCRA).
    TokenBucket {
        /// `burst`: tokens that the bucket holds, 1 to the largest `limit`. Default: `limit`.
        burst: NonZeroU64,
    },
}
