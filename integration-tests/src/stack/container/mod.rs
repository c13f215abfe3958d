//! The parts of a stack as containers (`compose/`).
//!
//! Each is configured by the same code and from the same templates as with `scripts/up`; only what tells the parts of
//! each other is different. There the launcher knows all addresses. Here each container is started alone, on ports that
//! are always the same, and finds the others by name.

mod envoy;
mod redis;

use std::net::{Ipv4Addr, SocketAddr};

pub use self::envoy::{Role, serve};
pub use self::redis::{Node, become_node, become_sentinel};

use super::admin;
use super::envoy::PASSWORD_VARIABLE;
use super::error::Error;
use super::redis::watches;
use super::redis_start::serves;

/// Where an Envoy serves, and the stand-in upstream.
const HTTP_PORT: u16 = 8080;

/// Where an Envoy's admin page is, for Prometheus: on all addresses, so it must never be published.
const ADMIN_PORT: u16 = 9901;

/// Where a replica is told what to invalidate, from inside its container.
const PURGE_PORT: u16 = 8081;

const REDIS_PORT: u16 = 6379;

const SENTINEL_PORT: u16 = 26379;

/// What a container is asked about itself.
#[derive(Debug, Clone, Copy)]
pub enum Part {
    /// A replica or an edge.
    Envoy,
    /// A Redis node.
    Redis,
    /// A Sentinel.
    Sentinel,
    /// The stand-in upstream.
    Upstream,
}

/// Whether the part that this container holds serves.
///
/// # Errors
/// [`Error::Request`] with what was seen instead.
pub fn healthy(part: Part) -> Result<(), Error> {
    let (what, outcome) = match part {
        Part::Envoy => ("Envoy", admin::get(here(ADMIN_PORT), "/ready").map(drop)),
        Part::Upstream => ("the upstream", admin::get(here(HTTP_PORT), "/echo/healthy").map(drop)),
        Part::Redis => ("Redis", serves(here(REDIS_PORT), &password()?)),
        Part::Sentinel => ("the Sentinel", watches(here(SENTINEL_PORT), &password()?)),
    };
    outcome.map_err(|cause| Error::Request { what: what.to_owned(), cause })
}

/// The password of Redis, from where replicas read it too.
fn password() -> Result<String, Error> {
    let given = std::env::var_os(PASSWORD_VARIABLE).unwrap_or_default();
    match given.into_string() {
        Ok(password) if is_password(&password) => Ok(password),
        _ => Err(Error::Option {
            option: PASSWORD_VARIABLE,
            found: "is not what a configuration of Redis takes without quotes".to_owned(),
            allowed: "use letters, digits, - and _".to_owned(),
        }),
    }
}

fn is_password(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
}

fn here(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn anywhere(port: u16) -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, port).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_one_word_of_a_configuration_file() {
        for (text, taken) in [("aB3-_", true), ("", false), ("a b", false), ("a\"b", false)] {
            assert_eq!(is_password(text), taken, "{text}");
        }
    }
}
