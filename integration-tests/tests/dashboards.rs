//! Every panel shows something: the real system under traffic to which all happens that the panels tell of, and a real
//! Prometheus that is asked what Grafana would ask it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected ends here; what a JSON value lacks is null"
)]

use std::collections::HashSet;
use std::fs;
use std::time::{Duration, Instant, SystemTime};

use integration_tests::client::{Client, Load, Request};
use integration_tests::fleet::Fleet;
use integration_tests::prometheus::Prometheus;
use integration_tests::stack::{ConfigState, Envoy, repository, wait_until};
use integration_tests::upstream::control::Control;
use integration_tests::upstream::{Action, Fault};
use serde_json::Value;

/// How long anything may take that has no limit of its own.
const SOON: Duration = Duration::from_secs(30);

/// What Grafana makes of it with the interval that is provisioned, 5 s.
const RATE_INTERVAL: &str = "20s";

const ECDS: &str = "envoy_extension_config_discovery_http_filter_meliproxy";

/// A rule that refuses, one that would; a breaker that opens soon and not for long; a cache for everything.
fn config(limit: u32) -> String {
    format!(
        r#"{{
  "version": 1,
  "redis": {{"namespace": "dashboards", "timeout": "200ms"}},
  "routes": [
    {{"name": "items", "path": "/items/{{*rest}}"}},
    {{"name": "categories", "path": "/categories/{{*rest}}"}},
    {{"name": "users", "path": "/users/{{*rest}}"}}
  ],
  "quotas": [
    {{"name": "per-origin", "by": ["client_address"], "limit": 1000000, "per": "1h"}},
    {{"name": "origin-items", "routes": ["items"], "by": ["client_address"], "limit": {limit}, "per": "365d"}},
    {{"name": "trial", "routes": ["categories"], "limit": 10, "per": "365d", "shadow": true}}
  ],
  "breakers": [
    {{"name": "users", "routes": ["users"], "trip": {{"consecutive_failures": 3}}, "open_for": "2s", "max_open_for": "2s"}}
  ],
  "cache": [{{"name": "everything"}}]
}}"#
    )
}

/// Requests a second, and connections: so many that several of them do the same at a time.
const PER_SECOND: u32 = 80;
const CONNECTIONS: u32 = 40;

/// What clients do, in turn.
fn request(number: u32) -> Request {
    match number % 8 {
        0 => Request::get(format!("/items/MLA{}", number % 5)),
        1 => Request::get("/categories/MLA1"),
        2 => Request::get(format!("/categories/MLA{number}")),
        3 => Request::get(format!("/users/{number}")),
        4 if number % 16 == 4 => Request::new("OPTIONS", "/echo/1"),
        4 => Request::get(format!("/echo/{number}")),
        5 => Request::new("POST", "/echo/1").body("{}"),
        // Some of the same at a time, see `faults`.
        6 => Request::get(format!("/categories/slow{}", number / 64)),
        _ => Request::get("/categories/stale"),
    }
}

/// What the upstream does all the time, and `more`.
fn faults(more: Option<Fault>) -> Vec<Fault> {
    let slow = Fault::delay("/categories/slow", Duration::from_millis(300));
    let stale = Fault::new("/categories/stale", Action::Headers)
        .header("Cache-Control", "public, max-age=1, stale-while-revalidate=60");
    [slow, stale].into_iter().chain(more).collect()
}

/// A query, and where it stands.
struct Query {
    place: String,
    text: String,
}

fn dashboards() -> Vec<(String, Value)> {
    let folder = repository().join("compose/grafana/dashboards");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: std::path::PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, serde_json::from_str(&text).unwrap())
    };
    files.filter(|path| path.extension().is_some_and(|it| it == "json")).map(read).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The queries of all panels and of the annotations, as Grafana sends them while everything is chosen.
