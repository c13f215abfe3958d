//! Redis, spoken to without IO: whoever drives it carries the bytes.
//!
//! Ours because of where it runs: no sockets and no async runtime inside Envoy's Wasm, one
//! long-lived stream per worker that is split anywhere and gives no sign of back-pressure. So
//! everything is incremental, bounded and driven by calls.
//!
//! [`Command`] and [`ScriptCall`] write what is asked, [`Decoder`] reads what is answered, and
//! [`Client`] matches the two and looks after the connection. Where no stream can be one,
//! [`Callout`] makes it out of calls.

// What the peer sends must never end a VM: arithmetic says what happens at its ends.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod backoff;
mod callout;
mod client;
mod command;
mod connection;
mod decoder;
mod error;
mod event;
mod handshake;
mod in_flight;
mod options;
mod push;
mod resp;
mod scripts;
mod watch;

pub use self::callout::{CALL_TIMEOUT, Callout, MAX_ANSWER_BYTES};
pub use self::client::{Client, DEAD_AFTER, MAX_IN_FLIGHT, MAX_PUSHES};
pub use self::command::{Command, Request, ScriptCall, ScriptId};
pub use self::connection::HANDSHAKE_TIMEOUT;
pub use self::decoder::{Decoder, Limits};
pub use self::error::{CloseCause, Failure, LostCause, ServerError, SubmitError};
pub use self::event::{Event, Ticket};
pub use self::handshake::{Credentials, Password};
pub use self::options::{COMMAND_TIMEOUT, MAX_IN_FLIGHT_BYTES, Options};
pub use self::resp::{Limit, ProtocolError, Value};
pub use self::watch::{GRACE, OWN_STALL};
