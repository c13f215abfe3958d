//! The control port: what it takes, refuses and tells.

use std::thread;

use integration_tests::upstream::control::ControlError;
use integration_tests::upstream::{Action, Counts, Fault};
use serde_json::{Value, json};

use crate::client::{Client, Response, get};
use crate::program::Program;

fn put_faults(program: &Program, body: &str) -> Response {
    let mut client = Client::new(program.control_address);
    let length = body.len();
    client
        .send(format!("PUT /faults HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"));
    client.receive("PUT").unwrap()
}

#[test]
fn faults_are_listed_as_they_were_put() {
    let program = Program::start();
    let fault = json!({"prefix": "/items/", "action": "status", "status": 503, "times": 3});
    assert_eq!(put_faults(&program, &json!([fault]).to_string()).status, 204);
    get(program.listen, "/items/MLA1");
    let listed = get(program.control_address, "/faults").json();
    assert_eq!(listed, json!([{"fault": fault, "fired": 1}]));
    program.control().clear_faults().unwrap();
    assert_eq!(get(program.control_address, "/faults").json(), json!([]));
}

#[test]
fn a_wrong_list_is_refused_whole_with_every_error() {
    let program = Program::start();
    program.control().set_faults(&[Fault::status("/items/", 503)]).unwrap();
    let response = put_faults(
        &program,
        r#"[{"prefix": "/", "action": "reset"}, {"prefix": "x", "action": "explode", "ratio": 2}]"#,
    );
    assert_eq!(response.status, 400);
    let actions = "one of status, delay, headers, reset, close, cut, hang";
    let errors = json!({"errors": [
        {"field": "[1].prefix", "found": "\"x\"", "allowed": "text that begins with /"},
        {"field": "[1].action", "found": "\"explode\"", "allowed": actions},
        {"field": "[1].ratio", "found": "2", "allowed": "a number from 0 to 1"},
    ]});
    assert_eq!(response.json(), errors);
    assert_eq!(get(program.listen, "/items/MLA1").status, 503);
}

#[test]
fn what_is_not_json_is_refused() {
    let program = Program::start();
    for body in ["", "[", "[{}] x"] {
        let response = put_faults(&program, body);
        assert_eq!(response.status, 400, "{body}");
        let errors = response.json();
        assert_eq!(
            (&errors["errors"][0]["field"], &errors["errors"][0]["allowed"]),
            (&"".into(), &"JSON".into())
        );
    }
    assert_eq!(put_faults(&program, &" ".repeat((1 << 20) + 1)).status, 413);
    assert_eq!(put_faults(&program, &format!("[]{}", " ".repeat((1 << 20) - 2))).status, 204);
}

#[test]
fn the_client_tells_why_it_was_refused() {
    let program = Program::start();
    let error = program.control().set_faults(&[Fault::new("items", Action::Reset)]).unwrap_err();
    assert!(matches!(error, ControlError::Refused { status: 400, .. }));
    assert!(error.to_string().contains("text that begins with /"), "{error}");

    let control = program.control();
    drop(program);
    assert!(matches!(control.counts().unwrap_err(), ControlError::Io { .. }));
}

#[test]
fn only_what_is_there_can_be_called() {
    let program = Program::start();
    for (method, target, status, allow) in [
        ("POST", "/faults", 405, Some("GET, PUT, DELETE")),
        ("PUT", "/counts", 405, Some("GET, DELETE")),
        ("DELETE", "/requests", 405, Some("GET")),
        ("GET", "/items/MLA1", 404, None),
    ] {
        let response = Client::new(program.control_address).request(method, target, "").unwrap();
        assert_eq!(
            (response.status, response.header("Allow")),
            (status, allow),
            "{method} {target}"
        );
    }
}

#[test]
fn the_apis_port_has_nothing_of_it() {
    let program = Program::start();
    for target in ["/faults", "/counts", "/requests"] {
        for method in ["GET", "PUT", "DELETE"] {
            let mut client = Client::new(program.listen);
            assert_eq!(client.request(method, target, "").unwrap().status, 404);
        }
    }
}

#[test]
fn requests_are_counted_until_reset() {
    let program = Program::start();
    let mut client = Client::new(program.listen);
    for (method, target) in [
        ("GET", "/items/MLA1?x=/y"),
        ("HEAD", "/items/MLA2"),
        ("GET", "/categories/MLA1"),
        ("DELETE", "/unknown"),
    ] {
        client.request(method, target, "").unwrap();
    }
    let control = program.control();
    let counts = control.counts().unwrap();
    assert_eq!(counts.total, 4);
    assert_eq!((counts.of_prefix("/items"), counts.of_prefix("/categories")), (2, 1));
    assert_eq!((counts.of_method("GET"), counts.of_method("HEAD")), (2, 1));
    let lines = [
        "GET /items/MLA1?x=/y HTTP/1.1",
        "HEAD /items/MLA2 HTTP/1.1",
        "GET /categories/MLA1 HTTP/1.1",
        "DELETE /unknown HTTP/1.1",
    ];
    assert_eq!(control.requests().unwrap(), lines);

    control.reset_counts().unwrap();
    assert_eq!(control.counts().unwrap(), Counts::default());
    assert_eq!(control.requests().unwrap(), Vec::<String>::new());
}

#[test]
fn every_request_of_many_connections_is_counted_once() {
    const CONNECTIONS: usize = 8;
    const EACH: usize = 250;
    let program = Program::start_with(&["--threads", "2"]);
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut client = Client::new(program.listen);
                for _ in 0..EACH {
                    assert_eq!(client.request("GET", "/items/MLA1", "").unwrap().status, 200);
                }
            });
        }
    });
    let counts = program.control().counts().unwrap();
    assert_eq!(counts.total, (CONNECTIONS * EACH) as u64);
    assert_eq!(counts.of_prefix("/items"), counts.total);
    let counts: Value = get(program.control_address, "/counts").json();
    assert_eq!(counts["by_method"], json!({"GET": CONNECTIONS * EACH}));
}
