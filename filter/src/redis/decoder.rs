//! The incremental decoder of RESP: bytes in, split anywhere; whole values out.
//!
//! It goes on where it stopped: the aggregates that are open stand on an explicit stack, a string
//! that is arriving grows in its own buffer, and how far a line was searched is remembered. So
//! there is no recursion, and the cost is linear in the bytes, however they are split. The peer is
//! not trusted to be Redis: memory, depth and counts have [`Limits`], and no room is made for what
//! was only announced.

use super::resp::{self, Aggregate, Limit, Line, ProtocolError, Text, Value};

/// What one reply may be. A reply on a limit passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest string, in bytes.
    pub bulk_bytes: usize,
    /// Longest line (simple strings, errors, numbers, lengths), in bytes, without its type and its
    /// CRLF.
    pub line_bytes: usize,
    /// Most elements of one aggregate; a pair of a map is two.
    pub aggregate_elements: usize,
    /// Most values in one reply, aggregates and attributes among them.
    pub reply_elements: usize,
    /// Deepest nesting of aggregates.
    pub depth: usize,
    /// Most bytes fed and not yet handed out as values.
    pub held_bytes: usize,
}

impl Limits {
    /// 8 MiB, the largest body worth storing, and 64 KiB for its headers.
    pub const BULK_BYTES: usize = (8 << 20) + (64 << 10);
    /// 64 KiB: an error of a script with its traceback stays far below.
    pub const LINE_BYTES: usize = 64 << 10;
    /// 65,536: our own replies have tens, an invalidation message as many as there are keys in it.
    pub const AGGREGATE_ELEMENTS: usize = 1 << 16;
    /// 262,144: 8 MiB of values, as much as the largest string.
    pub const REPLY_ELEMENTS: usize = 1 << 18;
    /// 16: our own replies nest twice.
    pub const DEPTH: usize = 16;
    /// 16 MiB: the largest reply and whatever else came in the same piece.
    pub const HELD_BYTES: usize = 16 << 20;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bulk_bytes: Self::BULK_BYTES,
            line_bytes: Self::LINE_BYTES,
            aggregate_elements: Self::AGGREGATE_ELEMENTS,
            reply_elements: Self::REPLY_ELEMENTS,
            depth: Self::DEPTH,
            held_bytes: Self::HELD_BYTES,
        }
    }
}

/// Elements room is made for when an aggregate opens: enough for our own replies, little for a
/// liar.
const FIRST_ELEMENTS: usize = 32;
/// Capacity kept for the next bytes. More is given back: it came with one large reply.
const KEPT_BYTES: usize = 64 << 10;

/// An aggregate that is not complete.
#[derive(Debug)]
struct Open {
    aggregate: Aggregate,
    missing: usize,
    elements: Vec<Value>,
}

/// A string that is not complete, or whose CRLF has not come.
#[derive(Debug)]
struct Arriving {
    text: Text,
    length: usize,
    bytes: Vec<u8>,
}

/// What a step of the decoder came to.
enum Step {
    /// More bytes are needed.
    Starved,
    /// Something was opened, or something without a value ended.
    Opened,
    /// A value that may be an element of an open aggregate.
    Value(Value),
}

