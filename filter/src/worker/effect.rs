//! What a worker wants of its driver.

use std::time::Duration;

use super::breakers::Calls;
use crate::exchange::Conclusion;
use crate::metrics::Metric;

/// Names one HTTP request of this VM, as the host does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContextId(pub u32);

/// Where a paused request waits in its worker. Another one may have it once that request is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(pub(super) usize);

impl Place {
    /// Of a request that does not wait for quotas.
    pub(super) const NONE: Self = Self(usize::MAX);
}

/// Where the driver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callback {
    /// In a callback of the root context: every effect is possible.
    Root,
    /// In a callback of one request: others must not be touched, nor streams opened.
    Request,
    /// At the end of one request: nothing must be done but count.
    End,
}

/// What becomes of a request that has just arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on, as these calls, or is answered, at once.
    Conclude(Conclusion, Calls),
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
    /// Let a paused request go on, as these calls, or answer it.
    Release(ContextId, Conclusion, Calls),
    /// Add to a counter.
    Add(Metric, u64),
    /// Set a gauge or record a value in a histogram.
    Record(Metric, u64),
    /// Call [`super::Worker::on_tick`] from now on about this often.
    TickEvery(Duration),
    /// Write a line into the log: something is wrong.
    Warn(String),
    /// Write a line into the log: something is right again.
    Info(String),
}
