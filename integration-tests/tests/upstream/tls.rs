//! TLS: who trusts the certificate is served, who does not is not.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use integration_tests::upstream::{Action, Fault};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::authority::Authority;
use crate::client::{Client, connect};
use crate::program::{Program, failure};

const NAME: &str = "api.example.com";

fn serve(authority: &Authority) -> Program {
    Program::start_with(&arguments(&authority.file("cert.pem"), &authority.file("key.pem")))
}

/// A client that trusts this authority only and expects `name`.
fn client(
    authority: &Authority,
    program: &Program,
    name: &str,
) -> Client<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.file("ca.pem")).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = name.to_owned().try_into().unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    Client { stream: StreamOwned::new(connection, connect(program.listen)) }
}

fn arguments<'a>(certificate: &'a Path, key: &'a Path) -> [&'a str; 4] {
    ["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()]
}

/// Why the handshake fails.
fn refusal(mut client: Client<StreamOwned<ClientConnection, TcpStream>>) -> io::Error {
    let Client { stream } = &mut client;
    stream.conn.complete_io(&mut stream.sock).unwrap_err()
}

#[test]
fn a_client_that_trusts_the_authority_is_served() {
    let authority = Authority::for_name(NAME);
    let program = serve(&authority);
    let mut client = client(&authority, &program, NAME);
    for _ in 0..2 {
        let response = client.request("GET", "/categories/MLA97994", "").unwrap();
        assert_eq!((response.status, &response.json()["id"]), (200, &"MLA97994".into()));
    }
    assert_eq!(client.stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    let long = client.request("GET", "/bytes/1000000", "Connection: close\r\n").unwrap();
    assert_eq!(long.body.len(), 1_000_000);
    client.expect_end();
}

#[test]
fn a_client_that_does_not_trust_the_authority_is_not_served() {
    let (authority, stranger) = (Authority::for_name(NAME), Authority::for_name(NAME));
    let program = serve(&authority);
    let error = refusal(client(&stranger, &program, NAME));
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    assert_eq!(program.control().counts().unwrap().total, 0);
    assert_eq!(client(&authority, &program, NAME).request("GET", "/", "").unwrap().status, 404);
}

#[test]
fn a_client_that_expects_another_name_is_not_served() {
    let authority = Authority::for_name(NAME);
    let program = serve(&authority);
    let error = refusal(client(&authority, &program, "other.example.com"));
    assert!(error.to_string().contains("not valid for name"), "{error}");
}

#[test]
fn without_tls_nothing_is_served() {
    let program = serve(&Authority::for_name(NAME));
    let mut client = Client::new(program.listen);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (answer, _) = client.rest();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert_eq!(program.control().counts().unwrap().total, 0);
}

#[test]
fn faults_break_the_connection_below_tls() {
    let authority = Authority::for_name(NAME);
    let program = serve(&authority);
    for (action, kind) in [
        (Action::Reset, ErrorKind::ConnectionReset),
        (Action::Close, ErrorKind::UnexpectedEof),
        (Action::Cut, ErrorKind::UnexpectedEof),
    ] {
        program.control().set_faults(&[Fault::new("/bytes", action)]).unwrap();
        let error = client(&authority, &program, NAME).request("GET", "/bytes/10", "").unwrap_err();
        assert_eq!(error.kind(), kind);
    }
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let authority = Authority::for_name(NAME);
    let (certificate, key) = (authority.file("cert.pem"), authority.file("key.pem"));
    let (absent, other) = (authority.file("absent.pem"), Authority::for_name(NAME));
    for (arguments, named) in [
        (arguments(&absent, &key), &absent),
        (arguments(&certificate, &absent), &absent),
        (arguments(&key, &key), &key),
        (arguments(&certificate, &certificate), &certificate),
        (arguments(&certificate, &other.file("key.pem")), &certificate),
    ] {
        let (error, code) = failure(&arguments);
        assert_eq!(code, Some(1));
        assert!(error.starts_with(&format!("upstream: {}: ", named.display())), "{error}");
    }
}
