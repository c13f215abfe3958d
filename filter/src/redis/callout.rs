//! The connection where no stream can carry it: calls of HTTP, each of which is a TCP connection of its own.
//!
//! The way is the client's all the same: it writes commands and is fed their replies, in order. One call at a time
//! takes along all that was written meanwhile, logs in before it and says `QUIT` after it, so that Redis ends the
//! connection and its last word proves that none is missing. What one call leaves behind on its connection, such as the
//! protocol of `HELLO`, is gone in the next; replies are understood either way.

use std::fmt;
use std::time::Duration;

use super::client::DEAD_AFTER;
use super::command::Command;
use super::decoder::Limits;
use super::error::CloseCause;
use super::handshake::{Credentials, Password};

/// What the host gives a call. By then the client has given the connection up: a call cannot be ended from here, and
/// its connection to Redis must not stay.
pub const CALL_TIMEOUT: Duration = DEAD_AFTER;
/// Most bytes of an answer that are to be read, as many as the client would hold of a stream. One that is cut here is cut.
pub const MAX_ANSWER_BYTES: usize = Limits::HELD_BYTES;

/// What Redis says last: to `QUIT`.
const LAST_WORD: &[u8] = b"+OK\r\n";

/// Turns what goes over one connection into calls.
#[derive(Default)]
pub struct Callout {
    /// `AUTH`, or nothing without a password.
    login: Vec<u8>,
    /// Commands for the next call.
    written: Vec<u8>,
    under_way: bool,
}

impl Callout {
    /// Of a client with these credentials.
    #[must_use]
    pub fn new(credentials: &Credentials) -> Self {
        let mut login = Vec::new();
        if let Some(Password(password)) = &credentials.password {
            let username = credentials.username.as_deref().unwrap_or("default");
            let auth = Command::new(b"AUTH").arg(username.as_bytes()).arg(password.as_bytes());
            auth.write(&mut login);
        }
        Self { login, ..Self::default() }
    }

    /// The client begins a new connection, or drops the one it had. An answer still to come is not to be handed in.
    pub fn reset(&mut self) {
        self.written = Vec::new();
        self.under_way = false;
    }

    /// Takes commands for the next call.
    pub fn write(&mut self, commands: &[u8]) {
        self.written.extend_from_slice(commands);
    }

    /// Whether it is time for a call.
    #[must_use]
    pub const fn is_due(&self) -> bool {
        !self.under_way && !self.written.is_empty()
    }

    /// The body of the call to be made now, if it is time for one.
    pub fn poll_call(&mut self) -> Option<Vec<u8>> {
        if !self.is_due() {
            return None;
        }
        self.under_way = true;
        let mut body = self.login.clone();
        body.append(&mut self.written);
        Command::new(b"QUIT").write(&mut body);
        Some(body)
    }

    /// The call has ended, with this status and body, or without any: what the client is to be fed.
    ///
    /// # Errors
    /// The connection is to be reported as closed: what Redis may have answered in part counts as not answered.
    pub fn handle_answer<'b>(
        &mut self,
        status: Option<u16>,
        body: &'b [u8],
    ) -> Result<&'b [u8], CloseCause> {
        self.under_way = false;
        match status {
            Some(200) => self.replies(body),
            Some(status) => Err(CloseCause::CallStatus(status)),
            None => Err(CloseCause::CallReset),
        }
    }

    fn replies<'b>(&self, body: &'b [u8]) -> Result<&'b [u8], CloseCause> {
        let replies = body.strip_suffix(LAST_WORD).ok_or(CloseCause::CallCut)?;
        if self.login.is_empty() {
            return Ok(replies);
        }
        let welcome = replies.strip_prefix(b"+OK\r\n");
        welcome.ok_or_else(|| match replies.first() {
            Some(b'-') => CloseCause::AuthRefused,
            Some(_) | None => CloseCause::CallCut,
        })
    }
}

impl fmt::Debug for Callout {
    /// Leaves out what holds the password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written_bytes = self.written.len();
        formatter
            .debug_struct("Callout")
            .field("written_bytes", &written_bytes)
            .field("under_way", &self.under_way)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIT: &str = "*1\r\n$4\r\nQUIT\r\n";

    fn callout(password: Option<&str>) -> Callout {
        let password = password.map(|password| Password::new(password.to_owned()));
        let mut callout = Callout::new(&Credentials { username: None, password });
        callout.write(b"ONE");
        callout
    }

