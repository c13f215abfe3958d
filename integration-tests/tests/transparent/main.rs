//! A proxy that nobody notices: what one side sends, the other receives; nothing is followed, stored or sent twice.
//!
//! `messages` and `streaming` put the test itself at both ends of the proxy, so that every byte is seen; `losses` take
//! away what is in between.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected ends here"
)]

mod losses;
mod messages;
mod proxy;
mod streaming;
mod wire;
