//! The traps of Envoy and of proxy-wasm that the filter is built around, each sprung on purpose.
//!
//! None of them shows in a quiet system; each has killed a VM, lost replies or leaked connections in somebody's filter.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::float_cmp,
    reason = "a test that meets the unexpected ends here; counts are exact in f64"
)]

mod crash;
mod crowd;
mod departed;
mod rig;
mod stream;
