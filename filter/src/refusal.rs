//! A request that is refused: what all refusals have in common, whoever refuses.

use std::borrow::Cow;
use std::time::Duration;

use crate::config::{Content, Refusal};
use crate::http::{Fields, LocalReply};

const CONTENT_TYPE: Cow<'static, str> = Cow::Borrowed("content-type");
const CACHE_CONTROL: Cow<'static, str> = Cow::Borrowed("cache-control");
const RETRY_AFTER: Cow<'static, str> = Cow::Borrowed("retry-after");

/// The answer to a request that is refused: as the configuration says, otherwise with `status` and the `problem`
/// description (RFC 9457) of it. With `fields`, and with `Retry-After` (RFC 9110 §10.2.3) unless no retry will ever pass.
///
/// No cache may answer with it, unless the header fields of the configuration say something else of caches.
#[must_use]
pub fn reply(
    own: Option<&Refusal>,
    status: u16,
    problem: impl FnOnce(u16) -> String,
    retry_after: Option<Duration>,
    fields: Fields,
) -> LocalReply {
    let status = own.map_or(status, |refusal| refusal.status);
    let (content_type, body) = match own {
        Some(Refusal { content: Some(Content { content_type, body }), .. }) => {
            (content_type.clone(), body.clone())
        }
        Some(Refusal { content: None, .. }) | None => {
            ("application/problem+json".to_owned(), problem(status))
        }
    };
    let own_fields = own.map_or(&[][..], |refusal| &refusal.headers);
    let mut headers = vec![(CONTENT_TYPE, content_type)];
    if own_fields.iter().all(|(name, _)| *name != CACHE_CONTROL) {
        // A refusal is about one client, or one moment; no cache may answer another with it.
        headers.push((CACHE_CONTROL, "no-store".to_owned()));
    }
    headers.extend(retry_after.map(|wait| (RETRY_AFTER, delay_seconds(wait).to_string())));
    headers.extend(fields.into_iter().map(|(name, value)| (Cow::Borrowed(name), value)));
    headers.extend(own_fields.iter().map(|(name, value)| (name.clone().into(), value.clone())));
    LocalReply { status, headers, body: body.into_bytes() }
}

/// Whole seconds after which a retry can pass: rounded up, at least one.
#[must_use]
pub fn delay_seconds(wait: Duration) -> u64 {
    let part = u64::from(wait.subsec_nanos() > 0);
    wait.as_secs().saturating_add(part).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_rounded_up_and_never_zero() {
        assert_eq!(delay_seconds(Duration::ZERO), 1);
        assert_eq!(delay_seconds(Duration::from_millis(999)), 1);
        assert_eq!(delay_seconds(Duration::from_secs(1)), 1);
        assert_eq!(delay_seconds(Duration::from_millis(1001)), 2);
    }
}
