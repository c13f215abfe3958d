//! The rendered templates without a running stack: for `envoy --mode validate`, and to read.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::config_publisher::{FILTER_FILE, render_filter};
use super::envoy::{Listener, ReplicaSettings, render_edge, render_replica};
use super::error::Error;
use super::options::StackOptions;
use super::origin::{Origin, Upstream};

/// Ports nothing listens on: the files are read, not served from.
const SAMPLE_PORTS: std::ops::Range<u16> = 20_000..20_064;

/// Writes `edge.yaml`, `replica.yaml` and `filter.yaml` to `folder`, as `options` would have them, with sample ports.
///
/// # Errors
/// [`Error::Option`] and [`Error::Missing`] as for a start; [`Error::Template`] or [`Error::Io`].
pub fn render(options: &StackOptions, folder: &Path) -> Result<(), Error> {
    options.validate_topology()?;
    fs::create_dir_all(folder).map_err(Error::io("making the folder", folder))?;
    let mut ports = SAMPLE_PORTS;
    let mut address = || SocketAddr::from(([127, 0, 0, 1], ports.next().unwrap_or_default()));
    let origin = match &options.upstream {
        Upstream::StandIn => Origin::plain(address()),
        Upstream::Url(origin) => origin.clone(),
    };
    let settings = ReplicaSettings {
        origin: &origin,
        redis: if options.redis { vec![address().into(), address().into()] } else { Vec::new() },
        redis_password: None,
        wasm: &options.wasm,
        filter: &folder.join(FILTER_FILE),
    };
    let access_log = Path::new("/dev/null");
    let callout_socket = &folder.join("replica-1.sock");
    let mut listener = |name| {
        let (http, admin, purge) = (address(), address(), address());
        Listener { name, http, admin, purge, access_log, callout_socket }
    };
    let replica = render_replica(options, &listener("replica-1"), &settings)?;
    let edge_listener = listener("edge");
    let replicas: Vec<_> = (0..options.replicas).map(|_| address().into()).collect();
    let edge = render_edge(options, &edge_listener, &replicas)?;
    let config =
        fs::read_to_string(&options.config).map_err(Error::io("reading", &options.config))?;
    let filter = render_filter(&options.template(FILTER_FILE), &config, &options.wasm)?;
    for (name, text) in [("edge.yaml", edge), ("replica.yaml", replica), (FILTER_FILE, filter)] {
        let path = folder.join(name);
        fs::write(&path, text).map_err(Error::io("writing", &path))?;
    }
    Ok(())
}
