//! A real API is reached over TLS: only one that proves its name is sent anything, and it is told which name is meant.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected ends here")]

mod authority;

use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::thread;

use integration_tests::client::{Client, Response};
use integration_tests::scene::Scene;
use integration_tests::stack::{self, Origin};
use integration_tests::upstream::{Options, TlsFiles, Upstream};
use tokio_rustls::rustls::server::Acceptor;

use crate::authority::Authority;

/// Every request waits for a decision, so the filter is in the way of the handshake too.
const CONFIG: &str = r#"{"version": 1, "quotas": [{"name": "all", "limit": 1000, "per": "365d"}]}"#;

impl Authority {
    /// The stand-in, with the certificate.
    fn serve(&self) -> Upstream {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Upstream::start(&Options {
            listen: any,
            control: any,
            tls: Some(TlsFiles { certificates: self.file("cert.pem"), key: self.file("key.pem") }),
            threads: NonZeroUsize::MIN,
        })
        .unwrap()
    }

    /// A proxy to `https://localhost` on the port of `upstream` that trusts this authority alone.
    fn proxy_to(&self, upstream: SocketAddr) -> Scene {
        let url = format!("https://localhost:{}", upstream.port());
        let origin = Origin::parse(&url).unwrap().trusting(&self.file("ca.pem"));
        Scene::start(CONFIG, |options| {
            let upstream = stack::Upstream::Url(origin);
            options.replicas(1).redis(false).upstream(upstream)
        })
        .unwrap()
    }
}

fn get(proxy: &Scene, path: &str) -> Response {
    Client::new(proxy.edge().http()).get(path).unwrap()
}

#[test]
fn an_upstream_that_proves_its_name_is_served_from() {
    let authority = Authority::for_name("localhost");
    let upstream = authority.serve();
    let proxy = authority.proxy_to(upstream.address());
    let category = get(&proxy, "/categories/MLA97994");
    assert_eq!(category.status, 200, "{}", category.text());
    let echo = get(&proxy, "/echo/x").text();
    let host = format!(r#"["host","localhost:{}"]"#, upstream.address().port());
    assert!(echo.contains(&host), "{echo}");
    assert_eq!(upstream.control().counts().unwrap().total, 2);
}

#[test]
fn an_upstream_that_does_not_is_sent_nothing() {
    let authority = Authority::for_name("localhost");
    let impostors = [
        ("envoy_cluster_ssl_fail_verify_san", Authority::for_name("other.example"), None),
        ("envoy_cluster_ssl_fail_verify_error", Authority::for_name("localhost"), Some(&authority)),
    ];
    for (reason, impostor, trusted) in impostors {
        let upstream = impostor.serve();
        let proxy = trusted.unwrap_or(&impostor).proxy_to(upstream.address());
        assert_eq!(get(&proxy, "/categories/MLA97994").status, 503, "{reason}");
        let labels = [("envoy_cluster_name", "upstream")];
        assert_eq!(proxy.replica(0).metric(reason, &labels).unwrap(), 1.0, "{reason}");
        assert_eq!(upstream.control().counts().unwrap().total, 0, "{reason}");
    }
}

#[test]
fn the_name_that_is_meant_is_told_in_the_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let named = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut acceptor = Acceptor::default();
        loop {
            acceptor.read_tls(&mut stream).unwrap();
            if let Some(accepted) = acceptor.accept().unwrap() {
                break accepted.client_hello().server_name().map(ToOwned::to_owned);
            }
        }
    });
    let proxy = Authority::for_name("localhost").proxy_to(address);
    assert_eq!(get(&proxy, "/x").status, 503);
    assert_eq!(named.join().unwrap().as_deref(), Some("localhost"));
}
