//! Responses, read as they come (RFC 9112): nothing is joined, decoded or dropped but the framing of the body.

use std::io::{self, ErrorKind};

/// Most headers of a response: far more than any test sends.
const MAX_HEADERS: usize = 128;

/// A response with its whole body.
#[derive(Debug, Clone, Default)]
pub struct Response {
    /// Interim responses before it (RFC 9110 §15.2): status and header fields of each.
    pub interim: Vec<(u16, Fields)>,
    /// The status code.
    pub status: u16,
    /// Header fields as received, in their order.
    pub headers: Fields,
    /// The body, without the framing of chunks.
    pub body: Vec<u8>,
    /// Trailer fields of a chunked body.
    pub trailers: Fields,
}

/// Names and values of fields, in their order.
pub type Fields = Vec<(String, Vec<u8>)>;

impl Response {
    /// The value of the first header `name`, in any case, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// The values of all header fields `name`, in any case.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let of = move |(own, _): &&(String, Vec<u8>)| own.eq_ignore_ascii_case(name);
        self.headers.iter().filter(of).map(|(_, value)| value.as_slice())
    }

    /// The body as text; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

#[derive(Debug, Clone, Copy)]
enum State {
    Head,
    /// So many bytes are still to come.
    Sized(usize),
    /// The size of a chunk comes next.
    Chunked,
    /// All up to the end of the connection.
    UntilClose,
    Trailers,
}

/// A response while it is read.
#[derive(Debug)]
pub(super) struct Reader {
    to_head: bool,
    state: State,
    buffer: Vec<u8>,
    response: Response,
    keeps_alive: bool,
}

impl Reader {
    /// For the response to a request with `method`.
    pub(super) fn new(method: &str) -> Self {
        Self {
            to_head: method == "HEAD",
            state: State::Head,
            buffer: Vec::new(),
            response: Response::default(),
            keeps_alive: false,
        }
    }

    /// Where received bytes are to be appended, before [`Self::advance`].
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    pub(super) fn into_response(self) -> Response {
        self.response
    }

    /// Takes what has come; `closed` if nothing more will. Once the response is complete: whether the connection can be
    /// used again.
    pub(super) fn advance(&mut self, closed: bool) -> io::Result<Option<bool>> {
        loop {
            let advanced = match self.state {
                State::Head => self.head()?,
                State::Sized(missing) => {
                    let length = missing.min(self.buffer.len());
                    self.response.body.extend(self.buffer.drain(..length));
                    self.state = State::Sized(missing - length);
                    if missing == length {
                        return Ok(Some(self.keeps_alive && self.buffer.is_empty()));
                    }
                    false
                }
                State::Chunked => self.chunk()?,
                State::UntilClose => {
                    self.response.body.append(&mut self.buffer);
                    if closed {
                        return Ok(Some(false));
                    }
                    false
                }
                State::Trailers => match fields(&self.buffer)? {
                    Some((length, trailers)) => {
                        self.buffer.drain(..length);
                        self.response.trailers = trailers;
                        self.state = State::Sized(0);
                        true
                    }
                    None => false,
                },
            };
            if !advanced {
                return if closed { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(None) };
            }
        }
    }

