//! An upstream that answers what a test says, to the byte: odd lines, interim responses, what no proper server sends.
//!
//! HTTP/1.1 over plain sockets, a thread for each connection. A function is given each request and returns the bytes of
//! the answer, such as [`response`] makes. Without bytes, or after an answer that says so, the connection is closed.

use std::io::{self, BufRead, BufReader, ErrorKind, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use memchr::memmem;

use crate::client::Fields;

/// Header fields of a request at most.
const MOST_FIELDS: usize = 256;

/// How long a connection may be idle: no test is longer.
const LIMIT: Duration = Duration::from_secs(120);

/// A request that came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Its method.
    pub method: String,
    /// As on the request line.
    pub target: String,
    /// Names and values of its header as they came.
    pub fields: Fields,
    /// Without the framing of chunks.
    pub body: Vec<u8>,
}

impl Asked {
    /// The values of all header fields `name`, in any case.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let of = move |(own, _): &&(String, Vec<u8>)| own.eq_ignore_ascii_case(name);
        self.fields.iter().filter(of).map(|(_, value)| value.as_slice())
    }

    /// The value of the first header field `name`, if it is text.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.values(name).next()?).ok()
    }
}

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Scripted {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    is_over: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Scripted {
    /// Serves on a port that the system chooses.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(answer: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let is_over = Arc::<AtomicBool>::default();
        let (noted, over, answer) = (Arc::clone(&asked), Arc::clone(&is_over), Arc::new(answer));
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (noted, answer) = (Arc::clone(&noted), Arc::clone(&answer));
                // A connection that fails has ended: who made it sees that.
                thread::spawn(move || serve(stream, &noted, &*answer));
            }
        });
        Ok(Self { address, asked, is_over, acceptor: Some(acceptor) })
    }

    /// Where it serves, as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What came since this was called last.
    #[must_use]
    pub fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes it.
        if TcpStream::connect(self.address).is_ok()
            && let Some(acceptor) = self.acceptor.take()
        {
            let _ = acceptor.join();
        }
    }
}

/// The bytes of a response to `asked`, of which `head` has status line and header fields in lines. Each character is a
/// byte (ISO 8859-1), so that a head may have any. The length is told unless the head says how the body is framed.
#[must_use]
pub fn response(asked: &Asked, head: &str, body: &[u8]) -> Vec<u8> {
    let byte = |character: char| u8::try_from(u32::from(character)).unwrap_or(b'?');
    let mut bytes = Vec::new();
    for line in head.lines() {
        bytes.extend(line.chars().map(byte).chain(*b"\r\n"));
    }
    let is_bare = ["HTTP/1.1 204", "HTTP/1.1 304"].iter().any(|start| head.contains(start));
    let lower = head.to_ascii_lowercase();
    let is_framed = lower.contains("content-length:") || lower.contains("transfer-encoding:");
    if !is_bare && !is_framed {
        bytes.extend(format!("Content-Length: {}\r\n", body.len()).bytes());
    }
    bytes.extend(b"\r\n");
    if !is_bare && asked.method != "HEAD" {
        bytes.extend(body);
    }
    bytes
}

fn serve(
    stream: TcpStream,
    noted: &Mutex<Vec<Asked>>,
    answer: &dyn Fn(&Asked) -> Vec<u8>,
) -> io::Result<()> {
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_nodelay(true)?;
    let mut output = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    loop {
        let asked = take_request(&mut input)?;
        let bytes = answer(&asked);
        noted.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        output.write_all(&bytes)?;
        let lower = bytes.to_ascii_lowercase();
        if bytes.is_empty() || memmem::find(&lower, b"connection: close").is_some() {
            return Ok(());
        }
    }
}

fn take_request(input: &mut impl BufRead) -> io::Result<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(take_line(input)?);
    }
    let mut room = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut request = httparse::Request::new(&mut room);
    request.parse(&head).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
    let field = |field: &httparse::Header<'_>| (field.name.to_owned(), field.value.to_vec());
    let mut asked = Asked {
        method: request.method.unwrap_or_default().to_owned(),
        target: request.path.unwrap_or_default().to_owned(),
        fields: request.headers.iter().map(field).collect(),
        body: Vec::new(),
    };
    if asked.value("transfer-encoding").is_some() {
        asked.body = take_chunks(input)?;
    } else if let Some(length) = asked.value("content-length").and_then(|text| text.parse().ok()) {
        asked.body = take(input, length)?;
    }
    Ok(asked)
}

fn take_chunks(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = take_line(input)?;
        let size = std::str::from_utf8(size.trim_ascii()).unwrap_or_default();
        let size = usize::from_str_radix(size, 16).map_err(|_| ErrorKind::InvalidData)?;
        if size == 0 {
            // Trailers, up to the empty line.
            while take_line(input)? != b"\r\n" {}
            return Ok(body);
        }
        body.extend(take(input, size)?);
        take_line(input)?;
    }
}

fn take_line(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    match input.read_until(b'\n', &mut line)? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(line),
    }
}

fn take(input: &mut impl BufRead, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Client, Request};

    #[test]
    fn it_is_asked_and_answers_to_the_byte() {
        let upstream = Scripted::start(|asked| {
            let early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
            let head = "HTTP/1.1 200 OK\nX-Obs: \u{e9}\nSet-Cookie: a=1\nset-cookie: b=2";
            [&early[..], &response(asked, head, asked.target.as_bytes())].concat()
        })
        .unwrap();
        let mut client = Client::new(upstream.address);
        let chunked = Request::new("POST", "/d").header("Transfer-Encoding", "chunked");
        let requests = [
            (Request::get("/a?b").header("X-Twice", "1").header("X-Twice", "2"), "/a?b"),
            (Request::new("HEAD", "/a"), ""),
            (Request::new("POST", "/c").body("one"), "/c"),
            (chunked.body("1\r\no\r\n2\r\nne\r\n0\r\nT: 1\r\n\r\n"), "/d"),
        ];
        for (request, body) in &requests {
            let answered = client.send(request).unwrap();
            assert_eq!((answered.status, answered.text().as_str()), (200, *body));
            assert_eq!(answered.interim[0].0, 103);
            assert_eq!(answered.values("x-obs").next(), Some(&b"\xe9"[..]));
            assert_eq!(answered.values("set-cookie").count(), 2);
        }
        let asked = upstream.take_asked();
        let methods: Vec<_> = asked.iter().map(|asked| asked.method.as_str()).collect();
        assert_eq!(methods, ["GET", "HEAD", "POST", "POST"]);
        assert_eq!(asked[0].values("x-twice").collect::<Vec<_>>(), [b"1", b"2"]);
        assert!(asked[2..].iter().all(|asked| asked.body == b"one"));
    }

    #[test]
    fn what_has_no_body_has_no_length() {
        let asked = Asked { method: "HEAD".to_owned(), ..Asked::default() };
        for (head, expected) in [
            ("HTTP/1.1 304 X", "HTTP/1.1 304 X\r\n\r\n"),
            ("HTTP/1.1 200 X\nEtag: x", "HTTP/1.1 200 X\r\nEtag: x\r\nContent-Length: 3\r\n\r\n"),
        ] {
            assert_eq!(response(&asked, head, b"abc"), expected.as_bytes());
        }
    }
}
