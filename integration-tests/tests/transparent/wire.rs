//! A connection operated by hand: what is sent and what has come are bytes, as on the wire.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// After it a test fails instead of hanging.
const LIMIT: Duration = Duration::from_secs(10);

/// Fields of one head at most.
const MAX_FIELDS: usize = 64;

/// One end of a connection.
pub(crate) struct Wire {
    stream: TcpStream,
    /// Come, and not taken yet.
    input: Vec<u8>,
}

/// A request or response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// The first line.
    pub(crate) start: String,
    pub(crate) fields: Fields,
    /// Without the framing of chunks.
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
}

/// Names in small letters, as their case means nothing (RFC 9110 §5.1), and values as they came.
pub(crate) type Fields = Vec<(String, Vec<u8>)>;

impl Wire {
    pub(crate) fn connect(to: SocketAddr) -> Self {
        Self::new(TcpStream::connect(to).unwrap())
    }

    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, input: Vec::new() }
    }

    /// Another handle of the same connection, to send on while this one reads.
    pub(crate) fn sender(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Takes everything up to and with the next `mark`.
    pub(crate) fn take_through(&mut self, mark: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.input, mark) {
                return self.input.drain(..at + mark.len()).collect();
            }
            assert!(self.read() > 0, "the connection ended before {mark:?}");
        }
    }

    /// First line and fields.
    pub(crate) fn take_head(&mut self) -> (String, Fields) {
        let head = self.take_through(b"\r\n\r\n");
        let start = head.iter().position(|byte| *byte == b'\r').unwrap();
        let (start, fields) = head.split_at(start);
        (String::from_utf8(start.to_vec()).unwrap(), parse(&fields[2..]))
    }

    /// A whole request.
    pub(crate) fn take_request(&mut self) -> Message {
        let (start, fields) = self.take_head();
        let (body, trailers) = self.take_framed(&fields).unwrap_or_default();
        Message { start, fields, body, trailers }
    }

    /// A whole response to a request with `method`.
    pub(crate) fn take_response(&mut self, method: &str) -> Message {
        let (start, fields) = self.take_head();
        let is_bare = method == "HEAD" || start.contains(" 204 ") || start.contains(" 304 ");
        let (body, trailers) = if is_bare {
            Default::default()
        } else {
            let framed = self.take_framed(&fields);
            framed.unwrap_or_else(|| (self.take_rest(), Fields::new()))
        };
        Message { start, fields, body, trailers }
    }

    /// Body and trailers, if `fields` say where they end.
    fn take_framed(&mut self, fields: &Fields) -> Option<(Vec<u8>, Fields)> {
        if let Some(length) = value(fields, "content-length") {
            let length = str::from_utf8(length).unwrap().parse().unwrap();
            return Some((self.take(length), Fields::new()));
        }
        value(fields, "transfer-encoding")?;
        let mut body = Vec::new();
        loop {
            let size = self.take_through(b"\r\n");
            let size = str::from_utf8(size.trim_ascii()).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            if size == 0 {
                break;
            }
            body.extend(self.take(size));
            assert_eq!(self.take(2), b"\r\n");
        }
        let mut lines = Vec::new();
        while lines != b"\r\n" && !lines.ends_with(b"\r\n\r\n") {
            lines.extend(self.take_through(b"\r\n"));
        }
        Some((body, parse(&lines)))
    }

    /// All that comes until the other end closes.
    pub(crate) fn take_rest(&mut self) -> Vec<u8> {
        while self.read() > 0 {}
        std::mem::take(&mut self.input)
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        while self.input.len() < length {
            assert!(self.read() > 0, "the connection ended in a body");
        }
        self.input.drain(..length).collect()
    }

    fn read(&mut self) -> usize {
        let mut piece = [0; 64 << 10];
        let length = self.stream.read(&mut piece).unwrap();
        self.input.extend_from_slice(&piece[..length]);
        length
    }
}

fn parse(lines: &[u8]) -> Fields {
    let mut room = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let (_, fields) = httparse::parse_headers(lines, &mut room).unwrap().unwrap();
    let owned = |field: &httparse::Header<'_>| (field.name.to_lowercase(), field.value.to_vec());
    fields.iter().map(owned).collect()
}

/// The value of the first field `name`.
pub(crate) fn value<'a>(fields: &'a Fields, name: &str) -> Option<&'a [u8]> {
    let field = fields.iter().find(|(own, _)| own == name);
    field.map(|(_, value)| value.as_slice())
}
