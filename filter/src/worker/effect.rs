//! What a worker wants of its driver.

use std::time::Duration;

use crate::exchange::Conclusion;

/// Names one HTTP request of this VM, as the host does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContextId(pub u32);

/// Where a paused request waits in its worker. Another one may have it once that request is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(pub(super) usize);

/// Where the driver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callback {
    /// In a callback of the root context: every effect is possible.
    Root,
    /// In a callback of one request: others must not be touched, nor streams opened.
    Request,
}

/// What becomes of a request that has just arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on or is answered, at once.
    Conclude(Conclusion),
    /// It waits; an effect will name its context. The place is for [`super::Worker::on_request_done`].
    Pause(Place),
}

/// What the driver has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Open the stream to Redis.
    OpenStream,
    /// Drop the stream to Redis; nothing is to be reported of it any more.
    DropStream,
    /// Send bytes on the stream.
    Send(Vec<u8>),
    /// Let a paused request go on, or answer it.
    Release(ContextId, Conclusion),
    /// Add to a counter (its place in [`crate::metrics::definitions`]).
    Add(usize, u64),
    /// Set a gauge or record a value in a histogram (its place likewise).
    Record(usize, u64),
    /// Call [`super::Worker::on_tick`] from now on about this often.
    TickEvery(Duration),
    /// Write a line into the log: something is wrong.
    Warn(String),
    /// Write a line into the log: something is right again.
    Info(String),
}
