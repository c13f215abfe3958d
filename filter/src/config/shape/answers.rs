//! `response_fields`, `quotas[].refusal` and `breakers[].refusal`: what clients are told.

use super::super::key::{Absent, Key, Object, Reads};
use super::super::kind::{List, Text, Whole, Words};
use super::super::reader::Value;
use super::super::{Content, Refusal, ResponseFields};
use super::headers::HeadersKind;
use super::key_part::is_token;

pub(super) const RESPONSE_FIELDS: Key<List<Words<ResponseFields>>> = Key {
    name: "response_fields",
    doc: "which header fields tell clients how they stand, see below",
    takes: List { length: 0..=2, of: "fields", item: FIELD },
    absent: Absent::Is(r#"["ratelimit"]"#),
};

const FIELD: Words<ResponseFields> = Words(&[
    ("ratelimit", ResponseFields { ratelimit: true, x_ratelimit: false }),
    ("x-ratelimit", ResponseFields { ratelimit: false, x_ratelimit: true }),
]);

/// The standard ones, and nothing twice.
pub(super) const DEFAULT_FIELDS: ResponseFields =
    ResponseFields { ratelimit: true, x_ratelimit: false };

/// Too Many Requests (RFC 6585 §4).
pub(super) const DEFAULT_STATUS: u16 = 429;

const STATUS: Key<Whole<u16>> = status_or("429");

/// Service Unavailable (RFC 9110 §15.6.4).
pub(super) const DEFAULT_BREAKER_STATUS: u16 = 503;

const BREAKER_STATUS: Key<Whole<u16>> = status_or("503");

const fn status_or(default: &'static str) -> Key<Whole<u16>> {
    Key {
        name: "status",
        doc: "status code",
        // A refusal is an error of client or server (RFC 9110 §15).
        takes: Whole::new(400..=599),
        absent: Absent::Is(default),
    }
}

const HEADERS: Key<HeadersKind> = Key {
    name: "headers",
    doc: "further header fields, each name with its value",
    takes: HeadersKind,
    absent: Absent::Is("{}"),
};

const CONTENT_TYPE: Key<Text> = Key {
    name: "content_type",
    doc: "media type of `body`, at most 256 bytes; only with it",
    takes: Text {
        allowed: "a media type, such as \"application/json\"",
        pattern: "^[^/ ]+/[^/ ]",
        is_allowed: is_content_type,
    },
    absent: Absent::Means("none"),
};

/// Longest content type in bytes: twice the longest registered one.
const MAX_CONTENT_TYPE_BYTES: usize = 256;

const BODY: Key<Text> = Key {
    name: "body",
    doc: "content; only with `content_type`",
    takes: Text {
        allowed: "a text of at most 4096 bytes",
        pattern: "",
        is_allowed: |text| text.len() <= MAX_BODY_BYTES,
    },
    absent: Absent::Means("a problem description (RFC 9457)"),
};

/// Longest body in bytes. It is kept in each worker and copied for every refusal.
const MAX_BODY_BYTES: usize = 4096;

pub(super) const REFUSAL: Key<Object> = Key {
    name: "refusal",
    doc: "what is answered when this rule refuses",
    takes: Object { keys: &[&STATUS, &HEADERS, &CONTENT_TYPE, &BODY], between: BOTH_OR_NEITHER },
    absent: Absent::Means("429 with a problem description"),
};

pub(super) const BREAKER_REFUSAL: Key<Object> = Key {
    name: "refusal",
    doc: "what is answered while this breaker refuses",
    takes: Object {
        keys: &[&BREAKER_STATUS, &HEADERS, &CONTENT_TYPE, &BODY],
        between: BOTH_OR_NEITHER,
    },
    absent: Absent::Means("503 with a problem description"),
};

const BOTH_OR_NEITHER: &str =
    r#"{"dependentRequired": {"content_type": ["body"], "body": ["content_type"]}}"#;

/// Reads `response_fields`.
pub(super) fn read_response_fields(list: &Value<'_>) -> Option<ResponseFields> {
    let fields = RESPONSE_FIELDS.takes.distinct(list, |value| FIELD.read(value))?;
    Some(ResponseFields {
        ratelimit: fields.iter().any(|field| field.ratelimit),
        x_ratelimit: fields.iter().any(|field| field.x_ratelimit),
    })
}

/// Reads the `refusal` of a rule or breaker. Theirs have the same keys and differ in the status by default.
pub(super) fn read_refusal(value: &Value<'_>, default_status: u16) -> Option<Refusal> {
    REFUSAL.takes.read(value, |refusal| {
        let status = STATUS.read_or(refusal, default_status);
        let headers = HEADERS.read_or(refusal, Vec::new());
        let (content_type, body) = (CONTENT_TYPE.of(refusal), BODY.of(refusal));
        // Either one makes the other needed.
        let content = if content_type.is_present() || body.is_present() {
            let (content_type, body) =
                (CONTENT_TYPE.takes.read(&content_type), BODY.takes.read(&body));
            content_type.zip(body).map(|(content_type, body)| {
                Some(Content { content_type: content_type.to_owned(), body: body.to_owned() })
            })
        } else {
            Some(None)
        };
        Some(Refusal { status: status?, headers: headers?, content: content? })
    })
}

/// A media type (RFC 9110 §8.3.1), its parameters only looked at so far that they can stand in a field. A space at
/// its end could not: to HTTP/2 (RFC 9113 §8.2.1) all of the response would be malformed.
fn is_content_type(text: &str) -> bool {
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let is_essence = essence
        .trim_end_matches([' ', '\t'])
        .split_once('/')
        .is_some_and(|(a, b)| is_token(a) && is_token(b));
    let is_visible = parameters.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let is_trimmed = text.trim_ascii_end() == text;
    text.len() <= MAX_CONTENT_TYPE_BYTES && is_essence && is_visible && is_trimmed
}
