//! An HTTP client that shows what came over the wire.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// After it a test fails instead of hanging.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One connection.
pub(crate) struct Client<S = TcpStream> {
    pub(crate) stream: S,
}

/// A response, as received.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
}

/// One request without body on a connection of its own.
pub(crate) fn get(address: SocketAddr, target: &str) -> Response {
    Client::new(address).request("GET", target, "").unwrap()
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { stream: connect(address) }
    }
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn send(&mut self, wire: impl AsRef<[u8]>) {
        self.stream.write_all(wire.as_ref()).unwrap();
    }

    /// Sends a request with further header lines, such as `"A: b\r\n"`, and reads its response.
    pub(crate) fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &str,
    ) -> io::Result<Response> {
        self.send(format!("{method} {target} HTTP/1.1\r\nHost: api\r\n{headers}\r\n"));
        self.receive(method)
    }

    /// Reads a response to `method` whose length is told.
    pub(crate) fn receive(&mut self, method: &str) -> io::Result<Response> {
        let mut response = self.receive_head()?;
        let length = response.header("Content-Length").map_or(0, |length| length.parse().unwrap());
        if method != "HEAD" {
            response.body.resize(length, 0);
            self.stream.read_exact(&mut response.body)?;
        }
        Ok(response)
    }

    pub(crate) fn receive_head(&mut self) -> io::Result<Response> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), value.to_owned())
        };
        Ok(Response {
            status: status.split(' ').next().unwrap().parse().unwrap(),
            headers: lines.map(header).collect(),
            body: Vec::new(),
        })
    }

    /// What comes until the connection ends, and how it ends.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, io::Result<()>) {
        let mut rest = Vec::new();
        let end = self.stream.read_to_end(&mut rest).map(drop);
        (rest, end)
    }

    /// Asserts that the connection ends here, in order.
    pub(crate) fn expect_end(&mut self) {
        let (rest, end) = self.rest();
        assert_eq!((String::from_utf8_lossy(&rest).as_ref(), end.is_ok()), ("", true), "{end:?}");
    }
}

impl Client {
    /// Asserts that nothing comes for `time`.
    pub(crate) fn expect_silence(&mut self, time: Duration) {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let error = self.stream.read(&mut [0]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
        self.stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    }
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers
            .iter()
            .filter(move |(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// All header fields but the date, which is another one a second later.
    pub(crate) fn timeless(&self) -> Vec<&(String, String)> {
        self.headers.iter().filter(|(name, _)| name != "Date").collect()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}
