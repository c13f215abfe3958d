//! The Envoys: replicas with the filter, and the edge before them.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::Context;
use super::admin;
use super::error::Error;
use super::host_port::HostPort;
use super::options::StackOptions;
use super::origin::Origin;
use super::ports::{free_address, retry_port_clash};
use super::process::{Process, Spec};
use super::state::write_atomically;
use super::template::{self, Sections};

/// How long an Envoy may take to serve: it compiles the filter first, and many do so at once.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What replicas read the Redis password from; the filter's configuration names it.
pub(crate) const PASSWORD_VARIABLE: &str = "MELIPROXY_REDIS_PASSWORD";

/// One Envoy: a replica or the edge.
#[derive(Debug)]
pub struct Envoy {
    process: Arc<Process>,
    http: SocketAddr,
    admin: SocketAddr,
    purge: SocketAddr,
    access_log: PathBuf,
}

/// What the replicas have in common.
pub(crate) struct ReplicaSettings<'a> {
    pub(crate) origin: &'a Origin,
    pub(crate) redis: Vec<HostPort>,
    pub(crate) redis_password: Option<&'a str>,
    pub(crate) wasm: &'a Path,
    pub(crate) filter: &'a Path,
}

/// What every template of an Envoy is told.
pub(crate) struct Listener<'a> {
    pub(crate) name: &'a str,
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// Where a replica is told what to invalidate.
    pub(crate) purge: SocketAddr,
    pub(crate) access_log: &'a Path,
    /// The Unix domain socket of a replica's calls to Redis.
    pub(crate) callout_socket: &'a Path,
}

impl Envoy {
    /// Where it serves.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where its admin page is.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Where a replica is told what to invalidate.
    #[must_use]
    pub fn purge(&self) -> SocketAddr {
        self.purge
    }

    /// What stands in its access log; Envoy writes it within 10 s.
    #[must_use]
    pub fn access_log(&self) -> String {
        fs::read_to_string(&self.access_log).unwrap_or_default()
    }

    /// GETs `path` (with its leading slash and query) from the admin page.
    ///
    /// # Errors
    /// [`Error::Request`] if it does not answer 200 within 2 s.
    pub fn admin_get(&self, path: &str) -> Result<String, Error> {
        admin::get(self.admin, path).map_err(|cause| Error::Request {
            what: format!("GET {path} from {}", self.name()),
            cause,
        })
    }

    /// The sum of the series of `name` whose labels include all of `labels`; 0 if there is none.
    ///
    /// # Errors
    /// As [`Self::admin_get`].
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64, Error> {
        Ok(admin::sum(&self.admin_get("/stats/prometheus")?, name, labels))
    }
}

