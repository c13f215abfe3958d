//! What a request asks of the cache.

use super::directives;
use super::fields::Fields;
use crate::http::path;

/// A request that the cache may answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Whether only the header is asked for.
    pub is_head: bool,
    /// What it says to caches.
    pub directives: directives::Request,
    /// Its header.
    pub fields: Fields,
}

/// Why a request has nothing to do with the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bypass {
    /// Neither GET nor HEAD.
    Method,
    /// It has content, which may matter and is no part of the key.
    Content,
    /// It wants another protocol.
    Upgrade,
    /// What says where it goes has bytes that it should not have, or could be read in two ways.
    Target,
    /// It has a field that upstreams may heed and that is no part of the key.
    Unkeyed,
}

impl Bypass {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Method, Self::Content, Self::Upgrade, Self::Target, Self::Unkeyed];

    /// As a label of metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Content => "content",
            Self::Upgrade => "upgrade",
            Self::Target => "target",
            Self::Unkeyed => "unkeyed",
        }
    }
}

/// Fields by which some upstreams take a request for another one. What a client put there would be served to others.
/// Upstreams that see fields as variables (CGI) take `_` in a name for `-`.
const UNKEYED: [&str; 15] = [
    "x-forwarded-host",
    "x-forwarded-scheme",
    "x-forwarded-prefix",
    "x-forwarded-server",
    "x-forwarded-port",
    "x-forwarded-path",
    "x-host",
    "x-original-host",
    "x-original-url",
    "x-rewrite-url",
    "x-http-host-override",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "forwarded",
];

/// Whether upstreams may take the name for one of [`UNKEYED`].
fn is_unkeyed(name: &[u8]) -> bool {
    let is_like = |(byte, of): (&u8, u8)| *byte == of || (*byte == b'_' && of == b'-');
    let is = |of: &str| name.len() == of.len() && name.iter().zip(of.bytes()).all(is_like);
    UNKEYED.iter().any(|of| is(of))
}

impl Request {
    /// Of a request whose header is `fields`.
    #[must_use]
    pub fn new(method: &[u8], fields: Fields) -> Self {
        let directives = directives::Request::of(&fields);
        Self { is_head: method == b"HEAD", directives, fields }
    }

    /// Of a request whose header is `fields`, and that has content after it unless it `is_over`. `keyed` are the
    /// fields that are part of the key.
    ///
    /// # Errors
    ///
    /// Why the cache has to keep out of it.
    pub fn of(
        method: &[u8],
        path: &[u8],
        fields: Fields,
        is_over: bool,
        keyed: &[String],
    ) -> Result<Self, Bypass> {
        match Self::bypass(method, path, &fields, is_over, keyed) {
            Some(why) => Err(why),
            None => Ok(Self::new(method, fields)),
        }
    }

    /// Why the cache has to keep out of a request, if so.
    #[must_use]
    pub fn bypass(
        method: &[u8],
        path: &[u8],
        fields: &Fields,
        is_over: bool,
        keyed: &[String],
    ) -> Option<Bypass> {
        if method != b"HEAD" && method != b"GET" {
            return Some(Bypass::Method);
        }
        if !is_over || fields.first("content-length").is_some_and(|length| length != b"0") {
            return Some(Bypass::Content);
        }
        if fields.has("upgrade") {
            return Some(Bypass::Upgrade);
        }
        if !is_unambiguous(path) {
            return Some(Bypass::Target);
        }
        let is_keyed = |name: &[u8]| keyed.iter().any(|of| of.as_bytes() == name);
        let is_bad = |(name, _): (&[u8], &[u8])| is_unkeyed(name) && !is_keyed(name);
        fields.iter().any(is_bad).then_some(Bypass::Unkeyed)
    }
}

