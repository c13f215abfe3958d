//! meliproxy: exact quotas, shared breakers and one coherent cache for a fleet of stock Envoys.
//!
//! The core is pure: time, randomness and IO come in from outside, effects go out as values, nothing panics. The shim
//! (wasm32 only) is the one place that knows Envoy. See DESIGN.md for the rooms and the direction of their calls.

pub mod access_log;
pub mod breaker;
pub mod cache;
pub mod config;
pub mod exchange;
pub mod grpc;
pub mod http;
pub mod key;
pub mod metrics;
pub mod plan;
pub mod quota;
pub mod redis;
pub mod refusal;
pub mod rng;
pub mod roster;
pub mod route;
pub mod shared;
pub mod time;
pub mod worker;

#[cfg(target_arch = "wasm32")]
mod shim;
