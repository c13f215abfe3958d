//! What one side sends is what the other receives, field by field and byte by byte.

use crate::proxy::Proxy;
use crate::wire::{Fields, Message, value};

/// What the proxy itself tells the upstream.
const ADDED: [&str; 3] = ["x-forwarded-proto", "x-request-id", "x-forwarded-for"];

/// A response that says nothing but that it is one.
const DONE: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

fn get(fields: &str) -> Vec<u8> {
    format!("GET /x HTTP/1.1\r\nHost: api.example.com\r\n{fields}\r\n").into_bytes()
}

/// The fields without those that the proxy adds, and without `Host`, which names the upstream.
fn from_client(received: &Message) -> Fields {
    let is_added = |name: &str| name == "host" || ADDED.contains(&name);
    let kept = received.fields.iter().filter(|(name, _)| !is_added(name));
    kept.cloned().collect()
}

fn fields<'a>(list: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Fields {
    let owned = |(name, value): (&str, &[u8])| (name.to_owned(), value.to_vec());
    list.into_iter().map(owned).collect()
}

/// Bytes that no text has, so that whatever decodes or recodes them is seen.
fn noise(length: usize) -> Vec<u8> {
    (0..251u8).cycle().map(|byte| byte.wrapping_mul(31)).take(length).collect()
}

