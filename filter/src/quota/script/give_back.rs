//! Units given back that were taken ahead.

use super::GIVE_BACK;
use crate::config::{Algorithm, Per};
use crate::quota::lease::Unspent;
use crate::redis::{Request, ScriptCall};

/// The script call that gives these back.
#[must_use]
pub fn give_back(unspent: &[Unspent]) -> Request {
    let mut call = ScriptCall::new(GIVE_BACK, unspent.len());
    for Unspent { name, .. } in unspent {
        call.key(name);
    }
    for Unspent { policy, units, window_end_ms, .. } in unspent {
        let length_ms = match (policy.algorithm, policy.per) {
            (Algorithm::SlidingWindow, Per::Span(span)) => u64::try_from(span.as_millis()),
            _ => Ok(0),
        };
        for number in [*units, *window_end_ms, length_ms.unwrap_or_default()] {
            call.arg_u64(number);
        }
    }
    call.into()
}
