//! What an unsafe request makes invalid (RFC 9111 §4.4).

use super::fields::Fields;
use super::key::{Target, origin};
use crate::http::path;

/// Methods that change nothing (RFC 9110 §9.2.1). Any other one may, also one that is not known.
const SAFE: [&[u8]; 5] = [b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"QUERY"];

/// Whether a method may change something.
#[must_use]
pub fn is_unsafe(method: &[u8]) -> bool {
    !SAFE.contains(&method)
}

/// Whether the response to a request makes stored ones invalid: the method is not known to be safe, and it was no error.
#[must_use]
pub fn invalidates(method: &[u8], status: u16) -> bool {
    is_unsafe(method) && (200..400).contains(&status)
}

/// The paths, with their queries, at the origin of the request that are invalid then: its own, and those that the
/// response names, if they are of the same origin.
#[must_use]
pub fn paths(target: Target<'_>, response: &Fields) -> Vec<Vec<u8>> {
    let mut paths = vec![target.path.to_vec()];
    for name in ["location", "content-location"] {
        let reference = response.first(name).map(<[u8]>::trim_ascii);
        paths.extend(reference.and_then(|reference| resolve(target, reference)));
    }
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// The path that a reference leads to from the target, in the spelling of requests (RFC 3986 §5.2); none if it leads
/// elsewhere.
#[must_use]
pub fn resolve(target: Target<'_>, reference: &[u8]) -> Option<Vec<u8>> {
    let reference = reference.split(|byte| *byte == b'#').next()?;
    let (scheme, rest) = split_scheme(reference).unwrap_or((target.scheme, reference));
    let path = if let Some(rest) = rest.strip_prefix(b"//") {
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        if origin(Target { scheme, authority, path }) != origin(target) {
            return None;
        }
        if path.starts_with(b"/") { path.to_vec() } else { [b"/", path].concat() }
    } else if scheme.len() != target.scheme.len() || rest.len() != reference.len() {
        // A scheme without an authority is none of HTTP.
        return None;
    } else {
        relative(target.path, rest)
    };
    Some(path::canonical(&path).into_owned())
}

fn split_scheme(reference: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = reference.iter().position(|byte| matches!(byte, b':' | b'/' | b'?'))?;
    let (scheme, rest) = reference.split_at_checked(end)?;
    let is_scheme = scheme.first()?.is_ascii_alphabetic()
        && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
    rest.strip_prefix(b":").filter(|_| is_scheme).map(|rest| (scheme, rest))
}

fn relative(base: &[u8], reference: &[u8]) -> Vec<u8> {
    let path = path::without_query(base);
    match reference.first() {
        None => base.to_vec(),
        Some(b'/') => reference.to_vec(),
        Some(b'?') => [path, reference].concat(),
        Some(_) => {
            let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            [path.get(..end).unwrap_or_default(), b"/", reference].concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Target<'static> =
        Target { scheme: b"http", authority: b"example.com", path: b"/a/b?c=d" };

    #[test]
    fn what_may_change_something_and_was_no_error() {
        for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "FOO", "get"] {
            for (status, expected) in [
                (200, true),
                (204, true),
                (303, true),
                (399, true),
                (199, false),
                (400, false),
                (503, false),
            ] {
                assert_eq!(invalidates(method.as_bytes(), status), expected, "{method} {status}");
            }
        }
        for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
            assert!(!invalidates(method.as_bytes(), 200), "{method}");
        }
    }

    #[test]
    fn references_lead_to_paths_of_the_same_origin() {
        for (reference, expected) in [
            ("/x", Some("/x")),
            ("/x/../y?z#f", Some("/y?z")),
            ("x", Some("/a/x")),
            ("../x", Some("/x")),
            ("?x", Some("/a/b?x")),
            ("", Some("/a/b?c=d")),
            ("#f", Some("/a/b?c=d")),
            ("http://example.com/x", Some("/x")),
            ("HTTP://EXAMPLE.com:80/x", Some("/x")),
            ("http://example.com", Some("/")),
            ("http://example.com?x", Some("/?x")),
            ("//example.com/x", Some("/x")),
            ("https://example.com/x", None),
            ("http://other.example/x", None),
            ("//other.example/x", None),
            ("http://example.com:8080/x", None),
            ("mailto:x", None),
            ("http:/x", None),
        ] {
            let resolved = resolve(TARGET, reference.as_bytes());
            assert_eq!(resolved.as_deref(), expected.map(str::as_bytes), "{reference}");
        }
    }

    #[test]
    fn the_target_and_what_the_response_names() {
        let response = [("location", "/new"), ("content-location", "http://other.example/x")];
        let all = paths(TARGET, &response.into_iter().collect());
        assert_eq!(all, [b"/a/b?c=d".to_vec(), b"/new".to_vec()]);
        let same = [("location", "/a/b?c=d")].into_iter().collect();
        assert_eq!(paths(TARGET, &same), [b"/a/b?c=d".to_vec()]);
    }
}
