//! One spelling for each path, so that no other spelling of it dodges a rule.
//!
//! [`canonical`] is what is sent to the upstream. It changes only what the upstream would read the same way:
//!
//! 1. escapes of unreserved characters are decoded, other escapes get capital letters (RFC 3986 §6.2.2);
//! 2. `%2F`, `%5C` and `\` become `/`, as Envoy's `path_with_escaped_slashes_action: UNESCAPE_AND_FORWARD` and
//!    `normalize_path` do;
//! 3. slashes in a row become one;
//! 4. `.` and `..` segments are resolved (RFC 3986 §5.2.4), the root being its own parent.
//!
//! [`Resource`] is what is matched and counted: the canonical path with each remaining escape decoded, the bytes that
//! an upstream sees once it has decoded the path. So `/a,b` and `/a%2Cb` are counted as one, though each is forwarded
//! as it came, since some upstreams do tell reserved characters and their escapes apart (RFC 3986 §2.2).
//!
//! Decoding happens exactly once: `%25` is never decoded in what is forwarded, an escape that is not valid is left
//! alone, and no decoded character completes one. Hence a canonical path is its own canonical path.
//!
//! What single upstreams ignore beyond that (letter case, `;parameters` of a segment) is not one resource here. Rules
//! without `routes` count such requests nevertheless.

use std::borrow::Cow;

/// The canonical form of a request target in origin form; what follows the first `?` is kept as it is.
///
/// Owned exactly if it differs from `target`. A target that does not start with `/` (`*`) is left alone. Never longer
/// than `target`. One scan and no allocation for nearly all paths that are canonical already.
#[must_use]
pub fn canonical(target: &[u8]) -> Cow<'_, [u8]> {
    let path = without_query(target);
    if !path.starts_with(b"/") || is_surely_canonical(path) {
        return Cow::Borrowed(target);
    }
    let mut rewritten = resolve(&unescape(path));
    if rewritten == path {
        return Cow::Borrowed(target);
    }
    rewritten.extend_from_slice(target.get(path.len()..).unwrap_or_default());
    Cow::Owned(rewritten)
}

/// A request target up to its first `?`.
#[must_use]
pub fn without_query(target: &[u8]) -> &[u8] {
    target.split(|byte| *byte == b'?').next().unwrap_or_default()
}

/// What a canonical path stands for: the bytes that an upstream sees when it has decoded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource<'p>(Cow<'p, [u8]>);

impl<'p> Resource<'p> {
    /// The resource of a canonical path without query. No allocation for a path without escapes.
    #[must_use]
    pub fn of(path: &'p [u8]) -> Self {
        if !path.contains(&b'%') {
            return Self(Cow::Borrowed(path));
        }
        let mut bytes = Vec::with_capacity(path.len());
        let mut rest = path;
        while let Some((Piece::Plain(byte) | Piece::Escape(byte), after)) = next_piece(rest) {
            bytes.push(byte);
            rest = after;
        }
        Self(Cow::Owned(bytes))
    }

    /// The bytes, in no particular encoding.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// One character of a path as it is written.
pub(super) enum Piece {
    Plain(u8),
    /// A valid escape of this byte.
    Escape(u8),
}

/// Splits the first piece off.
pub(super) const fn next_piece(path: &[u8]) -> Option<(Piece, &[u8])> {
    match path {
        [b'%', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            Some((Piece::Escape(hex_value(*high) << 4 | hex_value(*low)), after))
        }
        [byte, after @ ..] => Some((Piece::Plain(*byte), after)),
        [] => None,
    }
}

/// The value of a hexadecimal digit.
const fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// RFC 3986 §2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Whether a path is canonical, as far as one look at each byte can tell: `false` may be wrong.
fn is_surely_canonical(path: &[u8]) -> bool {
    let mut after_slash = false;
    for byte in path {
        match byte {
            b'%' => return has_canonical_escapes(path),
            b'/' | b'.' if after_slash => return false,
            b'\\' => return false,
            _ => after_slash = *byte == b'/',
        }
    }
    true
}

/// The same for a path with escapes.
fn has_canonical_escapes(path: &[u8]) -> bool {
    let mut rest = path;
    loop {
        rest = match rest {
            [] => return true,
            [b'/', b'/' | b'.', ..] | [b'\\', ..] => return false,
            [b'%', high, low, after @ ..] if is_capital_hex(*high) && is_capital_hex(*low) => {
                let byte = hex_value(*high) << 4 | hex_value(*low);
                if is_unreserved(byte) || matches!(byte, b'/' | b'\\') {
                    return false;
                }
                after
            }
            [b'%', ..] => return false,
            [_, after @ ..] => after,
        }
    }
}

const fn is_capital_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'A'..=b'F')
}

/// Steps 1 and 2: one spelling for each character.
fn unescape(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((piece, after)) = next_piece(rest) {
        match piece {
            Piece::Plain(b'\\') | Piece::Escape(b'/' | b'\\') => out.push(b'/'),
            Piece::Plain(byte) => out.push(byte),
            Piece::Escape(byte) if is_unreserved(byte) && !completes_escape(&out, byte) => {
                out.push(byte);
            }
            // As it is, in capitals.
            Piece::Escape(_) => out.extend(rest.iter().take(3).map(u8::to_ascii_uppercase)),
        }
        rest = after;
    }
    out
}

/// Whether `byte` behind `out` would turn a `%` that starts no escape into one that does.
const fn completes_escape(out: &[u8], byte: u8) -> bool {
    match out {
        [.., b'%'] => byte.is_ascii_hexdigit(),
        [.., b'%', digit] => digit.is_ascii_hexdigit() && byte.is_ascii_hexdigit(),
        _ => false,
    }
}

/// Steps 3 and 4: one spelling for each list of segments. `path` starts with a slash.
fn resolve(path: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    let mut segments = path.split(|byte| *byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            b"" | b"." => {}
            b".." => out.truncate(out.iter().rposition(|byte| *byte == b'/').unwrap_or(0)),
            _ => {
                out.push(b'/');
                out.extend_from_slice(segment);
                continue;
            }
        }
        if segments.peek().is_none() {
            out.push(b'/');
        }
    }
    out
}
