//! Requests: one spelling for each path, and the same counters however a request is spelt.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::LazyLock;

use meliproxy::config::Config;
use meliproxy::http::address::{self, Block};
use meliproxy::http::path::{Resource, canonical, without_query};
use meliproxy::http::{RequestView, cookie, query};
use meliproxy::key::HashSeed;
use meliproxy::plan::Plan;

use crate::input::Input;

#[path = "../../tests/common/upstream.rs"]
mod upstream;

/// Everything that a rule can count by.
const FILE: &str = r#"{"version": 1, "routes": [
    {"name": "items", "path": "/items/{*rest}"}, {"name": "one", "path": "/{a}", "methods": ["GET"]}
], "quotas": [
    {"name": "all", "limit": 1, "per": "1s", "by": ["client_address", "path", "route", "method", "host",
        "header:x-field", "cookie:a", "query:a"]},
    {"name": "path", "limit": 1, "per": "1s", "by": ["path"], "cost": {"header": "x-field"},
        "enforce_percent": 50, "overrides": [
            {"match": {"path": "/items/1"}, "action": "exempt"},
            {"match": {"path": "/items/2"}, "action": "refuse"}]},
    {"name": "client", "limit": 1, "per": "1s", "by": ["client_address", "host"], "overrides": [
        {"match": {"client_address": "192.0.2.0/24"}, "limit": 2},
        {"match": {"client_address": "2001:db8::/33", "host": "a"}, "action": "refuse"}]},
    {"name": "items", "routes": ["items"], "limit": 1, "per": "1s", "by": ["cookie:a", "query:a"]}
]}"#;

/// Longest name of a counter: what all of a rule have in common, and a readable id.
const MOST_NAME_BYTES: usize = 128;

static PLAN: LazyLock<Plan> = LazyLock::new(|| {
    let config = Config::parse(FILE.as_bytes()).unwrap();
    Plan::new(config, HashSeed([7; 16]))
});

/// A request as the host shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'d> {
    pub(crate) path: &'d [u8],
    pub(crate) host: &'d [u8],
    pub(crate) source_address: &'d [u8],
    pub(crate) cookies: &'d [u8],
    /// The value of every other field; there is none if it is empty.
    pub(crate) field: &'d [u8],
}

impl RequestView for Request<'_> {
    fn path(&mut self) -> Option<Vec<u8>> {
        Some(self.path.to_vec())
    }

    fn method(&mut self) -> Option<Vec<u8>> {
        Some(b"GET".to_vec())
    }

    fn host(&mut self) -> Option<Vec<u8>> {
        Some(self.host.to_vec())
    }

    fn header(&mut self, name: &str) -> Option<Vec<u8>> {
        let value = if name == "cookie" { self.cookies } else { self.field };
        (!value.is_empty()).then(|| value.to_vec())
    }

    fn source_address(&mut self) -> Option<Vec<u8>> {
        Some(self.source_address.to_vec())
    }

    fn lines(&mut self) -> meliproxy::http::header::Fields {
        meliproxy::http::header::Fields::default()
    }

    fn is_over(&self) -> bool {
        true
    }
}

/// Lines: path, host, address, cookies, another field, and the prefix that addresses are counted by.
pub fn request(data: &[u8]) {
    let mut input = Input::new(data);
    let [path, host, source_address, cookies, field] = std::array::from_fn(|_| input.line());
    let request = Request { path, host, source_address, cookies, field };
    assert_path(path);
    assert_query(path, field);
    assert_cookies(cookies, field);
    assert_address(source_address, field, input.byte());
    assert_counters(request);
}

