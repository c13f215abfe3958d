//! `CDN-Cache-Control`: what a response says to shared caches that act for the origin (RFC 9213).
//!
//! It is a dictionary of RFC 9651, and counts only if it is one in each member and each known member has the type that
//! it should have. Then it takes the place of `Cache-Control` and `Expires`.

use sfv::{BareItem, Dictionary, ListEntry, Parser};

use super::directives::Response;
use super::fields::Fields;

/// The name of the field.
pub const NAME: &str = "cdn-cache-control";

/// What the field says; none if there is none that counts.
#[must_use]
pub fn directives(fields: &Fields) -> Option<Response> {
    let text = fields.joined(NAME)?;
    let dictionary: Dictionary = Parser::new(&text).parse().ok()?;
    if dictionary.is_empty() {
        return None;
    }
    let mut directives = Response::default();
    for (name, member) in &dictionary {
        let ListEntry::Item(item) = member else {
            if is_known(name.as_str()) {
                return None;
            }
            continue;
        };
        note(&mut directives, name.as_str(), &item.bare_item)?;
    }
    Some(directives)
}

fn note(directives: &mut Response, name: &str, item: &BareItem) -> Option<()> {
    match name {
        "max-age" | "s-maxage" | "stale-while-revalidate" | "stale-if-error" => {
            let seconds = i64::from(item.as_integer()?).max(0).to_string();
            directives.note(name.as_bytes(), Some(seconds.as_bytes()));
        }
        "no-cache" | "private" => match (item.as_boolean(), item.as_string()) {
            (Some(false), _) => {}
            (Some(true), _) => directives.note(name.as_bytes(), None),
            (None, names) => directives.note(name.as_bytes(), Some(names?.as_str().as_bytes())),
        },
        _ if is_known(name) && item.as_boolean()? => directives.note(name.as_bytes(), None),
        _ => {}
    }
    Some(())
}

fn is_known(name: &str) -> bool {
    matches!(
        name,
        "max-age"
            | "s-maxage"
            | "stale-while-revalidate"
            | "stale-if-error"
            | "no-cache"
            | "private"
            | "no-store"
            | "public"
            | "must-revalidate"
            | "proxy-revalidate"
            | "must-understand"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::directives::Extent;

    fn of(text: &str) -> Option<Response> {
        directives(&[(NAME, text)].into_iter().collect())
    }

    #[test]
    fn what_is_well_formed_counts() {
        assert_eq!(of("max-age=3600").unwrap().max_age, Some(3600));
        assert_eq!(of("foobar, max-age=99999999999;x").unwrap().max_age, Some(99_999_999_999));
        assert_eq!(of("max-age=1, max-age=2").unwrap().max_age, Some(2), "RFC 9651 §3.2");
        assert_eq!(of("max-age=-1").unwrap().max_age, Some(0));
        assert!(of("no-store").unwrap().no_store);
        assert!(!of("no-store=?0").unwrap().no_store);
        assert_eq!(of("private").unwrap().private, Extent::Whole);
        assert_eq!(of("no-cache=\"a\"").unwrap().no_cache, Extent::Fields(vec![b"a".to_vec()]));
        assert_eq!(of("foo").unwrap(), Response::default());
    }

    #[test]
    fn what_is_not_does_not_count_at_all() {
        for text in [
            "",
            "max-age=10000, &&&&&",
            "max-age=\"10000\"",
            "max-age=1.5",
            "max-age =100",
            "max-age= 100",
            "MaX-aGe=3600",
            "max-age=(1 2)",
            "no-store=1",
            "private=1",
            "max-age=9999999999999999",
        ] {
            assert_eq!(of(text), None, "{text:?}");
        }
        assert_eq!(directives(&Fields::default()), None);
    }
}
