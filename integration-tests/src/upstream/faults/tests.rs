//! Which requests a fault fires on, how often, and what it makes of their answers.

use super::super::answer::Body;
use super::*;

fn request<'a>(method: &'a str, target: &'a str) -> Request<'a> {
    Request { method, target, minor: 1, headers: &[] }
}

/// How often `faults` fire on the next `count` requests.
fn firings(faults: &Faults, count: usize) -> Vec<bool> {
    (0..count).map(|_| faults.fire(&request("GET", "/items/1")).is_some()).collect()
}

fn ratio(share: f64) -> Ratio {
    Ratio::new(share).unwrap()
}

#[test]
fn prefix_and_method_decide() {
    let faults = Faults::new(vec![Fault::new("/items/", Action::Reset).methods(&["GET", "HEAD"])]);
    for (method, target, fires) in [
        ("GET", "/items/MLA1", true),
        ("HEAD", "/items/?x", true),
        ("POST", "/items/MLA1", false),
        ("get", "/items/MLA1", false),
        ("GET", "/items", false),
        ("GET", "/categories/?/items/", false),
        ("GET", "/item?s/", false),
    ] {
        let fired = faults.fire(&request(method, target)).is_some();
        assert_eq!(fired, fires, "{method} {target}");
    }
}

#[test]
fn the_first_that_fires_wins() {
    let faults = Faults::new(vec![
        Fault::status("/items/", 501).times(NonZeroU64::MIN),
        Fault::status("/", 502),
    ]);
    let status = || {
        let fault = faults.fire(&request("GET", "/items/1")).unwrap();
        let Action::Status { status, .. } = fault.action else { panic!("{fault:?}") };
        status
    };
    assert_eq!([status(), status(), status()], [501, 502, 502]);
    assert_eq!(faults.fired().map(|(_, fired)| fired).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn times_limits_how_often() {
    let twice = Fault::new("/", Action::Close).times(NonZeroU64::new(2).unwrap());
    assert_eq!(firings(&Faults::new(vec![twice]), 4), [true, true, false, false]);
}

#[test]
fn ratio_is_exact_and_evenly_spread() {
    for (share, of_1000) in
        [(0.0, 0), (0.001, 1), (0.1, 100), (0.3, 300), (0.5, 500), (0.999, 999), (1.0, 1000)]
    {
        let faults = Faults::new(vec![Fault::new("/", Action::Close).ratio(ratio(share))]);
        let fired = firings(&faults, 1000).into_iter().filter(|fired| *fired).count();
        assert_eq!(fired, of_1000, "{share}");
    }
    let half = Faults::new(vec![Fault::new("/", Action::Close).ratio(ratio(0.5))]);
    assert_eq!(firings(&half, 4), [false, true, false, true]);
}

#[test]
fn a_ratio_is_a_share() {
    for share in [-0.001, 1.001, f64::NAN, f64::INFINITY] {
        assert_eq!(Ratio::new(share), None, "{share}");
    }
    assert_eq!(ratio(0.25).share(), 0.25);
}

#[test]
fn times_counts_firings_not_matches() {
    let fault = Fault::new("/", Action::Close).ratio(ratio(0.5)).times(NonZeroU64::new(2).unwrap());
    let fired = firings(&Faults::new(vec![fault]), 6);
    assert_eq!(fired, [false, true, false, true, false, false]);
}

fn normal() -> Answer {
    Answer::json(200, b"{}".to_vec()).with("ETag", "\"a\"")
}

#[test]
fn headers_are_replaced_repeated_and_removed() {
    let fault = Fault::new("/", Action::Headers)
        .header("etag", "\"b\"")
        .header("Set-Cookie", "a=1")
        .header("Set-Cookie", "b=2")
        .remove("CONTENT-TYPE");
    let expected = Answer::new(200, Body::Whole(b"{}".to_vec()))
        .with("etag", "\"b\"")
        .with("Set-Cookie", "a=1")
        .with("Set-Cookie", "b=2");
    assert_eq!(fault.apply(normal), Reply::from(expected));
}

#[test]
fn each_action_has_its_ending() {
    let failed = Answer::error(503, "told to fail");
    let body = Action::Status { status: 418, body: Some("short".into()) };
    for (action, ending) in [
        (Action::Status { status: 503, body: None }, Ending::Answered(failed)),
        (body, Ending::Answered(Answer::json(418, b"short".to_vec()))),
        (Action::Delay, Ending::Answered(normal())),
        (Action::Headers, Ending::Answered(normal())),
        (Action::Cut, Ending::Cut(normal())),
        (Action::Close, Ending::Closed),
        (Action::Reset, Ending::Reset),
        (Action::Hang, Ending::Hung),
    ] {
        let delay = Duration::from_millis(7);
        let fault = Fault::new("/", action).after(delay);
        assert_eq!(fault.apply(normal), Reply { delay, ending });
    }
}
