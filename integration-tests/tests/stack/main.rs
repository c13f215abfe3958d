//! The launcher, as people use it (`program`: behind `scripts/up`) and as the other tests do (`library`).
//!
//! Each test starts a stack of its own in a temporary folder. What must hold: what `endpoints.json` says is true, nothing
//! outlives its launcher, and whatever goes wrong is said with what to do.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's helpers fail like the test"
)]

mod library;
mod program;
mod scene;