/// Whether proxies and upstreams read a target alike: no control bytes, and in the path none that is escaped, nor
/// separators that are. Slashes were unescaped before, so what is left of them was meant otherwise. Some upstreams decode
/// a path twice, and some leave parameters of segments aside and take `..;a` for `..`.
fn is_unambiguous(target: &[u8]) -> bool {
    let path = path::without_query(target);
    let is_bad = |escape: &[u8]| {
        let escape = escape.to_ascii_lowercase();
        matches!(escape.as_slice(), b"%2f" | b"%5c" | b"%7f")
            || escape.starts_with(b"%0")
            || escape.starts_with(b"%1")
    };
    let is_twice = |text: &[u8]| matches!(text, [b'%', b'2', b'5', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit());
    let is_dotted = |segment: &[u8]| {
        let rest = segment.strip_prefix(b"..").or_else(|| segment.strip_prefix(b"."));
        rest.is_some_and(|rest| matches!(rest.first(), Some(b';' | b'%')))
    };
    let has_end = target.windows(3).any(|window| window == b"%00");
    !target.iter().any(u8::is_ascii_control)
        && !has_end
        && !path.contains(&b'\\')
        && !path.windows(3).any(is_bad)
        && !path.windows(5).any(is_twice)
        && !path.split(|byte| *byte == b'/').any(is_dotted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        is_over: bool,
    ) -> Result<Request, Bypass> {
        let fields = fields.iter().copied().collect();
        Request::of(method.as_bytes(), path.as_bytes(), fields, is_over, &["x-host".to_owned()])
    }

    #[test]
    fn get_and_head_without_content_may_be_answered() {
        assert!(!of("GET", "/", &[], true).unwrap().is_head);
        assert!(of("HEAD", "/a?b=%2F", &[("content-length", "0")], true).unwrap().is_head);
        assert!(of("GET", "/", &[("cookie", "a=b"), ("x-host", "keyed")], true).is_ok());
        for path in
            ["/a;b=c/d", "/.well-known/a", "/..a", "/a.;b", "/100%25", "/a%25b", "/a?b=%252F/..;"]
        {
            assert!(of("GET", path, &[], true).is_ok(), "{path}");
        }
    }

    #[test]
    fn anything_else_goes_past() {
        for (method, path, fields, is_over, expected) in [
            ("POST", "/", None, true, Bypass::Method),
            ("get", "/", None, true, Bypass::Method),
            ("QUERY", "/", None, true, Bypass::Method),
            ("GET", "/", None, false, Bypass::Content),
            ("GET", "/", Some(("content-length", "5")), true, Bypass::Content),
            ("GET", "/", Some(("upgrade", "websocket")), true, Bypass::Upgrade),
            ("GET", "/a%00.css", None, true, Bypass::Target),
            ("GET", "/a?%00", None, true, Bypass::Target),
            ("GET", "/a%2fb", None, true, Bypass::Target),
            ("GET", "/a%5Cb", None, true, Bypass::Target),
            ("GET", "/a\\b", None, true, Bypass::Target),
            ("GET", "/a%0d%0ab", None, true, Bypass::Target),
            ("GET", "/a\x01b", None, true, Bypass::Target),
            ("GET", "/a/..;b/c", None, true, Bypass::Target),
            ("GET", "/a/.;/c", None, true, Bypass::Target),
            ("GET", "/a/..%3B/c", None, true, Bypass::Target),
            ("GET", "/a/..%252Fc", None, true, Bypass::Target),
            ("GET", "/a/%252e%252E/c", None, true, Bypass::Target),
            ("GET", "/", Some(("x-forwarded-host", "evil")), true, Bypass::Unkeyed),
            ("GET", "/", Some(("x-original-url", "/admin")), true, Bypass::Unkeyed),
            ("GET", "/", Some(("x_forwarded_host", "evil")), true, Bypass::Unkeyed),
            ("GET", "/", Some(("x_host", "as keyed, perhaps")), true, Bypass::Unkeyed),
        ] {
            let fields: Vec<_> = fields.into_iter().collect();
            assert_eq!(
                of(method, path, &fields, is_over),
                Err(expected),
                "{method} {path:?} {fields:?}"
            );
        }
    }
}
