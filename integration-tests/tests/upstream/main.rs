//! The stand-in upstream, as other tests and benchmarks use it: the real program over real sockets.
//! Every way it can answer, misbehave, start and stop is seen from the client's side, with a client
//! that hides nothing.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected ends here"
)]

#[path = "../authority/mod.rs"]
mod authority;
mod client;
mod control;
mod faults;
mod lifecycle;
mod program;
mod protocol;
mod tls;
