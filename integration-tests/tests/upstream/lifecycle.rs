//! How it starts, and how it stops.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use integration_tests::upstream::{Action, Fault, Options, Upstream};
use nix::sys::signal::Signal;

use crate::client::{Client, get};
use crate::program::{Program, failure};

/// The grace of a second, and what a busy machine may take on top.
const STOP_LIMIT: Duration = Duration::from_secs(4);

#[test]
fn it_says_where_it_serves_on_stdout_and_in_the_ready_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ready");
    let program = Program::start_with(&["--ready-file", file.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&file).unwrap(), program.line);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    assert_ne!(program.listen, program.control_address);
    assert_eq!(get(program.listen, "/items/MLA1").status, 200);
}

#[test]
fn signals_let_requests_in_flight_finish() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut program = Program::start();
        let delay = Duration::from_millis(300);
        program.control().set_faults(&[Fault::delay("/items/", delay)]).unwrap();
        let (mut busy, mut idle) = (Client::new(program.listen), Client::new(program.listen));
        assert_eq!(idle.request("GET", "/users/1", "").unwrap().status, 200);
        busy.send("GET /items/MLA1 HTTP/1.1\r\nHost: a\r\n\r\n");
        program.wait_until_fired(&[1]);

        program.signal(signal);
        idle.expect_end();
        assert_eq!(busy.receive("GET").unwrap().status, 200);
        busy.expect_end();
        assert_eq!(program.exit_status(STOP_LIMIT).code(), Some(0));
        assert!(TcpStream::connect(program.listen).is_err());
    }
}

#[test]
fn what_takes_longer_than_the_grace_does_not_hold_it_up() {
    let mut program = Program::start();
    let late = Fault::delay("/items/", Duration::from_secs(60));
    program.control().set_faults(&[late, Fault::new("/users/", Action::Hang)]).unwrap();
    let (mut late, mut hung) = (Client::new(program.listen), Client::new(program.listen));
    late.send("GET /items/MLA1 HTTP/1.1\r\nHost: a\r\n\r\n");
    hung.send("GET /users/1 HTTP/1.1\r\nHost: a\r\n\r\n");
    program.wait_until_fired(&[1, 1]);

    let start = Instant::now();
    program.signal(Signal::SIGTERM);
    hung.expect_end();
    assert_eq!(program.exit_status(STOP_LIMIT).code(), Some(0));
    assert!(start.elapsed() >= Duration::from_secs(1));
    late.expect_end();
}

#[test]
fn an_address_in_use_is_named() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for option in ["--listen", "--control"] {
        let (error, code) = failure(&[option, &address]);
        assert_eq!(code, Some(1));
        let expected = format!("upstream: cannot listen on {address}: Address already in use");
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn a_ready_file_that_cannot_be_written_is_named() {
    let (error, code) = failure(&["--ready-file", "/proc/none/ready"]);
    assert_eq!(code, Some(1));
    assert!(error.starts_with("upstream: --ready-file /proc/none/ready: "), "{error}");
}

#[test]
fn wrong_arguments_are_refused() {
    for arguments in [
        &["--threads", "0"][..],
        &["--listen", "8080"],
        &["--tls-cert", "cert.pem"],
        &["--tls-key", "key.pem"],
        &["more"],
    ] {
        let (error, code) = failure(arguments);
        assert_eq!(code, Some(2), "{error}");
        assert!(error.contains(arguments[0]), "{error}");
    }
}

#[test]
fn it_also_runs_inside_a_test() {
    let any = (Ipv4Addr::LOCALHOST, 0).into();
    let options = Options { listen: any, control: any, tls: None, threads: NonZeroUsize::MIN };
    let upstream = Upstream::start(&options).unwrap();
    let mut client = Client::new(upstream.address());
    assert_eq!(client.request("GET", "/items/MLA1", "").unwrap().status, 200);
    assert_eq!(upstream.control().counts().unwrap().total, 1);
    let address = upstream.address();
    drop(upstream);
    client.expect_end();
    assert!(TcpStream::connect(address).is_err());
}