    fn head(&mut self) -> io::Result<bool> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(length) = head.parse(&self.buffer).map_err(malformed)?
        else {
            return Ok(false);
        };
        let status = head.code.unwrap_or_default();
        let is_http_1_1 = head.version == Some(1);
        let headers = owned(head.headers);
        self.buffer.drain(..length);
        // What comes before the final response (RFC 9110 §15.2); a test that asks for an upgrade wants to see the 101.
        if (100..200).contains(&status) && status != 101 {
            self.response.interim.push((status, headers));
            return Ok(true);
        }
        (self.response.status, self.response.headers) = (status, headers);
        let says = |name, word: &str| {
            self.response
                .header(name)
                .is_some_and(|value| value.to_ascii_lowercase().contains(word))
        };
        let length = self.response.header("content-length");
        self.keeps_alive = is_http_1_1 && !says("connection", "close");
        self.state = if self.to_head || matches!(status, 101 | 204 | 304) {
            State::Sized(0)
        } else if says("transfer-encoding", "chunked") {
            State::Chunked
        } else if let Some(length) = length {
            State::Sized(length.parse().map_err(malformed)?)
        } else {
            State::UntilClose
        };
        Ok(true)
    }

    /// Takes one whole chunk, or learns that it was the last.
    fn chunk(&mut self) -> io::Result<bool> {
        let parsed = httparse::parse_chunk_size(&self.buffer);
        let httparse::Status::Complete((start, size)) =
            parsed.map_err(|_| malformed("chunk size"))?
        else {
            return Ok(false);
        };
        if size == 0 {
            self.buffer.drain(..start);
            self.state = State::Trailers;
            return Ok(true);
        }
        let size = usize::try_from(size).map_err(malformed)?;
        let end = start.saturating_add(size);
        let Some(chunk) = self.buffer.get(start..end) else {
            return Ok(false);
        };
        if self.buffer.len() < end + 2 {
            return Ok(false);
        }
        self.response.body.extend_from_slice(chunk);
        self.buffer.drain(..end + 2);
        Ok(true)
    }
}

/// The fields at the start of `bytes` up to the empty line, and the length of both.
fn fields(bytes: &[u8]) -> io::Result<Option<(usize, Fields)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    match httparse::parse_headers(bytes, &mut headers).map_err(malformed)? {
        httparse::Status::Complete((length, headers)) => Ok(Some((length, owned(headers)))),
        httparse::Status::Partial => Ok(None),
    }
}

fn owned(headers: &[httparse::Header<'_>]) -> Fields {
    headers.iter().map(|header| (header.name.to_owned(), header.value.to_vec())).collect()
}

fn malformed(cause: impl ToString) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fed in pieces of `size` bytes, and what is left of the text by the time the response is complete.
    fn read(method: &str, text: &str, size: usize) -> io::Result<(Response, bool)> {
        let mut reader = Reader::new(method);
        for piece in text.as_bytes().chunks(size) {
            reader.buffer().extend_from_slice(piece);
            if let Some(reusable) = reader.advance(false)? {
                return Ok((reader.into_response(), reusable));
            }
        }
        match reader.advance(true)? {
            Some(reusable) => Ok((reader.into_response(), reusable)),
            None => panic!("neither complete nor cut"),
        }
    }

    #[test]
    fn each_framing_gives_the_same_body_however_it_is_cut() {
        let sized = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na\r\nb";
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n3;x\r\n\r\nb\r\n0\r\nT: 1\r\n\r\n";
        let close = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\na\r\nb";
        let early =
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na\r\nb";
        for (text, reusable) in [(sized, true), (chunked, true), (close, false), (early, true)] {
            for size in 1..=text.len() {
                let (response, can_be_reused) = read("GET", text, size).unwrap();
                assert_eq!((response.status, response.text().as_str()), (200, "a\r\nb"), "{text}");
                assert_eq!(can_be_reused, reusable, "{text}");
                assert_eq!(response.trailers.len(), usize::from(text == chunked));
                assert_eq!(response.interim.len(), usize::from(text == early));
            }
        }
    }

    #[test]
    fn some_responses_have_no_body_whatever_their_headers_say() {
        let length = "Content-Length: 5\r\n\r\n";
        for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 304)] {
            let (response, reusable) =
                read(method, &format!("HTTP/1.1 {status} X\r\n{length}"), 1000).unwrap();
            assert!(response.body.is_empty() && reusable);
            assert_eq!(response.header("content-length"), Some("5"));
        }
    }

    #[test]
    fn a_response_that_is_cut_or_no_response_is_an_error() {
        for text in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na"] {
            assert_eq!(read("GET", text, 1000).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        }
        for text in ["SSH-2.0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"] {
            assert_eq!(read("GET", text, 1000).unwrap_err().kind(), ErrorKind::InvalidData);
        }
    }
}
