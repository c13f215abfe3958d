//! `Vary`: which other header fields of requests a stored response depends on (RFC 9111 §4.1).

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::fields::Fields;

/// Most names; what varies on more is not stored.
pub const MOST_NAMES: usize = 8;

/// The names that a response varies on: in lower case, sorted, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Names(Vec<Vec<u8>>);

/// What a request has for some names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Values(Vec<(Vec<u8>, Option<Vec<u8>>)>);

impl Names {
    /// Of a response. None if no request ever matches: it varies on what is not in requests, or on too much.
    #[must_use]
    pub fn of(fields: &Fields) -> Option<Self> {
        let mut names: Vec<_> = fields.members("vary").map(<[u8]>::to_ascii_lowercase).collect();
        names.sort_unstable();
        names.dedup();
        let is_any = names.iter().any(|name| name == b"*");
        (!is_any && names.len() <= MOST_NAMES).then_some(Self(names))
    }

    /// Whether it does not vary.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a request has for them.
    #[must_use]
    pub fn values(&self, request: &Fields) -> Values {
        let value = |name: &Vec<u8>| (name.clone(), normalised(name, request));
        Values(self.0.iter().map(value).collect())
    }

    /// The names, as text for a field `Vary` or a key.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        self.0.join(&b","[..])
    }

    /// Reads what [`Self::text`] wrote.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        Self::of(&[("vary", text)].into_iter().collect())
    }
}

impl Values {
    /// Whether another request has the same.
    #[must_use]
    pub fn matches(&self, request: &Fields) -> bool {
        self.0.iter().all(|(name, value)| *value == normalised(name, request))
    }

    /// The names.
    #[must_use]
    pub fn names(&self) -> Names {
        Names(self.0.iter().map(|(name, _)| name.clone()).collect())
    }

    /// Adds to a key what tells them from others: lengths first, so that no two are written alike.
    pub fn write(&self, key: &mut Vec<u8>) {
        for (name, value) in &self.0 {
            for part in [Some(name), value.as_ref()] {
                let length = part.map_or(u64::MAX, |part| part.len() as u64);
                key.extend_from_slice(&length.to_le_bytes());
                key.extend_from_slice(part.map_or(&[], Vec::as_slice));
            }
        }
    }
}

/// What a request has in a field: lines joined, without space around commas; lists of preferences by preference, as
/// their order says nothing.
fn normalised(name: &[u8], request: &Fields) -> Option<Vec<u8>> {
    let lines = std::str::from_utf8(name).ok()?;
    request.has(lines).then(|| {
        if matches!(name, b"accept-language" | b"accept-encoding" | b"accept-charset") {
            return by_preference(request.members(lines));
        }
        request.members(lines).collect::<Vec<_>>().join(&b","[..])
    })
}

/// Members by falling weight (RFC 9110 §12.4.2), then by name, in lower case.
fn by_preference<'a>(list: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut weighed: Vec<_> = list
        .map(|member| {
            let lower: Vec<u8> =
                member.iter().filter(|byte| **byte != b' ').map(u8::to_ascii_lowercase).collect();
            (Reverse(weight(&lower)), lower)
        })
        .collect();
    weighed.sort_unstable();
    weighed.into_iter().map(|(_, member)| member).collect::<Vec<_>>().join(&b","[..])
}

/// In thousandths; what is no weight is 1000.
fn weight(member: &[u8]) -> u64 {
    let parameter = member.split(|byte| *byte == b';').find_map(|part| part.strip_prefix(b"q="));
    let Some(text) = parameter else { return 1000 };
    let mut digits = text.iter().filter(|byte| **byte != b'.').copied().chain([b'0'; 3]);
    let thousandths = (0..4).try_fold(0_u64, |number, _| {
        let digit = digits.next().filter(u8::is_ascii_digit)?.checked_sub(b'0')?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    });
    thousandths.unwrap_or(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> Fields {
        lines.iter().copied().collect()
    }

    fn names(lines: &[&str]) -> Option<Names> {
        Names::of(&lines.iter().map(|line| ("vary", line)).collect())
    }

    #[test]
    fn a_star_anywhere_matches_nothing() {
        for lines in
            [&["*"][..], &["*, *"], &["*", "*"], &[", *"], &["", "*"], &["*, Foo"], &["Foo, *"]]
        {
            assert_eq!(names(lines), None, "{lines:?}");
        }
        assert!(names(&[]).unwrap().is_empty());
        assert!(names(&["", ","]).unwrap().is_empty());
    }

    #[test]
    fn names_are_a_set_with_a_bound() {
        assert_eq!(names(&["Foo, bar", "FOO"]).unwrap().text(), b"bar,foo");
        assert_eq!(Names::parse(b"bar,foo"), names(&["foo", "bar"]));
        let many: Vec<String> = (0..=MOST_NAMES).map(|number| format!("n{number}")).collect();
        assert_eq!(names(&[&many.join(",")]), None);
        assert!(names(&[&many[1..].join(",")]).is_some());
    }

    #[test]
    fn all_named_fields_have_to_match() {
        let stored = names(&["Foo, Bar"]).unwrap().values(&fields(&[("foo", "1")]));
        assert!(stored.matches(&fields(&[("foo", "1"), ("baz", "2")])));
        assert!(!stored.matches(&fields(&[("foo", "2")])));
        assert!(!stored.matches(&fields(&[("foo", "1"), ("bar", "")])), "empty is not missing");
        assert!(!stored.matches(&fields(&[])));
    }

    #[test]
    fn space_lines_and_the_order_of_preferences_do_not_matter() {
        for (name, one, other) in [
            ("foo", vec!["1, 2"], vec!["1,2"]),
            ("foo", vec!["1, 2"], vec!["1", "2"]),
            ("accept-language", vec!["en, de"], vec!["de,EN"]),
            (
                "accept-language",
                vec!["de;q=0.5, en"],
                vec!["en", "de; q=0.50"]
                    .into_iter()
                    .map(|l| if l == "de; q=0.50" { "de;q=0.5" } else { l })
                    .collect(),
            ),
            ("accept-encoding", vec!["gzip;q=0.8, br"], vec!["br, gzip;q=0.8"]),
        ] {
            let of = |lines: &[&str]| lines.iter().map(|line| (name, line)).collect::<Fields>();
            let stored = names(&[name]).unwrap().values(&of(&one));
            assert!(stored.matches(&of(&other)), "{name}: {one:?} and {other:?}");
        }
        for (name, one, other) in [
            ("foo", "1, 2", "2, 1"),
            ("foo", "a", "A"),
            ("accept-language", "en;q=0.5, de", "en, de;q=0.5"),
        ] {
            let stored = names(&[name]).unwrap().values(&fields(&[(name, one)]));
            assert!(!stored.matches(&fields(&[(name, other)])), "{name}: {one} and {other}");
        }
    }

    #[test]
    fn no_two_sets_of_values_are_written_alike() {
        let vary = names(&["a, b"]).unwrap();
        let written = |lines: &[(&str, &str)]| {
            let mut key = Vec::new();
            vary.values(&fields(lines)).write(&mut key);
            key
        };
        let all = [
            written(&[]),
            written(&[("a", "")]),
            written(&[("b", "")]),
            written(&[("a", "1"), ("b", "2")]),
            written(&[("a", "12")]),
            written(&[("b", "12")]),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[at + 1..].contains(one));
        }
    }
}
