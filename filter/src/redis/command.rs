//! Commands as Redis reads them: arrays of bulk strings.

/// A command, written for the wire as it is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    args: Args,
}

impl Command {
    /// The command `name`, such as `GET`.
    #[must_use]
    pub fn new(name: &[u8]) -> Self {
        Self { args: Args::default() }.arg(name)
    }

    /// Appends an argument: any bytes.
    #[must_use]
    pub fn arg(mut self, bytes: &[u8]) -> Self {
        self.args.push(bytes);
        self
    }

    /// Appends a number as an argument.
    #[must_use]
    pub fn arg_u64(mut self, number: u64) -> Self {
        self.args.push_number(number);
        self
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.reserve(self.size_bytes());
        write_header(out, b'*', self.args.count);
        out.extend_from_slice(&self.args.encoded);
    }

    /// At most this many bytes are written.
    pub(super) const fn size_bytes(&self) -> usize {
        self.args.encoded.len().saturating_add(MAX_HEADER_BYTES)
    }
}

/// Index of a script among those the client was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptId(pub usize);

/// A call of a script: `EVALSHA`, or `EVAL` where the server does not have it.
///
/// Only the part both have in common is written while it is built; the client puts the rest in
/// front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptCall {
    pub(super) script: ScriptId,
    /// Number of keys, keys, arguments.
    args: Args,
}

impl ScriptCall {
    /// A call with `keys_count` keys, to be given by [`ScriptCall::key`] before any argument.
    #[must_use]
    pub fn new(script: ScriptId, keys_count: usize) -> Self {
        let mut args = Args { count: 0, encoded: Vec::with_capacity(TYPICAL_CALL_BYTES) };
        args.push_number(keys_count as u64);
        Self { script, args }
    }

    /// Appends a key.
    pub fn key(&mut self, key: &[u8]) {
        self.args.push(key);
    }

    /// Appends an argument: any bytes.
    pub fn arg(&mut self, bytes: &[u8]) {
        self.args.push(bytes);
    }

    /// Appends a number as an argument.
    pub fn arg_u64(&mut self, number: u64) {
        self.args.push_number(number);
    }

    /// Writes `EVALSHA digest …`.
    pub(super) fn write_by_digest(&self, digest: &[u8], out: &mut Vec<u8>) {
        self.write(b"EVALSHA", digest, out);
    }

    /// Writes `EVAL source …`.
    pub(super) fn write_by_source(&self, source: &str, out: &mut Vec<u8>) {
        self.write(b"EVAL", source.as_bytes(), out);
    }

    fn write(&self, name: &[u8], script: &[u8], out: &mut Vec<u8>) {
        out.reserve(self.size_bytes(script));
        write_header(out, b'*', self.args.count.saturating_add(2));
        write_bulk(out, name);
        write_bulk(out, script);
        out.extend_from_slice(&self.args.encoded);
    }

    /// At most this many bytes are written, by digest or by this source.
    pub(super) const fn size_bytes(&self, source: &[u8]) -> usize {
        // Three headers, the longer name and the digest, each with its CRLF.
        const FRAME_BYTES: usize = 3 * MAX_HEADER_BYTES + 9 + 42;
        self.args.encoded.len().saturating_add(source.len()).saturating_add(FRAME_BYTES)
    }
}

/// What can be asked of Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A plain command. None that answers more or less than once (`SUBSCRIBE`, `MONITOR`, `CLIENT
    /// REPLY`), and none that blocks: the connection is shared. Nothing in `MULTI` that publishes on
    /// an own channel: Redis 7.0 puts the push inside of the reply to `EXEC`, which is an error.
    Command(Command),
    /// A script call.
    Script(ScriptCall),
}

impl From<Command> for Request {
    fn from(command: Command) -> Self {
        Self::Command(command)
    }
}

impl From<ScriptCall> for Request {
    fn from(call: ScriptCall) -> Self {
        Self::Script(call)
    }
}

/// Room made for a script call at once: three keys of 40 bytes with two numbers each fit without
/// growing.
const TYPICAL_CALL_BYTES: usize = 256;
/// Longest header: a type, the digits of a 64-bit number, CRLF.
const MAX_HEADER_BYTES: usize = 1 + MAX_DIGITS + 2;
/// Digits of the largest `u64`.
const MAX_DIGITS: usize = 20;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Args {
    count: usize,
    encoded: Vec<u8>,
}

impl Args {
    fn push(&mut self, bytes: &[u8]) {
        self.count = self.count.saturating_add(1);
        write_bulk(&mut self.encoded, bytes);
    }

    fn push_number(&mut self, number: u64) {
        self.push(itoa::Buffer::new().format(number).as_bytes());
    }
}

fn write_bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    write_header(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn write_header(out: &mut Vec<u8>, kind: u8, length: usize) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(command: &Command) -> Vec<u8> {
        let mut out = Vec::new();
        command.write(&mut out);
        out
    }

    #[test]
    fn a_command_is_an_array_of_bulk_strings() {
        let command = Command::new(b"SET").arg(b"key").arg(b"\r\n\0").arg_u64(70);
        let expected = b"*4\r\n$3\r\nSET\r\n$3\r\nkey\r\n$3\r\n\r\n\0\r\n$2\r\n70\r\n";
        assert_eq!(written(&command), expected);
        assert_eq!(written(&Command::new(b"SET").arg(b"")), b"*2\r\n$3\r\nSET\r\n$0\r\n\r\n");
    }

    #[test]
    fn a_script_call_differs_only_in_how_the_script_is_named() {
        let mut call = ScriptCall::new(ScriptId(0), 1);
        call.key(b"k");
        call.arg_u64(10);
        call.arg(b"\r\n");
        let tail = "$1\r\n1\r\n$1\r\nk\r\n$2\r\n10\r\n$2\r\n\r\n\r\n";
        let (mut by_digest, mut by_source) = (Vec::new(), Vec::new());
        call.write_by_digest(b"abc", &mut by_digest);
        call.write_by_source("return 1", &mut by_source);
        assert_eq!(by_digest, format!("*6\r\n$7\r\nEVALSHA\r\n$3\r\nabc\r\n{tail}").as_bytes());
        assert_eq!(by_source, format!("*6\r\n$4\r\nEVAL\r\n$8\r\nreturn 1\r\n{tail}").as_bytes());
    }

    #[test]
    fn sizes_are_never_understated() {
        for length in [0, 9, 10, 1000, 100_000] {
            let bytes = vec![b'x'; length];
            let command = Command::new(&bytes).arg(&bytes);
            assert!(command.size_bytes() >= written(&command).len());
            let source = "s".repeat(length);
            let mut call = ScriptCall::new(ScriptId(0), 0);
            call.arg(&bytes);
            let (mut by_digest, mut by_source) = (Vec::new(), Vec::new());
            call.write_by_digest(&[b'a'; 40], &mut by_digest);
            call.write_by_source(&source, &mut by_source);
            assert!(call.size_bytes(source.as_bytes()) >= by_digest.len().max(by_source.len()));
        }
    }
}
