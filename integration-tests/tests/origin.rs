//! Who a client is and what it asks for: said by the connection and by the path that is served, not by what it writes.
//!
//! Every request goes through the edge, from addresses of this machine. Windows last a year, so that none ends here.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected ends here"
)]

use std::net::Ipv4Addr;
use std::time::Duration;

use integration_tests::client::{Client, Request, Response, burst};
use integration_tests::scene::{Scene, next_origin, statuses};
use integration_tests::upstream::Fault;
use integration_tests::upstream::control::Control;

/// Ten requests of one origin to `/items/*`.
const CONFIG: &str = r#"{
  "version": 1,
  "redis": {"namespace": "origin", "timeout": "1s"},
  "routes": [{"name": "items", "path": "/items/{*rest}"}],
  "quotas": [
    {"name": "origin-items", "routes": ["items"], "by": ["client_address"], "limit": 10, "per": "365d"}
  ]
}"#;

const LIMIT: usize = 10;

/// The edge, and what arrives behind the replicas.
struct Proxy {
    scene: Scene,
    upstream: Control,
}

impl Proxy {
    fn start() -> Self {
        let scene = Scene::start(CONFIG, |options| options.replicas(2)).unwrap();
        let upstream = Control::new(scene.stand_in().unwrap().control());
        Self { scene, upstream }
    }

    fn client(&self, origin: Ipv4Addr) -> Client {
        Client::new(self.scene.edge().http()).from(origin)
    }

    fn send(&self, origin: Ipv4Addr, request: &Request) -> Response {
        self.client(origin).send(request).unwrap()
    }

    /// The header fields that reached the upstream.
    fn echo(&self, origin: Ipv4Addr, request: &Request) -> Vec<(String, String)> {
        let echo = self.send(origin, request);
        assert_eq!(echo.status, 200, "{}", echo.text());
        let echo: serde_json::Value = serde_json::from_slice(&echo.body).unwrap();
        serde_json::from_value(echo["headers"].clone()).unwrap()
    }

    /// Sends a request and says what came back and which request lines the upstream saw because of it.
    fn observe(&self, origin: Ipv4Addr, request: &Request) -> (u16, Vec<String>) {
        self.upstream.reset_counts().unwrap();
        let status = self.send(origin, request).status;
        (status, self.upstream.requests().unwrap())
    }

    /// Uses up the quota of `origin` for `/items/*`.
    fn exhaust(&self, origin: Ipv4Addr) {
        let edge = [self.scene.edge().http()];
        let outcomes = burst(&edge, origin, &Request::get("/items/x"), LIMIT + 2, 4).unwrap();
        assert_eq!(statuses(&outcomes), [(200, LIMIT), (429, 2)].into());
    }
}

fn values<'a>(fields: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    let named = fields.iter().filter(|(own, _)| own == name);
    named.map(|(_, value)| value.as_str()).collect()
}

#[test]
fn an_origin_is_the_address_that_the_edge_sees_whatever_the_client_says() {
    let proxy = Proxy::start();
    let (first, second) = (next_origin(), next_origin());
    proxy.exhaust(first);
    proxy.exhaust(second);

    // One who claims to be others: the limit is its own, and exactly the limit.
    let (liar, victim) = (next_origin(), next_origin());
    let victim_name = victim.to_string();
    let claims: [&[(&str, &[u8])]; 15] = [
        &[("X-Forwarded-For", victim_name.as_bytes())],
        &[("X-Forwarded-For", b"203.0.113.1, 203.0.113.2")],
        &[("X-Forwarded-For", b"203.0.113.1"), ("x-forwarded-for", victim_name.as_bytes())],
        &[("X-Forwarded-For", b"")],
        &[("X-Forwarded-For", b",")],
        &[("X-Forwarded-For", b"203.0.113.3,")],
        &[("X-Forwarded-For", b"not an address")],
        &[("X-Forwarded-For", b"\xff\xfe, 203.0.113.4")],
        &[("X-Forwarded-For", b"[2001:db8::1]:80, ::1")],
        &[("X-Forwarded-For", &[b'1'; 8000])],
        &[("X-Real-IP", victim_name.as_bytes())],
        &[("Forwarded", b"for=203.0.113.5;by=203.0.113.6")],
        &[("X-Envoy-External-Address", victim_name.as_bytes())],
        &[("X-Envoy-Internal", b"true"), ("X-Forwarded-For", b"10.0.0.1")],
        &[("True-Client-IP", victim_name.as_bytes())],
    ];
    for (number, claim) in claims.iter().enumerate() {
        let request = claim
            .iter()
            .fold(Request::get("/items/x"), |request, (name, value)| request.header(name, value));
        let status = proxy.send(liar, &request).status;
        assert_eq!(status, if number < LIMIT { 200 } else { 429 }, "{claim:?}");
    }
    // The one it claimed to be has lost nothing.
    proxy.exhaust(victim);

    // The upstream can find the true address: it is the last entry, on its own line or after what the client wrote.
    let told = Request::get("/echo/x").header("X-Forwarded-For", "203.0.113.1");
    let fields = proxy.echo(liar, &told);
    assert_eq!(values(&fields, "x-forwarded-for").join(","), format!("203.0.113.1,{liar}"));
    let fields = proxy.echo(liar, &Request::get("/echo/x"));
    assert_eq!(values(&fields, "x-forwarded-for"), [liar.to_string()]);
}

