//! What requests have to agree in to be answered by one stored response: the primary key (RFC 9111 §2).
//!
//! It is the target as the upstream sees it: scheme, authority, path and query, and what the policy adds. The method is
//! no part of it, since a stored GET answers HEAD. All of it is stored and compared whenever a response is used, so
//! that no collision of hashes ever serves another one.

use super::fields::Fields;
use super::policy::KeyOptions;
use crate::http::cookie;

/// Between the parts; it is in none of them.
const SEPARATOR: u8 = b'\n';

/// A target, as a request has it.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// `http` or `https`.
    pub scheme: &'a [u8],
    /// The host, perhaps with a port.
    pub authority: &'a [u8],
    /// Path and query, in the spelling that is sent upstream.
    pub path: &'a [u8],
}

/// The primary key of a request. None if a part has a byte that no request should have.
#[must_use]
pub fn primary(options: &KeyOptions, target: Target<'_>, request: &Fields) -> Option<Vec<u8>> {
    let mut key = origin(target);
    key.push(SEPARATOR);
    if options.drop_query.is_empty() && !options.sort_query {
        key.extend_from_slice(target.path);
    } else {
        key.extend_from_slice(&path(options, target.path));
    }
    for name in &options.headers {
        part(&mut key, name.as_bytes(), request.joined(name).as_deref());
    }
    let cookies = (!options.cookies.is_empty()).then(|| request.joined("cookie"));
    let cookies = cookies.flatten().unwrap_or_default();
    for name in &options.cookies {
        part(&mut key, name.as_bytes(), cookie::first(&cookies, name.as_bytes()));
    }
    let separators = options.headers.len().saturating_add(options.cookies.len()).saturating_add(2);
    let is_plain = key.iter().all(|byte| *byte == SEPARATOR || !byte.is_ascii_control());
    let is_whole = key.iter().filter(|byte| **byte == SEPARATOR).count() == separators;
    (is_plain && is_whole).then_some(key)
}

/// Scheme and authority: in lower case, without the port that goes without saying (RFC 9110 §4.2.3).
#[must_use]
pub fn origin(target: Target<'_>) -> Vec<u8> {
    let Target { scheme, authority, path } = target;
    let parts = [scheme.len(), authority.len(), path.len(), TYPICAL_REST_BYTES];
    let mut origin = Vec::with_capacity(parts.into_iter().fold(0, usize::saturating_add));
    let port: &[u8] = if scheme.eq_ignore_ascii_case(b"https") { b":443" } else { b":80" };
    origin.extend_from_slice(scheme);
    origin.push(SEPARATOR);
    origin.extend_from_slice(authority.strip_suffix(port).unwrap_or(authority));
    origin.make_ascii_lowercase();
    origin
}

/// Room for what may stand behind the path in a key, without growing.
const TYPICAL_REST_BYTES: usize = 32;

fn part(key: &mut Vec<u8>, name: &[u8], value: Option<&[u8]>) {
    key.push(SEPARATOR);
    key.extend_from_slice(name);
    // What is missing has no sign, what is empty has one.
    if let Some(value) = value {
        key.push(b'=');
        key.extend_from_slice(value);
    }
}

/// Path and query, as far as they count.
#[must_use]
pub fn path(options: &KeyOptions, path: &[u8]) -> Vec<u8> {
    let Some(at) = path.iter().position(|byte| *byte == b'?') else { return path.to_vec() };
    if options.drop_query.is_empty() && !options.sort_query {
        return path.to_vec();
    }
    let (before, query) = (path.get(..at).unwrap_or_default(), path.get(at..).unwrap_or_default());
    let query = query.strip_prefix(b"?").unwrap_or_default();
    let counts = |parameter: &&[u8]| {
        let name = parameter.split(|byte| *byte == b'=').next().unwrap_or_default();
        !options.drop_query.iter().any(|dropped| is_called(name, dropped))
    };
    let mut parameters: Vec<_> = query.split(|byte| *byte == b'&').filter(counts).collect();
    if options.sort_query {
        // By name alone: parameters of one name may mean something by their order.
        parameters.sort_by_key(|parameter| parameter.split(|byte| *byte == b'=').next());
    }
    if parameters.is_empty() {
        return before.to_vec();
    }
    [before, &parameters.join(&b'&')].join(&b'?')
}

