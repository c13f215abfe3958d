//! The worker's way to Redis, by the transport of its configuration.

use std::cell::Cell;

use super::calls::Calls;
use super::stream::Stream;
use crate::config::Transport;
use crate::redis::{CloseCause, Credentials};

/// What carries bytes to Redis. All but [`Link::send`] acts on the root context, in one of its callbacks.
pub(super) enum Link {
    Stream(Cell<Option<Stream>>),
    Calls(Calls),
}

impl Link {
    pub(super) fn new(transport: Transport, credentials: &Credentials) -> Self {
        match transport {
            Transport::Stream => Self::Stream(Cell::new(None)),
            Transport::Callout => Self::Calls(Calls::new(credentials)),
        }
    }

    /// Begins a connection, in place of any other.
    pub(super) fn open(&self) -> Result<(), CloseCause> {
        self.drop();
        if let Self::Stream(open) = self {
            let stream = Stream::open().map_err(|_status| CloseCause::NotOpened)?;
            open.set(Some(stream));
        }
        Ok(())
    }

    /// Drops the connection, if there is one.
    pub(super) fn drop(&self) {
        match self {
            Self::Stream(open) => {
                if let Some(stream) = open.take() {
                    stream.cancel();
                }
            }
            Self::Calls(calls) => calls.reset(),
        }
    }

    /// Sends bytes, or leaves them to the next call.
    pub(super) fn send(&self, bytes: &[u8]) {
        match self {
            Self::Stream(open) => {
                // A stream that the host no longer knows: the close callback that says so is still to come, or its
                // commands run into their deadlines.
                let _ = open.get().is_some_and(|stream| stream.send(bytes));
            }
            Self::Calls(calls) => calls.write(bytes),
        }
    }

    /// Whether a callback's token means the open stream.
    pub(super) fn is_open(&self, token: u32) -> bool {
        matches!(self, Self::Stream(open) if open.get().is_some_and(|stream| stream.is(token)))
    }

    pub(super) const fn calls(&self) -> Option<&Calls> {
        match self {
            Self::Stream(_) => None,
            Self::Calls(calls) => Some(calls),
        }
    }
}
