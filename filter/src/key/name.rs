//! What a key is called in Redis: a prefix, and the id.
//!
//! The id is the parts of the key with `|` between them, each written so that no two lists of as many parts share an
//! id. A missing part is `!missing`, an empty one is empty. Ids of more than 96 bytes are replaced by their digest, so
//! parts may have any length: what a client sends decides neither how long a key in Redis is nor who else is counted
//! on it.

use sha2::{Digest, Sha256};

/// Longest readable id in bytes. A longer one, which a client can make as long as a request's head may be, is replaced
/// by its digest.
pub(super) const READABLE_ID_BYTES: usize = 96;

/// Bytes of the SHA-256 digest that stand for a long id: who looks for an id of the same digest as another client's
/// has 2^128 to try.
const DIGEST_BYTES: usize = 16;

/// What stands for a part that the request does not have. No present part is written like this: `!` is escaped there.
const MISSING: &[u8] = b"!missing";

/// Between the parts of an id; escaped inside them.
const SEPARATOR: u8 = b'|';

/// The name that begins with `prefix` and has these parts.
#[must_use]
pub fn name(prefix: &[u8], parts: &[Option<&[u8]>]) -> Vec<u8> {
    let mut name = Name::new(prefix);
    parts.iter().for_each(|part| name.push(*part));
    name.finish()
}

/// A name in the making.
pub(super) struct Name {
    bytes: Vec<u8>,
    prefix_bytes: usize,
    is_first: bool,
}

impl Name {
    /// A name that begins with `prefix` and has no parts yet.
    pub(super) fn new(prefix: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(prefix.len() + READABLE_ID_BYTES);
        bytes.extend_from_slice(prefix);
        Self { bytes, prefix_bytes: prefix.len(), is_first: true }
    }

    /// Appends a part: all but the characters that are usual in addresses, names and paths is percent-encoded.
    pub(super) fn push(&mut self, part: Option<&[u8]>) {
        if !std::mem::replace(&mut self.is_first, false) {
            self.bytes.push(SEPARATOR);
        }
        let Some(part) = part else {
            self.bytes.extend_from_slice(MISSING);
            return;
        };
        if part.iter().all(is_usual) {
            self.bytes.extend_from_slice(part);
            return;
        }
        for byte in part {
            if is_usual(byte) {
                self.bytes.push(*byte);
            } else {
                self.bytes.push(b'%');
                push_hex(&mut self.bytes, *byte);
            }
        }
    }

    /// The whole name, with a digest for an id that is too long to be read.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let id = self.bytes.get(self.prefix_bytes..).unwrap_or_default();
        if id.len() > READABLE_ID_BYTES {
            let digest = Sha256::digest(id);
            self.bytes.truncate(self.prefix_bytes);
            // No readable id holds this character.
            self.bytes.push(b'#');
            digest.iter().take(DIGEST_BYTES).for_each(|byte| push_hex(&mut self.bytes, *byte));
        }
        self.bytes
    }
}

const fn is_usual(byte: &u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-'..=b'/' | b':' | b'_' | b'~')
}

fn push_hex(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for nibble in [byte >> 4, byte & 15] {
        out.push(DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0'));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(parts: &[Option<Vec<u8>>]) -> Vec<u8> {
        let parts: Vec<_> = parts.iter().map(Option::as_deref).collect();
        super::name(b"prefix:", &parts)
    }

    fn id(parts: &[Option<&str>]) -> String {
        let parts: Vec<_> = parts.iter().map(|part| part.map(|text| text.into())).collect();
        String::from_utf8(name(&parts)).unwrap().strip_prefix("prefix:").unwrap().to_owned()
    }

    #[test]
    fn ids_can_be_read() {
        assert_eq!(id(&[]), "");
        assert_eq!(id(&[Some("192.0.2.1"), Some("/items/1")]), "192.0.2.1|/items/1");
        assert_eq!(id(&[Some("2001:db8::/64"), Some("a b|c")]), "2001:db8::/64|a%20b%7cc");
        assert_eq!(id(&[Some(""), None, Some("!missing")]), "|!missing|%21missing");
        assert_eq!(id(&[Some("é\0")]), "%c3%a9%00");
    }

    #[test]
    fn a_long_id_is_a_digest() {
        let longest = "a".repeat(READABLE_ID_BYTES);
        assert_eq!(id(&[Some(&longest)]), longest);
        // The first half of what `sha256sum` says of 97 times `a`.
        assert_eq!(id(&[Some(&format!("{longest}a"))]), "#2a2c60fe96afac9151d4bd932fdb45be");
        assert_eq!(id(&[Some(&"a".repeat(1_000_000))]).len(), 33);
    }

    /// Parts that are likely to be mistaken for one another.
    fn part() -> impl Strategy<Value = Option<Vec<u8>>> {
        prop_oneof![
            Just(None),
            Just(Some(Vec::new())),
            Just(Some(b"!missing".to_vec())),
            Just(Some(b"%21missing".to_vec())),
            proptest::collection::vec(proptest::sample::select(b"ab|%!#27c1".as_slice()), 0..4)
                .prop_map(Some),
            proptest::collection::vec(any::<u8>(), 0..4).prop_map(Some),
            (90_usize..100, any::<bool>()).prop_map(|(length, b)| {
                Some([vec![b'a'; length], vec![if b { b'b' } else { b'a' }]].concat())
            }),
        ]
    }

    /// What [`Name::push`] has made of each part, read back: no two lists can have been written alike.
    fn parts_of(id: &[u8]) -> Vec<Option<Vec<u8>>> {
        let part = |text: &[u8]| {
            if text == MISSING {
                return None;
            }
            let (mut bytes, mut rest) = (Vec::new(), text);
            while let [first, after @ ..] = rest {
                if *first == b'%' {
                    let digits = std::str::from_utf8(&after[..2]).unwrap();
                    bytes.push(u8::from_str_radix(digits, 16).unwrap());
                    rest = &after[2..];
                } else {
                    bytes.push(*first);
                    rest = after;
                }
            }
            Some(bytes)
        };
        id.split(|byte| *byte == SEPARATOR).map(part).collect()
    }

    proptest! {
        #[test]
        fn different_lists_of_as_many_parts_have_different_names(
            pairs in proptest::collection::vec((part(), part()), 1..4)
        ) {
            let (a, b): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            prop_assert_eq!(name(&a) == name(&b), a == b);
        }

        #[test]
        fn a_readable_name_can_be_read_back(
            parts in proptest::collection::vec(part(), 1..4)
        ) {
            let name = name(&parts);
            let id = name.strip_prefix(b"prefix:").unwrap();
            prop_assert!(id.len() <= READABLE_ID_BYTES);
            if !id.starts_with(b"#") {
                prop_assert_eq!(parts_of(id), parts);
            }
        }
    }
}
