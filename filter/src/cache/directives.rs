//! `Cache-Control` (RFC 9111 §5.2, RFC 5861, RFC 8246).
//!
//! Names in any letter case, values as tokens or quoted strings, unknown directives ignored. Of a directive that comes
//! twice the first counts, but one that forbids more always does.

use super::fields::Fields;

/// What a response says to caches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// For how many seconds it is fresh; 0 if that is no number.
    pub max_age: Option<u64>,
    /// The same for caches that are shared.
    pub s_maxage: Option<u64>,
    /// It must not be stored.
    pub no_store: bool,
    /// It must not be used again without validation, or these fields of it must not.
    pub no_cache: Extent,
    /// It, or these fields of it, are for one user.
    pub private: Extent,
    /// It may be stored although something else forbids it.
    pub public: bool,
    /// Once stale it must not be used again without validation.
    pub must_revalidate: bool,
    /// The same for caches that are shared.
    pub proxy_revalidate: bool,
    /// It may be stored if the requirements of its status are understood, and only then.
    pub must_understand: bool,
    /// For how many seconds it may be used while it is validated.
    pub stale_while_revalidate: Option<u64>,
    /// For how many seconds it may be used when the upstream fails.
    pub stale_if_error: Option<u64>,
}

/// What a directive is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    /// Nothing: it is not there.
    #[default]
    Nothing,
    /// These fields.
    Fields(Vec<Vec<u8>>),
    /// The whole response.
    Whole,
}

/// What a request says to caches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The greatest age that a stored response may have.
    pub max_age: Option<u64>,
    /// For how long it has to stay fresh.
    pub min_fresh: Option<u64>,
    /// For how long it may have been stale.
    pub max_stale: Option<u64>,
    /// It must not be used without validation.
    pub no_cache: bool,
    /// Nothing of this is to be stored.
    pub no_store: bool,
    /// The upstream is not to be asked.
    pub only_if_cached: bool,
}

impl Response {
    /// Reads the field `Cache-Control`.
    #[must_use]
    pub fn of(fields: &Fields) -> Self {
        let mut directives = Self::default();
        for (name, value) in fields.members("cache-control").filter_map(split) {
            directives.note(&name, value.as_deref());
        }
        directives
    }

    /// Takes a directive in.
    pub(super) fn note(&mut self, name: &[u8], value: Option<&[u8]>) {
        let delta = || Some(value.and_then(delta_seconds).unwrap_or_default());
        match name {
            b"max-age" => self.max_age = self.max_age.or_else(delta),
            b"s-maxage" => self.s_maxage = self.s_maxage.or_else(delta),
            b"stale-while-revalidate" => {
                self.stale_while_revalidate = self.stale_while_revalidate.or_else(delta);
            }
            b"stale-if-error" => self.stale_if_error = self.stale_if_error.or_else(delta),
            b"no-cache" => self.no_cache.extend(value),
            b"private" => self.private.extend(value),
            b"no-store" => self.no_store = true,
            b"public" => self.public = true,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" => self.must_understand = true,
            _ => {}
        }
    }

    /// Whether it forbids all use once it is stale (RFC 9111 §4.2.4).
    #[must_use]
    pub fn forbids_stale(&self) -> bool {
        self.must_revalidate
            || self.proxy_revalidate
            || self.s_maxage.is_some()
            || self.no_cache == Extent::Whole
    }
}

impl Extent {
    fn extend(&mut self, names: Option<&[u8]>) {
        let Some(names) = names else {
            *self = Self::Whole;
            return;
        };
        let names = super::fields::members(names).map(<[u8]>::to_ascii_lowercase);
        match self {
            Self::Whole => {}
            Self::Fields(fields) => fields.extend(names),
            Self::Nothing => *self = Self::Fields(names.collect()),
        }
    }

    /// The fields that it is about.
    #[must_use]
    pub fn fields(&self) -> &[Vec<u8>] {
        match self {
            Self::Fields(fields) => fields,
            Self::Nothing | Self::Whole => &[],
        }
    }
}

impl Request {
    /// Reads the fields `Cache-Control` and, without that, `Pragma` (RFC 9111 §5.4).
    #[must_use]
    pub fn of(fields: &Fields) -> Self {
        let mut directives = Self::default();
        if !fields.has("cache-control") {
            directives.no_cache =
                fields.members("pragma").any(|member| member.eq_ignore_ascii_case(b"no-cache"));
        }
        for (name, value) in fields.members("cache-control").filter_map(split) {
            let delta = || Some(value.as_deref().and_then(delta_seconds).unwrap_or_default());
            match name.as_slice() {
                b"max-age" => directives.max_age = directives.max_age.or_else(delta),
                b"min-fresh" => directives.min_fresh = directives.min_fresh.or_else(delta),
                // Without a value: however stale it is.
                b"max-stale" if value.is_none() => directives.max_stale = Some(u64::MAX),
                b"max-stale" => directives.max_stale = directives.max_stale.or_else(delta),
                b"no-cache" => directives.no_cache = true,
                b"no-store" => directives.no_store = true,
                b"only-if-cached" => directives.only_if_cached = true,
                _ => {}
            }
        }
        directives
    }
}

