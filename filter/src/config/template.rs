//! Path templates: which paths a route takes.

use crate::http::path::Resource;

/// Longest template in bytes: longer than any path that is worth a rule of its own.
const MAX_TEMPLATE_BYTES: usize = 1024;

/// Most segments of a template. Bounds how deep the router's tree gets.
const MAX_SEGMENTS: usize = 32;

/// The paths that a route takes: `/sites/{site}/search`, `/items/{*rest}`.
///
/// `{name}` stands for exactly one segment that is not empty, `{*name}` in the end for any number of segments, also a
/// single empty one: `/items/{*rest}` takes `/items/` and `/items/1/2`, not `/items`. All else is literal. The names
/// are for readers only: two templates that differ in nothing else are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The segments before the end.
    pub segments: Vec<Segment>,
    /// Whether any segments may follow, at least one (`{*name}`).
    pub takes_rest: bool,
}

/// One segment of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// These bytes, in the spelling of [`Resource`].
    Fixed(Vec<u8>),
    /// Any segment that is not empty (`{name}`).
    Any,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What a template has to be like, as far as this one is not.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_TEMPLATE_BYTES {
            return Err(format!("at most {MAX_TEMPLATE_BYTES} bytes"));
        }
        let path = text.strip_prefix('/').ok_or("a path that starts with /")?;
        if path.contains(['?', '#']) {
            return Err("a path without query (?) and fragment (#)".to_owned());
        }
        if path.contains(|c: char| c.is_ascii_whitespace() || c.is_ascii_control()) {
            return Err("no spaces and control characters (a space is written %20)".to_owned());
        }
        let mut written: Vec<&str> = path.split('/').collect();
        if written.len() > MAX_SEGMENTS {
            return Err(format!("at most {MAX_SEGMENTS} segments"));
        }
        let rest = written.pop_if(|last| is_parameter(last, "{*"));
        let last = written.len().saturating_sub(1);
        let segments = written
            .into_iter()
            .enumerate()
            .map(|(index, segment)| parse_segment(segment, index == last && rest.is_none()))
            .collect::<Result<_, _>>()?;
        Ok(Self { segments, takes_rest: rest.is_some() })
    }
}

fn parse_segment(text: &str, is_last: bool) -> Result<Segment, &'static str> {
    if is_parameter(text, "{") {
        return Ok(Segment::Any);
    }
    if text.contains(['{', '}']) {
        return Err("{name} as a whole segment, {*name} as the whole last one, \
                    the name of letters, digits and _ (other braces are written %7B and %7D)");
    }
    let bytes = Resource::of(text.as_bytes()).as_bytes().to_vec();
    if bytes.contains(&b'\\') || bytes.contains(&b'/') {
        return Err("no \\, %5C or %2F (a request's are read as /)");
    }
    match &*bytes {
        b"" if !is_last => Err("no // (a request's are read as /)"),
        b"." | b".." => Err("no . and .. segments (a request's are resolved)"),
        _ => Ok(Segment::Fixed(bytes)),
    }
}

/// Whether a segment is `open`, a name and `}`.
fn is_parameter(segment: &str, open: &str) -> bool {
    segment.strip_prefix(open).and_then(|rest| rest.strip_suffix('}')).is_some_and(|name| {
        !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
    })
}
