//! Header fields as they came: several lines of one name, in their order, with values in no particular encoding.
//!
//! All text is in one piece, and lines say where in it they are: a header is read, copied and dropped for each request, by
//! two allocations instead of two for each line.

use std::fmt;
use std::ops::Range;

use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Header fields: names in lower case, and values.
#[derive(Clone, Default)]
pub struct Fields {
    text: Vec<u8>,
    lines: Vec<Line>,
}

/// Where a line is in the text.
#[derive(Clone)]
struct Line {
    name: Range<usize>,
    value: Range<usize>,
}

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
    /// Of a text in which somebody has found lines, with names in lower case.
    #[must_use]
    pub fn in_text(
        text: Vec<u8>,
        lines: impl IntoIterator<Item = (Range<usize>, Range<usize>)>,
    ) -> Self {
        let line = |(name, value)| Line { name, value };
        Self { text, lines: lines.into_iter().map(line).collect() }
    }

    /// Adds a line behind all others.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(name);
        let middle = self.text.len();
        self.text.extend_from_slice(value);
        if let Some(name) = self.text.get_mut(start..middle) {
            name.make_ascii_lowercase();
        }
        self.lines.push(Line { name: start..middle, value: middle..self.text.len() });
    }

    /// Puts one line in the place of all that have this name.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        self.remove(name.as_bytes());
        self.push(name.as_bytes(), value);
    }

    /// Takes out all lines of this name.
    pub fn remove(&mut self, name: &[u8]) {
        self.retain(|of| of != name);
    }

    /// Keeps the lines of these names.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8]) -> bool) {
        let text = &self.text;
        self.lines.retain(|line| keep(text.get(line.name.clone()).unwrap_or_default()));
    }

    /// All lines.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        let part = |range: &Range<usize>| self.text.get(range.clone()).unwrap_or_default();
        self.lines.iter().map(move |line| (part(&line.name), part(&line.value)))
    }

    /// How many lines there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is no line.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The values of all lines of this name.
    pub fn lines(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.iter().filter(move |(of, _)| *of == name.as_bytes()).map(|(_, value)| value)
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

    /// The list of this name with a space behind each comma, if it is not written so: a proxy that joins lines may leave
    /// it out, and some that read them want one.
    #[must_use]
    pub fn spaced(&self, name: &str) -> Option<Vec<u8>> {
        let value = self.first(name).filter(|value| value.contains(&b','))?;
        let spaced = self.members(name).collect::<Vec<_>>().join(&b", "[..]);
        (spaced != value).then_some(spaced)
    }

    /// Writes it so: what is stored is sent like what goes on.
    pub fn space(&mut self, name: &str) {
        if let Some(spaced) = self.spaced(name) {
            self.set(name, &spaced);
        }
    }

    /// How much there is, in bytes, with what separates it.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let size = |(name, value): (&[u8], &[u8])| {
            name.len().saturating_add(value.len()).saturating_add(SEPARATORS_BYTES)
        };
        self.iter().map(size).fold(0, usize::saturating_add)
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

/// Two are the same if their lines are, wherever those lie.
impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Fields {}

impl fmt::Debug for Fields {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        formatter
            .debug_list()
            .entries(self.iter().map(|(name, value)| (text(name), text(value))))
            .finish()
    }
}

/// As a list of pairs: nothing of lines that were taken out is written.
impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.len()))?;
        for line in self.iter() {
            list.serialize_element(&line)?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lines;

        impl<'de> Visitor<'de> for Lines {
            type Value = Fields;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("names and values")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::default();
                while let Some((name, value)) = list.next_element::<(&[u8], &[u8])>()? {
                    fields.push(name, value);
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_seq(Lines)
    }
}

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

    #[test]
    fn lists_are_spaced_where_they_are_not() {
        for (value, expected) in
            [("a", None), ("a, b", None), ("a,b=\"c,d\", e", Some("a, b=\"c,d\", e"))]
        {
            let mut fields: Fields = [("x", value)].into_iter().collect();
            assert_eq!(fields.spaced("x"), expected.map(Into::into));
            fields.space("x");
            assert_eq!(fields.first("x"), Some(expected.unwrap_or(value).as_bytes()));
        }
    }

    #[test]
    fn what_was_taken_out_is_not_written() {
        let mut fields: Fields = [("a", "secret"), ("b", "2")].into_iter().collect();
        fields.remove(b"a");
        let written = postcard::to_allocvec(&fields).unwrap();
        assert!(!written.windows(6).any(|window| window == b"secret"));
        assert_eq!(postcard::from_bytes::<Fields>(&written).unwrap(), fields);
        assert_eq!(
            postcard::to_allocvec(&[(b"b".to_vec(), b"2".to_vec())].to_vec()).unwrap(),
            written
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
