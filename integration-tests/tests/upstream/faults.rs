//! Every fault, as a client meets it.

use std::io::ErrorKind;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use integration_tests::upstream::{Action, Fault, Ratio};

use crate::client::{Client, get};
use crate::program::Program;

const ITEM: &str = "/items/MLA1";

/// The program with these faults.
fn with(faults: &[Fault]) -> Program {
    let program = Program::start();
    program.control().set_faults(faults).unwrap();
    program
}

fn statuses(program: &Program, target: &str, count: usize) -> Vec<u16> {
    (0..count).map(|_| get(program.listen, target).status).collect()
}

#[test]
fn status_answers_instead() {
    let action = Action::Status { status: 503, body: Some("{\"busy\":true}".into()) };
    let program = with(&[Fault::new("/items/", action).header("Retry-After", "5")]);
    let mut client = Client::new(program.listen);
    for _ in 0..2 {
        let response = client.request("GET", ITEM, "").unwrap();
        assert_eq!((response.status, response.header("Retry-After")), (503, Some("5")));
        assert_eq!(response.body, b"{\"busy\":true}");
    }
    assert_eq!(client.request("GET", "/categories/MLA1", "").unwrap().status, 200);
}

#[test]
fn status_without_body_is_the_apis_error() {
    let program = with(&[Fault::status("/items/", 429)]);
    let response = get(program.listen, ITEM);
    assert_eq!(response.json()["error"], "too_many_requests");
    assert_eq!(response.status, 429);
}

#[test]
fn delay_answers_normally_but_late() {
    let delay = Duration::from_millis(200);
    let program = with(&[Fault::delay("/items/", delay)]);
    let start = Instant::now();
    let late = get(program.listen, ITEM);
    assert!(start.elapsed() >= delay);
    program.control().clear_faults().unwrap();
    let normal = get(program.listen, ITEM);
    assert_eq!(
        (late.status, late.body, late.headers.len()),
        (200, normal.body, normal.headers.len())
    );
}

#[test]
fn headers_are_set_repeated_and_removed() {
    let program = with(&[Fault::new("/items/", Action::Headers)
        .header("cache-control", "no-store")
        .header("Set-Cookie", "a=1")
        .header("Set-Cookie", "b=2")
        .header("Date", "Thu, 01 Jan 1970 00:00:00 GMT")
        .remove("etag")]);
    let response = get(program.listen, ITEM);
    assert_eq!(response.status, 200);
    assert_eq!(response.all("Cache-Control").collect::<Vec<_>>(), ["no-store"]);
    assert_eq!(response.all("Set-Cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
    assert_eq!(response.all("Date").collect::<Vec<_>>(), ["Thu, 01 Jan 1970 00:00:00 GMT"]);
    assert_eq!(response.header("ETag"), None);
}

#[test]
fn a_connection_header_is_obeyed() {
    let program = with(&[Fault::new("/items/", Action::Headers).header("Connection", "close")]);
    let mut client = Client::new(program.listen);
    let response = client.request("GET", ITEM, "").unwrap();
    assert_eq!(response.all("Connection").collect::<Vec<_>>(), ["close"]);
    client.expect_end();
}

#[test]
fn reset_is_a_rst_before_any_byte() {
    let program = with(&[Fault::new("/items/", Action::Reset)]);
    let mut client = Client::new(program.listen);
    assert_eq!(client.request("GET", "/categories/MLA1", "").unwrap().status, 200);
    let error = client.request("GET", ITEM, "").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(program.control().counts().unwrap().of_prefix("/items"), 1);
}

#[test]
fn close_is_a_fin_before_any_byte() {
    let program = with(&[Fault::new("/echo", Action::Close)]);
    let mut client = Client::new(program.listen);
    // Had the body not been read, the system would answer with a RST.
    client.send("POST /echo/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    client.expect_end();
}

#[test]
fn cut_promises_all_and_sends_half() {
    let program = with(&[Fault::new("/", Action::Cut)]);
    for (target, length) in [("/bytes/200001", 200_001), ("/bytes/10", 10), ("/bytes/1", 1)] {
        let mut client = Client::new(program.listen);
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let head = client.receive_head().unwrap();
        assert_eq!(head.header("Content-Length"), Some(&*length.to_string()));
        let (body, end) = client.rest();
        assert!(end.is_ok(), "{end:?}");
        assert_eq!(body.len(), length / 2);
    }
    let mut client = Client::new(program.listen);
    client.send(format!("GET {ITEM} HTTP/1.1\r\nHost: a\r\n\r\n"));
    let length: usize =
        client.receive_head().unwrap().header("Content-Length").unwrap().parse().unwrap();
    assert_eq!(client.rest().0.len(), length / 2);
}

#[test]
fn a_cut_stream_has_no_last_chunk() {
    let program = with(&[Fault::new("/stream/", Action::Cut)]);
    let mut client = Client::new(program.listen);
    client.send("GET /stream/4 HTTP/1.1\r\nHost: a\r\n\r\n");
    client.receive_head().unwrap();
    assert_eq!(client.rest().0, b"8\r\nchunk 0\n\r\n8\r\nchunk 1\n\r\n");
}

#[test]
fn hang_answers_nothing_and_holds_up_nobody() {
    let program = with(&[Fault::new("/items/", Action::Hang)]);
    let mut hung = Client::new(program.listen);
    hung.send(format!("GET {ITEM} HTTP/1.1\r\nHost: a\r\n\r\n"));
    hung.expect_silence(Duration::from_millis(100));
    assert_eq!(program.control().fired().unwrap(), [1]);
    assert_eq!(get(program.listen, "/categories/MLA1").status, 200);
    hung.expect_silence(Duration::from_millis(10));
}

#[test]
fn times_and_order_make_a_script() {
    let twice = NonZeroU64::new(2).unwrap();
    let program = with(&[
        Fault::status("/items/", 500).times(twice),
        Fault::status("/items/", 502).times(NonZeroU64::MIN).methods(&["GET"]),
    ]);
    assert_eq!(statuses(&program, ITEM, 4), [500, 500, 502, 200]);
    assert_eq!(program.control().fired().unwrap(), [2, 1]);
}

#[test]
fn ratio_takes_an_even_share() {
    let program = with(&[Fault::status("/items/", 500).ratio(Ratio::new(0.25).unwrap())]);
    assert_eq!(statuses(&program, ITEM, 8), [200, 200, 200, 500, 200, 200, 200, 500]);
}

#[test]
fn only_the_methods_named_are_met() {
    let program = with(&[Fault::status("/echo", 500).methods(&["POST", "PUT"])]);
    let mut client = Client::new(program.listen);
    for (method, status) in [("GET", 200), ("POST", 500), ("PUT", 500), ("DELETE", 200)] {
        assert_eq!(client.request(method, "/echo/", "").unwrap().status, status, "{method}");
    }
}
