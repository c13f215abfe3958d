//! What the stand-in says: a pure function from request to answer. The same path is the same bytes,
//! in every run.

mod draw;
mod echo;
mod model;

use std::time::{Duration, SystemTime};

use super::answer::{Answer, Body, JSON};
use super::body::Received;
use super::duration;
use super::request::Request;
use draw::Draw;

/// How long the API's answers stay fresh.
pub(super) const CACHE_CONTROL: &str = "public, max-age=60";

/// The longest body that `/bytes/{n}` makes: 1 GiB, more than any buffer of a proxy.
const MAX_BYTES: u64 = 1 << 30;

/// The most chunks that `/stream/{n}` sends.
const MAX_CHUNKS: u64 = 1_000_000;

/// The most results on one page, and the last offset of a search, as the API has them.
const MAX_LIMIT: u64 = 50;
const MAX_OFFSET: u64 = 1000;

/// The methods of what can only be read.
const READ_METHODS: &str = "GET, HEAD, OPTIONS";

/// Answers `request`, whose body was `body`.
pub(super) fn answer(request: &Request<'_>, body: &Received) -> Answer {
    let mut segments = request.path().split('/');
    let before = segments.next();
    let parts = (segments.next(), segments.next(), segments.next(), segments.next());
    match (before, parts) {
        (Some("*"), _) if request.method == "OPTIONS" => allow(200, READ_METHODS),
        (Some(""), (Some("echo"), Some(_), _, _)) => echo::answer(request, body),
        (Some(""), (Some("status"), Some(code), None, _)) => status(code),
        (Some(""), parts) => {
            // A search is the one document that its query is part of.
            let searches = matches!(parts, (Some("sites"), _, Some("search"), _));
            let draw = Draw::new(if searches { request.target } else { request.path() });
            match resource(parts, request.query(), draw) {
                Ok(resource) => read(request, draw, resource),
                Err(refused) => refused,
            }
        }
        _ => not_found(),
    }
}

/// What can be read under a path.
enum Resource {
    Json(Vec<u8>),
    Other(Body),
}

type Parts<'a> = (Option<&'a str>, Option<&'a str>, Option<&'a str>, Option<&'a str>);

fn resource(parts: Parts<'_>, query: &str, draw: Draw) -> Result<Resource, Answer> {
    let named = |name: &&str| !name.is_empty();
    let json = |bytes| Ok(Resource::Json(bytes));
    match parts {
        (Some("categories"), Some(id), None, _) if named(&id) => json(model::category(id, draw)),
        (Some("items"), Some(id), None, _) if named(&id) => json(model::item(id, draw)),
        (Some("users"), Some(id), None, _) => match id.parse() {
            Ok(id) => json(model::user(id, draw)),
            Err(_) => Err(Answer::error(404, &format!("User with id: {id} not found"))),
        },
        (Some("sites"), Some(site), Some("categories"), None) if named(&site) => {
            json(model::categories(site, draw))
        }
        (Some("sites"), Some(site), Some("search"), None) if named(&site) => {
            let offset = number(query, "offset", 0, MAX_OFFSET)?;
            let limit = number(query, "limit", MAX_LIMIT, MAX_LIMIT)?;
            let text = parameter(query, "q").unwrap_or_default();
            json(model::search(site, &text, offset, limit))
        }
        (Some("bytes"), Some(count), None, _) => {
            let length = within("bytes", count, MAX_BYTES)?;
            Ok(Resource::Other(Body::Pattern(length)))
        }
        (Some("stream"), Some(count), None, _) => {
            let count = within("stream", count, MAX_CHUNKS)?;
            let every = every(query)?;
            Ok(Resource::Other(Body::Chunks { count, every }))
        }
        _ => Err(not_found()),
    }
}

/// Answers a request for something that can be read, as its method and its conditions say.
fn read(request: &Request<'_>, draw: Draw, resource: Resource) -> Answer {
    if request.method == "OPTIONS" {
        return allow(200, READ_METHODS);
    }
    if !matches!(request.method, "GET" | "HEAD") {
        return allow(405, READ_METHODS);
    }
    let etag = draw.etag();
    let modified = draw.last_modified();
    let (kind, body) = match resource {
        Resource::Json(bytes) => (JSON, Body::Whole(bytes)),
        Resource::Other(body) => ("application/octet-stream", body),
    };
    let answer = if is_unchanged(request, &etag, modified) {
        Answer::new(304, Body::Whole(Vec::new()))
    } else {
        Answer::new(200, body).with("Content-Type", kind)
    };
    answer
        .with("Cache-Control", CACHE_CONTROL)
        .with("ETag", etag)
        .with("Last-Modified", httpdate::fmt_http_date(modified))
}

/// Whether the client has this answer already (RFC 9110 §13.2.2).
fn is_unchanged(request: &Request<'_>, etag: &str, modified: SystemTime) -> bool {
    if request.values("if-none-match").next().is_some() {
        return has_tag(request, etag);
    }
    let since = request.values("if-modified-since").next();
    let since = since.and_then(|date| httpdate::parse_http_date(str::from_utf8(date).ok()?).ok());
    since.is_some_and(|since| modified <= since)
}

/// Whether the client says that it has what `etag` is of.
pub(super) fn has_tag(request: &Request<'_>, etag: &str) -> bool {
    let tags = request.values("if-none-match");
    tags.flat_map(|value| value.split(|byte| *byte == b',')).any(|tag| {
        let tag = tag.trim_ascii();
        tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag.as_bytes()
    })
}

/// `/status/{code}`: that status, whatever the method; a redirection also says where to.
fn status(code: &str) -> Answer {
    let Some(code) = code.parse().ok().filter(|code| (200..=599).contains(code)) else {
        return out_of_range("status", code, "a status code from 200 to 599");
    };
    match code {
        204 | 205 | 304 => Answer::new(code, Body::Whole(Vec::new())),
        300..=399 => Answer::error(code, "as asked").with("Location", "/echo/redirected"),
        _ => Answer::error(code, "as asked"),
    }
}

fn every(query: &str) -> Result<Duration, Answer> {
    let Some(text) = parameter(query, "every") else {
        return Ok(Duration::ZERO);
    };
    duration::parse(&text).ok_or_else(|| out_of_range("every", &text, duration::ALLOWED))
}

fn number(query: &str, name: &str, default: u64, most: u64) -> Result<u64, Answer> {
    parameter(query, name).map_or(Ok(default), |text| within(name, &text, most))
}

fn within(name: &str, text: &str, most: u64) -> Result<u64, Answer> {
    let number = text.parse().ok().filter(|number| *number <= most);
    number.ok_or_else(|| out_of_range(name, text, &format!("a whole number up to {most}")))
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn out_of_range(name: &str, found: &str, allowed: &str) -> Answer {
    Answer::error(400, &format!("{name}: '{found}' is not {allowed}"))
}

fn not_found() -> Answer {
    Answer::error(404, "resource not found")
}

fn allow(status: u16, methods: &'static str) -> Answer {
    let answer = match status {
        200 => Answer::new(200, Body::Whole(Vec::new())),
        _ => Answer::error(status, "method not allowed"),
    };
    answer.with("Allow", methods)
}

#[cfg(test)]
mod tests;
