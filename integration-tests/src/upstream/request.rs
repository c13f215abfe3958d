//! Request heads as an HTTP/1.1 origin server reads them (RFC 9112), without IO.
//!
//! Hand-written on purpose: the tests of the proxy need header names and their order as they came
//! over the wire, and answers that break off where a fault says so. HTTP libraries hide both. It is
//! strict, so that a request that two parsers could read differently is refused here and seen, not
//! guessed at.

use httparse::Header;

/// Header fields of one request; Envoy's own default is 100.
pub(crate) const MAX_HEADERS: usize = 128;

/// A request that cannot be served, and the status that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) problem: &'static str,
}

impl Refusal {
    pub(crate) const fn bad(problem: &'static str) -> Self {
        Self { status: 400, problem }
    }
}

/// The head of a request, as received.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// The request target, byte for byte as on the request line.
    pub(crate) target: &'a str,
    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub(crate) minor: u8,
    /// In the order and with the names of the wire.
    pub(crate) headers: &'a [Header<'a>],
}

/// How the length of a request's body is told (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
}

impl<'a> Request<'a> {
    /// Reads `head`, which ends with the empty line; `room` holds the header fields.
    pub(crate) fn parse(
        head: &'a [u8],
        room: &'a mut [Header<'a>; MAX_HEADERS],
    ) -> Result<Self, Refusal> {
        let mut parsed = httparse::Request::new(room);
        let complete = match parsed.parse(head) {
            Ok(status) => status == httparse::Status::Complete(head.len()),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(Refusal { status: 431, problem: "too many header fields" });
            }
            Err(httparse::Error::Version) => {
                return Err(Refusal { status: 505, problem: "not HTTP/1.0 or HTTP/1.1" });
            }
            Err(_) => return Err(Refusal::bad("the request head is not HTTP/1.1")),
        };
        let (Some(method), Some(target), Some(minor)) =
            (parsed.method, parsed.path, parsed.version)
        else {
            return Err(Refusal::bad("the request line is incomplete"));
        };
        if !complete {
            return Err(Refusal::bad("the request head has a line without carriage return"));
        }
        let request = Self { method, target, minor, headers: parsed.headers };
        let hosts = request.values("host").count();
        if hosts > 1 || (hosts == 0 && minor == 1) {
            return Err(Refusal::bad("there has to be one Host field"));
        }
        Ok(request)
    }

    /// The target up to its query.
    pub(crate) fn path(&self) -> &'a str {
        self.target.split_once('?').map_or(self.target, |(path, _)| path)
    }

    /// What follows the first `?`, or nothing.
    pub(crate) fn query(&self) -> &'a str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The values of all fields called `name`, in order.
    pub(crate) fn values(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        self.headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }

    /// Whether a field called `name` lists `token` (RFC 9110 §5.6.1).
    pub(crate) fn lists(&self, name: &'static str, token: &str) -> bool {
        self.values(name).any(|value| lists(value, token))
    }

    /// Whether the connection may carry another request after this one (RFC 9112 §9.3). In HTTP/1.0
    /// it never does: there, only closing ends a stream.
    pub(crate) fn keeps_alive(&self) -> bool {
        self.minor > 0 && !self.lists("connection", "close")
    }

    /// How the body's length is told. Anything that another parser could read differently is
    /// refused, as RFC 9112 §6.3 asks of what may be request smuggling.
    pub(crate) fn framing(&self) -> Result<Framing, Refusal> {
        let mut lengths = self.values("content-length");
        let length = lengths.next();
        let mut codings = self.values("transfer-encoding");
        let Some(coding) = codings.next() else {
            if lengths.next().is_some() {
                return Err(Refusal::bad("Content-Length is repeated"));
            }
            return length.map_or(Ok(Framing::Length(0)), |length| {
                let digits = length.iter().all(u8::is_ascii_digit).then_some(length);
                let length = digits.and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
                length.map(Framing::Length).ok_or(Refusal::bad("Content-Length is not a length"))
            });
        };
        if length.is_some() {
            return Err(Refusal::bad("both Content-Length and Transfer-Encoding"));
        }
        if self.minor == 0 {
            return Err(Refusal::bad("Transfer-Encoding in HTTP/1.0"));
        }
        if codings.next().is_some() || !coding.eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal { status: 501, problem: "a transfer coding other than chunked" });
        }
        Ok(Framing::Chunked)
    }
}

