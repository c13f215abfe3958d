//! What can go wrong with Redis, by whose fault it is.

use thiserror::Error;

use super::resp::ProtocolError;

/// Why the driver reports the connection as gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CloseCause {
    /// The host could not open the stream.
    #[error("stream could not be opened")]
    NotOpened,
    /// The stream ended, with this gRPC status.
    #[error("stream ended with grpc status {0}")]
    Status(u32),
    /// The host could not make the call.
    #[error("call could not be made")]
    NotCalled,
    /// The call ended with this HTTP status: 503 if Redis cannot be reached, 504 if it does not
    /// answer.
    #[error("call ended with status {0}")]
    CallStatus(u16),
    /// The call ended without an answer.
    #[error("call was reset")]
    CallReset,
    /// The answer to the call is not whole.
    #[error("answer to the call is cut")]
    CallCut,
    /// The server does not accept our credentials.
    #[error("authentication refused")]
    AuthRefused,
}

/// Why a connection was lost, or an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LostCause {
    /// The stream is gone.
    #[error(transparent)]
    Closed(CloseCause),
    /// The server does not accept our credentials, or wants some.
    #[error("authentication refused")]
    AuthRefused,
    /// The server answered the handshake with an error of this code, such as `LOADING`.
    #[error("server is not ready: {0}")]
    NotReady(String),
    /// The server is a replica: another is the primary by now.
    #[error("server is no primary")]
    NotPrimary,
    /// The handshake was not finished within [`super::HANDSHAKE_TIMEOUT`].
    #[error("no answer to the handshake")]
    HandshakeTimeout,
    /// Replies are due and nothing at all has come for [`super::DEAD_AFTER`].
    #[error("no byte in time")]
    Dead,
    /// The server does not speak RESP, or beyond our limits.
    #[error("protocol error: {0}")]
    Protocol(#[from] ProtocolError),
    /// The server sent a reply that nobody asked for, or one that does not fit the handshake.
    #[error("unexpected reply")]
    UnexpectedReply,
    /// The server sent more than [`super::MAX_PUSHES`] in one piece.
    #[error("too many pushes at once")]
    TooManyPushes,
}

/// Why a command that was accepted has no reply. Whether the server executed it is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Its deadline has passed.
    Deadline,
    /// The connection was lost.
    Closed,
}

/// Why a command was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SubmitError {
    /// There is no connection, or it gives no answers now.
    #[error("no connection")]
    Unavailable,
    /// Too much is under way: [`super::MAX_IN_FLIGHT`], [`super::MAX_IN_FLIGHT_BYTES`].
    #[error("too much in flight")]
    Overloaded,
}

/// What an error reply says about the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerError {
    /// `NOSCRIPT`: the script has to be sent again.
    NoScript,
    /// `READONLY`, `MASTERDOWN`: this node is no primary. The client leaves it.
    NotPrimary,
    /// `LOADING`, `OOM`, `MISCONF`, `NOREPLICAS`, `CLUSTERDOWN`, `TRYAGAIN`, `BUSY`: it cannot
    /// write now, but may soon.
    NotServing,
    /// `NOAUTH`, `WRONGPASS`, `NOPERM`: credentials are missing, wrong, or not enough.
    Auth,
    /// Anything else: a command it does not know, an error of the script.
    Other,
}

impl ServerError {
    /// Reads the code of an error reply: [`super::Value::Error`].
    #[must_use]
    pub fn of(error: &[u8]) -> Self {
        match code(in_script(error).unwrap_or(error)) {
            b"NOSCRIPT" => Self::NoScript,
            b"READONLY" | b"MASTERDOWN" => Self::NotPrimary,
            b"LOADING" | b"OOM" | b"MISCONF" | b"NOREPLICAS" | b"CLUSTERDOWN" | b"TRYAGAIN"
            | b"BUSY" => Self::NotServing,
            b"NOAUTH" | b"WRONGPASS" | b"NOPERM" => Self::Auth,
            _ => Self::Other,
        }
    }
}

/// The first word of an error, which is its code.
pub(super) fn code(error: &[u8]) -> &[u8] {
    error.split(|byte| *byte == b' ').next().unwrap_or_default()
}

/// The error of the command that failed in a script, as Redis before 7.0 wraps it:
/// `ERR Error running script (call to f_…): @user_script:1: @user_script: 1: -READONLY …`.
fn in_script(error: &[u8]) -> Option<&[u8]> {
    const BEFORE: &[u8] = b": -";
    let wrapped = error.strip_prefix(b"ERR Error running script")?;
    let at = wrapped.windows(BEFORE.len()).position(|window| window == BEFORE)?;
    wrapped.get(at..)?.strip_prefix(BEFORE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart_by_their_code() {
        for (error, expected) in [
            ("NOSCRIPT No matching script.", ServerError::NoScript),
            ("READONLY You can't write against a read only replica.", ServerError::NotPrimary),
            ("MASTERDOWN Link with MASTER is down", ServerError::NotPrimary),
            ("LOADING Redis is loading the dataset in memory", ServerError::NotServing),
            ("OOM command not allowed when used memory > 'maxmemory'.", ServerError::NotServing),
            ("MISCONF Errors writing to the AOF file", ServerError::NotServing),
            ("NOREPLICAS Not enough good replicas to write.", ServerError::NotServing),
            ("CLUSTERDOWN The cluster is down", ServerError::NotServing),
            ("TRYAGAIN Multiple keys request during rehashing", ServerError::NotServing),
            ("BUSY Redis is busy running a script.", ServerError::NotServing),
            ("WRONGPASS invalid username-password pair", ServerError::Auth),
            ("NOAUTH Authentication required.", ServerError::Auth),
            ("NOPERM User x has no permissions", ServerError::Auth),
            ("ERR unknown command 'HELLO'", ServerError::Other),
            ("READONLYISH", ServerError::Other),
            ("", ServerError::Other),
        ] {
            assert_eq!(ServerError::of(error.as_bytes()), expected, "{error}");
        }
    }

    #[test]
    fn an_error_wrapped_by_a_script_keeps_its_code() {
        let wrapped = |inner: &str| {
            let error = format!("ERR Error running script (call to f_ab): @user_script:1: {inner}");
            ServerError::of(error.as_bytes())
        };
        assert_eq!(wrapped("@user_script: 1: -READONLY You can't"), ServerError::NotPrimary);
        assert_eq!(wrapped("@user_script: 1: -OOM command"), ServerError::NotServing);
        assert_eq!(wrapped("attempt to index a nil value"), ServerError::Other);
        assert_eq!(ServerError::of(b"ERR said: -READONLY"), ServerError::Other);
    }
}
