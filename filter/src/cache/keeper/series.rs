//! What is counted of a cache.

use crate::cache::request::Bypass;
use crate::cache::storable::Refusal;

/// Something that happened to a request or a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Series {
    /// It was answered from a fresh stored response.
    Hit(Tier),
    /// It was answered from a stale one.
    Stale(Stale),
    /// It had to go to the upstream.
    Miss(Miss),
    /// It was no request for a cache.
    Bypass(Bypass),
    /// It was answered by what another one has fetched.
    Collapsed,
    /// A response was stored.
    Stored,
    /// A response was not stored.
    NotStored(Refusal),
    /// A response was not stored, as it was invalidated while it was on its way, or replaced.
    Outrun,
    /// An unsafe request has invalidated something.
    Invalidated,
}

/// Where a stored response was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// In the worker's memory.
    Memory,
    /// In Redis.
    Redis,
}

/// Why a stale response was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// It is validated meanwhile.
    WhileRevalidating,
    /// The client takes stale ones.
    Wanted,
    /// The upstream has failed.
    IfError,
    /// The upstream does not answer.
    Unreachable,
    /// The upstream's breaker is open.
    BreakerOpen,
}

/// Why a request had to go to the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// Nothing is stored of this key.
    Uri,
    /// Nothing is stored for what this request has in the fields that responses vary on.
    Vary,
    /// What is stored has to be validated.
    Stale,
    /// The client wants a fresher one.
    Request,
    /// Such responses have turned out not to be stored.
    Useless,
    /// Whoever fetched it took too long.
    Timeout,
    /// The store is not to be had.
    Unavailable,
}

impl Tier {
    /// All of them, with what metrics call them.
    pub const ALL: [(Self, &str); 2] = [(Self::Memory, "l1"), (Self::Redis, "l2")];

    /// What metrics and `Cache-Status` call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.get(self as usize).map_or("", |(_, name)| name)
    }
}

impl Stale {
    /// All of them, with what metrics and `Cache-Status` call them.
    pub const ALL: [(Self, &str); 5] = [
        (Self::WhileRevalidating, "swr"),
        (Self::Wanted, "max-stale"),
        (Self::IfError, "stale-if-error"),
        (Self::Unreachable, "unreachable"),
        (Self::BreakerOpen, "breaker-open"),
    ];

    /// What metrics and `Cache-Status` call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.get(self as usize).map_or("", |(_, name)| name)
    }
}

impl Miss {
    /// All of them, with what metrics and `Cache-Status` call them.
    pub const ALL: [(Self, &str); 7] = [
        (Self::Uri, "uri-miss"),
        (Self::Vary, "vary-miss"),
        (Self::Stale, "stale"),
        (Self::Request, "request"),
        (Self::Useless, "useless"),
        (Self::Timeout, "collapse-timeout"),
        (Self::Unavailable, "no-store"),
    ];

    /// What metrics and `Cache-Status` call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.get(self as usize).map_or("", |(_, name)| name)
    }

    /// What there is to tell beside [`Self::cause`].
    #[must_use]
    pub fn detail(self) -> Option<&'static str> {
        (self.cause() != self.name()).then(|| self.name())
    }

    /// Why the upstream is asked, as RFC 9211 §2.2 has it.
    #[must_use]
    pub fn cause(self) -> &'static str {
        match self {
            Self::Uri | Self::Useless | Self::Timeout | Self::Unavailable => "uri-miss",
            Self::Vary | Self::Stale | Self::Request => self.name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_name() {
        assert!(Stale::ALL.iter().all(|(stale, name)| stale.name() == *name));
        assert!(Miss::ALL.iter().all(|(miss, name)| miss.name() == *name));
        assert!(Tier::ALL.iter().enumerate().all(|(at, (tier, _))| *tier as usize == at));
    }
}
