//! Groups of stored responses that are invalidated together: `Cache-Groups` (RFC 9875), and what came before it under
//! the names of surrogate keys and tags.

use sfv::{List, ListEntry, Parser};

use super::fields::Fields;

/// Most groups of one response; further ones do not count.
pub const MOST_GROUPS: usize = 128;

/// Longest name of a group in bytes; longer ones do not count.
pub const LONGEST_NAME_BYTES: usize = 1024;

/// Fields that are for the cache in front of the origin alone, so that clients do not see them. `Cache-Groups` is for
/// every cache on the way.
pub const HIDDEN: [&str; 3] = ["surrogate-key", "cache-tag", "xkey"];

/// A group of responses.
///
/// Those of `Cache-Groups` belong to an origin; the others to all that share the cache.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Group(Vec<u8>);

impl Group {
    /// One of those that all share.
    #[must_use]
    pub fn shared(name: &[u8]) -> Self {
        Self([b"t:", name].concat())
    }

    /// One of an origin ([`super::key::origin`]).
    #[must_use]
    pub fn of_origin(origin: &[u8], name: &[u8]) -> Self {
        Self([b"g:", origin, b"\n", name].concat())
    }

    /// What it is called among all groups.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The groups that a response of this origin is in: each once.
#[must_use]
pub fn groups(fields: &Fields, origin: &[u8]) -> Vec<Group> {
    let spaced = ["surrogate-key", "xkey"].into_iter().flat_map(|name| fields.lines(name));
    let spaced = spaced.flat_map(|line| line.split(u8::is_ascii_whitespace));
    let shared = spaced.chain(fields.members("cache-tag")).filter(|name| fits(name));
    let mut groups: Vec<_> = shared.take(MOST_GROUPS).map(Group::shared).collect();
    groups.extend(listed(fields, "cache-groups", origin));
    groups.sort_unstable();
    groups.dedup();
    groups.truncate(MOST_GROUPS);
    groups
}

/// The groups that the response to an unsafe request makes invalid (RFC 9875 §3).
#[must_use]
pub fn invalidated(fields: &Fields, origin: &[u8]) -> Vec<Group> {
    listed(fields, "cache-group-invalidation", origin)
}

/// A list of strings (RFC 9875 §2.1); one that is not that has none.
fn listed(fields: &Fields, name: &str, origin: &[u8]) -> Vec<Group> {
    let Some(text) = fields.joined(name) else { return Vec::new() };
    let Ok(list) = Parser::new(&text).parse::<List>() else { return Vec::new() };
    let string = |entry: &ListEntry| match entry {
        ListEntry::Item(item) => Some(item.bare_item.as_string()?.as_str().as_bytes().to_vec()),
        ListEntry::InnerList(_) => None,
    };
    let names: Option<Vec<_>> = list.iter().map(string).collect();
    let names = names.unwrap_or_default();
    let fitting = names.iter().filter(|name| fits(name)).take(MOST_GROUPS);
    fitting.map(|name| Group::of_origin(origin, name)).collect()
}

const fn fits(name: &[u8]) -> bool {
    !name.is_empty() && name.len() <= LONGEST_NAME_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &[u8] = b"http\nexample.com";

    fn of(lines: &[(&str, &str)]) -> Vec<Group> {
        groups(&lines.iter().copied().collect(), ORIGIN)
    }

    #[test]
    fn all_ways_to_name_them_are_read() {
        let all = of(&[
            ("surrogate-key", "a  b"),
            ("xkey", "c"),
            ("cache-tag", "d, e f,"),
            ("cache-tag", "a"),
            ("cache-groups", "\"g\", \"h\";x=1"),
        ]);
        let shared = ["a", "b", "c", "d", "e f"].map(|name| Group::shared(name.as_bytes()));
        let mut expected = shared.to_vec();
        expected.extend(["g", "h"].map(|name| Group::of_origin(ORIGIN, name.as_bytes())));
        expected.sort();
        assert_eq!(all, expected);
    }

    #[test]
    fn a_list_that_is_none_has_none() {
        for text in ["a", "\"a\", b", "\"a", "(\"a\")", "1"] {
            assert_eq!(of(&[("cache-groups", text)]), [], "{text}");
        }
    }

    #[test]
    fn they_have_bounds() {
        let many = (0..1000).map(|number| format!("n{number}")).collect::<Vec<_>>().join(" ");
        assert_eq!(of(&[("surrogate-key", &many)]).len(), MOST_GROUPS);
        for (length, count) in [(LONGEST_NAME_BYTES, 1), (LONGEST_NAME_BYTES + 1, 0)] {
            assert_eq!(of(&[("surrogate-key", &"x".repeat(length))]).len(), count);
        }
    }

    #[test]
    fn those_of_one_origin_are_not_those_of_another() {
        let fields = [("cache-group-invalidation", "\"a\"")].into_iter().collect();
        assert_eq!(invalidated(&fields, ORIGIN), [Group::of_origin(ORIGIN, b"a")]);
        assert_ne!(invalidated(&fields, b"http\nother.example"), invalidated(&fields, ORIGIN));
        assert_ne!(Group::shared(b"a"), Group::of_origin(ORIGIN, b"a"));
    }
}
