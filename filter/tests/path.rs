//! One spelling for each path. By table: the single rewritings. By property: a canonical path is a fixed point without
//! any second spelling, and stands for exactly what an upstream sees that decodes the original once.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

#[path = "common/upstream.rs"]
mod upstream;

use std::borrow::Cow;

use meliproxy::http::path::{Resource, canonical, without_query};
use proptest::prelude::*;

fn assert_rewritten(cases: &[(&str, &str)]) {
    for (target, expected) in cases {
        let canonical = canonical(target.as_bytes());
        assert_eq!(String::from_utf8_lossy(&canonical), *expected, "{target}");
    }
}

#[test]
fn unreserved_characters_are_decoded_and_other_escapes_capital() {
    assert_rewritten(&[
        ("/%41%7a%30%2D%2e%5F%7e", "/Az0-._~"),
        ("/%c3%a9%3a%2c%20%00", "/%C3%A9%3A%2C%20%00"),
        ("/%3f%23", "/%3F%23"),
        ("/a,b:c", "/a,b:c"),
    ]);
}

#[test]
fn every_slash_is_one_slash() {
    assert_rewritten(&[
        ("//items///1//", "/items/1/"),
        ("/items%2F1%2f2", "/items/1/2"),
        ("/items\\1%5C2%5c3", "/items/1/2/3"),
        ("/items/%2F/%5c\\/1", "/items/1"),
        ("//", "/"),
    ]);
}

