//! What a configuration says about the cache of a route.

use std::time::Duration;

/// How much of RFC 9111 is made use of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// All that it allows to a shared cache.
    #[default]
    Rfc9111,
    /// No response that sets cookies, unless it says that it is for all; and none that does not say how long it is
    /// fresh.
    Strict,
}

/// The terms on which responses are stored and used again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How much of RFC 9111 is made use of.
    pub profile: Profile,
    /// For how long a response is fresh that does not say so itself; none: by heuristics, if the profile has them.
    pub default_ttl: Option<Duration>,
    /// For how long a response is fresh at most, whatever it says.
    pub max_ttl: Duration,
    /// The largest body that is stored, in bytes.
    pub max_object_bytes: u64,
    /// For how long a stale response may be used when the upstream does not answer, if it does not say so itself
    /// (RFC 9111 §4.2.4).
    pub stale_if_error: Duration,
    /// What requests have to agree in beside the target.
    pub key: KeyOptions,
}

/// What the key of a stored response is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyOptions {
    /// Query parameters that do not count; a name that ends in `*` means all that begin so.
    pub drop_query: Vec<String>,
    /// Whether the order of query parameters does not count.
    pub sort_query: bool,
    /// Header fields that count.
    pub headers: Vec<String>,
    /// Cookies that count.
    pub cookies: Vec<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            default_ttl: None,
            max_ttl: Duration::from_secs(86_400),
            max_object_bytes: 1 << 20,
            stale_if_error: Duration::ZERO,
            key: KeyOptions::default(),
        }
    }
}
