//! Lines for whoever looks on. Nobody has to: after `scripts/up | head -1` the reader is gone, for which `println!` would
//! panic, and what runs goes on.

use std::fmt::Display;
use std::io::{self, Write as _};

/// Says `line` on standard output.
pub fn tell(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Says `line` on standard error.
pub fn warn(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