#[test]
fn dot_segments_are_resolved_and_the_root_is_its_own_parent() {
    assert_rewritten(&[
        ("/a/b/c/./../../g", "/a/g"),
        ("/a/.", "/a/"),
        ("/a/..", "/"),
        ("/a/../", "/"),
        ("/a/b/..", "/a/"),
        ("/.", "/"),
        ("/..", "/"),
        ("/../../a", "/a"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/.%2e/b", "/b"),
        ("/a%2F..%2Fb", "/b"),
        ("/a//../b", "/b"),
        ("/a/..//../b", "/b"),
        ("/a\\..\\b", "/b"),
    ]);
}

#[test]
fn what_only_looks_like_a_dot_segment_is_kept() {
    assert_rewritten(&[
        ("/.well-known/x", "/.well-known/x"),
        ("/...", "/..."),
        ("/a/..b/c../.d", "/a/..b/c../.d"),
        ("/a/..;/b", "/a/..;/b"),
    ]);
}

#[test]
fn a_trailing_slash_is_kept() {
    assert_rewritten(&[("/", "/"), ("/a", "/a"), ("/a/", "/a/"), ("/a/./", "/a/")]);
}

#[test]
fn decoding_happens_once() {
    assert_rewritten(&[
        ("/%252e%252e/a", "/%252e%252e/a"),
        ("/%252F", "/%252F"),
        ("/%25%32%65", "/%252e"),
        ("/%25252e", "/%25252e"),
    ]);
}

#[test]
fn escapes_that_are_not_valid_stay_so() {
    assert_rewritten(&[
        ("/%", "/%"),
        ("/%z", "/%z"),
        ("/%zz%4", "/%zz%4"),
        ("/100%/a", "/100%/a"),
        // Decoding these digits would make the escape of a slash.
        ("/%%32%46", "/%%32F"),
        ("/%2%46", "/%2%46"),
        ("/%%32F", "/%%32F"),
        ("/%%2532%46", "/%%2532F"),
        // No digit, no danger.
        ("/%%7a", "/%z"),
        ("/%2%2fF", "/%2/F"),
    ]);
}

#[test]
fn the_query_is_left_alone() {
    assert_rewritten(&[
        ("/a/../b?x=//%2e/../\\", "/b?x=//%2e/../\\"),
        ("/b?x=//%2e/../\\", "/b?x=//%2e/../\\"),
        ("/%41?", "/A?"),
        ("/a?/../b?c", "/a?/../b?c"),
        ("/a%3f/../b?c", "/b?c"),
    ]);
    assert_eq!(without_query(b"/a?b?c"), b"/a");
    assert_eq!(without_query(b"/a"), b"/a");
    assert_eq!(without_query(b"?a"), b"");
}

#[test]
fn what_is_no_path_is_left_alone() {
    assert_rewritten(&[("", ""), ("*", "*"), ("?%41", "?%41"), ("a/../b", "a/../b")]);
}

#[test]
fn bytes_beyond_ascii_pass_unchanged() {
    assert_eq!(&*canonical(b"/\xff/./\xc3\xa9%ff"), b"/\xff/\xc3\xa9%FF");
}

#[test]
fn only_a_path_that_changes_is_copied() {
    for target in ["/", "/items/MLA1", "/caf%C3%A9?q=%2e", "/.well-known/a", "/100%", "*"] {
        assert!(matches!(canonical(target.as_bytes()), Cow::Borrowed(_)), "{target}");
    }
    assert!(matches!(canonical(b"/items/%2e"), Cow::Owned(_)));
}

#[test]
fn all_spellings_of_a_resource_are_counted_as_one() {
    let resource = |target: &[u8]| Resource::of(&canonical(target)).as_bytes().to_vec();
    for spelling in
        ["/items/a,b", "/items/a%2Cb", "/items/a%2cb", "//items/a%2cb", "/%69tems\\a,%62"]
    {
        assert_eq!(resource(spelling.as_bytes()), b"/items/a,b", "{spelling}");
    }
    assert_eq!(resource(b"/\xc3\xa9"), resource(b"/%C3%a9"));
    assert_ne!(resource(b"/items/a%252Cb"), resource(b"/items/a,b"));
}

/// Paths made of what matters: pieces that meet each other in all orders.
fn path() -> impl Strategy<Value = Vec<u8>> {
    let special = prop::sample::select(vec![
        "/", "//", ".", "..", "%", "%2", "%25", "%2e", "%2E", "%2f", "%2F", "%5C", "%5c", "\\",
        "%32", "%46", "%66", "%65", "2", "5", "F", "e", "f", "%zz", "%41", "a", "items", "%3F",
        "%23", "%c3", "%A9", "\u{e9}", ";", ",", "%2C",
    ]);
    let piece = prop_oneof![
        9 => special.prop_map(|piece: &str| piece.as_bytes().to_vec()),
        1 => any::<u8>().prop_filter("the query is not in it", |byte| *byte != b'?')
            .prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(piece, 0..16).prop_map(|pieces| [b"/", &*pieces.concat()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn a_canonical_path_is_its_own_canonical_path(path in path()) {
        let once = canonical(&path).into_owned();
        prop_assert_eq!(&*canonical(&once), &*once);
    }

    #[test]
    fn a_path_is_owned_exactly_if_it_differs(path in path()) {
        match canonical(&path) {
            Cow::Borrowed(same) => prop_assert_eq!(same, &*path),
            Cow::Owned(other) => prop_assert_ne!(other, path),
        }
    }

    #[test]
    fn a_canonical_path_stands_for_what_the_upstream_decodes(path in path()) {
        let canonical = canonical(&path);
        let resource = Resource::of(&canonical);
        prop_assert_eq!(resource.as_bytes(), &*upstream::decoded(&path));
        prop_assert_eq!(upstream::decoded(&canonical), upstream::decoded(&path));
    }

    #[test]
    fn a_canonical_path_has_no_second_spelling_of_anything(path in path()) {
        let canonical = canonical(&path).into_owned();
        prop_assert!(canonical.len() <= path.len());
        prop_assert!(canonical.starts_with(b"/"));
        prop_assert!(!canonical.contains(&b'\\'));
        let segments: Vec<_> = canonical.split(|byte| *byte == b'/').skip(1).collect();
        let (last, inner) = segments.split_last().unwrap();
        prop_assert!(inner.iter().all(|segment| !segment.is_empty()));
        prop_assert!(inner.iter().chain([last]).all(|s| !matches!(*s, b"." | b"..")));

        let escapes = canonical.windows(3).filter(|three| three[0] == b'%');
        for escape in escapes.filter(|three| three[1..].iter().all(u8::is_ascii_hexdigit)) {
            let text = std::str::from_utf8(escape).unwrap();
            prop_assert_eq!(text, text.to_uppercase());
            prop_assert!(text != "%2F" && text != "%5C");
        }
    }

    #[test]
    fn decoded_characters_are_never_left_escaped(text in "[A-Za-z0-9_~-]{1,12}") {
        let escaped: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let target = format!("/{escaped}");
        let expected = format!("/{text}");
        prop_assert_eq!(&*canonical(target.as_bytes()), expected.as_bytes());
    }

    #[test]
    fn the_query_never_matters_to_the_path(path in path(), query in "[ -~]{0,12}") {
        let target = [&*path, b"?", query.as_bytes()].concat();
        let expected = [&*canonical(&path), b"?", query.as_bytes()].concat();
        prop_assert_eq!(&*canonical(&target), &*expected);
    }
}
