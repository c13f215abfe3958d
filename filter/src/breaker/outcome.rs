//! What became of a call: the upstream's doing, or nobody's.
//!
//! Only what the upstream or the way to it did counts. An answer of the proxy itself, a limit of Envoy's own and a client
//! that went away say nothing of the upstream, and what a client can bring about must not open a breaker: not a slow
//! upload either.

use std::time::Duration;

use super::board::Ended;
use crate::config::Statuses;
use crate::time::UnixTime;

/// What Envoy knows of a call that has ended, or whose response has begun. Each may cost a call of the host.
pub trait CallView {
    /// Envoy's `response.code`; none if there was no response.
    fn code(&mut self) -> Option<u16>;

    /// Envoy's `response.flags`.
    fn flags(&mut self) -> u64;

    /// Envoy's `response.code_details`.
    fn code_details(&mut self) -> Option<Vec<u8>>;
}

/// What there is to know of a call besides.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// With which statuses the upstream has failed.
    pub failure_statuses: Statuses,
    /// Whether the request was over with its header, so that nothing more could be waited for of the client.
    pub request_ended: bool,
    /// Whether the response took too long.
    pub slow: bool,
    /// How long the upstream wants to be left alone, if that is to be obeyed.
    pub retry_after: Option<Duration>,
    /// Whether much depends on it, so that even a success has to be the upstream's.
    pub is_probe: bool,
}

// Envoy's response flags by their bits (`CoreResponseFlag` in envoy/stream_info/stream_info.h).
const NO_HEALTHY_UPSTREAM: u64 = 1 << 1;
const UPSTREAM_REQUEST_TIMEOUT: u64 = 1 << 2;
const UPSTREAM_REMOTE_RESET: u64 = 1 << 4;
const UPSTREAM_CONNECTION_FAILURE: u64 = 1 << 5;
const UPSTREAM_CONNECTION_TERMINATION: u64 = 1 << 6;
const STREAM_IDLE_TIMEOUT: u64 = 1 << 16;
const UPSTREAM_PROTOCOL_ERROR: u64 = 1 << 23;
const DNS_RESOLUTION_FAILED: u64 = 1 << 26;

/// The upstream did not answer, or not to the end.
const LOST: u64 = NO_HEALTHY_UPSTREAM
    | UPSTREAM_REQUEST_TIMEOUT
    | UPSTREAM_REMOTE_RESET
    | UPSTREAM_CONNECTION_FAILURE
    | UPSTREAM_CONNECTION_TERMINATION
    | UPSTREAM_PROTOCOL_ERROR
    | DNS_RESOLUTION_FAILED;

/// The details of what the upstream has answered itself, whichever status.
pub const VIA_UPSTREAM: &[u8] = b"via_upstream";

/// 504 Gateway Timeout: what Envoy answers where nothing came.
const GATEWAY_TIMEOUT: u16 = 504;

