//! The upstream API: the stand-in of this crate, or a real one named by its URL.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::error::Error;

/// Debian's bundle of public certificate authorities (package ca-certificates).
const PUBLIC_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What the replicas send requests to.
#[derive(Debug, Clone, Default)]
pub enum Upstream {
    /// The `upstream` program of this crate, started with the stack.
    #[default]
    StandIn,
    /// A server that runs already.
    Url(Origin),
}

/// A server by scheme, host and port (RFC 6454 §4), and who vouches for its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    tls: bool,
    host: String,
    port: u16,
    authority: String,
    authorities: PathBuf,
}

impl Origin {
    /// From `http://HOST[:PORT]` or `https://HOST[:PORT]`; certificates are checked against the system's authorities.
    ///
    /// # Errors
    /// [`Error::Option`] for anything else: another scheme, a path, a query, a user name, a bad port.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let refuse = |problem: &str| Error::Option {
            option: "--upstream",
            found: format!("'{url}' {problem}"),
            allowed: "write http://HOST, https://HOST or either with :PORT".into(),
        };
        let (tls, rest) = match url.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err(refuse("does not begin with http:// or https://")),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if let Some(found) = authority.chars().find(|c| "/?#@".contains(*c)) {
            return Err(refuse(&format!(
                "has a '{found}': requests keep their own path and query"
            )));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let host = host.strip_prefix('[').and_then(|v6| v6.strip_suffix(']')).unwrap_or(host);
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
        if host.parse::<IpAddr>().is_err() && (host.is_empty() || !host.chars().all(is_name)) {
            return Err(refuse("has no valid host"));
        }
        let port = match port {
            None => {
                if tls {
                    443
                } else {
                    80
                }
            }
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(refuse(&format!("has the port '{port}', not 1 to 65535"))),
            },
        };
        Ok(Self {
            tls,
            host: host.to_owned(),
            port,
            authority: authority.to_owned(),
            authorities: PUBLIC_AUTHORITIES.into(),
        })
    }

    /// Trusts the certificate authorities in `file` (PEM) instead of the system's.
    #[must_use]
    pub fn trusting(mut self, file: &Path) -> Self {
        // Envoy may be started in another folder. Fails only without a current one, when a relative path is lost anyway.
        self.authorities = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        self
    }

    /// A server on `address` that speaks HTTP without TLS.
    pub(crate) fn plain(address: std::net::SocketAddr) -> Self {
        Self {
            tls: false,
            host: address.ip().to_string(),
            port: address.port(),
            authority: address.to_string(),
            authorities: PUBLIC_AUTHORITIES.into(),
        }
    }

    /// Host name or IP address, without brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The Host header for it: as the URL was written.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// `host:port`, the port also where the URL leaves it out.
    pub(crate) fn address(&self) -> String {
        match self.host.parse() {
            Ok(IpAddr::V6(host)) => format!("[{host}]:{}", self.port),
            _ => format!("{}:{}", self.host, self.port),
        }
    }

    /// The file of certificate authorities, if certificates are checked at all.
    pub(crate) fn authorities(&self) -> Option<&Path> {
        self.tls.then_some(&self.authorities)
    }

    /// Envoy's `transport_socket`: TLS with SNI, and a certificate that is valid *and* names the host. Without the
    /// last two lines Envoy would encrypt to anybody.
    pub(crate) fn transport_socket(&self) -> Value {
        const TYPE: &str = "type.googleapis.com/envoy.extensions.transport_sockets";
        if !self.tls {
            return json!({
                "name": "envoy.transport_sockets.raw_buffer",
                "typed_config": {"@type": format!("{TYPE}.raw_buffer.v3.RawBuffer")},
            });
        }
        let is_address = self.host.parse::<IpAddr>().is_ok();
        let mut tls = json!({
            "@type": format!("{TYPE}.tls.v3.UpstreamTlsContext"),
            "common_tls_context": {"validation_context": {
                "trusted_ca": {"filename": self.authorities},
                "match_typed_subject_alt_names": [{
                    "san_type": if is_address { "IP_ADDRESS" } else { "DNS" },
                    "matcher": {"exact": self.host},
                }],
            }},
        });
        // RFC 6066 §3: no address in SNI.
        if !is_address && let Some(fields) = tls.as_object_mut() {
            fields.insert("sni".into(), self.host.as_str().into());
        }
        json!({"name": "envoy.transport_sockets.tls", "typed_config": tls})
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_host_and_port() {
        for (url, host, address, authority) in [
            ("http://api", "api", "api:80", "api"),
            (
                "https://api.example.com/",
                "api.example.com",
                "api.example.com:443",
                "api.example.com",
            ),
            ("https://api:8443", "api", "api:8443", "api:8443"),
            ("http://127.0.0.1:1", "127.0.0.1", "127.0.0.1:1", "127.0.0.1:1"),
            ("http://[::1]", "::1", "[::1]:80", "[::1]"),
            ("http://[::1]:65535", "::1", "[::1]:65535", "[::1]:65535"),
        ] {
            let origin = Origin::parse(url).unwrap();
            assert_eq!(
                (origin.host(), origin.address().as_str(), origin.authority()),
                (host, address, authority),
                "{url}"
            );
        }
    }

    #[test]
    fn what_is_not_an_origin_is_refused() {
        for url in [
            "api.example.com",
            "ftp://api",
            "https://",
            "https://:443",
            "https://api/v1",
            "https://api?x",
            "https://u@api",
            "https://api:0",
            "https://api:65536",
            "https://api:x",
            "https://a b",
            "https://a\"b",
            "http://[::1",
        ] {
            let error = Origin::parse(url).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--upstream: '{url}' ")), "{error}");
        }
    }

    #[test]
    fn tls_checks_the_name() {
        let socket = Origin::parse("https://api.example.com").unwrap().transport_socket();
        let context = &socket["typed_config"];
        assert_eq!(context["sni"], "api.example.com");
        let validation = &context["common_tls_context"]["validation_context"];
        assert_eq!(validation["trusted_ca"]["filename"], PUBLIC_AUTHORITIES);
        let name = &validation["match_typed_subject_alt_names"][0];
        assert_eq!(
            (&name["san_type"], &name["matcher"]["exact"]),
            (&json!("DNS"), &json!("api.example.com"))
        );
    }

    #[test]
    fn an_address_is_not_sent_as_sni_but_checked() {
        let origin =
            Origin::parse("https://127.0.0.1:8443").unwrap().trusting(Path::new("/ca.pem"));
        let socket = origin.transport_socket();
        let context = &socket["typed_config"];
        assert_eq!(context.get("sni"), None);
        let validation = &context["common_tls_context"]["validation_context"];
        assert_eq!(validation["trusted_ca"]["filename"], "/ca.pem");
        assert_eq!(validation["match_typed_subject_alt_names"][0]["san_type"], "IP_ADDRESS");
    }

    #[test]
    fn http_is_a_raw_socket() {
        let socket = Origin::parse("http://api").unwrap().transport_socket();
        assert_eq!(socket["name"], "envoy.transport_sockets.raw_buffer");
    }
}
