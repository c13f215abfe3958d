//! Header fields as they came: several lines of one name, in their order, with values in no particular encoding.

use serde::{Deserialize, Serialize};

/// Header fields: names in lower case, and values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fields(Vec<(Vec<u8>, Vec<u8>)>);

/// Fields that are about one connection, whatever it says of them (RFC 9110 §7.6.1, RFC 9111 §3.1).
const OF_CONNECTION: [&[u8]; 11] = [
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authentication-info",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"http2-settings",
];

impl Fields {
    /// Adds a line behind all others.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.0.push((name.to_ascii_lowercase(), value.to_vec()));
    }

    /// Puts one line in the place of all that have this name.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        self.remove(name.as_bytes());
        self.push(name.as_bytes(), value);
    }

    /// Takes out all lines of this name.
    pub fn remove(&mut self, name: &[u8]) {
        self.0.retain(|(of, _)| of != name);
    }

    /// Keeps the lines of these names.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8]) -> bool) {
        self.0.retain(|(name, _)| keep(name));
    }

    /// All lines.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// The values of all lines of this name.
    pub fn lines(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let of = move |(of, _): &&(Vec<u8>, Vec<u8>)| of == name.as_bytes();
        self.0.iter().filter(of).map(|(_, value)| value.as_slice())
    }

    /// The value of the first line of this name.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.lines(name).next()
    }

    /// Whether there is a line of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.first(name).is_some()
    }

    /// The members of a list over all lines of this name, without the space around them and without empty ones
    /// (RFC 9110 §5.6.1).
    pub fn members(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.lines(name).flat_map(members)
    }

    /// The lines of this name as one value (RFC 9110 §5.3).
    #[must_use]
    pub fn joined(&self, name: &str) -> Option<Vec<u8>> {
        self.has(name).then(|| self.lines(name).collect::<Vec<_>>().join(&b", "[..]))
    }

    /// How much there is, in bytes, with what separates it.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let size = |(name, value): &(Vec<u8>, Vec<u8>)| {
            name.len().saturating_add(value.len()).saturating_add(SEPARATORS_BYTES)
        };
        self.0.iter().map(size).fold(0, usize::saturating_add)
    }

    /// Takes out what is about the connection that they came by (RFC 9111 §3.1).
    pub fn leave_connection(&mut self) {
        let listed: Vec<Vec<u8>> =
            self.members("connection").map(<[u8]>::to_ascii_lowercase).collect();
        self.retain(|name| !OF_CONNECTION.contains(&name) && !listed.iter().any(|of| of == name));
    }
}

/// `: ` and the end of the line.
const SEPARATORS_BYTES: usize = 4;

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(lines: I) -> Self {
        let mut fields = Self::default();
        lines.into_iter().for_each(|(name, value)| fields.push(name.as_ref(), value.as_ref()));
        fields
    }
}

/// The members of a list in one line: a comma in a quoted string does not separate (RFC 9110 §5.6.4).
pub fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let text = rest?;
        let at = end_of_member(text);
        rest = text.get(at.saturating_add(1)..).filter(|_| at < text.len());
        Some(text.get(..at).unwrap_or_default().trim_ascii())
    })
    .filter(|member| !member.is_empty())
}

/// Where the first member of a list ends. A quoted string without an end lasts until that of the line.
fn end_of_member(text: &[u8]) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    let ends = |byte: &u8| {
        let ends = *byte == b',' && !quoted;
        if escaped {
            escaped = false;
        } else if *byte == b'\\' && quoted {
            escaped = true;
        } else if *byte == b'"' {
            quoted = !quoted;
        }
        ends
    };
    text.iter().position(ends).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(line: &str) -> Vec<&str> {
        members(line.as_bytes()).map(|member| std::str::from_utf8(member).unwrap()).collect()
    }

    #[test]
    fn a_list_is_split_outside_of_quoted_strings() {
        assert_eq!(list("a, b ,c"), ["a", "b", "c"]);
        assert_eq!(list(" ,, a,\t,"), ["a"]);
        assert_eq!(list(r#"a="b, c", d"#), [r#"a="b, c""#, "d"]);
        assert_eq!(list(r#"a="b\", c", d"#), [r#"a="b\", c""#, "d"]);
        assert_eq!(list(r#"a="b, c"#), [r#"a="b, c"#]);
        assert_eq!(list(""), [""; 0]);
    }

    #[test]
    fn lines_of_one_name_stay_apart_and_in_order() {
        let mut fields: Fields =
            [("Set-Cookie", "a=1"), ("Link", "<a>"), ("set-cookie", "b=2")].into_iter().collect();
        assert_eq!(fields.lines("set-cookie").collect::<Vec<_>>(), [b"a=1", b"b=2"]);
        assert_eq!(fields.joined("set-cookie"), Some(b"a=1, b=2".to_vec()));
        assert_eq!(fields.joined("age"), None);
        fields.set("set-cookie", b"c=3");
        assert_eq!(
            fields.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            [&b"link"[..], b"set-cookie"]
        );
    }

    /// RFC 9111 §3.1, RFC 9110 §7.6.1.
    #[test]
    fn what_is_about_the_connection_stays_behind() {
        let mut fields: Fields = [
            ("connection", "A, b"),
            ("a", "1"),
            ("b", "2"),
            ("c", "3"),
            ("transfer-encoding", "chunked"),
            ("proxy-authenticate", "Basic"),
            ("keep-alive", "5"),
            ("set-cookie", "x=y"),
        ]
        .into_iter()
        .collect();
        fields.leave_connection();
        let left: Vec<_> = fields.iter().map(|(name, _)| name).collect();
        assert_eq!(left, [&b"c"[..], b"set-cookie"]);
    }
}