/// What a call tells of its upstream.
pub fn ended(view: &mut dyn CallView, known: &Circumstances) -> Ended {
    let Circumstances { slow, retry_after, .. } = *known;
    let wait_ms = retry_after.map_or(0, |wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    let lost = Ended::Failure { answered: false, slow, retry_after_ms: 0 };
    let flags = view.flags();
    if flags & LOST != 0 {
        return lost;
    }
    let Some(code) = view.code() else { return Ended::Nothing };
    if flags & STREAM_IDLE_TIMEOUT != 0 {
        // In the middle of a response it may be the client that does not read.
        let is_upstreams = known.request_ended && code == GATEWAY_TIMEOUT;
        return if is_upstreams { lost } else { Ended::Nothing };
    }
    let fails = known.failure_statuses.contains(code) || wait_ms > 0;
    if (fails || known.is_probe) && view.code_details().as_deref() != Some(VIA_UPSTREAM) {
        return Ended::Nothing;
    }
    if fails {
        Ended::Failure { answered: true, slow, retry_after_ms: wait_ms }
    } else {
        Ended::Success { slow }
    }
}

/// Statuses whose `Retry-After` says that the upstream wants to be left alone: 429 (RFC 6585 §4) and 503 (RFC 9110
/// §15.6.4).
const LEAVE_ME_ALONE: [u16; 2] = [429, 503];

/// What no number can hold: 136 years.
const FOR_EVER_SECS: u64 = u32::MAX as u64;

/// How long a response with this status and this `Retry-After` (RFC 9110 §10.2.3) wants the upstream to be left alone,
/// as seconds or until a date; at least a second.
#[must_use]
pub fn retry_after(status: u16, field: &[u8], now: UnixTime) -> Option<Duration> {
    if !LEAVE_ME_ALONE.contains(&status) {
        return None;
    }
    let text = std::str::from_utf8(field).ok()?.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let wait = if is_number {
        Duration::from_secs(text.parse().unwrap_or(FOR_EVER_SECS))
    } else {
        let date = httpdate::parse_http_date(text).ok()?;
        let since_epoch = date.duration_since(std::time::UNIX_EPOCH).ok()?;
        since_epoch.saturating_sub(Duration::from_micros(now.as_micros()))
    };
    Some(wait.max(Duration::from_secs(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct View(Option<u16>, u64, &'static str);

    impl CallView for View {
        fn code(&mut self) -> Option<u16> {
            self.0
        }

        fn flags(&mut self) -> u64 {
            self.1
        }

        fn code_details(&mut self) -> Option<Vec<u8>> {
            Some(self.2.as_bytes().to_vec())
        }
    }

    fn known() -> Circumstances {
        Circumstances {
            failure_statuses: (500..600).collect(),
            request_ended: true,
            slow: false,
            retry_after: None,
            is_probe: false,
        }
    }

    const WELL: Ended = Ended::Success { slow: false };
    const FAILED: Ended = Ended::Failure { answered: true, slow: false, retry_after_ms: 0 };
    const LOST: Ended = Ended::Failure { answered: false, slow: false, retry_after_ms: 0 };

    #[test]
    fn what_envoy_says_of_a_call_is_the_upstreams_doing_or_nobodys() {
        let reset = "upstream_reset_before_response_started{connection_termination}";
        let cut = "upstream_reset_after_response_started{protocol_error}";
        for (view, expected) in [
            (View(Some(200), 0, "via_upstream"), WELL),
            (View(Some(404), 0, "via_upstream"), WELL),
            (View(Some(429), 0, "via_upstream"), WELL),
            (View(Some(500), 0, "via_upstream"), FAILED),
            (View(Some(599), 0, "via_upstream"), FAILED),
            (View(Some(503), 1 << 15, "via_upstream"), FAILED),
            (View(Some(503), 1 << 1, "no_healthy_upstream"), LOST),
            (View(Some(504), 1 << 2, "response_timeout"), LOST),
            (View(Some(503), 1 << 5, "upstream_reset_before_response_started{…}"), LOST),
            (View(Some(503), 1 << 6, reset), LOST),
            (View(Some(200), 1 << 23, cut), LOST),
            (View(Some(503), 1 << 26, "dns_resolution_failure"), LOST),
            (View(Some(504), 1 << 16, "stream_idle_timeout"), LOST),
            // In the middle of a response.
            (View(Some(200), 1 << 16, "stream_idle_timeout"), Ended::Nothing),
            // Ours, Envoy's own limit, another filter's, no such cluster, the client's.
            (View(Some(503), 0, ""), Ended::Nothing),
            (
                View(Some(503), 1 << 7, "upstream_reset_before_response_started{overflow}"),
                Ended::Nothing,
            ),
            (View(Some(500), 0, "direct_response"), Ended::Nothing),
            (View(Some(503), 1 << 24, "cluster_not_found"), Ended::Nothing),
            (View(None, 1 << 14, "downstream_remote_disconnect"), Ended::Nothing),
            // It left in the middle of a response that was well.
            (View(Some(200), 1 << 14, "downstream_remote_disconnect"), WELL),
        ] {
            let View(code, flags, details) = view;
            let found = ended(&mut View(code, flags, details), &known());
            assert_eq!(found, expected, "{code:?} {flags:x} {details}");
        }
    }

    #[test]
    fn a_slow_upload_is_not_the_upstreams_fault() {
        let mut view = View(Some(504), 1 << 16, "stream_idle_timeout");
        let known = Circumstances { request_ended: false, ..known() };
        assert_eq!(ended(&mut view, &known), Ended::Nothing);
    }

    #[test]
    fn of_a_probe_only_the_upstreams_own_answer_is_a_success() {
        let known = Circumstances { is_probe: true, ..known() };
        assert_eq!(ended(&mut View(Some(200), 0, "via_upstream"), &known), WELL);
        assert_eq!(ended(&mut View(Some(200), 0, "direct_response"), &known), Ended::Nothing);
    }

    #[test]
    fn who_wants_to_be_left_alone_has_failed() {
        let retry_after = Some(Duration::from_secs(7));
        let known = Circumstances { retry_after, ..known() };
        let failed = Ended::Failure { answered: true, slow: false, retry_after_ms: 7000 };
        assert_eq!(ended(&mut View(Some(429), 0, "via_upstream"), &known), failed);
        assert_eq!(ended(&mut View(Some(429), 0, ""), &known), Ended::Nothing, "ours");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        // Sun, 06 Nov 1994 08:49:37 GMT.
        let now = UnixTime::from_micros(784_111_777_000_000);
        for (status, field, expected) in [
            (429, "7", Some(7)),
            (503, " 7 ", Some(7)),
            (503, "0", Some(1)),
            (503, "99999999999999999999999", Some(u64::from(u32::MAX))),
            (503, "Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            (503, "Sun, 06 Nov 1994 08:40:37 GMT", Some(1)),
            (503, "", None),
            (503, "soon", None),
            (503, "-1", None),
            (500, "7", None),
            (200, "7", None),
        ] {
            let found = retry_after(status, field.as_bytes(), now);
            assert_eq!(found, expected.map(Duration::from_secs), "{status} {field:?}");
        }
    }
}
