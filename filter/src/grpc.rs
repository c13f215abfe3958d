//! gRPC's message framing: five bytes before each message, one zero flag and a big-endian length
//! ("Length-Prefixed-Message" of the gRPC over HTTP/2 protocol).
//!
//! Envoy puts this frame around what the filter sends on its stream and expects it around what comes back; Redis must
//! see neither. The bridge takes the frame off on the way out and puts one on around each piece on the way in.

/// Bytes before each message.
pub const HEADER_BYTES: usize = 5;

/// The frame header of a message of `length` bytes, or `None` above gRPC's limit of 2³² − 1.
#[must_use]
pub fn header(length: usize) -> Option<[u8; HEADER_BYTES]> {
    let [a, b, c, d] = u32::try_from(length).ok()?.to_be_bytes();
    Some([0, a, b, c, d])
}

/// Takes frame headers off a body that arrives in pieces, wherever those are split.
#[derive(Debug, Default)]
pub struct Unframer {
    /// Bytes of the current message still to come.
    message_left: usize,
    /// The part of a header that has arrived.
    header: Vec<u8>,
}

impl Unframer {
    /// Whether a piece of `length` bytes that starts with `head` is exactly one message: the usual case, in which the
    /// piece itself need not be looked at.
    #[must_use]
    pub fn is_whole_message(&self, head: &[u8], length: usize) -> bool {
        self.message_left == 0
            && self.header.is_empty()
            && length > HEADER_BYTES
            && header(length - HEADER_BYTES).is_some_and(|expected| expected == head)
    }

    /// The payload in `piece`, with state carried over to the next one.
    ///
    /// The sender is Envoy's own gRPC client in the same process, so a flag byte that claims compression is not
    /// looked at: the filter never asks for it.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut payload = Vec::with_capacity(piece.len());
        let mut rest = piece;
        while !rest.is_empty() {
            if self.message_left > 0 {
                let (now, later) = rest.split_at(self.message_left.min(rest.len()));
                payload.extend_from_slice(now);
                self.message_left -= now.len();
                rest = later;
            } else {
                let missing = HEADER_BYTES - self.header.len();
                let (now, later) = rest.split_at(missing.min(rest.len()));
                self.header.extend_from_slice(now);
                rest = later;
                if let [_, a, b, c, d] = *self.header.as_slice() {
                    self.message_left = u32::from_be_bytes([a, b, c, d]) as usize;
                    self.header.clear();
                }
            }
        }
        payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(message: &[u8]) -> Vec<u8> {
        let mut bytes = header(message.len()).unwrap().to_vec();
        bytes.extend_from_slice(message);
        bytes
    }

    #[test]
    fn header_is_a_zero_flag_and_a_big_endian_length() {
        assert_eq!(header(0x0102), Some([0, 0, 0, 1, 2]));
        assert_eq!(header(u32::MAX as usize), Some([0, 255, 255, 255, 255]));
        assert_eq!(header(u32::MAX as usize + 1), None);
    }

    #[test]
    fn a_whole_message_is_told_by_its_header_alone() {
        let unframer = Unframer::default();
        let piece = framed(b"PING");
        assert!(unframer.is_whole_message(&piece[..5], piece.len()));
        assert!(!unframer.is_whole_message(&piece[..5], piece.len() + 1));
        assert!(!unframer.is_whole_message(&piece[..5], piece.len() - 1));
        assert!(!unframer.is_whole_message(&piece[..4], piece.len()));
    }

    #[test]
    fn no_piece_is_whole_while_another_message_is_open() {
        let mut unframer = Unframer::default();
        let piece = framed(b"PING");
        assert_eq!(unframer.push(&piece[..6]), b"P");
        assert!(!unframer.is_whole_message(&piece[..5], piece.len()));
        assert_eq!(unframer.push(&piece[6..]), b"ING");
        assert_eq!(unframer.push(&piece[..3]), b"");
        assert!(!unframer.is_whole_message(&piece[..5], piece.len()));
    }

    #[test]
    fn payload_is_the_same_wherever_the_body_is_split() {
        let messages: [&[u8]; 4] = [b"one", b"", b"three three", &[7; 300]];
        let body: Vec<u8> = messages.iter().flat_map(|m| framed(m)).collect();
        let expected: Vec<u8> = messages.concat();
        for first in 0..body.len() {
            for second in [first, (first + 1).min(body.len()), (first + 7).min(body.len())] {
                let mut unframer = Unframer::default();
                let mut got = unframer.push(&body[..first]);
                got.extend(unframer.push(&body[first..second]));
                got.extend(unframer.push(&body[second..]));
                assert_eq!(got, expected, "split at {first} and {second}");
            }
        }
    }
}
