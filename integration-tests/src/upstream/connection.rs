//! One connection: requests are read whole, then answered one after the other, or not, as the
//! service says.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;

use super::answer::{Answer, Body, PATTERN};
use super::body::{Decoder, Received};
use super::request::{Framing, MAX_HEADERS, Refusal, Request};

/// A request head with its empty line: Envoy's own default is 60 KiB.
pub(crate) const MAX_HEAD_BYTES: usize = 64 << 10;

/// Room made for each read.
const READ_BYTES: usize = 8 << 10;

/// How long a client that was refused may go on sending before its connection is gone.
const LINGER: Duration = Duration::from_secs(1);

/// What answers the requests of a port.
pub(crate) trait Service: Send + Sync + 'static {
    /// Called once for each request, when all of it has been read.
    fn reply(&self, request: &Request<'_>, body: &Received) -> Reply;
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// Waited before anything else.
    pub(crate) delay: Duration,
    pub(crate) ending: Ending,
}

/// How the exchange ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Answered(Answer),
    /// The answer breaks off after half of its body, by FIN: after a RST the client's system may
    /// withhold that half.
    Cut(Answer),
    /// FIN before any byte.
    Closed,
    /// RST before any byte.
    Reset,
    /// Nothing at all, until the client gives up.
    Hung,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self { delay: Duration::ZERO, ending: Ending::Answered(answer) }
    }
}

/// A byte stream over TCP.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin + Send {
    fn tcp(&self) -> &TcpStream;
}

impl Transport for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Transport for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// Why a connection carries no further request.
#[derive(Debug)]
enum End {
    /// In order: the client is told.
    Finished,
    /// By the client, the network or a fault: dropped as it is.
    Broken,
    Refused(Refusal),
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Broken
    }
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Serves `stream` until its client ends it. Once `stopped`, requests whose heads have arrived are
/// still answered.
pub(crate) async fn serve(
    stream: impl Transport,
    service: &impl Service,
    stopped: impl Future<Output = ()>,
) {
    let mut connection = Connection { stream, input: BytesMut::new(), output: Vec::new() };
    match connection.run(service, pin!(stopped)).await {
        Err(End::Broken) => {}
        Err(End::Finished) => connection.finish().await,
        Err(End::Refused(refusal)) => connection.refuse(&refusal).await,
    }
}

struct Connection<S> {
    stream: S,
    /// Read, not yet understood.
    input: BytesMut,
    /// Written, not yet sent.
    output: Vec<u8>,
}

impl<S: Transport> Connection<S> {
    async fn run(
        &mut self,
        service: &impl Service,
        mut stopped: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Infallible, End> {
        loop {
            let head = tokio::select! {
                biased;
                head = self.head() => head?,
                () = &mut stopped => return Err(End::Finished),
            };
            let mut room = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let request = Request::parse(&head, &mut room)?;
            let body = self.body(&request).await?;
            let reply = service.reply(&request, &body);
            if !reply.delay.is_zero() {
                sleep(reply.delay).await;
            }
            match reply.ending {
                Ending::Answered(answer) => self.send(&request, &answer, false).await?,
                Ending::Cut(answer) => self.send(&request, &answer, true).await?,
                Ending::Closed => return Err(End::Broken),
                Ending::Reset => {
                    self.stream.tcp().set_zero_linger()?;
                    return Err(End::Broken);
                }
                Ending::Hung => {
                    tokio::select! {
                        () = self.drain() => {}
                        () = &mut stopped => {}
                    }
                    return Err(End::Broken);
                }
            }
        }
    }

    /// The next request's head, with its empty line. Nothing is lost when it is dropped half-way.
    async fn head(&mut self) -> Result<Bytes, End> {
        const TOO_LONG: Refusal = Refusal { status: 431, problem: "the request head is too long" };
        loop {
            match memmem::find(&self.input, b"\r\n\r\n").map(|end| end + 4) {
                Some(end) if end <= MAX_HEAD_BYTES => {
                    return Ok(self.input.split_to(end).freeze());
                }
                None if self.input.len() < MAX_HEAD_BYTES => {}
                _ => return Err(TOO_LONG.into()),
            }
            self.read().await?;
        }
    }

    async fn body(&mut self, request: &Request<'_>) -> Result<Received, End> {
        let mut received = Received::default();
        let framing = request.framing()?;
        if framing == Framing::Length(0) {
            return Ok(received);
        }
        if request.lists("expect", "100-continue") && self.input.is_empty() {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            self.stream.flush().await?;
        }
        let mut decoder = Decoder::new(framing);
        while !decoder.decode(&mut self.input, &mut received)? {
            self.read().await?;
        }
        Ok(received)
    }

    async fn read(&mut self) -> Result<(), End> {
        self.input.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err(End::Broken),
            _ => Ok(()),
        }
    }

