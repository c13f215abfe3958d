//! The response cache: what may be stored, when it may be used again, and what the client is then told (RFC 9111).
//!
//! Nothing in here waits, stores or sends: it is told of requests, responses and stored responses, and decides. Times
//! come in as milliseconds since 1970.
//!
//! A request first is [`request::Request::of`] something the cache may answer, or is not. With a [`stored::Stored`]
//! response for it, [`reuse::reuse`] says how that answers it: as it is, after validation, or not at all; and
//! [`reuse::after_failure`] whether it may although it is stale. A response of the upstream is put to
//! [`storable::storable`], or, if it is the 304 that was asked for, to [`validation::freshen`]; what it makes invalid
//! is in [`invalidation`].
//!
//! The rooms below these: `fields` (header fields as they came), `directives` and `targeted` (what they say to caches),
//! `date`, `freshness` (for how long, and how old), `vary`, `key`, `conditional` and `range` (what the client has
//! already, or wants of it), `groups` (what is invalidated together), `status` (RFC 9211).

// What clients and upstreams write is added up here: arithmetic says what happens at its ends.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

pub mod conditional;
pub mod date;
pub mod directives;
pub mod fields;
pub mod freshness;
pub mod groups;
pub mod invalidation;
pub mod keeper;
pub mod key;
pub mod policy;
pub mod purge;
pub mod range;
pub mod request;
pub mod reuse;
pub mod served;
pub mod status;
pub mod storable;
pub mod store;
pub mod stored;
pub mod targeted;
pub mod validation;
pub mod vary;
pub mod wanted;
