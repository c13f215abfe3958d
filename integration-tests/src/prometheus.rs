//! A Prometheus that watches a stack by the rules that ship: `compose/prometheus`, with the stack's addresses in place
//! of DNS, and with shorter intervals, so that a test need not wait for the minutes that people have.

#![allow(clippy::indexing_slicing, reason = "of JSON values, in which what is absent is null")]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::Agent;

use crate::stack::{
    Cancel, Envoy, Error, Process, Spec, Stack, StackOptions, free_address, repository,
};

/// How long it may take to serve, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(10);

/// What is replaced in every file, and by what: as often as the machine of a test bears.
const INTERVALS: [(&str, &str); 4] = [
    ("scrape_interval: 5s", "scrape_interval: 2s"),
    ("scrape_timeout: 4s", "scrape_timeout: 2s"),
    ("evaluation_interval: 5s", "evaluation_interval: 2s"),
    ("\n  interval: 1m\n", "\n  interval: 2s\n"),
];

/// A running Prometheus. Dropping it stops it and removes what it has stored.
#[derive(Debug)]
pub struct Prometheus {
    // Stopped before its folder goes.
    _process: Process,
    address: SocketAddr,
    agent: Agent,
    _folder: TempDir,
}

/// One series that a query returned.
#[derive(Debug)]
pub struct Series {
    /// Its labels.
    pub labels: Value,
    /// Its values in the order of time; those that are no number are left out.
    pub values: Vec<f64>,
}

impl Prometheus {
    /// Starts it, with the Envoys of the stack as its targets.
    ///
    /// # Errors
    /// [`Error::Missing`] without the program; [`Error::Part`] if it does not take the configuration.
    pub fn start(stack: &Stack) -> Result<Self, Error> {
        let folder = TempDir::with_prefix("meliproxy-prometheus-")
            .map_err(Error::io("making a folder in", &std::env::temp_dir()))?;
        let config = write_config(folder.path(), stack)?;
        let address = free_address()?;
        let agent: Agent =
            Agent::config_builder().timeout_global(Some(LIMIT)).proxy(None).build().into();
        let asking = agent.clone();
        let process = Process::new(Spec {
            name: "prometheus".to_owned(),
            program: StackOptions::new(folder.path()).tool("prometheus"),
            args: vec![
                format!("--config.file={}", config.display()).into(),
                format!("--storage.tsdb.path={}", folder.path().join("data").display()).into(),
                format!("--web.listen-address={address}").into(),
                "--log.level=warn".into(),
            ],
            env: Vec::new(),
            log: folder.path().join("prometheus.log"),
            prepare: Box::new(|| Ok(())),
            ready: Box::new(move || {
                let answer = asking.get(format!("http://{address}/-/ready")).call();
                answer.map(drop).map_err(|error| error.to_string())
            }),
            limit: START_LIMIT,
            cancel: Cancel::default(),
        });
        process.start()?;
        Ok(Self { _process: process, address, agent, _folder: folder })
    }

    /// What `query` returned at any time since `since`.
    ///
    /// # Errors
    /// [`Error::Request`] with what Prometheus says of it.
    pub fn range(&self, query: &str, since: SystemTime) -> Result<Vec<Series>, Error> {
        let parameters = [
            ("query", query.to_owned()),
            ("start", seconds(since)),
            ("end", seconds(SystemTime::now())),
            ("step", "2".to_owned()),
        ];
        let found = self.get("query_range", &parameters)?;
        let value = |sample: &Value| sample.get(1)?.as_str()?.parse::<f64>().ok();
        let series = |series: &Value| Series {
            labels: series["metric"].clone(),
            values: list(&series["values"])
                .filter_map(value)
                .filter(|value| value.is_finite())
                .collect(),
        };
        Ok(list(&found["result"]).map(series).collect())
    }

    /// The values of `label` among the series of `metric`.
    ///
    /// # Errors
    /// As [`Self::range`].
    pub fn label_values(&self, metric: &str, label: &str) -> Result<Vec<String>, Error> {
        let found =
            self.get(&format!("label/{label}/values"), &[("match[]", metric.to_owned())])?;
        Ok(list(&found).filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// All rules, as Prometheus tells of them.
    ///
    /// # Errors
    /// As [`Self::range`].
    pub fn rules(&self) -> Result<Vec<Value>, Error> {
        let found = self.get("rules", &[])?;
        Ok(list(&found["groups"]).flat_map(|group| list(&group["rules"])).cloned().collect())
    }

    fn get(&self, what: &str, parameters: &[(&str, String)]) -> Result<Value, Error> {
        let failed = |cause: String| Error::Request {
            what: format!("{what} {parameters:?} of Prometheus"),
            cause,
        };
        let url = format!("http://{}/api/v1/{what}", self.address);
        let parameters = parameters.iter().map(|(name, value)| (*name, value.as_str()));
        // A query that is wrong is a 400 that says why.
        let request =
            self.agent.get(url).query_pairs(parameters).config().http_status_as_error(false);
        let mut response = request.build().call().map_err(|error| failed(error.to_string()))?;
        let text =
            response.body_mut().read_to_string().map_err(|error| failed(error.to_string()))?;
        let mut answer: Value =
            serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
        if answer["status"] == "success" { Ok(answer["data"].take()) } else { Err(failed(text)) }
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn seconds(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:03}", since.as_secs(), since.subsec_millis())
}

/// The shipped files, as they are but for targets and intervals; returns the one to start with.
fn write_config(folder: &Path, stack: &Stack) -> Result<PathBuf, Error> {
    let shipped = repository().join("compose/prometheus");
    let rules = folder.join("rules");
    fs::create_dir(&rules).map_err(Error::io("making the folder", &rules))?;
    for name in ["rules/recording.yml", "rules/alerts.yml", "prometheus.yml"] {
        let path = shipped.join(name);
        let text = fs::read_to_string(&path).map_err(Error::io("reading", &path))?;
        let text = text
            .lines()
            .map(
                |line| if is_discovery(line) { with_targets(line, stack) } else { line.to_owned() },
            )
            .fold(String::new(), |text, line| text + &line + "\n");
        let text = INTERVALS.iter().fold(text, |text, (from, to)| text.replace(from, to));
        let path = folder.join(name);
        fs::write(&path, text).map_err(Error::io("writing", &path))?;
    }
    Ok(folder.join("prometheus.yml"))
}

fn is_discovery(line: &str) -> bool {
    line.trim_start().starts_with("dns_sd_configs:")
}

/// In place of each name that would be asked for, what DNS would have found, with the label that says the name.
fn with_targets(line: &str, stack: &Stack) -> String {
    let indent = line.len() - line.trim_start().len();
    let names = line.split_once("names: [").and_then(|(_, rest)| rest.split_once(']'));
    let names = names.map_or("", |(names, _)| names).split(',').map(str::trim);
    let group = |name: &str| {
        let envoys: &[Envoy] = match name {
            "proxy" => stack.replicas(),
            "edge" => std::slice::from_ref(stack.edge()),
            // A stack has one edge.
            _ => &[],
        };
        let targets: Vec<_> = envoys.iter().map(|envoy| envoy.admin().to_string()).collect();
        json!({"targets": targets, "labels": {"__meta_dns_name": name}})
    };
    let groups: Value = names.map(group).collect();
    format!("{:indent$}static_configs: {groups}", "")
}
