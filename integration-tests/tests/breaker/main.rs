//! Circuit breakers on real processes: what trips them and what never does, trial requests that are exactly as many as
//! configured over the whole fleet, a prober that dies, a replica that is cut off, and Redis lost meanwhile.

#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    reason = "a test that meets the unexpected ends here; counts are exact in f64"
)]

mod alone;
mod fleet;
mod process;
mod rig;
