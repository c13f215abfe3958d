//! What a process has used so far, by proc(5).

use std::fs;
use std::path::{Path, PathBuf};

use super::Error;

/// Times of all threads of a process since they started, in nanoseconds.
///
/// From `schedstat`, which is exact for a thread that has left its core and lags by up to a tick (4
/// ms) for one that is on it; `utime` and `stime` are samples of 10 ms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Times {
    /// On a core.
    pub(super) running: u64,
    /// Ready to run, while something else had the core.
    pub(super) waiting: u64,
}

impl Times {
    /// Of process `pid` so far.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no such process.
    pub(super) fn of(pid: u32) -> Result<Self, Error> {
        let mut total = Self::default();
        for thread in threads(pid)? {
            // A thread that has ended since the folder was listed: a proxy's workers do not.
            let text = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
            let times = Self::parse(&text).unwrap_or_default();
            total.running += times.running;
            total.waiting += times.waiting;
        }
        Ok(total)
    }

    /// What was added since `earlier`.
    pub(super) const fn since(self, earlier: Self) -> Self {
        Self {
            running: self.running.saturating_sub(earlier.running),
            waiting: self.waiting.saturating_sub(earlier.waiting),
        }
    }

    fn parse(schedstat: &str) -> Option<Self> {
        let mut fields = schedstat.split_whitespace().map(str::parse);
        Some(Self { running: fields.next()?.ok()?, waiting: fields.next()?.ok()? })
    }
}

/// Memory of process `pid` that is in RAM now, in bytes.
///
/// # Errors
/// [`Error::Io`] if there is no such process.
pub fn resident_bytes(pid: u32) -> Result<u64, Error> {
    let path = process(pid).join("status");
    let text = fs::read_to_string(&path).map_err(Error::io("reading", &path))?;
    Ok(resident(&text).unwrap_or_default())
}

/// The folders of all threads of process `pid`.
pub(super) fn threads(pid: u32) -> Result<Vec<PathBuf>, Error> {
    let path = process(pid).join("task");
    let entries = fs::read_dir(&path).map_err(Error::io("reading", &path))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

fn process(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

/// `VmRSS:    1234 kB`
fn resident(status: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use std::process;
    use std::time::Duration;

    use super::*;
    use crate::stack::wait_until;

    #[test]
    fn fields_of_proc() {
        let times = Times { running: 908_535, waiting: 4_860_197 };
        assert_eq!(Times::parse("908535 4860197 3\n"), Some(times));
        assert_eq!(Times::parse("908535\n"), None);
        assert_eq!(resident("Name:\tenvoy\nVmRSS:\t   12 kB\nVmData: 9 kB\n"), Some(12 * 1024));
        assert_eq!(resident("Name:\tenvoy\n"), None);
    }

    #[test]
    fn work_shows_as_cpu_time() {
        let before = Times::of(process::id()).unwrap();
        let work = || {
            let sum = (0..1_000_000_u64).fold(0, |sum, number| std::hint::black_box(sum ^ number));
            let used = Times::of(process::id()).unwrap().since(before);
            if used.running > 0 { Ok(()) } else { Err(sum.to_string()) }
        };
        wait_until("CPU time", Duration::from_secs(10), work).unwrap();
        assert!(resident_bytes(process::id()).unwrap() > 1 << 20);
    }

    #[test]
    fn an_absent_process_is_an_error() {
        assert!(Times::of(u32::MAX).is_err());
        assert!(resident_bytes(u32::MAX).is_err());
    }
}
