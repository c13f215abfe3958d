//! What is answered when nothing is wrong, and what is refused.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::client::{Client, get};
use crate::program::Program;

const CATEGORY: &str = "/categories/MLA97994";

#[test]
fn a_document_comes_with_length_validators_and_freshness() {
    let program = Program::start();
    let response = get(program.listen, CATEGORY);
    assert_eq!(response.status, 200);
    assert_eq!(response.json()["id"], "MLA97994");
    assert_eq!(response.header("Content-Type"), Some("application/json;charset=UTF-8"));
    assert_eq!(response.header("Cache-Control"), Some("public, max-age=60"));
    for name in ["ETag", "Last-Modified", "Content-Length", "Date"] {
        assert_eq!(response.all(name).count(), 1, "{name}");
    }
}

#[test]
fn every_run_serves_the_same_bytes() {
    let (one, other) = (Program::start(), Program::start());
    for target in [CATEGORY, "/items/MLA1", "/sites/MLA/search?q=a", "/users/1"] {
        let (one, other) = (get(one.listen, target), get(other.listen, target));
        assert_eq!((&one.body, one.timeless()), (&other.body, other.timeless()));
    }
}

#[test]
fn head_is_the_head_of_get() {
    let program = Program::start();
    let mut client = Client::new(program.listen);
    for target in [CATEGORY, "/bytes/5", "/status/404"] {
        let head = client.request("HEAD", target, "").unwrap();
        let get = client.request("GET", target, "").unwrap();
        assert_eq!((head.status, head.timeless()), (get.status, get.timeless()));
        assert_eq!(head.header("Content-Length"), Some(&*get.body.len().to_string()));
    }
}

#[test]
fn an_unchanged_document_is_not_sent_again() {
    let program = Program::start();
    let mut client = Client::new(program.listen);
    let etag = get(program.listen, CATEGORY).header("ETag").unwrap().to_owned();
    let unchanged = client.request("GET", CATEGORY, &format!("If-None-Match: {etag}\r\n")).unwrap();
    assert_eq!((unchanged.status, unchanged.header("ETag")), (304, Some(&*etag)));
    assert_eq!(unchanged.header("Content-Length"), None);
    // Had the 304 a body, it would be read as this response.
    let changed = client.request("GET", CATEGORY, "If-None-Match: \"x\"\r\n").unwrap();
    assert_eq!(changed.status, 200);
}

#[test]
fn unknown_paths_are_refused_as_the_api_does() {
    let program = Program::start();
    let response = get(program.listen, "/unknown");
    assert_eq!(response.status, 404);
    let error = json!({
        "message": "resource not found", "error": "not_found", "status": 404, "cause": [],
    });
    assert_eq!(response.json(), error);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let program = Program::start();
    let mut client = Client::new(program.listen);
    let request =
        |code| format!("POST /status/{code} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab");
    client.send([request(201), request(404), request(202)].concat());
    for status in [201, 404, 202] {
        assert_eq!(client.receive("POST").unwrap().status, status);
    }
}

#[test]
fn echo_tells_the_request_as_it_was_sent() {
    let program = Program::start();
    let mut client = Client::new(program.listen);
    client.send(
        "PATCH /echo//a/%2e%2E/?b=%20&&c HTTP/1.1\r\n\
         X-Two: 2\r\nhost: a\r\nX-One: 1\r\nx-two:  3 \r\n\
         Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
    );
    let echo = client.receive("PATCH").unwrap().json();
    assert_eq!(echo["method"], "PATCH");
    assert_eq!(echo["target"], "/echo//a/%2e%2E/?b=%20&&c");
    assert_eq!(echo["version"], "HTTP/1.1");
    let headers = json!([
        ["X-Two", "2"],
        ["host", "a"],
        ["X-One", "1"],
        ["x-two", "3"],
        ["Transfer-Encoding", "chunked"],
    ]);
    assert_eq!(echo["headers"], headers);
    assert_eq!((&echo["body"]["length"], &echo["body"]["base64"]), (&json!(3), &json!("YWJj")));
}

