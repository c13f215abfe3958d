//! What is sent arrives when it is sent; and clients that speak an older HTTP, or ask before they send, are served.

use crate::proxy::Proxy;
use crate::wire::Wire;

/// The start of a response whose body comes in chunks.
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A request whose head has arrived: the client's end and the upstream's.
fn begin(proxy: &Proxy, head: &str) -> (Wire, Wire) {
    let mut client = proxy.connect();
    client.send(head);
    let mut upstream = proxy.accept();
    upstream.take_head();
    (client, upstream)
}

#[test]
fn what_is_sent_arrives_while_the_rest_is_still_to_come() {
    let proxy = Proxy::start();
    response_arrives_piece_by_piece(&proxy);
    request_arrives_piece_by_piece(&proxy);
    response_that_breaks_off_breaks_off_for_the_client(&proxy);
}

fn response_arrives_piece_by_piece(proxy: &Proxy) {
    let (mut client, mut upstream) = begin(proxy, "GET /x HTTP/1.1\r\nHost: api\r\n\r\n");
    upstream.send(CHUNKED);
    let (start, _) = client.take_head();
    assert_eq!(start, "HTTP/1.1 200 OK");
    for chunk in ["5\r\nfirst\r\n", "6\r\nsecond\r\n"] {
        // Each is sent only after the one before it has arrived.
        upstream.send(chunk);
        client.take_through(chunk.as_bytes());
    }
    upstream.send("0\r\n\r\n");
    client.take_through(b"0\r\n\r\n");
}

fn request_arrives_piece_by_piece(proxy: &Proxy) {
    let (mut client, mut upstream) =
        begin(proxy, "POST /x HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n");
    for chunk in ["5\r\nfirst\r\n", "6\r\nsecond\r\n"] {
        client.send(chunk);
        upstream.take_through(chunk.as_bytes());
    }
    // An answer may come before the request has ended.
    upstream.send(CHUNKED);
    upstream.send("5\r\nearly\r\n");
    client.take_through(b"early\r\n");
    client.send("0\r\n\r\n");
    upstream.take_through(b"0\r\n\r\n");
    upstream.send("0\r\n\r\n");
    client.take_through(b"0\r\n\r\n");
}

fn response_that_breaks_off_breaks_off_for_the_client(proxy: &Proxy) {
    let (mut client, mut upstream) = begin(proxy, "GET /x HTTP/1.1\r\nHost: api\r\n\r\n");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    client.take_through(b"\r\n\r\nhalf");
    drop(upstream);
    // Neither filled up nor kept open.
    assert_eq!(client.take_rest(), b"");
}

#[test]
fn clients_of_http_1_0_and_clients_that_ask_before_they_send_are_served() {
    let proxy = Proxy::start();
    // HTTP/1.0 knows no chunks: there a body ends with its connection.
    let response = format!("{CHUNKED}3\r\nabc\r\n0\r\n\r\n");
    let (received, answered) = proxy.exchange(b"GET /x HTTP/1.0\r\n\r\n", response.as_bytes());
    assert_eq!(received.start, "GET /x HTTP/1.1");
    assert_eq!(answered.start, "HTTP/1.0 200 OK");
    assert_eq!((answered.body, answered.trailers), (b"abc".to_vec(), vec![]));

    let mut client = proxy.connect();
    let fields = "Host: api\r\nExpect: 100-continue\r\nContent-Length: 3\r\n";
    client.send(format!("POST /x HTTP/1.1\r\n{fields}\r\n"));
    client.take_through(b"HTTP/1.1 100 Continue\r\n\r\n");
    client.send("abc");
    let mut upstream = proxy.accept();
    assert_eq!(upstream.take_request().body, b"abc");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.take_response("POST").start, "HTTP/1.1 200 OK");
}
