//! The reply that a client is sent for what the cache has decided.

use std::ops::Range;

use super::groups;
use super::keeper::Reply;
use super::range::Part;
use crate::http::{Fields, StoredReply};

/// What goes out, with the fields that quotas tell.
#[must_use]
pub fn reply(reply: Reply, quotas: &Fields) -> StoredReply {
    let Reply { answer, body, handling, .. } = reply;
    let mut fields = answer.fields;
    fields.retain(|name| !is_hidden(name));
    fields.push(b"cache-status", handling.member().as_bytes());
    quotas.iter().for_each(|(name, value)| fields.push(name.as_bytes(), value.as_bytes()));
    let part = part(answer.status, answer.part, body.len());
    StoredReply { status: answer.status, fields, body, part }
}

/// Whether a field is for this cache alone.
#[must_use]
pub fn is_hidden(name: &[u8]) -> bool {
    groups::HIDDEN.iter().any(|hidden| hidden.as_bytes() == name)
}

fn part(status: u16, part: Part, length: usize) -> Option<Range<usize>> {
    if matches!(status, 204 | 304) {
        return None;
    }
    match part {
        Part::Whole => Some(0..length),
        Part::Unsatisfiable => Some(0..0),
        Part::Bytes(first, last) => {
            let at = |place: u64| usize::try_from(place).unwrap_or(length).min(length);
            Some(at(first)..at(last.saturating_add(1)))
        }
    }
}
