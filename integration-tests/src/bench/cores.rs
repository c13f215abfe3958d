//! Which core does what: the proxy under test has one for itself, everything else shares the
//! others.
//!
//! So the proxy is what limits the throughput, and its caches are its own. Left to the scheduler,
//! proxy and load generator trade places on a machine with two cores: the proxy was busy for 57 to
//! 93 % of an interval instead of 96 to 98 %, and the ratio of CPU times of the same two systems
//! went from 2.1 to 3.3 instead of 1.8 to 2.1.

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::Error;
use super::usage;

/// The split of the cores that this process may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cores {
    proxy: CpuSet,
    others: CpuSet,
}

impl Cores {
    /// The first core for the proxy, the others for all else; `None` with one core.
    pub(super) fn split() -> Result<Option<Self>, Error> {
        let allowed = sched_getaffinity(this_thread()).map_err(failed)?;
        split(&allowed).map_err(failed)
    }

    /// Puts this thread, and what it starts from now on, where all but the proxy belongs.
    pub(super) fn leave_the_proxy_s(&self) -> Result<(), Error> {
        sched_setaffinity(this_thread(), &self.others).map_err(failed)
    }

    /// Gives all threads of process `pid` the proxy's core.
    pub(super) fn give_the_proxy_s(&self, pid: u32) -> Result<(), Error> {
        for thread in usage::threads(pid)? {
            let id = thread.file_name().and_then(|name| name.to_str()?.parse().ok());
            if let Some(id) = id {
                sched_setaffinity(Pid::from_raw(id), &self.proxy).map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// To sched_setaffinity(2), 0 is the calling thread.
const fn this_thread() -> Pid {
    Pid::from_raw(0)
}

fn split(allowed: &CpuSet) -> Result<Option<Cores>, Errno> {
    let mut cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false));
    let Some(first) = cores.next() else {
        return Ok(None);
    };
    let mut proxy = CpuSet::new();
    proxy.set(first)?;
    let mut others = CpuSet::new();
    let mut count = 0;
    for core in cores {
        others.set(core)?;
        count += 1;
    }
    Ok((count > 0).then_some(Cores { proxy, others }))
}

fn failed(errno: Errno) -> Error {
    Error::Cores(errno.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(cores: &[usize]) -> CpuSet {
        let mut set = CpuSet::new();
        for core in cores {
            set.set(*core).unwrap();
        }
        set
    }

    #[test]
    fn the_first_core_is_the_proxy_s() {
        let cores =
            |proxy: &[usize], others: &[usize]| Cores { proxy: set(proxy), others: set(others) };
        assert_eq!(split(&set(&[0, 1])), Ok(Some(cores(&[0], &[1]))));
        assert_eq!(split(&set(&[2, 5, 7])), Ok(Some(cores(&[2], &[5, 7]))));
    }

    #[test]
    fn one_core_cannot_be_split() {
        assert_eq!(split(&set(&[3])), Ok(None));
        assert_eq!(split(&set(&[])), Ok(None));
    }
}