fn queries(name: &str, dashboard: &Value) -> Vec<Query> {
    let variables: Vec<_> = list(&dashboard["templating"]["list"]).iter().collect();
    let fill = |query: &str| {
        let query = query.replace("$__rate_interval", RATE_INTERVAL);
        let fill = |query: String, variable: &&Value| {
            query.replace(&format!("${}", text(&variable["name"])), text(&variable["allValue"]))
        };
        let query = variables.iter().fold(query, fill);
        assert!(!query.contains('$'), "{name}: nothing fills {query}");
        query
    };
    let of_panel = |panel: &Value| -> Vec<Query> {
        let place = format!("{name}, {}", text(&panel["title"]));
        let targets = list(&panel["targets"]).iter();
        targets
            .map(|target| Query { place: place.clone(), text: fill(text(&target["expr"])) })
            .collect()
    };
    let annotations = list(&dashboard["annotations"]["list"]).iter();
    let annotations = annotations.map(|annotation| Query {
        place: format!("{name}, annotation {}", text(&annotation["name"])),
        text: fill(text(&annotation["expr"])),
    });
    list(&dashboard["panels"]).iter().flat_map(of_panel).chain(annotations).collect()
}

#[test]
fn dashboards_are_whole() {
    let all = dashboards();
    assert!(all.len() >= 2);
    for (name, dashboard) in all {
        assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 39, "{name}");
        assert!(text(&dashboard["uid"]).starts_with("meliproxy-"), "{name}");
        let (mut ids, mut taken) = (HashSet::new(), HashSet::new());
        for panel in list(&dashboard["panels"]) {
            let place = format!("{name}, {}", text(&panel["title"]));
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{place}: its id is another one's");
            let at = |side: &str| panel["gridPos"][side].as_u64().unwrap();
            assert!(at("x") + at("w") <= 24, "{place}: too wide");
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    assert!(taken.insert((x, y)), "{place}: lies on another one");
                }
            }
            if panel["type"] == "row" {
                continue;
            }
            assert!(!text(&panel["description"]).is_empty(), "{place}: says not what it shows");
            assert!(!list(&panel["targets"]).is_empty(), "{place}: asks nothing");
            for source in list(&panel["targets"]).iter().chain([panel]) {
                assert_eq!(source["datasource"]["uid"], "${datasource}", "{place}");
            }
        }
    }
}

struct Rig {
    fleet: Fleet,
    upstream: Control,
}

impl Rig {
    /// Waits until a metric of each replica is as `expected`.
    fn wait_for(&self, what: &str, labels: &[(&str, &str)], expected: impl Fn(f64) -> bool) {
        wait_until(what, SOON, || {
            let value = |replica: &Envoy| replica.metric(what, labels).unwrap();
            let all: Vec<_> = self.fleet.replicas().iter().map(value).collect();
            let is_so = all.iter().all(|value| expected(*value));
            if is_so { Ok(()) } else { Err(format!("{labels:?}: {all:?}")) }
        })
        .unwrap();
    }

    fn purge(&self) -> u16 {
        let request = Request::new("PURGE", "/categories/MLA1").header("Host", "api.example");
        Client::new(self.fleet.replica(0).purge()).send(&request).unwrap().status
    }

