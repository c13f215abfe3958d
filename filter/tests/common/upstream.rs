//! A model of what an upstream makes of a path.

/// Reads a hexadecimal digit.
fn hex(byte: Option<&u8>) -> Option<u8> {
    u8::try_from(char::from(*byte?).to_digit(16)?).ok()
}

/// A path without query: all escapes decoded once, then slashes merged, then dot segments resolved.
pub(crate) fn decoded(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < path.len() {
        let escaped = hex(path.get(at + 1)).zip(hex(path.get(at + 2)));
        let (byte, length) = match (path[at], escaped) {
            (b'%', Some((high, low))) => (high * 16 + low, 3),
            (byte, _) => (byte, 1),
        };
        decoded.push(if byte == b'\\' { b'/' } else { byte });
        at += length;
    }
    let segments: Vec<&[u8]> = decoded.split(|byte| *byte == b'/').collect();
    let ends_open = matches!(*segments.last().unwrap(), b"" | b"." | b"..");
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in segments {
        match segment {
            b"" | b"." => {}
            b".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    let mut path: Vec<u8> = kept.iter().flat_map(|segment| [b"/", *segment].concat()).collect();
    if ends_open {
        path.push(b'/');
    }
    path
}
