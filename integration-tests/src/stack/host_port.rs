//! Where something listens. The launcher knows addresses; in a network of containers there are names.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// A host by address or by name, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    host: String,
    port: u16,
}

impl HostPort {
    /// The name or the address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn new(host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port }
    }
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

/// From `HOST:PORT`; an IPv6 address stands in brackets.
impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(address.into());
        }
        let malformed = || format!("'{text}' is not HOST:PORT");
        let (host, port) = text.rsplit_once(':').ok_or_else(malformed)?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        match port.parse() {
            Ok(port) if port > 0 && !host.is_empty() && host.chars().all(is_name) => {
                Ok(Self::new(host, port))
            }
            _ => Err(malformed()),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse() {
            Ok(IpAddr::V6(host)) => write!(f, "[{host}]:{}", self.port),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_read_as_they_are_written() {
        for text in ["redis-primary:6379", "127.0.0.1:1", "[::1]:65535", "a.b_c:80"] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
        assert_eq!("[::1]:80".parse::<HostPort>().unwrap().host(), "::1");
    }

    #[test]
    fn what_lacks_a_part_is_refused() {
        for text in ["", "redis", ":6379", "redis:", "redis:0", "redis:65536", "a b:1", "::1:80"] {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }
}
