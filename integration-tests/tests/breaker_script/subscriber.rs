//! Who hears all that is published on a channel.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

pub(crate) struct Subscriber(BufReader<UnixStream>);

impl Subscriber {
    pub(crate) fn new(socket: &Path, channel: &str) -> Self {
        let mut stream = UnixStream::connect(socket).unwrap();
        write!(stream, "SUBSCRIBE {channel}\r\n").unwrap();
        let mut subscriber = Self(BufReader::new(stream));
        assert_eq!(subscriber.element(), b"subscribe");
        subscriber.element();
        subscriber.line();
        subscriber
    }

    /// The next message.
    pub(crate) fn hear(&mut self) -> String {
        assert_eq!(self.element(), b"message");
        self.element();
        String::from_utf8(self.element()).unwrap()
    }

    /// The next bulk string.
    fn element(&mut self) -> Vec<u8> {
        let mut header = self.line();
        if header.starts_with('*') {
            header = self.line();
        }
        let length: usize = header.strip_prefix('$').unwrap().parse().unwrap();
        let mut bytes = vec![0; length + 2];
        self.0.read_exact(&mut bytes).unwrap();
        bytes.truncate(length);
        bytes
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}
