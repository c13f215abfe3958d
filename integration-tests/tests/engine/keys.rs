//! Who is counted together: requests that agree in each part of a key, however they are written.

use integration_tests::client::Request;
use serde_json::json;

use super::rig::{send, start};

/// A part of a key, or several, under which requests are counted together or not.
type Topic = (&'static str, Vec<&'static str>, Vec<Vec<Request>>);

#[test]
fn requests_that_agree_in_each_part_are_counted_together_and_no_others() {
    let topics: Vec<Topic> = vec![
        ("header", vec!["header:X-Tenant"], headers("/echo/header/x")),
        ("cookie", vec!["cookie:id"], cookies("/echo/cookie/x")),
        ("query", vec!["query:q"], queries("/echo/query/x")),
        ("host", vec!["host", "method"], hosts_and_methods("/echo/host/x")),
        ("pair", vec!["header:x-first", "header:x-second"], pairs("/echo/pair/x")),
        ("path", vec!["path"], paths("/echo/path")),
        ("route", vec!["route"], routes("/echo/route")),
    ];
    let rule = |(name, by, _): &Topic| json!({"name": name, "by": by, "limit": 1, "per": "365d"});
    let fleet = start(&topics.iter().map(rule).collect::<Vec<_>>());
    // The first request of each group passes, and no other one of it.
    for group in topics.iter().flat_map(|(_, _, groups)| groups) {
        for (number, request) in group.iter().enumerate() {
            let expected = if number == 0 { 200 } else { 429 };
            assert_eq!(send(&fleet, request).status, expected, "{number} of {group:#?}");
        }
    }
}

/// A group of requests, each with so many lines of a header field.
fn with(target: &str, name: &str, lines: &[&[&str]]) -> Vec<Request> {
    let add = |request: Request, value: &&str| request.header(name, value);
    lines.iter().map(|lines| lines.iter().fold(Request::get(target), add)).collect()
}

/// All lines of it count, and a missing one is no empty one.
fn headers(target: &str) -> Vec<Vec<Request>> {
    let lower = with(target, "x-tenant", &[&["a"]]);
    let upper = with(target, "X-TENANT", &[&["a"]]);
    let with = |lines| with(target, "X-Tenant", lines);
    vec![
        [with(&[&[]]), self::with(target, "X-Other", &[&["a"], &["b"]])].concat(),
        with(&[&[""], &[""], &["  "]]),
        [lower, upper].concat(),
        with(&[&["A"], &["A"]]),
        with(&[&["!missing"], &["!missing"]]),
        // A line more makes another value, wherever it stands.
        with(&[&["a", "b"], &["a,b"], &["a", "b"]]),
        with(&[&["b", "a"], &["b,a"]]),
        with(&[&["", "a"], &[",a"]]),
        with(&[&["a", ""], &["a,"]]),
    ]
}

/// The first of its name counts, in whichever line it stands.
fn cookies(target: &str) -> Vec<Vec<Request>> {
    let with = |lines| with(target, "Cookie", lines);
    vec![
        with(&[&[], &[""], &["other=1"], &["ID=1"], &["id"]]),
        with(&[&["id="], &["id=; id=1"], &["other=1; id="]]),
        with(&[&["id=1"], &["a=0; id=1"], &["id=1; id=2"], &["a=0", "id=1"], &["id=1", "id=2"]]),
        with(&[&["id=2"], &["id=2", "id=1"], &["a=0;id=2"]]),
        with(&[&["id=\"1\""], &["id=\"1\""]]),
    ]
}

/// What escapes mean counts, not how a value is written.
fn queries(target: &str) -> Vec<Vec<Request>> {
    let groups: &[&[&str]] = &[
        &["", "?", "?other=1", "?Q=1", "?&"],
        &["?q=", "?q", "?q&q=1", "?&&q=&x"],
        &["?q=1", "?%71=1", "?q=%31", "?x=0&q=1&q=2", "?q=1&"],
        &["?q=a+b", "?q=a%20b", "?q=%61+%62"],
        &["?q=a%2Bb", "?q=a%2bb"],
        &["?q=%", "?q=%25"],
        &["?q=1=2", "?q=1%3D2"],
    ];
    targets(target, groups)
}

fn targets(prefix: &str, groups: &[&[&str]]) -> Vec<Vec<Request>> {
    let get = |rest: &&str| Request::get(format!("{prefix}{rest}"));
    groups.iter().map(|group| group.iter().map(get).collect()).collect()
}

/// A host counts in one spelling, a method as it is.
fn hosts_and_methods(target: &str) -> Vec<Vec<Request>> {
    let request = |method, host| Request::new(method, target).header("Host", host);
    let spellings = ["shop.example", "SHOP.example", "shop.example:8080", "shop.example."];
    vec![
        spellings.map(|host| request("GET", host)).to_vec(),
        vec![request("PUT", "shop.example"), request("PUT", "shop.example:80")],
        vec![request("GET", "other.example"), request("GET", "other.example")],
    ]
}

/// No value can pass for several parts, or for a missing one.
fn pairs(target: &str) -> Vec<Vec<Request>> {
    let long = "a".repeat(5000);
    let pairs = [
        (Some("a|b"), Some("c")),
        (Some("a"), Some("b|c")),
        (Some("a|b|c"), None),
        (None, Some("a|b|c")),
        (Some(""), Some("")),
        (None, None),
        (Some("%7c"), Some("")),
        (Some("|"), Some("")),
        // Longer than a name in Redis may be.
        (Some(&*long), Some("b")),
        (Some(&*long), Some("c")),
    ];
    let group = |(first, second): (Option<&str>, Option<&str>)| {
        let mut request = Request::get(target);
        for (name, value) in [("X-First", first), ("X-Second", second)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        vec![request; 2]
    };
    pairs.into_iter().map(group).collect()
}

/// Each path as it is served, without its query.
fn paths(prefix: &str) -> Vec<Vec<Request>> {
    targets(prefix, &[&["/1", "//1", "/%31", "/x/../1", "/1?x"], &["/2", "/2"], &["/1/", "/1/"]])
}

/// All paths of it are one.
fn routes(prefix: &str) -> Vec<Vec<Request>> {
    targets(prefix, &[&["/1", "/2", "/3/4", "/1"]])
}
