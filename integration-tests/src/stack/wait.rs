//! Waiting for a condition, with a limit: the one place in launcher and tests that may sleep.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::error::Error;

/// Time between two looks of [`wait_until`]: short beside anything a test measures.
const TEST_INTERVAL: Duration = Duration::from_millis(5);

/// Calls `probe` every 5 ms until it answers `Ok`, for at most `limit`; `Err` holds what was seen instead.
///
/// # Errors
/// [`Error::Timeout`] with `what` and the last thing seen.
pub fn wait_until<T>(
    what: &str,
    limit: Duration,
    probe: impl FnMut() -> Result<T, String>,
) -> Result<T, Error> {
    Wait { limit, interval: TEST_INTERVAL, cancel: &Cancel::default() }.until(what, probe)
}

/// Set from a signal handler: whatever waits gives up at its next look.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Makes every wait that knows this flag end with [`Error::Interrupted`].
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// How to wait: with which limit, how often to look, and what ends it early.
pub(crate) struct Wait<'a> {
    pub(crate) limit: Duration,
    pub(crate) interval: Duration,
    pub(crate) cancel: &'a Cancel,
}

impl Wait<'_> {
    pub(crate) fn until<T>(
        &self,
        what: &str,
        mut probe: impl FnMut() -> Result<T, String>,
    ) -> Result<T, Error> {
        let start = Instant::now();
        loop {
            let last = match probe() {
                Ok(value) => return Ok(value),
                Err(last) => last,
            };
            if self.cancel.is_cancelled() {
                return Err(Error::Interrupted);
            }
            if start.elapsed() >= self.limit {
                return Err(Error::Timeout { what: what.to_owned(), limit: self.limit, last });
            }
            #[allow(clippy::disallowed_methods, reason = "between two looks at a condition")]
            std::thread::sleep(self.interval);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_at_the_first_ok() {
        let mut looks = 0;
        let value = wait_until("three looks", Duration::from_secs(10), || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err(looks.to_string()) }
        });
        assert_eq!(value.unwrap(), 3);
    }

    #[test]
    fn says_what_was_waited_for_and_what_was_seen_last() {
        let mut looks = 0;
        let error = wait_until::<()>("the moon", Duration::ZERO, || {
            looks += 1;
            Err(format!("look {looks}"))
        })
        .unwrap_err();
        assert_eq!(error.to_string(), "waited 0ns for the moon; last seen: look 1");
    }

    #[test]
    fn is_cut_short_by_cancel() {
        let cancel = Cancel::default();
        cancel.cancel();
        let wait = Wait { limit: Duration::MAX, interval: Duration::ZERO, cancel: &cancel };
        let error = wait.until::<()>("nothing", || Err(String::new())).unwrap_err();
        assert!(matches!(error, Error::Interrupted));
    }
}
