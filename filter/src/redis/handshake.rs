//! The first words on a connection: RESP3, credentials, a name, and the scripts; all sent in one
//! flight. Channels are subscribed to in a second one.
//!
//! A server that does not know `HELLO 3` (Redis before 6, Envoy's `redis_proxy`) is spoken to in
//! RESP2 on the same connection, with another flight. One that will not load scripts is sent their
//! sources with every call.
//!
//! **Subscribing.** In RESP2 a connection that has subscribed is of no other use, so `SUBSCRIBE`
//! waits for the reply to `HELLO 3`, and is left out where that fails. It has a reply only if it is
//! refused; its confirmations are pushes. So that both cases are told apart, another `HELLO 3` goes
//! behind it. That is always answered, and by a map: Redis allows it to every user and at any time,
//! other than `PING`. An error before that map is the one of `SUBSCRIBE`, and by the map all
//! confirmations have come.

use std::collections::VecDeque;
use std::fmt;

use super::command::Command;
use super::error::{LostCause, ServerError, code};
use super::resp::Value;

/// Characters of a script's digest (SHA-1 in hexadecimal).
const DIGEST_CHARS: usize = 40;

/// A password, which no log shows.
#[derive(Clone)]
pub struct Password(pub(super) String);

impl Password {
    /// Wraps a password.
    #[must_use]
    pub const fn new(password: String) -> Self {
        Self(password)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password")
    }
}

/// Who we are to the server.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// ACL user; absent: `default`. Without a password it is not used.
    pub username: Option<String>,
    /// Absent: no authentication.
    pub password: Option<Password>,
}

/// What the handshake says about us and asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Introduction<'a> {
    pub(super) credentials: &'a Credentials,
    pub(super) client_name: &'a str,
    pub(super) scripts: &'a [&'a str],
    pub(super) channels: &'a [String],
    pub(super) tracked: Option<&'a [u8]>,
}

/// The digest by which a script is called, `None` if the server would not load it.
pub(super) type Digest = Option<Vec<u8>>;

/// Which reply comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Hello,
    Auth,
    Script,
    /// Of `CLIENT TRACKING`.
    Tracked,
    /// Of the `HELLO` behind `SUBSCRIBE`, or before that the error of `SUBSCRIBE`.
    Subscribed,
    /// Of a command whose reply does not matter.
    Void,
}

/// What has become of the channels.
#[derive(Debug, Default)]
enum Subscription {
    /// Nothing was asked for, or nothing could be.
    #[default]
    None,
    /// `SUBSCRIBE` was sent; which channels the server has not confirmed.
    Asked { unconfirmed: Vec<String> },
    /// The server does not allow it.
    Refused,
}

/// What one reply of the handshake leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More replies are due.
    Pending,
    /// The connection is ready; the digests of the scripts, in their order, and whether there are
    /// channels and each is confirmed.
    Done { digests: Vec<Digest>, subscribed: bool },
    /// The server cannot be used.
    Failed(LostCause),
}

/// A handshake under way.
#[derive(Debug, Default)]
pub(super) struct Handshake {
    awaited: VecDeque<Awaited>,
    digests: Vec<Digest>,
    subscription: Subscription,
    is_tracking_refused: bool,
}

impl Handshake {
    /// Begins: writes everything into `out`.
    pub(super) fn begin(introduction: Introduction<'_>, out: &mut Vec<u8>) -> Self {
        let mut handshake = Self::default();
        let mut hello = Command::new(b"HELLO").arg(b"3");
        if let Some(Password(password)) = &introduction.credentials.password {
            let username = introduction.credentials.username.as_deref().unwrap_or("default");
            hello = hello.arg(b"AUTH").arg(username.as_bytes()).arg(password.as_bytes());
        }
        hello = hello.arg(b"SETNAME").arg(&name(introduction.client_name));
        handshake.send(&hello, Awaited::Hello, out);
        handshake.load(introduction.scripts, out);
        handshake
    }

    /// Begins again, without `HELLO`. What was sent along with it is answered first, and that does
    /// not matter.
    fn begin_in_resp2(&mut self, introduction: Introduction<'_>, out: &mut Vec<u8>) {
        self.awaited.iter_mut().for_each(|awaited| *awaited = Awaited::Void);
        if let Some(Password(password)) = &introduction.credentials.password {
            let mut auth = Command::new(b"AUTH");
            if let Some(username) = &introduction.credentials.username {
                auth = auth.arg(username.as_bytes());
            }
            self.send(&auth.arg(password.as_bytes()), Awaited::Auth, out);
        }
        let set_name = Command::new(b"CLIENT").arg(b"SETNAME").arg(&name(introduction.client_name));
        self.send(&set_name, Awaited::Void, out);
        self.load(introduction.scripts, out);
    }

    fn load(&mut self, scripts: &[&str], out: &mut Vec<u8>) {
        for script in scripts {
            let load = Command::new(b"SCRIPT").arg(b"LOAD").arg(script.as_bytes());
            self.send(&load, Awaited::Script, out);
        }
    }

    /// From here on pushes tell of every change of these keys, behind whatever was answered before it.
    fn track(&mut self, prefix: Option<&[u8]>, out: &mut Vec<u8>) {
        let Some(prefix) = prefix else { return };
        let words: [&[u8]; 5] = [b"TRACKING", b"ON", b"BCAST", b"PREFIX", prefix];
        let tracking = words.into_iter().fold(Command::new(b"CLIENT"), Command::arg);
        self.send(&tracking, Awaited::Tracked, out);
    }

