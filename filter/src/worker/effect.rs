//! What a worker wants of its driver.

use std::time::Duration;

use super::caches::Onward;
use crate::exchange::{Conclusion, Fate};
use crate::http::LocalReply;
use crate::http::header::Fields;
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
    /// It goes on, as this, or is answered, at once.
    Conclude(Conclusion, Onward),
    /// It waits; an effect will name its context. The place is for [`super::Worker::on_request_done`].
    Pause(Place),
}

impl Verdict {
    /// That of a request which nobody waits for any more.
    #[must_use]
    pub fn gone() -> Self {
        let (status, headers, body) = (503, Vec::new(), Vec::new());
        let fate = Fate::Refuse(LocalReply { status, headers, body });
        Self::Conclude(Conclusion { fate, entry: None }, Onward::default())
    }
}

/// Which of a worker's ways to Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkId {
    /// That of quotas and breakers.
    Main,
    /// That of the cache.
    Cache,
}

/// What the driver has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Open a stream to Redis.
    OpenStream(LinkId),
    /// Drop a stream to Redis; nothing is to be reported of it any more.
    DropStream(LinkId),
    /// Send bytes on a stream.
    Send(LinkId, Vec<u8>),
    /// Let a paused request go on, as this, or answer it.
    Release(ContextId, Conclusion, Onward),
    /// Make a request with these lines, which has to come back to [`super::Worker::on_refresh`] under its number.
    Refresh(u64, Fields),
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
