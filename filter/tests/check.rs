//! `meliproxy-check` as a person or a pipeline runs it: what it prints, and its exit status.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::process::Command;

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../envoy/meliproxy.json");

/// Exit status, standard output and standard error of one run.
fn check(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_meliproxy-check")).args(arguments).output();
    let output = output.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A file for one test, in the folder that cargo gives to tests.
fn file(name: &str, text: &str) -> String {
    let path = format!("{}/{name}", env!("CARGO_TARGET_TMPDIR"));
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_good_file_is_ok() {
    let expected = format!("{SHIPPED}: ok (2 routes, 3 rules, 0 breakers, 0 cache policies)\n");
    assert_eq!(check(&[SHIPPED]), (0, expected, String::new()));
}

#[test]
fn every_problem_of_every_file_is_a_line_and_the_status_is_1() {
    let bad = file("bad.json", r#"{"version": 2, "quotas": 1}"#);
    let (status, out, _) = check(&[&bad, SHIPPED]);
    assert_eq!(status, 1);
    assert_eq!(
        out,
        format!(
            "{bad}: version: found 2, allowed: 1\n\
             {bad}: quotas: found 1, allowed: a list of 0 to 256 rules\n\
             {SHIPPED}: ok (2 routes, 3 rules, 0 breakers, 0 cache policies)\n"
        )
    );
}

#[test]
fn what_cannot_be_read_is_status_2_and_hides_no_other_file() {
    let (status, out, err) = check(&["/nowhere/meliproxy.json", SHIPPED]);
    assert_eq!(status, 2);
    assert!(err.starts_with("/nowhere/meliproxy.json: cannot be read: "), "{err}");
    assert!(out.contains(": ok "), "{out}");
}

#[test]
fn wrong_arguments_are_status_2_with_help() {
    let (status, out, err) = check(&[]);
    assert_eq!((status, &*out), (2, ""));
    assert!(err.contains("Usage: meliproxy-check FILE..."), "{err}");
    let (status, _, err) = check(&["--strict", SHIPPED]);
    assert_eq!(status, 2);
    assert!(err.contains("--strict") && err.contains("--help"), "{err}");
}

#[test]
fn the_schema_is_printed() {
    let (status, out, err) = check(&["--schema"]);
    assert_eq!((status, &*err), (0, ""));
    assert!(out.starts_with('{') && out.ends_with("}\n"), "{out}");
    assert!(out.contains("https://json-schema.org/draft/2020-12/schema"), "{out}");
}

#[test]
fn help_and_version_are_printed() {
    let (status, out, _) = check(&["--help"]);
    assert_eq!(status, 0);
    assert!(out.contains("Usage: meliproxy-check FILE..."), "{out}");
    let version = format!("meliproxy-check {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(check(&["-V"]), (0, version, String::new()));
}
