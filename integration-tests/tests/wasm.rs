//! The shape of what ships: what the `.wasm` asks of its host, what it offers, and how large it is.
//!
//! Goal: a dependency that reaches for a file, a socket or a thread is noticed here, not when Envoy refuses to load.
//! `cargo build --release --target wasm32-wasip1 -p meliproxy --lib` has to have run before.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be read is its failure")]

use std::fs;

use integration_tests::stack::repository;
use wasmparser::{Parser, Payload};

/// What Envoy provides of WASI (proxy-wasm-cpp-host), less files and sockets, which only return errors there.
const WASI: [&str; 6] =
    ["clock_time_get", "environ_get", "environ_sizes_get", "fd_write", "proc_exit", "random_get"];

/// Most bytes of the file: Envoy compiles all of it before it serves. 482 KB took V8 0.75 s of CPU time, 634 KB, with
/// the whole quota engine, 1.0 s, 894 KB, with breakers, 1.2 s, 1.29 MB, with the cache, 1.9 s. Raise it
/// with a reason.
const MAX_BYTES: usize = 1344 << 10;

fn file() -> Vec<u8> {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| repository().join("target"), Into::into);
    let path = target.join("wasm32-wasip1/release/meliproxy.wasm");
    println!("reads {}", path.display());
    fs::read(&path).unwrap()
}

/// What the file asks for: modules and names.
fn imports(file: &[u8]) -> Vec<(&str, &str)> {
    let mut all = Vec::new();
    for payload in Parser::new(0).parse_all(file) {
        if let Payload::ImportSection(section) = payload.unwrap() {
            let imports = section.into_imports().map(Result::unwrap);
            all.extend(imports.map(|import| (import.module, import.name)));
        }
    }
    assert!(all.len() > 10, "{} imports: is this the filter?", all.len());
    all
}

/// What the file offers.
fn exports(file: &[u8]) -> Vec<&str> {
    let mut all = Vec::new();
    for payload in Parser::new(0).parse_all(file) {
        if let Payload::ExportSection(section) = payload.unwrap() {
            all.extend(section.into_iter().map(|export| export.unwrap().name));
        }
    }
    all
}

/// What the filter or the bridge is allowed in a template: the words before a `: {}`. That nothing is missing there is
/// for the other tests to see: the SDK imports more than is used.
fn allowed(template: &str) -> Vec<String> {
    let text = fs::read_to_string(repository().join("envoy").join(template)).unwrap();
    let (_, list) = text.split_once("allowed_capabilities: {").unwrap();
    let words = list.split(": {}").take_while(|word| !word.contains('}'));
    words.map(|word| word.trim_matches([',', ' ', '\n']).to_owned()).collect()
}

#[test]
fn it_asks_for_nothing_that_envoy_does_not_provide() {
    for (module, name) in imports(&file()) {
        let provided = match module {
            "env" => name.starts_with("proxy_"),
            "wasi_snapshot_preview1" => WASI.contains(&name),
            _ => false,
        };
        assert!(provided, "{module}.{name}");
    }
}

#[test]
fn it_offers_what_envoy_calls() {
    let file = file();
    let exports = exports(&file);
    for name in ["memory", "_initialize", "proxy_abi_version_0_2_1", "proxy_on_memory_allocate"] {
        assert!(exports.contains(&name), "{name} is missing in {exports:?}");
    }
}

#[test]
fn the_templates_allow_nothing_that_it_does_not_have() {
    let file = file();
    let (exports, imports) = (exports(&file), imports(&file));
    for word in [allowed("filter.yaml"), allowed("replica.yaml")].concat() {
        let called = imports.iter().any(|(_, name)| *name == word);
        assert!(
            called || exports.contains(&word.as_str()),
            "{word} is allowed and neither offered nor asked for"
        );
    }
}

#[test]
fn it_is_small() {
    let size = file().len();
    assert!(size <= MAX_BYTES, "{size} bytes, allowed: {MAX_BYTES}");
}
