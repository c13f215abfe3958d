//! `/echo/*`: what arrived, told back, so that a test can see whether something on the way changed
//! it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::super::answer::Answer;
use super::super::body::Received;
use super::super::request::Request;

/// The longest body that is told back itself, not only as its digest.
pub(super) const MAX_BODY_BYTES: usize = 4 << 10;

#[derive(Serialize)]
struct Echo<'a> {
    method: &'a str,
    /// As on the request line.
    target: &'a str,
    version: &'static str,
    /// Name and value of each field, as they came and in their order; bytes that are not UTF-8 are
    /// replaced.
    headers: Vec<(&'a str, String)>,
    body: Body,
}

#[derive(Serialize)]
struct Body {
    length: u64,
    /// Lower-case hexadecimal.
    sha256: String,
    /// Absent if it is longer than [`MAX_BODY_BYTES`].
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

pub(super) fn answer(request: &Request<'_>, body: &Received) -> Answer {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let echo = Echo {
        method: request.method,
        target: request.target,
        version: if request.minor == 0 { "HTTP/1.0" } else { "HTTP/1.1" },
        headers: request.headers.iter().map(|field| (field.name, text(field.value))).collect(),
        body: Body {
            length: body.length,
            sha256: body.sha256(),
            base64: body.whole(MAX_BODY_BYTES).map(|body| STANDARD.encode(body)),
        },
    };
    Answer::json(200, super::model::bytes(&echo)).with("Cache-Control", "no-store")
}