    fn subscribe(&mut self, channels: &[String], out: &mut Vec<u8>) {
        if channels.is_empty() {
            return;
        }
        let names = channels.iter().map(String::as_bytes);
        names.fold(Command::new(b"SUBSCRIBE"), Command::arg).write(out);
        self.subscription = Subscription::Asked { unconfirmed: channels.to_vec() };
        self.send(&Command::new(b"HELLO").arg(b"3"), Awaited::Subscribed, out);
    }

    fn send(&mut self, command: &Command, awaited: Awaited, out: &mut Vec<u8>) {
        command.write(out);
        self.awaited.push_back(awaited);
    }

    /// Takes the next reply; what has to be sent next is written into `out`.
    pub(super) fn on_reply(
        &mut self,
        reply: &Value,
        introduction: Introduction<'_>,
        out: &mut Vec<u8>,
    ) -> Progress {
        let Some(awaited) = self.awaited.pop_front() else {
            return Progress::Failed(LostCause::UnexpectedReply);
        };
        let taken = match awaited {
            Awaited::Void => Ok(()),
            Awaited::Hello => self.on_hello(reply, introduction, out),
            Awaited::Auth => on_auth(reply),
            Awaited::Script => on_script(reply).map(|digest| self.digests.push(digest)),
            Awaited::Tracked => self.on_tracked(reply),
            Awaited::Subscribed => self.on_subscribed(reply),
        };
        match taken {
            Err(cause) => Progress::Failed(cause),
            Ok(()) if self.awaited.is_empty() => Progress::Done {
                digests: std::mem::take(&mut self.digests),
                subscribed: self.is_subscribed(),
            },
            Ok(()) => Progress::Pending,
        }
    }

    fn on_hello(
        &mut self,
        reply: &Value,
        introduction: Introduction<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), LostCause> {
        if let Value::Map(server) = reply {
            if is_replica(server) {
                return Err(LostCause::NotPrimary);
            }
            self.track(introduction.tracked, out);
            self.subscribe(introduction.channels, out);
            return Ok(());
        }
        let Value::Error(error) = reply else {
            return Err(LostCause::UnexpectedReply);
        };
        if let Some(cause) = refusal(error) {
            return Err(cause);
        }
        self.begin_in_resp2(introduction, out);
        Ok(())
    }

    fn on_tracked(&mut self, reply: &Value) -> Result<(), LostCause> {
        let Value::Error(error) = reply else { return Ok(()) };
        self.is_tracking_refused = true;
        match refusal(error) {
            // The connection serves without it.
            None | Some(LostCause::AuthRefused) => Ok(()),
            Some(cause) => Err(cause),
        }
    }

    fn on_subscribed(&mut self, reply: &Value) -> Result<(), LostCause> {
        if let Value::Map(server) = reply {
            return if is_replica(server) { Err(LostCause::NotPrimary) } else { Ok(()) };
        }
        let Value::Error(error) = reply else {
            return Err(LostCause::UnexpectedReply);
        };
        let refused = refusal(error);
        match (&self.subscription, refused) {
            (Subscription::Asked { unconfirmed }, None | Some(LostCause::AuthRefused))
                if !unconfirmed.is_empty() =>
            {
                // The connection serves without it, and its `HELLO` is still to be answered.
                self.subscription = Subscription::Refused;
                self.awaited.push_front(Awaited::Subscribed);
                Ok(())
            }
            // Not the error of `SUBSCRIBE`, or one that may pass.
            (_, refused) => Err(refused.unwrap_or(LostCause::UnexpectedReply)),
        }
    }

    /// The server has confirmed a channel.
    pub(super) fn on_confirmation(&mut self, channel: &[u8]) {
        if let Subscription::Asked { unconfirmed } = &mut self.subscription {
            unconfirmed.retain(|name| name.as_bytes() != channel);
        }
    }

    const fn is_subscribed(&self) -> bool {
        match &self.subscription {
            Subscription::Asked { unconfirmed } => {
                unconfirmed.is_empty() && !self.is_tracking_refused
            }
            Subscription::None | Subscription::Refused => false,
        }
    }
}

/// Redis refuses names with spaces and control characters, and then the whole `HELLO`.
fn name(name: &str) -> Vec<u8> {
    name.bytes().map(|byte| if byte.is_ascii_graphic() { byte } else { b'-' }).collect()
}

fn is_replica(server: &[(Value, Value)]) -> bool {
    let role = server.iter().find(|(key, _)| key.as_bytes() == Some(b"role"));
    role.and_then(|(_, role)| role.as_bytes()).is_some_and(|role| role != b"master")
}

fn on_auth(reply: &Value) -> Result<(), LostCause> {
    if let Value::Error(error) = reply {
        return Err(refusal(error).unwrap_or(LostCause::AuthRefused));
    }
    reply.as_bytes().map(|_| ()).ok_or(LostCause::UnexpectedReply)
}

fn on_script(reply: &Value) -> Result<Digest, LostCause> {
    if let Value::Error(error) = reply {
        return refusal(error).map_or(Ok(None), Err);
    }
    match reply.as_bytes() {
        Some(digest)
            if digest.len() == DIGEST_CHARS && digest.iter().all(u8::is_ascii_hexdigit) =>
        {
            Ok(Some(digest.to_vec()))
        }
        Some(_) | None => Err(LostCause::UnexpectedReply),
    }
}

/// What an error in the handshake means, `None` if only that the command is not known.
fn refusal(error: &[u8]) -> Option<LostCause> {
    match ServerError::of(error) {
        ServerError::Auth => Some(LostCause::AuthRefused),
        ServerError::NotPrimary => Some(LostCause::NotPrimary),
        // Only the code: the rest may repeat what we sent.
        ServerError::NotServing => {
            Some(LostCause::NotReady(String::from_utf8_lossy(code(error)).into_owned()))
        }
        ServerError::NoScript | ServerError::Other => None,
    }
}

#[cfg(test)]
mod tests;