    /// Has all happen that panels tell of, while requests flow.
    fn live(&self) {
        let labels = [("breaker", "users"), ("scope", "fleet")];
        let fails = Fault::status("/users", 500);
        self.upstream.set_faults(&faults(Some(fails))).unwrap();
        self.wait_for("meliproxy_breaker_state", &labels, |state| state > 0.0);
        self.wait_for("meliproxy_breaker_refused_total", &[], |count| count > 0.0);
        self.upstream.set_faults(&faults(None)).unwrap();
        self.wait_for("meliproxy_breaker_state", &labels, |state| state < 1.0);
        assert_eq!(self.purge(), 200);

        // A configuration that is refused: one that the launcher would not have published.
        let watched = self.fleet.endpoints().config.with_file_name("filter.yaml");
        let good = fs::read_to_string(&watched).unwrap();
        let bad = good.replace(r#"\"limit\": 1000000"#, r#"\"limit\": 0"#);
        assert_ne!(bad, good);
        let new = watched.with_extension("new");
        fs::write(&new, bad).unwrap();
        fs::rename(&new, &watched).unwrap();
        self.wait_for(&format!("{ECDS}_update_rejected"), &[], |count| count > 0.0);
        let status = self.fleet.write_config(&config(31)).unwrap();
        assert_eq!(status.state, ConfigState::Published, "{status:?}");
        let version = [("text_value", status.version.as_str())];
        wait_until("the version to be told", SOON, || {
            let told = |replica: &Envoy| {
                let page = replica.admin_get("/stats/prometheus?text_readouts").unwrap();
                page.contains(&format!("{ECDS}_version_text{{text_value=\"{}\"}}", version[0].1))
            };
            if self.fleet.replicas().iter().all(told) { Ok(()) } else { Err(String::new()) }
        })
        .unwrap();

        self.fleet.redis().nodes().iter().for_each(|node| node.kill());
        self.wait_for("meliproxy_degraded", &[], |workers| workers > 0.0);
        assert_eq!(self.purge(), 503);
        let lost = [("reason", "no-store")];
        self.wait_for("meliproxy_cache_misses_total", &lost, |count| count > 0.0);
        self.fleet.redis().node(0).start().unwrap();
        self.wait_for("meliproxy_redis_connections", &[], |workers| workers > 0.0);

        // The edge sends requests again that a dead replica did not take.
        self.fleet.replica(1).kill();
        let retries = || {
            let labels = [("envoy_cluster_name", "replicas")];
            let count = self.fleet.edge().metric("envoy_cluster_upstream_rq_retry", &labels);
            if count.unwrap() > 0.0 { Ok(()) } else { Err(String::new()) }
        };
        wait_until("the edge to send a request again", SOON, retries).unwrap();
    }
}

/// What of `queries` has not been answered with any number but 0 since `since`.
fn without_data(prometheus: &Prometheus, queries: Vec<Query>, since: SystemTime) -> Vec<Query> {
    let has_data = |query: &Query| {
        let found = prometheus.range(&query.text, since).unwrap();
        found.iter().any(|series| series.values.iter().any(|value| *value != 0.0))
    };
    queries.into_iter().filter(|query| !has_data(query)).collect()
}

#[test]
fn every_panel_and_every_rule_has_data() {
    let (start, since) = (Instant::now(), SystemTime::now());
    let fleet = Fleet::start(&config(30), |options| options.replicas(2));
    let upstream = Control::new(fleet.stand_in().unwrap().control());
    upstream.set_faults(&faults(None)).unwrap();
    let prometheus = Prometheus::start(&fleet).unwrap();
    let load = Load::start(&[fleet.edge().http()], PER_SECOND, CONNECTIONS, request).unwrap();
    let rig = Rig { fleet, upstream };
    eprintln!("serves after {:?}", start.elapsed());
    // Some of each before anything happens: a first value is no increase.
    wait_until("the first series", SOON, || {
        let found = prometheus.range("path:requests:rate1m > 0", since).unwrap();
        if found.len() >= 3 { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .unwrap();
    rig.live();
    eprintln!("all has happened after {:?}", start.elapsed());

    let rules = prometheus.rules().unwrap();
    let recorded = rules.iter().filter(|rule| rule["type"] == "recording");
    let recorded = recorded.map(|rule| Query {
        place: "recording.yml".to_owned(),
        text: text(&rule["name"]).to_owned(),
    });
    let all = dashboards();
    let shown = all.iter().flat_map(|(name, dashboard)| queries(name, dashboard));
    let mut lacking: Vec<_> = recorded.chain(shown).collect();
    let count = lacking.len();
    assert!(count > 80, "{count} queries");
    wait_until("all queries to have data", SOON, || {
        lacking = without_data(&prometheus, std::mem::take(&mut lacking), since);
        let said = lacking.iter().map(|query| format!("\n{}: {}", query.place, query.text));
        if lacking.is_empty() { Ok(()) } else { Err(said.collect()) }
    })
    .unwrap();

    // What can be chosen in the dashboards.
    for variable in all.iter().flat_map(|(_, dashboard)| list(&dashboard["templating"]["list"])) {
        if let Some(arguments) = text(&variable["definition"]).strip_prefix("label_values(") {
            let (metric, label) = arguments.trim_end_matches(')').split_once(", ").unwrap();
            let values = prometheus.label_values(metric, label).unwrap();
            assert!(!values.is_empty(), "{arguments}");
        }
    }

    // Rules that cannot be evaluated, or whose texts cannot be filled in, would be noticed by nobody.
    for rule in prometheus.rules().unwrap() {
        assert_eq!(rule["health"], "ok", "{rule}");
        assert!(!rule["alerts"].to_string().contains("error expanding"), "{rule}");
    }
    drop(load.stop());
    eprintln!("{count} queries have data after {:?}", start.elapsed());
}