    fn answered(
        callout: &mut Callout,
        status: Option<u16>,
        body: &str,
    ) -> Result<String, CloseCause> {
        assert!(callout.poll_call().is_some());
        let replies = callout.handle_answer(status, body.as_bytes())?;
        Ok(String::from_utf8_lossy(replies).into_owned())
    }

    #[test]
    fn a_call_logs_in_says_all_that_was_written_and_takes_its_leave() {
        let mut with_password = callout(Some("secret"));
        with_password.write(b"TWO");
        let auth = "*3\r\n$4\r\nAUTH\r\n$7\r\ndefault\r\n$6\r\nsecret\r\n";
        let expected = format!("{auth}ONETWO{QUIT}");
        assert_eq!(with_password.poll_call(), Some(expected.into_bytes()));
        assert_eq!(callout(None).poll_call(), Some(format!("ONE{QUIT}").into_bytes()));
    }

    #[test]
    fn the_user_is_named() {
        let password = Some(Password::new("p".to_owned()));
        let mut callout = Callout::new(&Credentials { username: Some("u".to_owned()), password });
        callout.write(b"ONE");
        let expected = format!("*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$1\r\np\r\nONE{QUIT}");
        assert_eq!(callout.poll_call(), Some(expected.into_bytes()));
    }

    #[test]
    fn one_call_at_a_time_and_none_without_a_command() {
        let mut callout = callout(None);
        assert!(callout.poll_call().is_some());
        callout.write(b"TWO");
        assert!(!callout.is_due());
        assert_eq!(callout.poll_call(), None);
        assert_eq!(callout.handle_answer(Some(200), b":1\r\n+OK\r\n"), Ok(&b":1\r\n"[..]));
        assert!(callout.is_due());
        assert_eq!(callout.poll_call(), Some(format!("TWO{QUIT}").into_bytes()));
        assert!(callout.handle_answer(None, b"").is_err());
        assert_eq!(callout.poll_call(), None);
    }

    #[test]
    fn a_new_connection_has_nothing_of_the_old_one() {
        let mut callout = callout(None);
        assert!(callout.poll_call().is_some());
        callout.write(b"TWO");
        callout.reset();
        assert_eq!(callout.poll_call(), None);
        callout.write(b"THREE");
        assert_eq!(callout.poll_call(), Some(format!("THREE{QUIT}").into_bytes()));
    }

    #[test]
    fn only_whole_answers_to_those_who_may_ask_are_replies() {
        let (with, without) = (Some("secret"), None);
        let cut = Err(CloseCause::CallCut);
        for (password, status, body, expected) in [
            (without, Some(200), ":1\r\n+OK\r\n", Ok(":1\r\n")),
            (without, Some(200), "-NOSCRIPT No\r\n+OK\r\n", Ok("-NOSCRIPT No\r\n")),
            (without, Some(200), "+OK\r\n", Ok("")),
            (without, Some(200), "", cut),
            (without, Some(200), ":1\r\n", cut),
            (without, Some(200), ":1\r\n+OK\r", cut),
            (without, Some(200), "-ERR max number of clients reached\r\n", cut),
            (with, Some(200), "+OK\r\n:1\r\n+OK\r\n", Ok(":1\r\n")),
            (with, Some(200), "+OK\r\n", cut),
            (with, Some(200), ":1\r\n+OK\r\n", cut),
            (with, Some(200), "-ERR max number of clients reached\r\n", cut),
            (
                with,
                Some(200),
                "-WRONGPASS no\r\n-NOAUTH no\r\n+OK\r\n",
                Err(CloseCause::AuthRefused),
            ),
            (with, Some(503), "no healthy upstream", Err(CloseCause::CallStatus(503))),
            (with, Some(504), "", Err(CloseCause::CallStatus(504))),
            (with, None, "", Err(CloseCause::CallReset)),
        ] {
            let answer = answered(&mut callout(password), status, body);
            assert_eq!(answer, expected.map(str::to_owned), "{password:?} {status:?} {body:?}");
        }
    }

    #[test]
    fn no_log_shows_the_password() {
        let mut callout = callout(Some("secret"));
        callout.write(b"secret");
        assert!(!format!("{callout:?}").contains("secret"));
    }
}
