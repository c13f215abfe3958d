//! RESP2 and RESP3 values: what one reply is, and how one line of the protocol reads.
//!
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>. [`super::Decoder`] puts the
//! lines together.

use std::str;

use thiserror::Error;

/// One reply, or one element of a reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `_`, and RESP2's `$-1` and `*-1`.
    Null,
    /// `+`: a short text, such as `OK`.
    Simple(Vec<u8>),
    /// `-` or `!`: an error. Its first word is its code: `ServerError::of`.
    Error(Vec<u8>),
    /// `:`
    Integer(i64),
    /// `$`: any bytes.
    Bulk(Vec<u8>),
    /// `*`
    Array(Vec<Self>),
    /// `%`: keys and values, in the order they came.
    Map(Vec<(Self, Self)>),
    /// `~`: elements in the order they came; that they differ is the server's word.
    Set(Vec<Self>),
    /// `,`
    Double(f64),
    /// `#`
    Boolean(bool),
    /// `(`: a number of any length, in decimal, with its sign if it came with one.
    BigNumber(Vec<u8>),
    /// `=`: a text and its format (`txt`, `mkd`).
    Verbatim([u8; 3], Vec<u8>),
    /// `>`: a message that answers no command.
    Push(Vec<Self>),
}

impl Value {
    /// The bytes of a string of any kind, `None` for everything else (errors too).
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(text) | Self::Bulk(text) | Self::Verbatim(_, text) => Some(text),
            Self::Null
            | Self::Error(_)
            | Self::Integer(_)
            | Self::Array(_)
            | Self::Map(_)
            | Self::Set(_)
            | Self::Double(_)
            | Self::Boolean(_)
            | Self::BigNumber(_)
            | Self::Push(_) => None,
        }
    }
}

/// What is not RESP, or exceeds a bound. No byte after it can be understood: the connection is of
/// no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A value starts with a byte that names no type.
    #[error("unknown type byte 0x{0:02x}")]
    UnknownType(u8),
    /// A line or a string does not end in CRLF, or a line holds one of the two alone.
    #[error("CRLF missing or torn")]
    LineEnd,
    /// A length is not digits alone, or `-1` where null is written so.
    #[error("malformed length")]
    Length,
    /// A number, boolean, null or verbatim string is not written as the protocol says.
    #[error("malformed value of type `{}`", char::from(*.0))]
    Malformed(u8),
    /// A RESP3 streamed value, of unknown length (`$?`, `*?`): no server sends one unasked.
    #[error("streamed value of type `{}`", char::from(*.0))]
    Streamed(u8),
    /// A push message inside another value.
    #[error("push message inside a reply")]
    NestedPush,
    /// More than [`super::Limits`] allow.
    #[error("{0} exceeds its limit")]
    Limit(Limit),
}

/// Which of [`super::Limits`] was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Limit {
    /// [`super::Limits::bulk_bytes`]
    #[error("length of a string")]
    Bulk,
    /// [`super::Limits::line_bytes`]
    #[error("length of a line")]
    Line,
    /// [`super::Limits::aggregate_elements`]
    #[error("number of elements of an aggregate")]
    Aggregate,
    /// [`super::Limits::reply_elements`]
    #[error("number of elements of a reply")]
    Reply,
    /// [`super::Limits::depth`]
    #[error("depth of a reply")]
    Depth,
    /// [`super::Limits::held_bytes`]
    #[error("number of bytes held")]
    Held,
}

/// A string type: a length, then that many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    Bulk,
    Error,
    Verbatim,
}

/// An aggregate type: a length, then that many values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aggregate {
    Array,
    Map,
    Set,
    Push,
    /// `|`: read and dropped. The value it describes follows.
    Attribute,
}

/// What one line says.
pub(super) enum Line {
    /// All of a value.
    Value(Value),
    /// A string of that many bytes follows.
    Text(Text, usize),
    /// That many values follow.
    Aggregate(Aggregate, usize),
}

/// Whether a value can start with this byte.
pub(super) const fn is_type(byte: u8) -> bool {
    matches!(
        byte,
        b'+' | b'-'
            | b':'
            | b'$'
            | b'*'
            | b'_'
            | b'#'
            | b','
            | b'('
            | b'!'
            | b'='
            | b'%'
            | b'~'
            | b'>'
            | b'|'
    )
}