#[test]
fn headers_that_steer_an_envoy_stop_at_the_edge() {
    let proxy = Proxy::start();
    let origin = next_origin();
    let steering = [
        ("x-envoy-retry-on", "5xx,gateway-error,reset,retriable-4xx"),
        ("x-envoy-retry-grpc-on", "unavailable"),
        ("x-envoy-max-retries", "5"),
        ("x-envoy-retriable-status-codes", "503"),
        ("x-envoy-retriable-header-names", "etag"),
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("x-envoy-upstream-rq-per-try-timeout-ms", "1"),
        ("x-envoy-upstream-rq-timeout-alt-response", "1"),
        ("x-envoy-expected-rq-timeout-ms", "1"),
        ("x-envoy-hedge-on-per-try-timeout", "true"),
        ("x-envoy-upstream-alt-stat-name", "mine"),
        ("x-envoy-original-path", "/items/secret"),
        ("x-envoy-original-url", "http://203.0.113.1/"),
        ("x-envoy-original-host", "203.0.113.1"),
        ("x-envoy-original-dst-host", "203.0.113.1:80"),
        ("x-envoy-decorator-operation", "mine"),
        ("x-envoy-downstream-service-cluster", "mine"),
        ("x-envoy-downstream-service-node", "mine"),
        ("x-envoy-force-trace", "true"),
        ("x-envoy-internal", "true"),
        ("x-envoy-ip-tags", "mine"),
        ("x-envoy-attempt-count", "9"),
        ("x-envoy-is-timeout-retry", "true"),
        ("x-envoy-immediate-health-check-fail", "true"),
        ("x-envoy-of-a-later-version", "1"),
    ];
    let steered = |target: &str| {
        let request = Request::get(target);
        steering.iter().fold(request, |request, (name, value)| request.header(name, value))
    };

    let fields = proxy.echo(origin, &steered("/echo/x"));
    let left: Vec<_> = fields.iter().filter(|(name, _)| name.starts_with("x-envoy-")).collect();
    assert!(left.is_empty(), "{left:?}");

    // Not a retry more, and not a timeout sooner, than without them.
    let faults =
        [Fault::status("/echo/fails", 503), Fault::delay("/echo/late", Duration::from_millis(200))];
    proxy.upstream.set_faults(&faults).unwrap();
    for (target, status) in [("/echo/fails", 503), ("/echo/late", 200)] {
        let (seen, lines) = proxy.observe(origin, &steered(target));
        let expected = vec![format!("GET {target} HTTP/1.1")];
        assert_eq!((seen, lines), (status, expected));
    }
}

#[test]
fn an_upstream_cannot_take_a_replica_away_from_the_edge() {
    let proxy = Proxy::start();
    let fault = Fault::new("/echo/", integration_tests::upstream::Action::Headers)
        .header("X-Envoy-Immediate-Health-Check-Fail", "true");
    proxy.upstream.set_faults(&[fault]).unwrap();
    let edge = [proxy.scene.edge().http()];
    let outcomes = burst(&edge, next_origin(), &Request::get("/echo/x"), 20, 4).unwrap();
    assert_eq!(statuses(&outcomes), [(200, 20)].into());
    let clusters = proxy.scene.edge().admin_get("/clusters").unwrap();
    assert!(!clusters.contains("/failed_active_hc"), "{clusters}");
}

