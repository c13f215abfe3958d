//! What a client is made with.

use std::time::Duration;

use super::handshake::{Credentials, Introduction};

/// Default time for a command, from submitting it to its reply: what a request may lose to a Redis
/// that is slow.
pub const COMMAND_TIMEOUT: Duration = Duration::from_millis(20);
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
    /// Time for a command.
    pub command_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            credentials: Credentials::default(),
            client_name: "meliproxy".to_owned(),
            scripts: &[],
            channels: Vec::new(),
            command_timeout: COMMAND_TIMEOUT,
        }
    }
}

impl Options {
    pub(super) fn introduction(&self) -> Introduction<'_> {
        let Self { credentials, client_name, scripts, channels, .. } = self;
        Introduction { credentials, client_name, scripts, channels }
    }
}