/// An incremental decoder: feed it bytes, then poll values until there is none.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    buffer: Vec<u8>,
    /// Where in `buffer` the bytes start that are not understood yet.
    start: usize,
    /// How many of the bytes of the line at `start` are known not to end it.
    searched: usize,
    arriving: Option<Arriving>,
    open: Vec<Open>,
    /// Values of the reply that is arriving, so far.
    elements: usize,
    /// Bytes fed and not yet handed out.
    held: usize,
    failed: Option<ProtocolError>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Decoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            arriving: None,
            open: Vec::new(),
            elements: 0,
            held: 0,
            failed: None,
        }
    }

    /// Takes the next bytes of the stream. A limit they exceed is reported by [`Self::poll_value`].
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        self.held = self.held.saturating_add(bytes.len());
        if self.held > self.limits.held_bytes {
            self.fail(ProtocolError::Limit(Limit::Held));
            return;
        }
        self.drop_understood();
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole value, or `None` until more bytes are fed.
    ///
    /// # Errors
    /// [`ProtocolError`], and the same one from then on.
    pub fn poll_value(&mut self) -> Result<Option<Value>, ProtocolError> {
        match self.failed {
            Some(error) => Err(error),
            None => self.advance().inspect_err(|error| self.fail(*error)),
        }
    }

    fn fail(&mut self, error: ProtocolError) {
        *self = Self { failed: Some(error), ..Self::new(self.limits) };
    }

    /// Makes room at the end. Moves bytes only when at least as many are dropped, so that the cost
    /// stays linear.
    fn drop_understood(&mut self) {
        let unread = self.buffer.len().saturating_sub(self.start);
        if unread == 0 && self.buffer.capacity() > KEPT_BYTES {
            self.buffer = Vec::new();
        } else if unread <= self.start {
            self.buffer.copy_within(self.start.., 0);
            self.buffer.truncate(unread);
        } else {
            return;
        }
        self.start = 0;
    }

    fn advance(&mut self) -> Result<Option<Value>, ProtocolError> {
        loop {
            let step = match self.arriving.take() {
                Some(arriving) => self.gather(arriving)?,
                None => self.read_line()?,
            };
            match step {
                Step::Starved => return Ok(None),
                Step::Opened => {}
                Step::Value(value) => {
                    if let Some(reply) = self.place(value) {
                        self.elements = 0;
                        self.held = self.unread().len();
                        return Ok(Some(reply));
                    }
                }
            }
        }
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    fn read_line(&mut self) -> Result<Step, ProtocolError> {
        let Some((kind, rest)) = self.unread().split_first() else {
            return Ok(Step::Starved);
        };
        if !resp::is_type(*kind) {
            return Err(ProtocolError::UnknownType(*kind));
        }
        let unsearched = rest.iter().skip(self.searched);
        let found = unsearched.take_while(|byte| !matches!(byte, b'\r' | b'\n')).count();
        let length = self.searched.saturating_add(found);
        if length > self.limits.line_bytes {
            return Err(ProtocolError::Limit(Limit::Line));
        }
        let (content, end) = rest.split_at_checked(length).unwrap_or_default();
        let line = match end {
            [b'\r', b'\n', ..] => resp::line(*kind, content)?,
            [] | [b'\r'] => {
                self.searched = length;
                return Ok(Step::Starved);
            }
            [..] => return Err(ProtocolError::LineEnd),
        };
        // The type byte before it, CRLF after it.
        self.start = self.start.saturating_add(length).saturating_add(3);
        self.searched = 0;
        self.elements = self.elements.saturating_add(1);
        if self.elements > self.limits.reply_elements {
            return Err(ProtocolError::Limit(Limit::Reply));
        }
        match line {
            Line::Value(value) => Ok(Step::Value(value)),
            Line::Text(_, length) if length > self.limits.bulk_bytes => {
                Err(ProtocolError::Limit(Limit::Bulk))
            }
            Line::Text(text, length) => self.gather(Arriving { text, length, bytes: Vec::new() }),
            Line::Aggregate(aggregate, length) => self.open(aggregate, length),
        }
    }

    /// Moves what has arrived of a string out of the buffer.
    fn gather(&mut self, mut arriving: Arriving) -> Result<Step, ProtocolError> {
        let unread = self.unread();
        let missing = arriving.length.saturating_sub(arriving.bytes.len());
        let (bytes, end) = unread.split_at_checked(missing).unwrap_or((unread, &[]));
        arriving.bytes.extend_from_slice(bytes);
        let (taken, complete) = match end {
            [b'\r', b'\n', ..] => (bytes.len().saturating_add(2), true),
            [] | [b'\r'] => (bytes.len(), false),
            [..] => return Err(ProtocolError::LineEnd),
        };
        self.start = self.start.saturating_add(taken);
        if complete {
            return resp::text(arriving.text, arriving.bytes).map(Step::Value);
        }
        self.arriving = Some(arriving);
        Ok(Step::Starved)
    }

    fn open(&mut self, aggregate: Aggregate, length: usize) -> Result<Step, ProtocolError> {
        if aggregate == Aggregate::Push && !self.open.is_empty() {
            return Err(ProtocolError::NestedPush);
        }
        if self.open.len() >= self.limits.depth {
            return Err(ProtocolError::Limit(Limit::Depth));
        }
        if length > self.limits.aggregate_elements {
            return Err(ProtocolError::Limit(Limit::Aggregate));
        }
        let elements = Vec::with_capacity(length.min(FIRST_ELEMENTS));
        let open = Open { aggregate, missing: length, elements };
        if length == 0 {
            return Ok(open.close().map_or(Step::Opened, Step::Value));
        }
        self.open.push(open);
        Ok(Step::Opened)
    }

    /// Puts a value where it belongs, and closes what it completes. Returns the value nothing is
    /// open around any more.
    fn place(&mut self, mut value: Value) -> Option<Value> {
        while let Some(innermost) = self.open.last_mut() {
            innermost.elements.push(value);
            innermost.missing = innermost.missing.saturating_sub(1);
            if innermost.missing > 0 {
                return None;
            }
            value = self.open.pop()?.close()?;
        }
        Some(value)
    }
}

impl Open {
    /// The whole value; `None` for an attribute.
    fn close(self) -> Option<Value> {
        match self.aggregate {
            Aggregate::Array => Some(Value::Array(self.elements)),
            Aggregate::Set => Some(Value::Set(self.elements)),
            Aggregate::Push => Some(Value::Push(self.elements)),
            Aggregate::Map => {
                let mut pairs = Vec::with_capacity(self.elements.len() / 2);
                let mut elements = self.elements.into_iter();
                while let (Some(key), Some(value)) = (elements.next(), elements.next()) {
                    pairs.push((key, value));
                }
                Some(Value::Map(pairs))
            }
            Aggregate::Attribute => None,
        }
    }
}

#[cfg(test)]
mod tests;