impl Deref for Envoy {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

/// Starts all replicas at once: each spends its time compiling the filter.
pub(crate) fn start_replicas(
    context: &Context,
    settings: &ReplicaSettings<'_>,
) -> Result<Vec<Envoy>, Error> {
    let password = settings.redis_password;
    let mut env: Vec<_> =
        password.map(|it| (PASSWORD_VARIABLE.into(), it.into())).into_iter().collect();
    env.extend(context.options.env.iter().cloned());
    let start = |number: u32| {
        let name = format!("replica-{number}");
        retry_port_clash(|| {
            start_envoy(context, &name, free_address()?, &env, |listener| {
                render_replica(&context.options, listener, settings)
            })
        })
    };
    let start = &start;
    thread::scope(|scope| {
        let numbers = 1..=context.options.replicas;
        let started: Vec<_> = numbers.map(|number| scope.spawn(move || start(number))).collect();
        started
            .into_iter()
            .map(|replica| replica.join().unwrap_or(Err(Error::Interrupted)))
            .collect()
    })
}

pub(crate) fn start_edge(context: &Context, replicas: &[Envoy]) -> Result<Envoy, Error> {
    let replicas: Vec<_> = replicas.iter().map(|replica| replica.http().into()).collect();
    retry_port_clash(|| {
        let http = match context.options.edge_port {
            0 => free_address()?,
            port => SocketAddr::from(([127, 0, 0, 1], port)),
        };
        start_envoy(context, "edge", http, &[], |listener| {
            render_edge(&context.options, listener, &replicas)
        })
    })
}

/// How many of `addresses` the Envoy takes for healthy, by its page `/clusters`.
pub(crate) fn healthy(clusters: &str, addresses: &[SocketAddr]) -> usize {
    let is_healthy = |address: &&SocketAddr| {
        clusters.lines().any(|line| line.ends_with(&format!("::{address}::health_flags::healthy")))
    };
    addresses.iter().filter(is_healthy).count()
}

pub(crate) fn render_replica(
    options: &StackOptions,
    listener: &Listener<'_>,
    settings: &ReplicaSettings<'_>,
) -> Result<String, Error> {
    let origin = settings.origin;
    let mut values = listener_values(listener);
    values.extend([
        ("PURGE_ADDRESS", listener.purge.ip().to_string()),
        ("PURGE_PORT", listener.purge.port().to_string()),
        ("CALLOUT_SOCKET", template::quoted(listener.callout_socket)),
        ("FILTER_FILE", template::quoted(settings.filter)),
        ("WASM_FILE", template::quoted(settings.wasm)),
        ("UPSTREAM_ADDRESS", origin.host().to_owned()),
        ("UPSTREAM_PORT", origin.port().to_string()),
        ("UPSTREAM_HOST", origin.authority().to_owned()),
        ("UPSTREAM_TRANSPORT_SOCKET", origin.transport_socket().to_string()),
        ("REDIS_ENDPOINTS", lb_endpoints(&settings.redis).to_string()),
    ]);
    render("replica.yaml", options, &values)
}

pub(crate) fn render_edge(
    options: &StackOptions,
    listener: &Listener<'_>,
    replicas: &[HostPort],
) -> Result<String, Error> {
    let mut values = listener_values(listener);
    values.push(("REPLICA_ENDPOINTS", lb_endpoints(replicas).to_string()));
    render("edge.yaml", options, &values)
}

fn render(name: &str, options: &StackOptions, values: &[(&str, String)]) -> Result<String, Error> {
    let path = options.template(name);
    let text = fs::read_to_string(&path).map_err(Error::io("reading", &path))?;
    let sections = Sections { meliproxy: !options.plain, envoy_cache: options.envoy_cache };
    template::render(name, &text, sections, values)
}

fn listener_values(listener: &Listener<'_>) -> Vec<(&'static str, String)> {
    vec![
        ("NODE_ID", listener.name.to_owned()),
        ("LISTEN_ADDRESS", listener.http.ip().to_string()),
        ("LISTEN_PORT", listener.http.port().to_string()),
        ("ADMIN_ADDRESS", listener.admin.ip().to_string()),
        ("ADMIN_PORT", listener.admin.port().to_string()),
        ("ACCESS_LOG", template::quoted(listener.access_log)),
    ]
}

/// Envoy's `lb_endpoints`, as JSON in one line.
fn lb_endpoints(places: &[HostPort]) -> Value {
    let endpoint = |place: &HostPort| {
        json!({"endpoint": {"address": {"socket_address": {
            "address": place.host(), "port_value": place.port(),
        }}}})
    };
    places.iter().map(endpoint).collect()
}

/// How an Envoy with the bootstrap in `file` is called; `name` is the same as in the bootstrap.
pub(crate) fn arguments(file: &Path, name: &str, workers: u32) -> Vec<OsString> {
    let workers = workers.to_string();
    let words = [
        "--concurrency",
        &workers,
        "--service-node",
        name,
        // Hot restart shares memory by a number that is the same for all Envoys of a machine; nothing here uses it.
        "--disable-hot-restart",
        "--drain-time-s",
        "2",
        "--drain-strategy",
        "immediate",
        "-l",
        "warning",
        "--component-log-level",
        "wasm:info",
    ];
    let mut arguments = vec!["-c".into(), file.into()];
    arguments.extend(words.map(Into::into));
    arguments
}

fn start_envoy(
    context: &Context,
    name: &str,
    http: SocketAddr,
    env: &[(String, String)],
    render: impl Fn(&Listener<'_>) -> Result<String, Error>,
) -> Result<Envoy, Error> {
    let (admin, purge) = (free_address()?, free_address()?);
    let access_log = context.state().log(&format!("{name}.access"));
    let callout_socket = context.state().socket(name);
    let (access, socket) = (&access_log, &callout_socket);
    let listener =
        Listener { name, http, admin, purge, access_log: access, callout_socket: socket };
    let bootstrap = render(&listener)?;
    let file = context.state().path(&format!("{name}.yaml"));
    write_atomically(&file, bootstrap.as_bytes(), 0o644)?;
    let options = &context.options;
    let spec = Spec {
        name: name.to_owned(),
        program: options.tool("envoy"),
        args: arguments(&file, name, options.workers),
        env: env.to_vec(),
        log: context.state().log(name),
        prepare: Box::new(|| Ok(())),
        ready: Box::new(move || admin::get(admin, "/ready").map(drop)),
        limit: START_LIMIT,
        cancel: options.cancel.clone(),
    };
    let process = context.launch(&format!("{name} on {http} (admin {admin})"), spec)?;
    Ok(Envoy { process, http, admin, purge, access_log })
}
