//! By property: no file, however mangled, makes the parser panic or refuse it without a reason.

use meliproxy::config::Config;
use proptest::prelude::*;
use serde_json::Value;

use super::reference::schema_problems;
use super::{SHIPPED, full};

/// Values that are wrong nearly everywhere, and a few that are right somewhere.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        "[/{}*.%a]{0,8}".prop_map(Value::from),
        "[0-9]{1,21}(ms|s|m|h|d|B|KiB|MiB|GiB)".prop_map(Value::from),
        prop::sample::select(vec![
            "items",
            "rest",
            "path",
            "GET",
            "stream",
            "month",
            "header:a",
            "token_bucket",
            "203.0.113.0/24",
            "5xx",
            "route",
            "open",
            "fleet",
            "strict",
            "utm_*",
            "Cookie"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(
                "(name|path|limit|burst|match|header|trip|force|slow_after|routes|key|headers|.{0,3})",
                inner,
                0..4
            )
            .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// The pointers (RFC 6901) of all values of a file.
fn pointers(value: &Value, at: &str) -> Vec<String> {
    let inner: Vec<_> = match value {
        Value::Array(items) => {
            items.iter().enumerate().map(|(n, item)| (n.to_string(), item)).collect()
        }
        Value::Object(members) => {
            let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
            members.iter().map(|(key, v)| (escaped(key), v)).collect()
        }
        _ => Vec::new(),
    };
    let deeper = inner.iter().flat_map(|(key, value)| pointers(value, &format!("{at}/{key}")));
    std::iter::once(at.to_owned()).chain(deeper).collect()
}

/// Good or not, a file has a configuration, and nothing against it in an editor, or at least one problem with a path.
fn assert_answered(text: &[u8]) {
    match Config::parse(text) {
        Ok(_) => assert_eq!(schema_problems(&serde_json::from_slice(text).unwrap()), None),
        Err(errors) => {
            assert!(!errors.problems().is_empty());
            assert!(errors.problems().iter().all(|problem| !problem.path.is_empty()));
        }
    }
}

proptest! {
    #[test]
    fn any_value_at_any_place_is_taken_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any_value()), 1..4),
    ) {
        let mut file = full();
        for (index, value) in changes {
            let pointers = pointers(&file, "");
            *file.pointer_mut(&pointers[index.index(pointers.len())]).unwrap() = value;
        }
        assert_answered(file.to_string().as_bytes());
    }

    #[test]
    fn any_text_is_taken_or_refused(
        at in any::<prop::sample::Index>(),
        length in 0..8_usize,
        bytes in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        let mut text = SHIPPED.as_bytes().to_vec();
        let at = at.index(text.len());
        let end = text.len().min(at + length);
        text.splice(at..end, bytes);
        assert_answered(&text);
    }
}