    /// Writes `answer`; if it is `cut`, only half of its body and then no more.
    async fn send(&mut self, request: &Request<'_>, answer: &Answer, cut: bool) -> Result<(), End> {
        let chunked = request.minor > 0;
        let closes = answer.closes() || !request.keeps_alive();
        answer.encode_head(request.minor, closes, SystemTime::now(), &mut self.output);
        if answer.has_body(request.method) {
            match &answer.body {
                Body::Whole(bytes) => {
                    let length = if cut { bytes.len() / 2 } else { bytes.len() };
                    self.output.extend(bytes.iter().take(length));
                }
                Body::Pattern(length) => {
                    self.send_pattern(if cut { length / 2 } else { *length }).await?;
                }
                Body::Chunks { count, every } => {
                    let count = if cut { count / 2 } else { *count };
                    self.send_chunks(count, *every, chunked).await?;
                    if chunked && !cut {
                        self.output.extend_from_slice(b"0\r\n\r\n");
                    }
                }
            }
        }
        self.flush().await?;
        match (cut, closes) {
            (true, _) => Err(End::Broken),
            (false, true) => Err(End::Finished),
            (false, false) => Ok(()),
        }
    }

    async fn send_pattern(&mut self, length: u64) -> Result<(), End> {
        let mut left = length;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX);
            let piece = PATTERN.get(..most).unwrap_or(&PATTERN);
            self.output.extend_from_slice(piece);
            self.flush().await?;
            left -= piece.len() as u64;
        }
        Ok(())
    }

    async fn send_chunks(&mut self, count: u64, every: Duration, chunked: bool) -> Result<(), End> {
        for number in 0..count {
            if number > 0 && !every.is_zero() {
                sleep(every).await;
            }
            let text = format!("chunk {number}\n");
            let framed = format!("{:x}\r\n{text}\r\n", text.len());
            self.output.extend_from_slice(if chunked { &framed } else { &text }.as_bytes());
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), End> {
        self.stream.write_all(&self.output).await?;
        self.stream.flush().await?;
        self.output.clear();
        Ok(())
    }

    async fn finish(&mut self) {
        // A client that is gone already need not be told.
        let _ = self.stream.shutdown().await;
    }

    /// Says what is wrong, then lets the client finish: closing on unread input would reset the
    /// connection, and the client might not see why.
    async fn refuse(&mut self, refusal: &Refusal) {
        let answer = Answer::error(refusal.status, refusal.problem);
        answer.encode_head(1, true, SystemTime::now(), &mut self.output);
        if let Body::Whole(body) = &answer.body {
            self.output.extend_from_slice(body);
        }
        if self.flush().await.is_ok() {
            self.finish().await;
            let _ = timeout(LINGER, self.drain()).await;
        }
    }

    /// Reads and forgets until the client ends the connection.
    async fn drain(&mut self) {
        loop {
            self.input.clear();
            if self.read().await.is_err() {
                return;
            }
        }
    }
}
