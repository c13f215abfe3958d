//! What meliproxy reads of clients, of Redis and of those who configure it, and what has to hold whatever they write.
//!
//! Each target is a function of the bytes that a fuzzer makes up, and panics if something does not hold. The programs
//! around them (`fuzz_targets`) are run by `scripts/fuzz`; `corpus` has inputs to begin with, `words` what the languages
//! are made of. What comes at random, without being led by coverage, is in the tests of the filter, models included:
//! those that fit are used here too.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a target tells what it has found by a panic"
)]

mod answer;
mod breaker;
mod cache;
mod config;
mod headers;
mod input;
mod question;
mod redis_client;
mod request;
mod resp;

pub use self::answer::answer;
pub use self::breaker::breaker;
pub use self::cache::cache;
pub use self::config::config;
pub use self::question::question;
pub use self::redis_client::redis_client;
pub use self::request::request;
pub use self::resp::resp;
