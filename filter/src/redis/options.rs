//! What a client is made with.

use std::time::Duration;

use super::handshake::{Credentials, Introduction};

/// Default time for a command, from submitting it to its reply: what a request may lose to a Redis
/// that is slow.
pub const COMMAND_TIMEOUT: Duration = Duration::from_millis(20);
/// Default for [`Options::most_bytes`]: nothing tells of back-pressure, and Envoy buffers without a
/// limit what Redis does not read.
pub const MAX_IN_FLIGHT_BYTES: usize = 4 << 20;

/// What a client is made with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who it is to the server.
    pub credentials: Credentials,
    /// What `CLIENT LIST` shows. Spaces and everything but printable ASCII become `-`.
    pub client_name: String,
    /// Lua sources to load on every connection; a [`super::ScriptId`] is an index in here.
    pub scripts: &'static [&'static str],
    /// Channels to subscribe to on every connection. A server that speaks no RESP3 or does not
    /// allow it is used without: [`super::Event::Ready`]. Must be empty where each call is a
    /// connection of its own ([`super::Callout`]).
    pub channels: Vec<String>,
    /// What the names of keys begin with of whose changes the server has to tell
    /// ([`super::Event::Push`]), see `CLIENT TRACKING`; like [`Self::channels`], and part of what
    /// [`super::Event::Ready`] tells.
    pub tracked: Option<Vec<u8>>,
    /// Time for a command.
    pub command_timeout: Duration,
    /// Most bytes of commands in flight. A script call counts with its source, as that may have to
    /// be sent.
    pub most_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            credentials: Credentials::default(),
            client_name: "meliproxy".to_owned(),
            scripts: &[],
            channels: Vec::new(),
            tracked: None,
            command_timeout: COMMAND_TIMEOUT,
            most_bytes: MAX_IN_FLIGHT_BYTES,
        }
    }
}

impl Options {
    pub(super) fn introduction(&self) -> Introduction<'_> {
        let Self { credentials, client_name, scripts, channels, tracked, .. } = self;
        let tracked = tracked.as_deref();
        Introduction { credentials, client_name, scripts, channels, tracked }
    }
}