fn is_called(name: &[u8], pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning.as_bytes()),
        None => name == pattern.as_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target<'a>(authority: &'a str, path: &'a str) -> Target<'a> {
        Target { scheme: b"http", authority: authority.as_bytes(), path: path.as_bytes() }
    }

    fn key_of(options: &KeyOptions, path: &str, fields: &[(&str, &str)]) -> String {
        let key = primary(options, target("example.com", path), &fields.iter().copied().collect());
        String::from_utf8(key.unwrap()).unwrap()
    }

    #[test]
    fn spellings_of_one_origin_are_one() {
        for (scheme, authority) in
            [("http", "Example.com"), ("HTTP", "example.com:80"), ("http", "EXAMPLE.COM:80")]
        {
            let target = Target { scheme: scheme.as_bytes(), ..target(authority, "/") };
            assert_eq!(origin(target), b"http\nexample.com", "{scheme} {authority}");
        }
        for (scheme, authority) in
            [("https", "example.com"), ("http", "example.com:8080"), ("http", "example.com:443")]
        {
            let target = Target { scheme: scheme.as_bytes(), ..target(authority, "/") };
            assert_ne!(origin(target), b"http\nexample.com", "{scheme} {authority}");
        }
    }

    #[test]
    fn the_query_counts_as_it_is() {
        let options = KeyOptions::default();
        assert_eq!(key_of(&options, "/a?b=1&a=2", &[]), "http\nexample.com\n/a?b=1&a=2");
        assert_ne!(key_of(&options, "/a?b=1&a=2", &[]), key_of(&options, "/a?a=2&b=1", &[]));
        assert_ne!(key_of(&options, "/a?", &[]), key_of(&options, "/a", &[]));
    }

    #[test]
    fn parameters_can_be_dropped_and_sorted() {
        let options = KeyOptions {
            drop_query: vec!["utm_*".to_owned(), "ref".to_owned()],
            sort_query: true,
            ..KeyOptions::default()
        };
        for (path, expected) in [
            ("/a?b=1&utm_source=x&a=2", "/a?a=2&b=1"),
            ("/a?a=2&ref=y&b=1", "/a?a=2&b=1"),
            ("/a?ref=y", "/a"),
            ("/a?reference=y", "/a?reference=y"),
            ("/a?b=2&a=1&b=1", "/a?a=1&b=2&b=1"),
        ] {
            assert_eq!(key_of(&options, path, &[]), format!("http\nexample.com\n{expected}"));
        }
    }

    #[test]
    fn header_fields_and_cookies_can_count() {
        let options = KeyOptions {
            headers: vec!["x-tenant".to_owned()],
            cookies: vec!["lang".to_owned()],
            ..KeyOptions::default()
        };
        let fields = [("x-tenant", "a"), ("cookie", "id=1; lang=en")];
        assert_eq!(key_of(&options, "/", &fields), "http\nexample.com\n/\nx-tenant=a\nlang=en");
        assert_eq!(
            key_of(&options, "/", &[("x-tenant", "")]),
            "http\nexample.com\n/\nx-tenant=\nlang"
        );
        let mixed = [("x-tenant", "a\nlang=en")].into_iter().collect();
        assert_eq!(primary(&options, target("example.com", "/"), &mixed), None);
    }

    #[test]
    fn control_bytes_are_in_no_key() {
        for path in ["/a\0", "/a\nb", "/a\x7f", "/\r"] {
            assert_eq!(
                primary(&KeyOptions::default(), target("example.com", path), &Fields::default()),
                None
            );
        }
    }
}
