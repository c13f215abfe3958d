//! The query of a request target, as forms and most frameworks write and read it.

use super::path::{Piece, next_piece};

/// The value of the first parameter called `name` in the query of `target`.
///
/// Read as by the `application/x-www-form-urlencoded` parser (WHATWG URL standard, §5.1): `&` between parameters, the
/// first `=` between name and value (a parameter without one has an empty value), `+` is a space, and escapes are
/// decoded once; what is no valid escape stays. Unlike there the bytes are not read as UTF-8, so that values which
/// differ in invalid bytes stay different ones. `None` if there is no such parameter.
#[must_use]
pub fn first(target: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let (_, query) = split_once(target, b'?')?;
    let mut parameters = query.split(|byte| *byte == b'&').filter(|text| !text.is_empty());
    parameters.find_map(|parameter| {
        let (found, value) = split_once(parameter, b'=').unwrap_or((parameter, &[]));
        decoded(found).eq(name.iter().copied()).then(|| decoded(value).collect())
    })
}

fn split_once(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let mut halves = text.splitn(2, |byte| *byte == at);
    Some((halves.next()?, halves.next()?))
}

fn decoded(mut text: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let (piece, rest) = next_piece(text)?;
        text = rest;
        Some(match piece {
            Piece::Plain(b'+') => b' ',
            Piece::Plain(byte) | Piece::Escape(byte) => byte,
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(target: &str, name: &str) -> Option<String> {
        first(target.as_bytes(), name.as_bytes()).map(|value| String::from_utf8(value).unwrap())
    }

    #[test]
    fn the_first_of_the_name_counts() {
        for (target, expected) in [
            ("/a?k=1", Some("1")),
            ("/a?x=0&k=1&k=2", Some("1")),
            ("/a?&&k=1&", Some("1")),
            ("/a?k", Some("")),
            ("/a?k=", Some("")),
            ("/a?k&k=1", Some("")),
            ("/a?k=a=b", Some("a=b")),
            ("/a?%6b=1", Some("1")),
            ("/a?k=a+b%20c%2Bd", Some("a b c+d")),
            ("/a?k=%25%34%31", Some("%41")),
            ("/a?k=%4%zz%", Some("%4%zz%")),
            ("/a?k=1;k=2", Some("1;k=2")),
            ("/a?x?k=1&k=2?", Some("2?")),
            ("?k=1", Some("1")),
            ("/a?K=1&xk=2&kx=3&=k", None),
            ("/a?", None),
            ("/k=1", None),
            ("", None),
        ] {
            assert_eq!(found(target, "k").as_deref(), expected, "{target}");
        }
        assert_eq!(first(b"/a?k=%ff\xfe", b"k"), Some(b"\xff\xfe".to_vec()));
        assert_eq!(found("/a?a%20b=1&a+b=2", "a b").as_deref(), Some("1"));
        assert_eq!(found("/a?%26%3d=1", "&=").as_deref(), Some("1"));
    }

    /// The steps of the standard, one after the other, on the whole list.
    fn model(query: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let decode = |bytes: &[u8]| {
            let spaced: Vec<u8> =
                bytes.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
            let (mut out, mut at) = (Vec::new(), 0);
            while at < spaced.len() {
                let escape =
                    spaced.get(at + 1..at + 3).filter(|two| two.iter().all(u8::is_ascii_hexdigit));
                if let (b'%', Some(two)) = (spaced[at], escape) {
                    out.push(u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap());
                    at += 2;
                } else {
                    out.push(spaced[at]);
                }
                at += 1;
            }
            out
        };
        let mut list = Vec::new();
        for bytes in query.split(|byte| *byte == b'&') {
            if bytes.is_empty() {
                continue;
            }
            let at = bytes.iter().position(|byte| *byte == b'=');
            let (name, value) = at.map_or((bytes, &[][..]), |at| (&bytes[..at], &bytes[at + 1..]));
            list.push((decode(name), decode(value)));
        }
        list
    }

    proptest! {
        #[test]
        fn as_the_standard_has_it(
            query in proptest::collection::vec(proptest::sample::select(b"ak=&+%26Bb?\xff".as_slice()), 0..24),
            name in proptest::collection::vec(proptest::sample::select(b"ak &+%\xff".as_slice()), 0..3),
        ) {
            let target = [b"/p?", query.as_slice()].concat();
            let expected = model(&query).into_iter().find(|(found, _)| *found == name);
            prop_assert_eq!(first(&target, &name), expected.map(|(_, value)| value));
        }
    }
}
