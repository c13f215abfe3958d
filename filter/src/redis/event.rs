//! What the client tells its driver.

use std::time::Duration;

use super::error::{Failure, LostCause};
use super::resp::Value;

/// The caller's name for a command. It may be used again once its outcome is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

/// What happened, or has to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Open the stream now.
    Connect,
    /// Drop the stream now, and report nothing more of it.
    Disconnect,
    /// Commands are answered from now on.
    Ready {
        /// Whether there are [`super::Options::channels`] and the server has confirmed each: then
        /// all that is published on them is told, until the connection is lost. Who reads now what
        /// the messages are about misses no change.
        subscribed: bool,
    },
    /// The connection was lost, or an attempt to get one failed. Another is made after a while.
    Lost {
        /// Why.
        cause: LostCause,
    },
    /// A command was answered; [`Value::Error`] is an answer.
    Reply {
        /// Which command.
        ticket: Ticket,
        /// What Redis said.
        value: Value,
        /// Time since it was submitted.
        elapsed: Duration,
    },
    /// A command has no answer.
    Failed {
        /// Which command.
        ticket: Ticket,
        /// Why.
        cause: Failure,
    },
    /// Something was published. Those of a channel come in order, and may come before
    /// [`Event::Ready`].
    Message {
        /// Where.
        channel: Vec<u8>,
        /// What.
        payload: Vec<u8>,
    },
    /// Another message that answers no command (RESP3 push), such as `invalidate`.
    Push(Vec<Value>),
}
