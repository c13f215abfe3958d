//! Answers, and their heads as an HTTP/1.1 origin server writes them (RFC 9112), without IO.

use std::borrow::Cow;
use std::io::Write as _;
use std::time::{Duration, SystemTime};

use super::request::lists;

/// What is said in reply to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    pub(crate) body: Body,
}

/// The content of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Whole(Vec<u8>),
    /// So many bytes of a fixed pattern: byte `i` is `i` modulo 251.
    Pattern(u64),
    /// So many chunks `chunk 0\n`, `chunk 1\n` … with a pause before each but the first.
    Chunks {
        count: u64,
        every: Duration,
    },
}

/// The content type of the API.
pub(crate) const JSON: &str = "application/json;charset=UTF-8";

impl Answer {
    pub(crate) fn new(status: u16, body: Body) -> Self {
        Self { status, headers: Vec::with_capacity(6), body }
    }

    pub(crate) fn json(status: u16, body: Vec<u8>) -> Self {
        Self::new(status, Body::Whole(body)).with("Content-Type", JSON)
    }

    /// An error in the form of the API's own.
    pub(crate) fn error(status: u16, message: &str) -> Self {
        let error = reason(status).to_lowercase().replace([' ', '-'], "_");
        let body =
            serde_json::json!({"message": message, "error": error, "status": status, "cause": []});
        Self::json(status, body.to_string().into_bytes())
    }

    /// Adds a field.
    pub(crate) fn with(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Removes all fields called `name`.
    pub(crate) fn remove(&mut self, name: &str) {
        self.headers.retain(|(found, _)| !found.eq_ignore_ascii_case(name));
    }

    /// Whether it says that the connection ends after it.
    pub(crate) fn closes(&self) -> bool {
        self.headers.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case("connection") && lists(value.as_bytes(), "close")
        })
    }

    /// Whether a body may follow: RFC 9110 §6.4.1.
    pub(crate) fn has_body(&self, method: &str) -> bool {
        method != "HEAD" && !matches!(self.status, 204 | 304)
    }

    /// Appends status line and fields to `out`. `minor` is the version of the request: HTTP/1.0 has
    /// no chunks.
    pub(crate) fn encode_head(&self, minor: u8, closes: bool, now: SystemTime, out: &mut Vec<u8>) {
        // Writing to a vector does not fail.
        let _ = write!(out, "HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            for part in [name, ": ", value, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        let length = match &self.body {
            _ if matches!(self.status, 204 | 304) => None,
            Body::Whole(bytes) => Some(bytes.len() as u64),
            Body::Pattern(length) => Some(*length),
            Body::Chunks { .. } => {
                if minor > 0 {
                    out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
                }
                None
            }
        };
        if closes && !self.closes() {
            out.extend_from_slice(b"Connection: close\r\n");
        }
        if let Some(length) = length {
            let _ = write!(out, "Content-Length: {length}\r\n");
        }
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("date")) {
            let _ = write!(out, "Date: {}\r\n", httpdate::fmt_http_date(now));
        }
        out.extend_from_slice(b"\r\n");
    }
}

fn reason(status: u16) -> &'static str {
    let status = http::StatusCode::from_u16(status).ok();
    status.and_then(|status| status.canonical_reason()).unwrap_or("Unknown")
}

/// Bytes that are sent for [`Body::Pattern`]; a multiple of 251 long, so that the pattern goes on
/// over its end.
pub(crate) static PATTERN: [u8; 251 * 256] = pattern();

#[allow(clippy::cast_possible_truncation, reason = "a remainder of 251 is a byte")]
#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks the bounds")]
const fn pattern() -> [u8; 251 * 256] {
    let mut bytes = [0; 251 * 256];
    let mut index = 0;
    while index < bytes.len() {
        bytes[index] = (index % 251) as u8;
        index += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(answer: &Answer, minor: u8) -> String {
        let mut out = Vec::new();
        answer.encode_head(minor, false, SystemTime::UNIX_EPOCH, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn answers_tell_their_length() {
        let answer = Answer::error(404, "gone");
        assert_eq!(
            encoded(&answer, 1),
            "HTTP/1.1 404 Not Found\r\nContent-Type: application/json;charset=UTF-8\r\n\
             Content-Length: 62\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n"
        );
        let body = r#"{"message":"gone","error":"not_found","status":404,"cause":[]}"#;
        assert_eq!(answer.body, Body::Whole(body.into()));
    }

    #[test]
    fn answers_without_content_tell_none() {
        for (status, tells) in [(200, true), (204, false), (205, true), (304, false)] {
            let head = encoded(&Answer::new(status, Body::Whole(Vec::new())), 1);
            assert_eq!(head.contains("Content-Length: 0\r\n"), tells, "{head}");
        }
    }

    #[test]
    fn closing_is_said_once() {
        for (answer, closes, said) in [
            (Answer::error(500, ""), false, 0),
            (Answer::error(500, ""), true, 1),
            (Answer::error(500, "").with("Connection", "x, close"), true, 1),
        ] {
            let mut out = Vec::new();
            answer.encode_head(1, closes, SystemTime::UNIX_EPOCH, &mut out);
            assert_eq!(String::from_utf8(out).unwrap().matches("close").count(), said);
        }
    }

    #[test]
    fn streams_are_chunked_from_version_1_1() {
        let stream = Answer::new(200, Body::Chunks { count: 1, every: Duration::ZERO });
        assert!(encoded(&stream, 1).contains("Transfer-Encoding: chunked\r\n"));
        let old = encoded(&stream, 0);
        assert!(!old.contains("Transfer-Encoding") && !old.contains("Content-Length"), "{old}");
    }
}