#[test]
fn a_long_body_is_measured_not_repeated() {
    let program = Program::start();
    let mut client = Client::new(program.listen);
    let body: Vec<u8> = (0..5_000_000u32).map(|index| index.to_le_bytes()[0]).collect();
    client
        .send(format!("PUT /echo/x HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()));
    client.send(&body);
    let echo = client.receive("PUT").unwrap().json();
    let sha256: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(echo["body"], json!({"length": body.len(), "sha256": sha256}));
}

#[test]
fn a_client_that_waits_is_told_to_continue() {
    let program = Program::start();
    let mut client = Client::new(program.listen);
    client.send(
        "POST /echo/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(client.receive_head().unwrap().status, 100);
    client.send("a");
    assert_eq!(client.receive("POST").unwrap().json()["body"]["length"], 1);
}

#[test]
fn bytes_are_a_pattern() {
    let program = Program::start();
    let mut client = Client::new(program.listen);
    for length in [0, 1, 251 * 256, 251 * 256 + 1, 300_000] {
        let response = client.request("GET", &format!("/bytes/{length}"), "").unwrap();
        assert_eq!(response.body.len(), length);
        assert!(response.body.iter().enumerate().all(|(i, byte)| usize::from(*byte) == i % 251));
    }
}

#[test]
fn a_stream_is_chunks_with_pauses() {
    let program = Program::start();
    let mut client = Client::new(program.listen);
    let start = Instant::now();
    client.send("GET /stream/3?every=20ms HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let head = client.receive_head().unwrap();
    assert_eq!(head.header("Transfer-Encoding"), Some("chunked"));
    assert_eq!((head.header("Content-Length"), head.header("Connection")), (None, Some("close")));
    let (body, end) = client.rest();
    assert!(end.is_ok() && start.elapsed() >= Duration::from_millis(40));
    let body = String::from_utf8(body).unwrap();
    assert_eq!(body, "8\r\nchunk 0\n\r\n8\r\nchunk 1\n\r\n8\r\nchunk 2\n\r\n0\r\n\r\n");
}

#[test]
fn old_clients_get_no_chunks() {
    let program = Program::start();
    let mut client = Client::new(program.listen);
    client.send("GET /stream/2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(client.receive_head().unwrap().header("Transfer-Encoding"), None);
    let (body, end) = client.rest();
    assert!(end.is_ok());
    assert_eq!(body, b"chunk 0\nchunk 1\n");
}

#[test]
fn a_redirection_says_where_to() {
    let program = Program::start();
    let response = get(program.listen, "/status/302");
    assert_eq!((response.status, response.header("Location")), (302, Some("/echo/redirected")));
}

#[test]
fn a_broken_request_is_refused_and_its_connection_ends() {
    let program = Program::start();
    for (wire, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("nonsense\r\n\r\n", 400),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        ("PUT /echo/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
    ] {
        let mut client = Client::new(program.listen);
        client.send(format!("{wire}GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        let response = client.receive("GET").unwrap();
        assert_eq!((response.status, response.header("Connection")), (status, Some("close")));
        client.expect_end();
    }
    assert_eq!(program.control().counts().unwrap().total, 0);
}

#[test]
fn request_heads_are_bounded() {
    const MAX_HEAD_BYTES: usize = 64 << 10;
    let program = Program::start();
    for (length, status) in [(MAX_HEAD_BYTES, 404), (MAX_HEAD_BYTES + 1, 431), (1 << 20, 431)] {
        let mut client = Client::new(program.listen);
        let head = |filler: &str| format!("GET / HTTP/1.1\r\nHost: a\r\nA: {filler}\r\n\r\n");
        let filler = "x".repeat(length - head("").len());
        // The server may have refused it before all of it is written.
        let _ = client.stream.write_all(head(&filler).as_bytes());
        assert_eq!(client.receive("GET").unwrap().status, status, "{length}");
    }
}