#[test]
fn no_spelling_of_a_path_dodges_its_rule() {
    let proxy = Proxy::start();
    let spellings: [(&[u8], &str); 17] = [
        (b"/items/x", "/items/x"),
        (b"//items/x", "/items/x"),
        (b"/./items/x", "/items/x"),
        (b"/a/../items/x", "/items/x"),
        (b"/../../items/x", "/items/x"),
        (b"/%69tems/x", "/items/x"),
        (b"/items%2Fx", "/items/x"),
        (b"/items%2fx", "/items/x"),
        (b"/items%5cx", "/items/x"),
        (b"/items\\x", "/items/x"),
        (b"/%2e/items/x", "/items/x"),
        (b"/items/./x", "/items/x"),
        (b"/x/%2e%2e/items/y", "/items/y"),
        (b"/items//x", "/items/x"),
        (b"/items/x;a=b", "/items/x;a=b"),
        // What follows the first `?` is the upstream's alone.
        (b"//items/x?a=%2F//../%69&&?", "/items/x?a=%2F//../%69&&?"),
        (b"http://elsewhere.example/items/x", "/items/x"),
    ];
    // Each one alone: it is served under the path that is counted.
    for (spelling, canonical) in spellings {
        let (status, lines) = proxy.observe(next_origin(), &Request::get(spelling));
        let spelled = String::from_utf8_lossy(spelling);
        assert_eq!(lines, [format!("GET {canonical} HTTP/1.1")], "{spelled}");
        assert_eq!(status, 200, "{spelled}");
    }
    // All together, over and over: the limit, and no more.
    let origin = next_origin();
    proxy.upstream.reset_counts().unwrap();
    let rounds = spellings.iter().cycle().take(3 * spellings.len());
    for (number, (spelling, _)) in rounds.enumerate() {
        let status = proxy.send(origin, &Request::get(spelling)).status;
        let spelled = String::from_utf8_lossy(spelling);
        assert_eq!(status, if number < LIMIT { 200 } else { 429 }, "{spelled}");
    }
    assert_eq!(proxy.upstream.counts().unwrap().total, LIMIT as u64);

    // Other paths are other paths, also for a client that has nothing left under this one.
    for path in ["/ITEMS/x", "/items", "/itemsx", "/items%252Fx", "/%2569tems/x", "/x/items/y"] {
        let (status, lines) = proxy.observe(origin, &Request::get(path));
        assert_eq!(lines, [format!("GET {path} HTTP/1.1")]);
        assert_eq!(status, 404, "{path}");
    }
}

#[test]
fn targets_that_are_no_paths_are_answered_and_break_nothing() {
    let proxy = Proxy::start();
    let pids = || -> Vec<_> { proxy.scene.replicas().iter().map(|it| it.pid()).collect() };
    let before = pids();
    let long = |length| [b"/items/", &b"a".repeat(length)[..]].concat();
    let refused: [(&str, &[u8], u16); 8] = [
        ("GET", b"\\items\\x", 400),
        ("GET", b"items/x", 400),
        ("GET", b"/items/\xff\xfe", 400),
        ("GET", b"/items/%00", 400),
        ("GET", b"/items/x#fragment", 400),
        ("GET", &long(60 << 10), 431),
        ("CONNECT", b"/items/x", 400),
        // Allowed by RFC 9110 §9.3.7; no route of Envoy matches it.
        ("OPTIONS", b"*", 404),
    ];
    for (method, target, expected) in refused {
        let (status, lines) = proxy.observe(next_origin(), &Request::new(method, target));
        let target = String::from_utf8_lossy(&target[..target.len().min(40)]);
        assert_eq!((status, lines), (expected, vec![]), "{method} {target}");
    }

    // What only looks broken is passed on, and counted.
    let origin = next_origin();
    let served =
        [&b"/items/%FF%FE"[..], b"/items/%", b"/items/%zz", b"/items/%25", &long(50 << 10)];
    for target in served {
        let (status, lines) = proxy.observe(origin, &Request::get(target));
        assert_eq!(status, 200, "{lines:?}");
        assert_eq!(lines, [format!("GET {} HTTP/1.1", str::from_utf8(target).unwrap())]);
    }
    let edge = [proxy.scene.edge().http()];
    let outcomes = burst(&edge, origin, &Request::get("/items/x"), LIMIT, 1).unwrap();
    let left = LIMIT - served.len();
    assert_eq!(statuses(&outcomes), [(200, left), (429, served.len())].into());

    assert_eq!(pids(), before);
    for replica in proxy.scene.replicas() {
        let log = replica.log();
        assert!(!log.contains("Proxy-Wasm plugin in-VM backtrace"), "{log}");
    }
}