/// Whether the list `value` has the item `token` (RFC 9110 §5.6.1).
pub(crate) fn lists(value: &[u8], token: &str) -> bool {
    value
        .split(|byte| *byte == b',')
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(head: &str) -> Result<Framing, Refusal> {
        let head = format!("POST /echo/ HTTP/1.1\r\nHost: a\r\n{head}\r\n");
        let mut room = [httparse::EMPTY_HEADER; MAX_HEADERS];
        Request::parse(head.as_bytes(), &mut room)?.framing()
    }

    fn status_of(head: &str) -> u16 {
        let mut room = [httparse::EMPTY_HEADER; MAX_HEADERS];
        Request::parse(head.as_bytes(), &mut room).map_or_else(|refusal| refusal.status, |_| 200)
    }

    #[test]
    fn names_order_and_target_are_kept() {
        let head = b"GET //a/%2e/?q=%20&&x HTTP/1.1\r\nX-One: 1\r\nhost: a\r\nx-ONE: 2\r\n\r\n";
        let mut room = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let request = Request::parse(head, &mut room).unwrap();
        assert_eq!(request.target, "//a/%2e/?q=%20&&x");
        assert_eq!((request.path(), request.query()), ("//a/%2e/", "q=%20&&x"));
        let names: Vec<_> = request.headers.iter().map(|header| header.name).collect();
        assert_eq!(names, ["X-One", "host", "x-ONE"]);
        assert_eq!(request.values("x-one").collect::<Vec<_>>(), [b"1", b"2"]);
    }

    #[test]
    fn a_head_that_parsers_could_read_differently_is_refused() {
        for (head, status) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            ("GET / HTTP/1.0\r\n\r\n", 200),
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\nHost: a\n\n\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 505),
            ("\r\n\r\n", 400),
        ] {
            assert_eq!(status_of(head), status, "{head:?}");
        }
    }

    #[test]
    fn header_fields_are_bounded() {
        for (count, status) in [(MAX_HEADERS, 200), (MAX_HEADERS + 1, 431)] {
            let fields = "A: b\r\n".repeat(count - 1);
            assert_eq!(status_of(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")), status);
        }
    }

    #[test]
    fn framing_is_one_length_or_chunked() {
        assert_eq!(framing(""), Ok(Framing::Length(0)));
        assert_eq!(framing("Content-Length: 12\r\n"), Ok(Framing::Length(12)));
        assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
    }

    #[test]
    fn ambiguous_framing_is_refused() {
        for (head, status) in [
            ("Content-Length: 1\r\nContent-Length: 1\r\n", 400),
            ("Content-Length: +1\r\n", 400),
            ("Content-Length: \r\n", 400),
            ("Content-Length: 18446744073709551616\r\n", 400),
            ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400),
            ("Transfer-Encoding: gzip\r\n", 501),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 501),
        ] {
            assert_eq!(framing(head).unwrap_err().status, status, "{head:?}");
        }
    }

    #[test]
    fn connections_persist_as_the_version_says() {
        for (version, connection, keeps) in [
            ("1.1", "", true),
            ("1.1", "Connection: x, Close\r\n", false),
            ("1.0", "", false),
            ("1.0", "Connection: keep-alive\r\n", false),
        ] {
            let head = format!("GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n");
            let mut room = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let request = Request::parse(head.as_bytes(), &mut room).unwrap();
            assert_eq!(request.keeps_alive(), keeps, "{head:?}");
        }
    }
}
