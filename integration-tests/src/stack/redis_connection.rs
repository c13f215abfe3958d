//! Enough of the Redis protocol to ask a node how it is, with a deadline: `redis-cli` has none, and a paused node
//! would hold it for ever.

use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a connection, a command or a reply may take.
const LIMIT: Duration = Duration::from_secs(2);

/// Longest string and array accepted: far above what INFO or CLIENT LIST answer.
const MAX_LENGTH: usize = 64 << 20;

/// A reply in RESP2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A simple or bulk string; bytes that are not UTF-8 are replaced.
    Text(String),
    /// An integer.
    Integer(i64),
    /// A null string or array.
    Null,
    /// An array.
    Array(Vec<Self>),
}

impl Reply {
    /// The value that follows `field` in a flat array of names and values, such as `SENTINEL MASTER` answers.
    #[must_use]
    pub fn field(&self, field: &str) -> Option<&Self> {
        let Self::Array(items) = self else {
            return None;
        };
        let mut pairs = items.chunks_exact(2);
        pairs.find_map(|pair| match pair {
            [Self::Text(name), value] if name == field => Some(value),
            _ => None,
        })
    }

    /// How many of its items are flat arrays in which `field` is `value`.
    pub(crate) fn count(&self, field: &str, value: &str) -> usize {
        let Self::Array(items) = self else { return 0 };
        let counts = |item: &&Self| item.field(field).and_then(Self::text) == Some(value);
        items.iter().filter(counts).count()
    }

    /// The text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Integer(_) | Self::Null | Self::Array(_) => None,
        }
    }
}

/// As `redis-cli` prints it without a terminal: one line per value.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Null => f.write_str("(nil)"),
            Self::Array(items) => items.iter().try_for_each(|item| writeln!(f, "{item}")),
        }
    }
}

/// Sends one command over a connection of its own, after AUTH.
pub(crate) fn ask(address: SocketAddr, password: &str, command: &[&str]) -> io::Result<Reply> {
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(&[encode(&["AUTH", password]), encode(command)].concat())?;
    let mut replies = BufReader::new(stream);
    read(&mut replies)?;
    read(&mut replies)
}

fn encode(words: &[&str]) -> Vec<u8> {
    words
        .iter()
        .fold(format!("*{}\r\n", words.len()), |text, word| {
            format!("{text}${}\r\n{word}\r\n", word.len())
        })
        .into_bytes()
}

fn read(from: &mut impl BufRead) -> io::Result<Reply> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let line = line.trim_end();
    let malformed = || io::Error::new(ErrorKind::InvalidData, format!("not RESP: {line}"));
    let (kind, rest) = line.split_at_checked(1).ok_or_else(malformed)?;
    let length = || match rest.parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(length) => match usize::try_from(length) {
            Ok(length) if length <= MAX_LENGTH => Ok(Some(length)),
            _ => Err(malformed()),
        },
        Err(_) => Err(malformed()),
    };
    match kind {
        "+" => Ok(Reply::Text(rest.to_owned())),
        "-" => Err(io::Error::other(rest)),
        ":" => rest.parse().map(Reply::Integer).map_err(|_| malformed()),
        "$" => {
            let Some(length) = length()? else {
                return Ok(Reply::Null);
            };
            let mut bytes = vec![0; length];
            from.read_exact(&mut bytes)?;
            from.read_exact(&mut [0; 2])?;
            Ok(Reply::Text(String::from_utf8_lossy(&bytes).into_owned()))
        }
        "*" => {
            let Some(length) = length()? else {
                return Ok(Reply::Null);
            };
            (0..length).map(|_| read(from)).collect::<io::Result<_>>().map(Reply::Array)
        }
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> io::Result<Reply> {
        read(&mut text.as_bytes())
    }

    #[test]
    fn commands_are_arrays_of_bulk_strings() {
        assert_eq!(encode(&["GET", "ä"]), "*2\r\n$3\r\nGET\r\n$2\r\nä\r\n".as_bytes());
    }

    #[test]
    fn replies_of_every_kind() {
        let text = |text: &str| Reply::Text(text.to_owned());
        assert_eq!(decoded("+OK\r\n").unwrap(), text("OK"));
        assert_eq!(decoded(":-3\r\n").unwrap(), Reply::Integer(-3));
        assert_eq!(decoded("$-1\r\n").unwrap(), Reply::Null);
        assert_eq!(decoded("*-1\r\n").unwrap(), Reply::Null);
        let list = decoded("*2\r\n$4\r\na\r\nb\r\n*1\r\n:1\r\n").unwrap();
        assert_eq!(list, Reply::Array(vec![text("a\r\nb"), Reply::Array(vec![Reply::Integer(1)])]));
        assert_eq!(decoded("-NOAUTH no\r\n").unwrap_err().to_string(), "NOAUTH no");
    }

    #[test]
    fn what_is_cut_or_not_resp_is_an_error() {
        for text in [
            "",
            "\r\n",
            "HTTP/1.1 400\r\n",
            "$5\r\nab",
            "*2\r\n:1\r\n",
            "$-2\r\n",
            "$99999999999\r\n",
        ] {
            assert!(decoded(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn fields_of_a_flat_array() {
        let reply = decoded("*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n").unwrap();
        assert_eq!(reply.field("b").and_then(Reply::text), Some("2"));
        assert_eq!(reply.field("1"), None);
        assert_eq!(reply.to_string(), "a\n1\nb\n2\n");
    }
}
