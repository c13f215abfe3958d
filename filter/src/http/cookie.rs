//! The cookies of a request (RFC 6265).

/// The value of the first cookie called `name` in the value of a Cookie field (RFC 6265 §4.2.1), as it stands there.
///
/// Nothing is decoded: letter case counts, and double quotes around a value are part of it (RFC 6265 §4.1.1). White
/// space around names and values is not (as in RFC 6265 §5.2). What has no `=` is no cookie. One scan, no allocation.
#[must_use]
pub fn first<'c>(cookies: &'c [u8], name: &[u8]) -> Option<&'c [u8]> {
    cookies.split(|byte| *byte == b';').find_map(|pair| {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let (found, value) = (halves.next()?, halves.next()?);
        (found.trim_ascii() == name).then(|| value.trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found<'c>(cookies: &'c str, name: &str) -> Option<&'c str> {
        first(cookies.as_bytes(), name.as_bytes()).map(|value| std::str::from_utf8(value).unwrap())
    }

    #[test]
    fn the_first_of_the_name_counts() {
        for (cookies, expected) in [
            ("id=1", Some("1")),
            ("a=0; id=1; id=2", Some("1")),
            ("a=0;id=1", Some("1")),
            ("a=0; \tid = 1 ; b=2", Some("1")),
            ("a=id=1; id=b=c", Some("b=c")),
            ("id=", Some("")),
            ("id=; id=1", Some("")),
            ("id=\"1 2\"", Some("\"1 2\"")),
            ("id=%31", Some("%31")),
            ("id=a,b", Some("a,b")),
            ("id; id=1", Some("1")),
            ("ID=1; xid=2; idx=3; id", None),
            ("i d=1", None),
            ("=id", None),
            ("; ;=;", None),
            ("", None),
        ] {
            assert_eq!(found(cookies, "id"), expected, "{cookies:?}");
        }
    }

    proptest! {
        #[test]
        fn it_is_found_among_whatever_is_written_beside_it(
            cookies in proptest::collection::vec(("[a-c]{1,2}", "[a-c=\" %,]{0,4}"), 0..6),
            separator in "[ \t]{0,2};[ \t]{0,2}",
            name in "[a-c]{1,2}",
        ) {
            let pairs: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let model = cookies.iter().find(|(found, _)| *found == name);
            let model = model.map(|(_, value)| value.trim_matches(' '));
            let text = pairs.join(&separator);
            prop_assert_eq!(found(&text, &name), model);
        }

        #[test]
        fn any_bytes_are_read_as_the_pieces_between_semicolons(
            cookies in proptest::collection::vec(proptest::sample::select(b"ab=; \"\xff".as_slice()), 0..24),
        ) {
            // Piece by piece as text in which each character is one byte.
            let text: String = cookies.iter().map(|byte| char::from(*byte)).collect();
            let model = text.split(';').filter_map(|pair| pair.split_once('='))
                .find(|(name, _)| name.trim_matches(' ') == "a")
                .map(|(_, value)| value.trim_matches(' ').chars().map(|c| u8::try_from(c).unwrap()).collect());
            prop_assert_eq!(first(&cookies, b"a").map(<[u8]>::to_vec), model);
        }
    }
}
