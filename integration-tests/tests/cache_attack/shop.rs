//! The upstream that is attacked: it heeds what upstreams are known to heed, and reads paths as some of them do.

use integration_tests::scripted::{Asked, response};

use crate::corpus::HEEDED;

/// Longest header field that it takes.
const LONGEST_BYTES: usize = 4096;

/// The answer to a request.
pub(crate) fn answer(asked: &Asked) -> Vec<u8> {
    let path = resolved(&asked.target);
    let (head, body) = match path.split('/').nth(1).unwrap_or_default() {
        "page" => page(asked),
        "limits" => limits(asked),
        "ranges" => ranges(asked),
        "vary" => (
            "200 OK\nCache-Control: max-age=60\nVary: X-Variant".to_owned(),
            joined(asked, "x-variant"),
        ),
        "mine" => mine(asked),
        "login" => login(asked),
        "private" => ("200 OK\nContent-Type: text/html".to_owned(), joined(asked, "cookie")),
        "static" => ("200 OK".to_owned(), "a file".to_owned()),
        "stale" => stale(asked),
        _ => ("404 Not Found\nCache-Control: no-store".to_owned(), String::new()),
    };
    response(asked, &format!("HTTP/1.1 {head}"), body.as_bytes())
}

/// Shows all of a request that may change what a page is.
fn page(asked: &Asked) -> (String, String) {
    // As CGI and its heirs see names.
    let seen = |name: &str| name.to_ascii_lowercase().replace('_', "-");
    let heeded = asked.fields.iter().filter(|(name, _)| HEEDED.contains(&seen(name).as_str()));
    let lines = heeded.map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value)));
    let content = String::from_utf8_lossy(&asked.body);
    let body = format!("{} {}\n{}{content}", asked.method, asked.target, lines.collect::<String>());
    match asked.method.as_str() {
        "PURGE" => ("405 Method Not Allowed".to_owned(), String::new()),
        _ => ("200 OK\nCache-Control: max-age=60".to_owned(), body),
    }
}

/// Refuses what is large, or has strange characters.
fn limits(asked: &Asked) -> (String, String) {
    let is_large = asked.fields.iter().any(|(_, value)| value.len() > LONGEST_BYTES);
    let is_strange =
        asked.fields.iter().any(|(_, value)| !value.iter().all(|byte| matches!(byte, b' '..=b'~')));
    let fresh = if asked.target.ends_with("?fresh") { "\nCache-Control: max-age=60" } else { "" };
    match (is_large, is_strange) {
        (true, _) if !fresh.is_empty() => (format!("431 Too Large{fresh}"), "marker".to_owned()),
        (true, _) | (_, true) => ("400 Bad Request".to_owned(), "marker".to_owned()),
        _ => ("200 OK\nCache-Control: max-age=60".to_owned(), "fine".to_owned()),
    }
}

/// Says of every answer that it is fresh, also of those to one request alone.
fn ranges(asked: &Asked) -> (String, String) {
    let control = "Cache-Control: max-age=60\nETag: \"a\"";
    let (status, body) =
        match (asked.value("range"), asked.value("if-match"), asked.value("expect")) {
            (Some("bytes=0-0"), _, _) => ("206 Partial Content\nContent-Range: bytes 0-0/4", "w"),
            (Some(_), _, _) => ("416 Range Not Satisfiable\nContent-Range: bytes */4", "marker"),
            (_, Some(_), _) => ("412 Precondition Failed", "marker"),
            (_, _, Some(_)) => ("417 Expectation Failed", "marker"),
            _ => ("200 OK", "whole"),
        };
    (format!("{status}\n{control}"), body.to_owned())
}

/// Shows who asks, and says to caches what the query names.
fn mine(asked: &Asked) -> (String, String) {
    let says = match asked.target.split_once('?').map(|(_, query)| query) {
        Some("vary") => "max-age=60\nVary: Cookie",
        Some("private") => "private, max-age=60",
        Some("no-store") => "no-store",
        Some("no-cache") => "no-cache, max-age=60",
        _ => "max-age=60",
    };
    let who = joined(asked, "authorization") + &joined(asked, "cookie");
    (format!("200 OK\nCache-Control: {says}"), who)
}

fn login(asked: &Asked) -> (String, String) {
    let says = if asked.target.contains('?') {
        "max-age=60, private=\"set-cookie\""
    } else {
        "max-age=60"
    };
    let cookie = joined(asked, "cookie");
    (format!("200 OK\nCache-Control: {says}\nSet-Cookie: {cookie}"), "welcome".to_owned())
}

/// Stale when it comes, and good while it is validated; fresh the next time.
fn stale(asked: &Asked) -> (String, String) {
    let is_validation = asked.value("if-none-match").is_some();
    let age = if is_validation { "0\nETag: \"b\"" } else { "20\nETag: \"a\"" };
    let control = "Cache-Control: max-age=10, stale-while-revalidate=600";
    (format!("200 OK\n{control}\nAge: {age}"), asked.target.clone())
}

fn joined(asked: &Asked, name: &str) -> String {
    asked.values(name).map(String::from_utf8_lossy).collect::<Vec<_>>().join(",")
}

/// The path as the most careless of upstreams reads it: decoded twice, up to a zero, without parameters of segments, and
/// then with dots resolved.
fn resolved(target: &str) -> String {
    let path = target.split('?').next().unwrap_or_default();
    let decoded = decoded(&decoded(path)).replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split('/') {
        let segment = segment.split([';', '\0', '?', '#', '\n']).next().unwrap_or_default();
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

fn decoded(text: &str) -> String {
    let mut pieces = text.split('%');
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let byte = piece.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(u8::is_ascii) {
            Some(byte) => {
                out.push(char::from(byte));
                out += &piece[2..];
            }
            None => out += &format!("%{piece}"),
        }
    }
    out
}

#[test]
fn it_reads_paths_as_careless_upstreams_do() {
    for path in crate::corpus::DECEIVING {
        assert!(resolved(path).starts_with("/private/{n}"), "{path}: {}", resolved(path));
    }
    assert_eq!(resolved("/page/{n}?../private"), "/page/{n}");
}
