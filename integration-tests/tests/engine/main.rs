//! The quota engine as a whole: real Envoys, a real Redis, and what clients get to see.
//!
//! `exact` holds random rules and requests against a model; the others are about one thing each, of which both what
//! passes and what is refused is looked at. Windows are long, so that none ends during a test. `SEED=…` repeats a run.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's helpers fail like the test"
)]

mod answers;
mod attack;
mod costs;
mod exact;
mod keys;
mod leased;
mod model;
mod obedience;
mod overrides;
mod rig;
mod scenario;
mod shadows;
mod store_failure;
