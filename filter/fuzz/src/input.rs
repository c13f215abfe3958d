//! Bytes as choices.

/// What is left of an input. Behind its end there are zeros, so that every input says something.
pub(crate) struct Input<'d>(&'d [u8]);

impl<'d> Input<'d> {
    pub(crate) const fn new(data: &'d [u8]) -> Self {
        Self(data)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    /// At most `most`.
    pub(crate) fn up_to(&mut self, most: u8) -> u8 {
        let byte = self.byte();
        most.checked_add(1).map_or(byte, |count| byte % count)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.take(8).iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// A number of any size: most are small or at an end.
    pub(crate) fn any_number(&mut self) -> u64 {
        match self.up_to(5) {
            0 => self.number(),
            1 => u64::MAX - u64::from(self.byte()),
            2 => 1 << self.up_to(63),
            _ => u64::from(self.byte()),
        }
    }

    pub(crate) fn take(&mut self, most: usize) -> &'d [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// The next line, without its end.
    pub(crate) fn line(&mut self) -> &'d [u8] {
        let line = self.0.split(|byte| *byte == b'\n').next().unwrap_or_default();
        self.take(line.len() + 1);
        line
    }

    pub(crate) const fn rest(&self) -> &'d [u8] {
        self.0
    }
}
