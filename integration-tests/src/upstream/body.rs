//! Request bodies, read as they arrive (RFC 9112 §6 and §7), without IO.

use std::fmt::Write as _;

use bytes::{Buf, BytesMut};
use httparse::Status;
use sha2::{Digest, Sha256};

use super::request::{Framing, Refusal};

/// How much of a body is kept: all of what the control port takes, and more than an echo repeats.
pub(crate) const MAX_KEPT_BYTES: usize = 1 << 20;

/// A chunk's size line or a trailer; httparse bounds the digits, this bounds extensions.
const MAX_LINE_BYTES: usize = 8 << 10;

/// Takes a body apart, in whatever pieces it comes.
#[derive(Debug)]
pub(crate) struct Decoder(State);

#[derive(Debug, Clone, Copy)]
enum State {
    Length(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailer,
    Done,
}

impl Decoder {
    pub(crate) fn new(framing: Framing) -> Self {
        Self(match framing {
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize,
        })
    }

    /// Moves what `input` has of the body to `received`; true once the body is complete. What
    /// follows the body stays in `input`.
    pub(crate) fn decode(
        &mut self,
        input: &mut BytesMut,
        received: &mut Received,
    ) -> Result<bool, Refusal> {
        loop {
            self.0 = match self.0 {
                State::Done => return Ok(true),
                State::Length(0) => State::Done,
                State::ChunkData(0) => State::ChunkEnd,
                _ if input.is_empty() => return Ok(false),
                State::Length(left) => State::Length(left - received.take(input, left)),
                State::ChunkData(left) => State::ChunkData(left - received.take(input, left)),
                State::ChunkSize => match httparse::parse_chunk_size(input) {
                    Ok(Status::Complete((line, size))) => {
                        input.advance(line);
                        if size == 0 { State::Trailer } else { State::ChunkData(size) }
                    }
                    Ok(Status::Partial) if input.len() < MAX_LINE_BYTES => return Ok(false),
                    _ => return Err(Refusal::bad("a chunk has no valid size")),
                },
                State::ChunkEnd | State::Trailer => match memchr::memchr(b'\n', input) {
                    Some(line) => {
                        let line = input.split_to(line + 1);
                        match (self.0, line.as_ref()) {
                            (State::ChunkEnd, b"\r\n") => State::ChunkSize,
                            (State::ChunkEnd, _) => {
                                return Err(Refusal::bad("a chunk is longer than its size"));
                            }
                            (_, b"\r\n") => State::Done,
                            _ => State::Trailer,
                        }
                    }
                    None if input.len() < MAX_LINE_BYTES => return Ok(false),
                    None => return Err(Refusal::bad("a line of the chunked body is too long")),
                },
            };
        }
    }
}

/// What came as body of a request.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Length in bytes, without chunk framing.
    pub(crate) length: u64,
    /// The beginning, up to [`MAX_KEPT_BYTES`].
    pub(crate) start: Vec<u8>,
    digest: Sha256,
}

impl Received {
    /// Takes up to `most` bytes from `input`, and says how many.
    fn take(&mut self, input: &mut BytesMut, most: u64) -> u64 {
        let count = usize::try_from(most).map_or(input.len(), |most| most.min(input.len()));
        let bytes = input.split_to(count);
        let kept = count.min(MAX_KEPT_BYTES - self.start.len());
        self.start.extend(bytes.iter().take(kept));
        self.digest.update(&bytes);
        self.length += count as u64;
        count as u64
    }

    /// The body itself, unless it is longer than `most` bytes.
    pub(crate) fn whole(&self, most: usize) -> Option<&[u8]> {
        let complete = self.length == self.start.len() as u64;
        (complete && self.start.len() <= most).then_some(&self.start)
    }

    /// The SHA-256 of the whole body, in lower-case hexadecimal.
    pub(crate) fn sha256(&self) -> String {
        self.digest.clone().finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a string does not fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `wire` in pieces of `step` bytes: the body if it became complete, and what is left of
    /// the input.
    fn fed(
        framing: Framing,
        wire: &[u8],
        step: usize,
    ) -> Result<(Option<Vec<u8>>, Vec<u8>), Refusal> {
        let (mut decoder, mut received) = (Decoder::new(framing), Received::default());
        let mut input = BytesMut::new();
        let mut done = decoder.decode(&mut input, &mut received)?;
        for piece in wire.chunks(step) {
            input.extend_from_slice(piece);
            if !done {
                done = decoder.decode(&mut input, &mut received)?;
            }
        }
        Ok((done.then_some(received.start), input.to_vec()))
    }

    #[test]
    fn bodies_are_the_same_however_they_are_split() {
        let chunked = b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nGET";
        for step in 1..=chunked.len() {
            let (body, rest) = fed(Framing::Chunked, chunked, step).unwrap();
            assert_eq!(body.as_deref(), Some(&b"abc0123456789"[..]), "{step}");
            assert_eq!(rest, b"GET", "{step}");
            let (body, rest) = fed(Framing::Length(3), b"abcGET", step).unwrap();
            assert_eq!((body.as_deref(), rest.as_slice()), (Some(&b"abc"[..]), &b"GET"[..]));
        }
    }

    #[test]
    fn a_body_is_not_complete_before_its_last_byte() {
        let chunked = b"1\r\na\r\n0\r\n\r\n";
        for end in 0..chunked.len() {
            let (body, _) = fed(Framing::Chunked, &chunked[..end], 1).unwrap();
            assert_eq!(body, None, "{end}");
        }
        assert_eq!(fed(Framing::Length(2), b"a", 1).unwrap().0, None);
    }

    #[test]
    fn broken_chunks_are_refused() {
        for wire in ["x\r\n", "1\r\nab\r\n", "-1\r\n", "fffffffffffffffff\r\n"] {
            assert_eq!(
                fed(Framing::Chunked, wire.as_bytes(), 1).unwrap_err().status,
                400,
                "{wire:?}"
            );
        }
    }

    #[test]
    fn lines_between_chunks_are_bounded() {
        for (length, accepted) in [(MAX_LINE_BYTES - 1, true), (MAX_LINE_BYTES, false)] {
            let wire = format!("0\r\n{}", "x".repeat(length));
            assert_eq!(fed(Framing::Chunked, wire.as_bytes(), wire.len()).is_ok(), accepted);
        }
    }

    #[test]
    fn only_the_beginning_is_kept_but_all_is_measured() {
        for (length, kept) in [(MAX_KEPT_BYTES, true), (MAX_KEPT_BYTES + 1, false)] {
            let mut received = Received::default();
            let wire = vec![b'a'; length];
            let framing = Framing::Length(length as u64);
            let mut decoder = Decoder::new(framing);
            assert!(decoder.decode(&mut BytesMut::from(&wire[..]), &mut received).unwrap());
            assert_eq!(received.length, length as u64);
            assert_eq!(received.start.len(), MAX_KEPT_BYTES);
            assert_eq!(received.whole(usize::MAX).is_some(), kept);
        }
    }

    #[test]
    fn the_digest_is_of_the_body() {
        let mut received = Received::default();
        let mut decoder = Decoder::new(Framing::Length(3));
        decoder.decode(&mut BytesMut::from(&b"abc"[..]), &mut received).unwrap();
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(received.sha256(), expected);
        assert_eq!((received.whole(3), received.whole(2)), (Some(&b"abc"[..]), None));
    }
}
