//! Envoy's admin page: asking it, and reading the metrics it prints.

use std::net::SocketAddr;
use std::time::Duration;

use ureq::Agent;

/// How long it may take to answer.
const LIMIT: Duration = Duration::from_secs(2);

/// GETs `path`; `Err` says what came instead of a 200.
pub(crate) fn get(admin: SocketAddr, path: &str) -> Result<String, String> {
    let mut response =
        agent().get(format!("http://{admin}{path}")).call().map_err(|error| error.to_string())?;
    response.body_mut().read_to_string().map_err(|error| error.to_string())
}

/// POSTs to `path`; `Err` says what came instead of a 200.
pub(crate) fn post(admin: SocketAddr, path: &str) -> Result<(), String> {
    let answer = agent().post(format!("http://{admin}{path}")).send_empty();
    answer.map(drop).map_err(|error| error.to_string())
}

fn agent() -> Agent {
    Agent::config_builder().timeout_global(Some(LIMIT)).proxy(None).build().into()
}

/// The sum of the series of `name` whose labels include all of `labels`, in Prometheus' text format.
pub(crate) fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let wanted = |series: &&str| labels.iter().all(|label| has_label(series, label));
    text.lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with(['{', ' ']))
        .filter_map(|rest| rest.rsplit_once(' '))
        .filter(|(series, _)| wanted(series))
        .filter_map(|(_, value)| value.parse::<f64>().ok())
        .sum()
}

fn has_label(series: &str, (name, value): &(&str, &str)) -> bool {
    let label = format!("{name}=\"{value}\"");
    ['{', ','].iter().any(|before| series.contains(&format!("{before}{label}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# TYPE meliproxy_decisions_total counter
meliproxy_decisions_total{rule="items",outcome="allowed"} 10
meliproxy_decisions_total{rule="items",outcome="denied"} 50
meliproxy_decisions_total{rule="per-origin",outcome="denied"} 3
meliproxy_decisions_total_more{rule="items"} 1000
meliproxy_redis_connections{} 2
meliproxy_plain 7
"#;

    #[test]
    fn series_are_summed_by_their_labels() {
        let total = |labels: &[_]| sum(TEXT, "meliproxy_decisions_total", labels);
        assert_eq!(total(&[]), 63.0);
        assert_eq!(total(&[("rule", "items")]), 60.0);
        assert_eq!(total(&[("outcome", "denied"), ("rule", "items")]), 50.0);
        assert_eq!(total(&[("rule", "item")]), 0.0);
        assert_eq!(total(&[("ule", "items")]), 0.0);
    }

    #[test]
    fn series_without_labels() {
        assert_eq!(sum(TEXT, "meliproxy_redis_connections", &[]), 2.0);
        assert_eq!(sum(TEXT, "meliproxy_plain", &[]), 7.0);
        assert_eq!(sum(TEXT, "meliproxy_absent", &[]), 0.0);
    }
}
