//! The cache on real processes: one fetch for a crowd, nothing old after a purge, what is served while the upstream,
//! its breaker or Redis fails, and what is stored, shared and counted.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that meets the unexpected ends here; counts are exact in f64"
)]

mod collapse;
mod purge;
mod race;
mod redis_lost;
mod refresh;
mod rig;
mod shared;
mod sizes;
mod upstream_lost;
