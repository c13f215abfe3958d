//! A client for tests: HTTP/1.1 exactly as asked for, from an address of choice, alone or many at once.
//!
//! Ordinary clients tidy up what they send, retry, and pool over one source address; here a request target goes out byte
//! by byte, every failure is seen, and the whole of 127.0.0.0/8 can be other origins. The calls block: what happens at
//! once happens on threads of a runtime that all tests of a program share.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::LazyLock;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};

mod load;
mod response;

pub use self::load::{Load, Outcome, arrivals, burst, percentile};
pub use self::response::{Fields, Response};

use self::response::Reader;

/// How long connecting and one exchange may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Threads that carry all exchanges: enough to use the machine's cores, few enough to leave them to what is tested.
const THREADS: usize = 2;

static RUNTIME: LazyLock<io::Result<Runtime>> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(THREADS).enable_all().build());

fn runtime() -> io::Result<&'static Runtime> {
    RUNTIME.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))
}

/// A request as it goes out.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    target: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Request {
    /// `GET target`. The target is sent byte by byte as it stands here.
    #[must_use]
    pub fn get(target: impl AsRef<[u8]>) -> Self {
        Self::new("GET", target)
    }

    /// `method target`.
    #[must_use]
    pub fn new(method: &str, target: impl AsRef<[u8]>) -> Self {
        let (headers, body) = (Vec::new(), Vec::new());
        Self { method: method.to_owned(), target: target.as_ref().to_vec(), headers, body }
    }

    /// One more header. `Host` and, where there is a body, `Content-Length` are added unless they are given here or the
    /// body is said to be chunked.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// The body, sent as it stands here: with `Transfer-Encoding: chunked` it has to hold the chunks' framing.
    #[must_use]
    pub fn body(self, body: impl AsRef<[u8]>) -> Self {
        Self { body: body.as_ref().to_vec(), ..self }
    }

    fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name))
    }

    fn encode(&self, to: SocketAddr) -> Vec<u8> {
        let mut out = [self.method.as_bytes(), b" ", &self.target, b" HTTP/1.1\r\n"].concat();
        let mut add = |name: &str, value: &[u8]| {
            out.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        };
        if !self.has("host") {
            add("Host", to.to_string().as_bytes());
        }
        if !self.body.is_empty() && !self.has("content-length") && !self.has("transfer-encoding") {
            add("Content-Length", self.body.len().to_string().as_bytes());
        }
        for (name, value) in &self.headers {
            add(name, value);
        }
        out.extend([b"\r\n", &self.body[..]].concat());
        out
    }
}

/// One origin's connection to one address: opened when needed, kept alive while the server does.
#[derive(Debug)]
pub struct Client {
    to: SocketAddr,
    from: Ipv4Addr,
    connection: Option<TcpStream>,
}

impl Client {
    /// A client from 127.0.0.1 to this machine, or from whatever address leads to another; nothing is opened yet.
    #[must_use]
    pub fn new(to: SocketAddr) -> Self {
        let from = if to.ip().is_loopback() { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
        Self { to, from, connection: None }
    }

    /// The same from another address, such as 127.0.0.7.
    #[must_use]
    pub fn from(self, from: Ipv4Addr) -> Self {
        Self { from, ..self }
    }

    /// Sends a request and reads the response; never sends anything twice.
    ///
    /// # Errors
    /// What the system says; `TimedOut` after 10 s, `UnexpectedEof` for a response that is cut or absent, `InvalidData`
    /// for what is not HTTP. The connection is dropped then, and the next call opens another.
    pub fn send(&mut self, request: &Request) -> io::Result<Response> {
        runtime()?.block_on(self.exchange(request))
    }

    /// Sends `bytes` as they are, which should be a request with `method`, and reads the response.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_bytes(&mut self, method: &str, bytes: &[u8]) -> io::Result<Response> {
        runtime()?.block_on(self.exchange_bytes(method, bytes))
    }

    /// [`Self::send`] for `GET target`.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn get(&mut self, target: &str) -> io::Result<Response> {
        self.send(&Request::get(target))
    }

    async fn exchange(&mut self, request: &Request) -> io::Result<Response> {
        let bytes = request.encode(self.to);
        self.exchange_bytes(&request.method, &bytes).await
    }

    async fn exchange_bytes(&mut self, method: &str, bytes: &[u8]) -> io::Result<Response> {
        let exchange = tokio::time::timeout(LIMIT, self.exchange_without_limit(method, bytes));
        exchange.await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
    }

    async fn exchange_without_limit(&mut self, method: &str, bytes: &[u8]) -> io::Result<Response> {
        let mut stream = match self.connection.take() {
            Some(stream) => stream,
            None => self.connect().await?,
        };
        let (mut input, mut output) = stream.split();
        let mut reader = Reader::new(method);
        let mut write = pin!(output.write_all(bytes));
        let mut written = None;
        let reusable = loop {
            // A server may answer before it has read everything, and refuse to read more: its answer counts.
            tokio::select! {
                outcome = &mut write, if written.is_none() => written = Some(outcome.is_ok()),
                length = input.read_buf(reader.buffer()) => {
                    if let Some(keeps_alive) = reader.advance(length? == 0)? {
                        break keeps_alive && written == Some(true);
                    }
                }
            }
        };
        if reusable {
            self.connection = Some(stream);
        }
        Ok(reader.into_response())
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((self.from, 0).into())?;
        let stream = socket.connect(self.to).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