/// In chunks of up to 9,973 bytes, with one trailer.
fn chunked(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in body.chunks(9973) {
        out.extend(format!("{:x};ext=1\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\nX-Digest: 1\r\n\r\n");
    out
}

#[test]
fn methods_and_bodies_of_requests_arrive_as_they_were_sent() {
    let proxy = Proxy::start();
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"];
    for method in methods {
        let head = format!("{method} /a/b?c=%20d&e HTTP/1.1\r\nHost: api\r\n");
        let (received, answered) = proxy.exchange(format!("{head}\r\n").as_bytes(), DONE);
        assert_eq!(received.start, format!("{method} /a/b?c=%20d&e HTTP/1.1"));
        // Where a body could have been expected, it may be said that there is none (RFC 9110 §8.6).
        let mut sent = from_client(&received);
        sent.retain(|(name, value)| (name.as_str(), &value[..]) != ("content-length", b"0"));
        assert_eq!((sent, received.body), (vec![], vec![]), "{method}");
        assert_eq!(answered.start, "HTTP/1.1 200 OK");
    }
    for method in &methods[2..] {
        for length in [0, 1, 1 << 20] {
            let body = noise(length);
            let head =
                format!("{method} /a HTTP/1.1\r\nHost: api\r\nContent-Length: {length}\r\n\r\n");
            let (received, _) = proxy.exchange(&[head.as_bytes(), &body].concat(), DONE);
            let told = length.to_string();
            assert_eq!(from_client(&received), fields([("content-length", told.as_bytes())]));
            assert!(received.body == body, "{method}: {length} bytes");

            let head =
                format!("{method} /a HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n");
            let (received, _) = proxy.exchange(&[head.as_bytes(), &chunked(&body)].concat(), DONE);
            assert_eq!(from_client(&received), fields([("transfer-encoding", &b"chunked"[..])]));
            assert!(received.body == body, "{method}: {length} bytes in chunks");
            assert_eq!(received.trailers, fields([("x-digest", &b"1"[..])]));
        }
    }
}

#[test]
fn fields_of_requests_arrive_as_they_were_sent() {
    let proxy = Proxy::start();
    let long = noise(30 << 10).iter().map(|byte| b'a' + byte % 26).collect::<Vec<_>>();
    let sent: [(&str, &[u8]); 17] = [
        ("user-agent", b"a test"),
        ("authorization", b"Bearer abc.def=="),
        ("cookie", b"a=1; b=2"),
        ("cookie", b"c=3"),
        ("range", b"bytes=0-99"),
        ("if-none-match", b"\"x\", W/\"y\""),
        ("if-modified-since", b"Mon, 03 Jun 2024 13:52:02 GMT"),
        ("accept", b"*/*;q=0.1"),
        ("accept-encoding", b"gzip, br;q=0.5"),
        ("cache-control", b"no-cache"),
        ("x-obs-text", b"\xe9\xff \x80"),
        ("x-empty", b""),
        ("x-twice", b"1"),
        ("x-twice", b"2, 3"),
        ("via", b"1.1 another"),
        ("max-forwards", b"3"),
        ("x-long", &long),
    ];
    let lines = sent.iter().map(|(name, value)| [name.as_bytes(), b": ", value, b"\r\n"].concat());
    let lines: Vec<u8> = lines.flatten().collect();
    let head = b"GET /x HTTP/1.1\r\nHost: api.example.com\r\n";
    let (received, _) = proxy.exchange(&[head, &lines[..], b"\r\n"].concat(), DONE);
    assert_eq!(from_client(&received), fields(sent));
    // And these are all that were added, each once.
    for name in ADDED {
        let count = received.fields.iter().filter(|(own, _)| own == name).count();
        assert_eq!(count, 1, "{name}");
    }
    assert_eq!(received.fields.len(), sent.len() + ADDED.len() + 1);
    assert_eq!(value(&received.fields, "x-forwarded-for"), Some(&b"127.0.0.1"[..]));

    // A request that has a name already keeps it, so that logs of both sides fit together.
    let (received, _) = proxy.exchange(&get("X-Request-Id: mine\r\n"), DONE);
    assert_eq!(value(&received.fields, "x-request-id"), Some(&b"mine"[..]));
}

#[test]
fn what_concerns_one_connection_stays_there() {
    let proxy = Proxy::start();
    let request = get(concat!(
        "Connection: X-Mine, keep-alive, TE\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\n",
        "TE: trailers, deflate\r\nUpgrade: websocket, h2c\r\n",
        "Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic YTpi\r\nX-Kept: 1\r\n",
    ));
    let response = concat!(
        "HTTP/1.1 200 OK\r\nConnection: close, X-Theirs\r\nKeep-Alive: timeout=5\r\n",
        "Proxy-Connection: close\r\nUpgrade: h2c\r\nX-Kept: 1\r\nContent-Length: 0\r\n\r\n",
    );
    let (received, answered) = proxy.exchange(&request, response.as_bytes());
    // RFC 9110 §7.6.1. `TE: trailers` is the proxy's own word: it takes trailers itself.
    let expected = [("te", &b"trailers"[..]), ("x-kept", b"1")];
    assert_eq!(from_client(&received), fields(expected));
    let kept = answered.fields.iter().filter(|(name, _)| name != "date");
    let kept: Fields = kept.cloned().collect();
    assert_eq!(kept, fields([("x-kept", &b"1"[..]), ("content-length", b"0")]));
}

#[test]
fn responses_arrive_as_they_were_sent() {
    let proxy = Proxy::start();
    let sent: [(&str, &[u8]); 13] = [
        ("server", b"Apache/1.3 (test)"),
        ("date", b"Mon, 03 Jun 2024 13:52:02 GMT"),
        ("etag", b"W/\"a\""),
        ("last-modified", b"Mon, 03 Jun 2024 13:52:02 GMT"),
        ("cache-control", b"public, max-age=60"),
        ("content-type", b"application/json;charset=UTF-8"),
        ("content-encoding", b"gzip"),
        ("vary", b"Accept-Encoding, Origin"),
        ("set-cookie", b"a=1; Path=/; Expires=Mon, 03 Jun 2024 13:52:02 GMT"),
        ("set-cookie", b"b=2; HttpOnly"),
        ("location", b"http://elsewhere.example/a?b"),
        ("x-obs-text", b"\xe9\xff"),
        ("x-request-id", b"theirs"),
    ];
    let lines = sent.iter().map(|(name, value)| [name.as_bytes(), b": ", value, b"\r\n"].concat());
    let lines: Vec<u8> = lines.flatten().collect();
    let body = noise(300_000);
    for status in [
        200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 409, 410,
        418, 429, 451, 500, 501, 502, 503, 504, 599,
    ] {
        let is_bare = matches!(status, 204 | 304);
        let (length, body) = if is_bare {
            (String::new(), &[][..])
        } else {
            (format!("Content-Length: {}\r\n", body.len()), &body[..])
        };
        let head = format!("HTTP/1.1 {status} Reason\r\nConnection: close\r\n{length}");
        let response = [head.as_bytes(), &lines, b"\r\n", body].concat();
        // A redirection that were followed would come as another request, and nobody would answer it.
        let (_, answered) = proxy.exchange(&get(""), &response);
        assert!(answered.start.starts_with(&format!("HTTP/1.1 {status} ")), "{}", answered.start);
        assert!(answered.body == body, "{status}: {} bytes", answered.body.len());
        let kept = answered.fields.iter().filter(|(name, _)| name != "content-length");
        let kept: Fields = kept.cloned().collect();
        assert_eq!(kept, fields(sent), "{status}");
    }
}

#[test]
fn bodies_of_responses_arrive_however_they_are_framed() {
    let proxy = Proxy::start();
    for length in [0, 1, 1 << 20] {
        let body = noise(length);
        let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n";
        let coding = b"Transfer-Encoding: chunked\r\n\r\n";
        let response = [&head[..], coding, &chunked(&body)].concat();
        let (_, answered) = proxy.exchange(&get(""), &response);
        assert!(answered.body == body, "{length} bytes in chunks");
        assert_eq!(answered.trailers, fields([("x-digest", &b"1"[..])]));

        let response = [&head[..], b"\r\n", &body].concat();
        let (_, answered) = proxy.exchange(&get(""), &response);
        assert!(answered.body == body, "{length} bytes up to the end of the connection");
    }
    // What a GET would have had is told, and nothing of it sent.
    let response = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 12345\r\n\r\n";
    let (_, answered) = proxy.exchange(b"HEAD /x HTTP/1.1\r\nHost: api\r\n\r\n", response);
    assert_eq!(value(&answered.fields, "content-length"), Some(&b"12345"[..]));
}