/// A number of seconds: digits, and as many as there are (RFC 9111 §1.2.2).
#[must_use]
pub fn delta_seconds(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    is_number.then(|| {
        text.iter().fold(0_u64, |number, digit| {
            number.saturating_mul(10).saturating_add(u64::from(digit.saturating_sub(b'0')))
        })
    })
}

/// The name of a directive in lower case, and its value without quotes. None if it is no directive.
fn split(member: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let at = member.iter().position(|byte| *byte == b'=').unwrap_or(member.len());
    let name = member.get(..at)?;
    let is_token = !name.is_empty() && name.iter().all(|byte| is_token_byte(*byte));
    let value = member.get(at.checked_add(1)?..).map(unquoted);
    is_token.then(|| (name.to_ascii_lowercase(), value))
}

/// RFC 9110 §5.6.2.
const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// The text of a quoted string, or what else it is (RFC 9110 §5.6.4).
fn unquoted(value: &[u8]) -> Vec<u8> {
    let Some(inner) = value.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")) else {
        return value.to_vec();
    };
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        text.extend(if *byte == b'\\' { bytes.next() } else { Some(byte) });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(lines: &[&str]) -> Response {
        Response::of(&lines.iter().map(|line| ("cache-control", line)).collect())
    }

    fn request(line: &str) -> Request {
        Request::of(&[("cache-control", line)].into_iter().collect())
    }

    /// RFC 9111 §5.2, §1.2.2.
    #[test]
    fn a_number_of_seconds_is_digits() {
        for (text, seconds) in [
            ("max-age=3600", 3600),
            ("MaX-aGe=3600", 3600),
            ("max-age=\"3600\"", 3600),
            ("max-age=003600", 3600),
            ("max-age=2147483648", 2_147_483_648),
            ("max-age=99999999999999999999999", u64::MAX),
            ("foobar, max-age=7", 7),
            ("max-age=1800, max-age=1", 1800),
            ("extension=\"max-age=3600\", max-age=1", 1),
            ("max-age=1, extension=\"max-age=3600\"", 1),
            // Not a number: stale, and not unsaid.
            ("max-age", 0),
            ("max-age=", 0),
            ("max-age=-100", 0),
            ("max-age='3600'", 0),
            ("max-age=a100", 0),
            ("max-age=100a", 0),
            ("max-age=3600.0", 0),
            ("max-age= 3600", 0),
            ("max-age=\"3600", 0),
        ] {
            assert_eq!(response(&[text]).max_age, Some(seconds), "{text}");
        }
        for unsaid in [
            "",
            "max-age =3600",
            "x-max-age=1",
            "extension=\"max-age=3600\"",
            "=1",
            "\"max-age=1\"",
        ] {
            assert_eq!(response(&[unsaid]).max_age, None, "{unsaid}");
        }
    }

    #[test]
    fn all_lines_count() {
        let both = response(&["max-age=1", "No-StOrE, max-age=5"]);
        assert!(both.no_store);
        assert_eq!(both.max_age, Some(1));
        assert_eq!(response(&["max-age=1,s-maxage=2"]).s_maxage, Some(2));
    }

    #[test]
    fn some_directives_are_about_fields() {
        assert_eq!(
            response(&["no-cache=\"A, b\""]).no_cache,
            Extent::Fields(vec![b"a".to_vec(), b"b".to_vec()])
        );
        assert_eq!(
            response(&["no-cache=a, private"]).no_cache,
            Extent::Fields(vec![b"a".to_vec()])
        );
        for whole in ["no-cache", "no-cache=\"a\", no-cache", "no-cache, no-cache=\"a\""] {
            assert_eq!(response(&[whole]).no_cache, Extent::Whole, "{whole}");
        }
        assert_eq!(response(&["max-age=1"]).private, Extent::Nothing);
    }

    /// RFC 9111 §4.2.4.
    #[test]
    fn some_directives_forbid_stale_use() {
        for text in ["must-revalidate", "proxy-revalidate", "s-maxage=1", "no-cache"] {
            assert!(response(&[text]).forbids_stale(), "{text}");
        }
        for text in ["max-age=1", "no-cache=\"a\"", "public", "must-understand"] {
            assert!(!response(&[text]).forbids_stale(), "{text}");
        }
    }

    /// RFC 9111 §5.2.1.
    #[test]
    fn what_clients_say() {
        let all =
            request("max-age=1, min-fresh=2, max-stale=3, no-cache, no-store, only-if-cached");
        assert_eq!((all.max_age, all.min_fresh, all.max_stale), (Some(1), Some(2), Some(3)));
        assert!(all.no_cache && all.no_store && all.only_if_cached);
        assert_eq!(request("max-stale").max_stale, Some(u64::MAX));
        assert_eq!(request("max-stale=x").max_stale, Some(0));
        assert_eq!(request("stale-if-error=5"), Request::default());
    }

    /// RFC 9111 §5.4.
    #[test]
    fn pragma_counts_for_requests_without_cache_control() {
        let fields = |lines: &[(&str, &str)]| lines.iter().copied().collect::<Fields>();
        assert!(Request::of(&fields(&[("pragma", "foo, No-Cache")])).no_cache);
        assert!(
            !Request::of(&fields(&[("pragma", "no-cache"), ("cache-control", "max-age=1")]))
                .no_cache
        );
        assert_eq!(Response::of(&fields(&[("pragma", "no-cache")])), Response::default());
    }
}
