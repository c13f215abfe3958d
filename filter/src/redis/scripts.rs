//! The scripts of a client: what this server calls them, and so how a request is written.
//!
//! A call goes by digest where the server has loaded the script, and by source where it would not,
//! or has lost it since.

use super::command::{Request, ScriptCall, ScriptId};
use super::handshake::Digest;

/// The scripts, as they are known on this connection.
#[derive(Debug)]
pub(super) struct Scripts {
    sources: &'static [&'static str],
    digests: Vec<Digest>,
}

impl Scripts {
    /// Scripts that no server has loaded yet.
    pub(super) const fn new(sources: &'static [&'static str]) -> Self {
        Self { sources, digests: Vec::new() }
    }

    /// The server has answered: a digest for each, in their order.
    pub(super) fn on_loaded(&mut self, digests: Vec<Digest>) {
        self.digests = digests;
    }

    /// At most this many bytes are written for `request`, the source included if it is a call.
    /// `None`: it calls a script that is not here.
    pub(super) fn size_bytes(&self, request: &Request) -> Option<usize> {
        match request {
            Request::Command(command) => Some(command.size_bytes()),
            Request::Script(call) => {
                let source = self.sources.get(call.script.0)?;
                Some(call.size_bytes(source.as_bytes()))
            }
        }
    }

    /// Writes `request`. A call that went by digest is given back: it has to go again by source
    /// if the server has lost the script.
    pub(super) fn write(&self, request: Request, out: &mut Vec<u8>) -> Option<ScriptCall> {
        match request {
            Request::Command(command) => {
                command.write(out);
                None
            }
            Request::Script(call) => {
                if let Some(Some(digest)) = self.digests.get(call.script.0) {
                    call.write_by_digest(digest, out);
                    return Some(call);
                }
                self.write_by_source(&call, out);
                None
            }
        }
    }

    /// Writes a call with all of its script.
    pub(super) fn write_by_source(&self, call: &ScriptCall, out: &mut Vec<u8>) {
        let ScriptId(index) = call.script;
        call.write_by_source(self.sources.get(index).copied().unwrap_or_default(), out);
    }
}
