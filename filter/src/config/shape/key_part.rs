//! `by`: the parts of a key, as they are written.

use serde_json::{Value as Json, json};

use super::super::KeyPart;
use super::super::key::{Kind, Reads};
use super::super::kind::Text;
use super::super::reader::{Value, words_listed};

/// The parts that have no name of their own.
const PARTS: &[(&str, KeyPart)] = &[
    ("client_address", KeyPart::ClientAddress),
    ("path", KeyPart::Path),
    ("route", KeyPart::Route),
    ("method", KeyPart::Method),
    ("host", KeyPart::Host),
];

/// The parts that name what they are of.
const NAMED_PARTS: &[NamedPart] = &[
    NamedPart { prefix: "header:", written: "header:NAME", name: FIELD_NAME, part: header },
    NamedPart { prefix: "cookie:", written: "cookie:NAME", name: COOKIE_NAME, part: cookie },
    NamedPart { prefix: "query:", written: "query:NAME", name: QUERY_NAME, part: query },
];

struct NamedPart {
    prefix: &'static str,
    /// With a placeholder for the name.
    written: &'static str,
    name: Text,
    part: fn(&str) -> KeyPart,
}

/// Longest name of a header field, cookie or parameter in bytes.
const MAX_NAME_BYTES: usize = 64;

/// The name of a request header field (RFC 9110 §5.1). Envoy has the host elsewhere (as a pseudo header): a key by a
/// field that is never there would silently be one counter for all.
pub(super) const FIELD_NAME: Text = Text {
    allowed: "the name of a header field: 1 to 64 characters of a token (RFC 9110 §5.6.2), not \"host\"",
    pattern: "^[-!#$%&'*+.^_`|~0-9A-Za-z]{1,64}$",
    is_allowed: |text| is_name(text) && !text.eq_ignore_ascii_case("host"),
};

/// RFC 6265 §4.1.1.
pub(super) const COOKIE_NAME: Text = Text {
    allowed: "the name of a cookie: 1 to 64 characters of a token (RFC 9110 §5.6.2)",
    pattern: "^[-!#$%&'*+.^_`|~0-9A-Za-z]{1,64}$",
    is_allowed: is_name,
};

const QUERY_NAME: Text = Text {
    allowed: "the name of a parameter: 1 to 64 bytes, percent-decoded, without control characters",
    pattern: "^[^\\u0000-\\u001f\\u007f]{1,64}$",
    is_allowed: |text| {
        (1..=MAX_NAME_BYTES).contains(&text.len()) && !text.contains(|c: char| c.is_ascii_control())
    },
};

fn header(name: &str) -> KeyPart {
    KeyPart::Header(name.to_ascii_lowercase())
}

fn cookie(name: &str) -> KeyPart {
    KeyPart::Cookie(name.to_owned())
}

fn query(name: &str) -> KeyPart {
    KeyPart::Query(name.to_owned())
}

/// One part of a key.
pub(super) struct PartKind;

impl Kind for PartKind {
    fn allowed(&self) -> String {
        let words = PARTS.iter().map(|(word, _)| *word);
        words_listed(words.chain(NAMED_PARTS.iter().map(|named| named.written)))
    }

    fn schema(&self) -> Json {
        let words: Vec<_> = PARTS.iter().map(|(word, _)| *word).collect();
        let named = NAMED_PARTS.iter().map(|named| {
            let name = named.name.pattern.trim_start_matches('^');
            json!({"type": "string", "pattern": format!("^{}{name}", named.prefix)})
        });
        json!({"anyOf": std::iter::once(json!({"enum": words})).chain(named).collect::<Vec<_>>()})
    }
}

impl Reads for PartKind {
    type Out<'d> = KeyPart;

    fn read<'d>(&self, value: &Value<'d>) -> Option<KeyPart> {
        let Some(text) = value.as_text() else { return value.refuse(self.allowed()) };
        parse(text).or_else(|allowed| value.refuse(allowed).ok_or(())).ok()
    }
}

/// Reads one part, or says what is allowed.
pub(super) fn parse(text: &str) -> Result<KeyPart, String> {
    if let Some((_, part)) = PARTS.iter().find(|(word, _)| *word == text) {
        return Ok(part.clone());
    }
    let named = NAMED_PARTS
        .iter()
        .find_map(|named| text.strip_prefix(named.prefix).map(|name| (named, name)));
    match named {
        Some((named, name)) if (named.name.is_allowed)(name) => Ok((named.part)(name)),
        Some((NamedPart { part, .. }, name)) if is_pseudo_header(part(""), name) => {
            Err(r#"no pseudo header ("path", "method" and "host" are parts without "header:")"#
                .to_owned())
        }
        Some((named, _)) => Err(format!("\"{}\", NAME {}", named.written, named.name.allowed)),
        None => Err(PartKind.allowed()),
    }
}

/// A part as it is written.
pub(super) fn written(part: &KeyPart) -> String {
    match part {
        KeyPart::Header(name) => format!("header:{name}"),
        KeyPart::Cookie(name) => format!("cookie:{name}"),
        KeyPart::Query(name) => format!("query:{name}"),
        KeyPart::ClientAddress
        | KeyPart::Path
        | KeyPart::Route
        | KeyPart::Method
        | KeyPart::Host => {
            let word = PARTS.iter().find(|(_, candidate)| candidate == part);
            word.map_or("", |(word, _)| *word).to_owned()
        }
    }
}

/// Whether a header is named like one of HTTP/2's (RFC 9113 §8.3), or is what stands in its place in HTTP/1.1.
fn is_pseudo_header(part: KeyPart, name: &str) -> bool {
    matches!(part, KeyPart::Header(_))
        && (name.starts_with(':') || name.eq_ignore_ascii_case("host"))
}

/// A token of at most [`MAX_NAME_BYTES`].
fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES && is_token(text)
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token(text: &str) -> bool {
    let is_allowed = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    !text.is_empty() && text.bytes().all(is_allowed)
}