fn assert_path(target: &[u8]) {
    let once = canonical(target);
    match &once {
        Cow::Borrowed(same) => assert_eq!(*same, target),
        Cow::Owned(other) => assert_ne!(other, target),
    }
    assert!(once.len() <= target.len());
    assert!(matches!(canonical(&once), Cow::Borrowed(_)), "no fixed point");
    let (before, path) = (without_query(target), without_query(&once));
    assert_eq!(target[before.len()..], once[path.len()..], "the query is left alone");
    if !target.starts_with(b"/") {
        assert_eq!(&*once, target);
        return;
    }
    assert!(path.starts_with(b"/") && !path.contains(&b'\\'));
    let resource = Resource::of(path);
    for bytes in [path, resource.as_bytes()] {
        let segments: Vec<_> = bytes.split(|byte| *byte == b'/').skip(1).collect();
        let (last, inner) = segments.split_last().unwrap();
        assert!(inner.iter().all(|segment| !segment.is_empty()), "two slashes in a row");
        assert!(!last.starts_with(b"/") && !segments.iter().any(|s| matches!(*s, b"." | b"..")));
    }
    assert_eq!(resource.as_bytes(), upstream::decoded(before), "not what the upstream sees");

    // Whoever escapes all of it asks for the same.
    let slashes_kept = |byte: &u8| if *byte == b'/' { vec![*byte] } else { escaped(&[*byte]) };
    let respelt: Vec<u8> = resource.as_bytes().iter().flat_map(slashes_kept).collect();
    assert_eq!(Resource::of(&canonical(&respelt)), resource, "respelt");
}

fn escaped(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| format!("%{byte:02x}").into_bytes()).collect()
}

/// What is put before the others is found, what is put behind them only if there is no other.
fn assert_query(target: &[u8], name: &[u8]) {
    let found = query::first(target, name);
    let parameter = [&escaped(name)[..], b"=", &escaped(b"a&=+%")].concat();
    let path = without_query(target);
    let others = target.get(path.len() + 1..).unwrap_or_default();
    let before = [path, b"?", &parameter, b"&", others].concat();
    assert_eq!(query::first(&before, name).as_deref(), Some(&b"a&=+%"[..]));
    let behind = [path, b"?", others, b"&", &parameter].concat();
    assert_eq!(query::first(&behind, name), found.or_else(|| Some(b"a&=+%".to_vec())));
}

fn assert_cookies(cookies: &[u8], name: &[u8]) {
    let found = cookie::first(cookies, name);
    if let Some(value) = found {
        assert!(!value.contains(&b';') && value.trim_ascii() == value);
    }
    if name.contains(&b';') || name.contains(&b'=') || name.trim_ascii() != name {
        assert_eq!(found, None);
        return;
    }
    let before = [name, b"= a=b ; ", cookies].concat();
    assert_eq!(cookie::first(&before, name), Some(&b"a=b"[..]));
    let behind = [cookies, b"; ", name, b"=c"].concat();
    assert_eq!(cookie::first(&behind, name), found.or(Some(b"c")));
}

fn assert_address(one: &[u8], other: &[u8], prefix: u8) {
    let Some(one) = address::parse(one) else { return };
    assert_eq!(one, one.to_canonical(), "two spellings of one client");
    assert_eq!(address::parse(one.to_string().as_bytes()), Some(one));
    let with_port = std::net::SocketAddr::new(one, 80).to_string();
    assert_eq!(address::parse(with_port.as_bytes()), Some(one));

    let network = address::masked(one, prefix);
    assert_eq!(address::masked(network, prefix), network);
    let text = address::text(network, prefix);
    let bare = text.split('/').next().unwrap();
    assert_eq!(bare.parse::<IpAddr>().unwrap(), network);

    let other = address::parse(other).unwrap_or(network);
    let block = Block::new(one, prefix);
    assert!(block.contains(one));
    assert_eq!(block.contains(other), Block::new(other, prefix).contains(one));
    if one.is_ipv6() {
        assert_eq!(block.contains(other), address::masked(other, prefix) == network);
    }
    assert!(block.single().is_none_or(|only| only == one));
}

/// What is counted is what is sent to the upstream, and it is counted under names that are text and not too long.
fn assert_counters(request: Request<'_>) {
    let opening = PLAN.open(&mut request.clone());
    for check in &opening.checks {
        assert!(check.name.iter().all(u8::is_ascii_graphic), "{check:?}");
        assert!(check.name.len() <= MOST_NAME_BYTES, "{check:?}");
        assert!((1..=1_000_000).contains(&check.cost), "{check:?}");
    }
    let Some(path) = &opening.rewritten_path else { return };
    let again = PLAN.open(&mut Request { path, ..request });
    assert_eq!(again.rewritten_path, None);
    assert_eq!(format!("{:?}", again.checks), format!("{:?}", opening.checks));
    assert_eq!(again.refused_by, opening.refused_by);
    assert_eq!(again.would_refuse, opening.would_refuse);
}