/// Reads the line `rest`, without its end, that follows a type byte.
pub(super) fn line(kind: u8, rest: &[u8]) -> Result<Line, ProtocolError> {
    let malformed = ProtocolError::Malformed(kind);
    let value = match kind {
        b'+' => Value::Simple(rest.to_vec()),
        b'-' => Value::Error(rest.to_vec()),
        b':' => Value::Integer(integer(rest).ok_or(malformed)?),
        b'$' | b'*' if rest == b"-1" => Value::Null,
        b'_' if rest.is_empty() => Value::Null,
        b'#' if rest == b"t" => Value::Boolean(true),
        b'#' if rest == b"f" => Value::Boolean(false),
        b',' => Value::Double(double(rest).ok_or(malformed)?),
        b'(' if magnitude(rest).is_some() => Value::BigNumber(rest.to_vec()),
        b'_' | b'#' | b'(' => return Err(malformed),
        b'$' => return Ok(Line::Text(Text::Bulk, length(kind, rest)?)),
        b'!' => return Ok(Line::Text(Text::Error, length(kind, rest)?)),
        b'=' => return Ok(Line::Text(Text::Verbatim, length(kind, rest)?)),
        b'*' => return Ok(Line::Aggregate(Aggregate::Array, length(kind, rest)?)),
        b'~' => return Ok(Line::Aggregate(Aggregate::Set, length(kind, rest)?)),
        b'>' => return Ok(Line::Aggregate(Aggregate::Push, length(kind, rest)?)),
        // A pair is two elements.
        b'%' => {
            return Ok(Line::Aggregate(Aggregate::Map, length(kind, rest)?.saturating_mul(2)));
        }
        b'|' => {
            let elements = length(kind, rest)?.saturating_mul(2);
            return Ok(Line::Aggregate(Aggregate::Attribute, elements));
        }
        other => return Err(ProtocolError::UnknownType(other)),
    };
    Ok(Line::Value(value))
}

/// A string that has arrived.
pub(super) fn text(text: Text, bytes: Vec<u8>) -> Result<Value, ProtocolError> {
    match text {
        Text::Bulk => Ok(Value::Bulk(bytes)),
        Text::Error => Ok(Value::Error(bytes)),
        Text::Verbatim => match bytes.split_first_chunk() {
            Some(([a, b, c, b':'], text)) => Ok(Value::Verbatim([*a, *b, *c], text.to_vec())),
            Some(_) | None => Err(ProtocolError::Malformed(b'=')),
        },
    }
}

fn length(kind: u8, rest: &[u8]) -> Result<usize, ProtocolError> {
    if rest == b"?" {
        return Err(ProtocolError::Streamed(kind));
    }
    digits(rest).and_then(|length| usize::try_from(length).ok()).ok_or(ProtocolError::Length)
}

fn integer(rest: &[u8]) -> Option<i64> {
    let magnitude = digits(magnitude(rest)?)?;
    match rest.first() {
        Some(b'-') => 0i64.checked_sub_unsigned(magnitude),
        Some(_) | None => i64::try_from(magnitude).ok(),
    }
}

fn double(rest: &[u8]) -> Option<f64> {
    match rest {
        b"inf" | b"+inf" => return Some(f64::INFINITY),
        b"-inf" => return Some(f64::NEG_INFINITY),
        // The minus is what some C libraries print.
        b"nan" | b"-nan" => return Some(f64::NAN),
        _ => {}
    }
    // Rust reads more than RESP writes: `infinity`, `.5`, `5.`.
    let (mantissa, exponent) = split_once(rest, |byte| matches!(byte, b'e' | b'E'));
    let (integral, fraction) = split_once(mantissa, |byte| byte == b'.');
    magnitude(integral)?;
    fraction.map_or(Some(()), all_digits)?;
    exponent.map_or(Some(rest), magnitude)?;
    str::from_utf8(rest).ok()?.parse().ok()
}

fn split_once(bytes: &[u8], at: impl Fn(u8) -> bool) -> (&[u8], Option<&[u8]>) {
    let mut parts = bytes.splitn(2, |byte| at(*byte));
    (parts.next().unwrap_or_default(), parts.next())
}

/// The digits after an optional sign.
fn magnitude(number: &[u8]) -> Option<&[u8]> {
    let digits = match number {
        [b'+' | b'-', digits @ ..] => digits,
        digits => digits,
    };
    all_digits(digits)?;
    Some(digits)
}

fn all_digits(digits: &[u8]) -> Option<()> {
    (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit)).then_some(())
}

fn digits(digits: &[u8]) -> Option<u64> {
    all_digits(digits)?;
    digits.iter().try_fold(0u64, |number, digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit.wrapping_sub(b'0')))
    })
}
