//! Every field: what is read back, and what is said about it when it is wrong.

use super::*;

fn errors(input: &Value) -> Vec<(String, String, String)> {
    let errors = parse(input).unwrap_err();
    errors.into_iter().map(|error| (error.field, error.found, error.allowed)).collect()
}

#[test]
fn what_is_written_is_read_back() {
    let faults = vec![
        Fault::status("/", 503),
        Fault::new("/", Action::Status { status: 200, body: Some(String::new()) })
            .header("Set-Cookie", "a=1")
            .header("Set-Cookie", "")
            .remove("ETag"),
        Fault::delay("/items/", Duration::ZERO),
        Fault::delay("/items/", duration::MAX).methods(&["GET", "PURGE"]),
        Fault::new("/", Action::Headers).remove("ETag"),
        Fault::new("/", Action::Reset).times(NonZeroU64::MAX),
        Fault::new("/", Action::Close).ratio(Ratio::new(0.0).unwrap()),
        Fault::new("/", Action::Cut).ratio(Ratio::new(0.333_333).unwrap()).header("A", "b"),
        Fault::new("/", Action::Hang).after(Duration::from_millis(1)),
    ];
    let written: Value = faults.iter().map(write).collect();
    assert_eq!(parse(&written), Ok(faults));
}

#[test]
fn a_wrong_field_is_named_with_what_was_found_and_what_is_allowed() {
    for (field, value, allowed) in [
        ("prefix", json!("items"), "text that begins with /"),
        ("prefix", json!(1), "text that begins with /"),
        ("methods", json!([]), "a list of one or more methods"),
        ("methods", json!(["GE T"]), "a list of one or more methods"),
        ("delay", json!("61s"), "a whole number and ms or s, up to 60s"),
        ("delay", json!(200), "a whole number and ms or s, up to 60s"),
        ("times", json!(0), "a whole number from 1"),
        ("times", json!(1.5), "a whole number from 1"),
        ("ratio", json!(1.01), "a number from 0 to 1"),
        ("ratio", json!(-0.01), "a number from 0 to 1"),
        ("status", json!(199), "a status code from 200 to 599"),
        ("status", json!(600), "a status code from 200 to 599"),
        ("status", json!(65_736), "a status code from 200 to 599"),
        ("status", json!("503"), "a status code from 200 to 599"),
        ("body", json!({}), "text"),
        ("remove", json!(["a b"]), "a list of header names"),
    ] {
        let mut fault = json!({"prefix": "/", "action": "status", "status": 503});
        fault[field] = value.clone();
        let expected = (format!("[0].{field}"), value.to_string(), allowed.to_owned());
        assert_eq!(errors(&json!([fault])), [expected]);
    }
}

#[test]
fn headers_that_would_break_the_message_are_refused() {
    for headers in [
        json!([["Content-Length", "1"]]),
        json!([["transfer-ENCODING", "chunked"]]),
        json!([["A", "b\r\nC: d"]]),
        json!([["A:", "b"]]),
        json!([["", "b"]]),
        json!([["A"]]),
        json!({"A": "b"}),
    ] {
        let fault = json!({"prefix": "/", "action": "headers", "headers": headers});
        let errors = errors(&json!([fault]));
        assert_eq!(errors.len(), 1, "{headers}");
        assert_eq!((&errors[0].0, &errors[0].1), (&"[0].headers".into(), &headers.to_string()));
    }
}

#[test]
fn missing_fields_are_found_empty() {
    let found = errors(&json!([{}, {"prefix": "/", "action": "status"},
        {"prefix": "/", "action": "delay"}, {"prefix": "/", "action": "headers"}]));
    let fields: Vec<_> =
        found.iter().map(|(field, found, _)| (field.as_str(), found.as_str())).collect();
    let expected = ["[0].prefix", "[0].action", "[1].status", "[2].delay", "[3].headers"];
    assert_eq!(fields, expected.map(|field| (field, "")));
}

#[test]
fn fields_of_another_action_and_unknown_ones_are_refused() {
    for (action, field) in [
        ("reset", "status"),
        ("hang", "headers"),
        ("close", "remove"),
        ("cut", "body"),
        ("cut", "x"),
    ] {
        let mut fault = json!({"prefix": "/", "action": action});
        fault[field] = 1.into();
        let errors = errors(&json!([fault]));
        assert_eq!(errors.len(), 1, "{action} {field}");
        assert_eq!((&errors[0].0, errors[0].1.as_str()), (&format!("[0].{field}"), "1"));
        assert!(errors[0].2.starts_with("here only prefix, action, delay,"), "{errors:?}");
    }
}

#[test]
fn an_unknown_action_is_told_all_actions() {
    let expected = "one of status, delay, headers, reset, close, cut, hang".to_owned();
    let found = errors(&json!([{"prefix": "/", "action": "explode", "ratio": 2}]));
    assert_eq!(found[0], ("[0].action".into(), "\"explode\"".into(), expected));
    assert_eq!(found[1].0, "[0].ratio");
    assert_eq!(found.len(), 2);
}

#[test]
fn the_list_is_bounded() {
    let faults = |count| Value::from(vec![json!({"prefix": "/", "action": "hang"}); count]);
    assert_eq!(parse(&faults(MAX_FAULTS)).unwrap().len(), MAX_FAULTS);
    let expected = (String::new(), "65 faults".into(), "a list of up to 64 faults".into());
    assert_eq!(errors(&faults(MAX_FAULTS + 1)), [expected]);
    assert_eq!(errors(&json!({}))[0].1, "{}");
    assert_eq!(errors(&json!([1]))[0].0, "[0]");
}
