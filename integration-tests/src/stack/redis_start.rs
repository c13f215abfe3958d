//! Starting Redis: the primary, its replica, and the Sentinels that watch them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::Context;
use super::error::Error;
use super::host_port::HostPort;
use super::ports::{free_address, retry_port_clash};
use super::process::Spec;
use super::redis::{Redis, RedisNode, SENTINELS, elected_primary};
use super::redis_config::{self, Identity};
use super::redis_connection::{Reply, ask};
use super::state::write_atomically;

/// Holds the password alone, without a line end; readable by its owner alone.
pub(crate) const PASSWORD_FILE: &str = "redis.password";

/// How long a node may take to serve.
const START_LIMIT: Duration = Duration::from_secs(10);

/// Known once the Sentinels run; the nodes before them start without.
type Watchers = Arc<OnceLock<Vec<SocketAddr>>>;

/// What all nodes are started with.
struct Starter<'a> {
    context: &'a Context,
    password: Arc<str>,
    watchers: Watchers,
}

pub(crate) fn start(context: &Context) -> Result<Redis, Error> {
    let password: Arc<str> = random_hex(16)?.into();
    let file = context.state().path(PASSWORD_FILE);
    write_atomically(&file, password.as_bytes(), 0o600)?;
    let starter =
        Starter { context, password: Arc::clone(&password), watchers: Watchers::default() };
    let primary = retry_port_clash(|| starter.node(1, None))?;
    let replica = retry_port_clash(|| starter.node(2, Some(primary.address)))?;
    let sentinels = retry_port_clash(|| starter.sentinels(primary.address, replica.address))?;
    // Set here and nowhere else.
    let _ = starter.watchers.set(sentinels.iter().map(RedisNode::address).collect());
    Ok(Redis { nodes: vec![primary, replica], sentinels, password })
}

impl Starter<'_> {
    fn node(&self, number: usize, primary: Option<SocketAddr>) -> Result<RedisNode, Error> {
        let address = free_address()?;
        let name = format!("redis-{number}");
        let role = if primary.is_some() { "replica" } else { "primary" };
        let what = format!("{name} ({role}) on {address}");
        let primary = primary.map(HostPort::from);
        let text = redis_config::with_role(&redis_config::node(&self.password), primary.as_ref());
        let config = self.write_config(&name, "redis.conf", address, &text)?;
        let (watchers, password) = (Arc::clone(&self.watchers), Arc::clone(&self.password));
        let file = config.clone();
        let spec = Spec {
            prepare: Box::new(move || {
                let watchers = watchers.get().map_or(&[][..], Vec::as_slice);
                take_elected_role(watchers, &password, &file, &address.into())
            }),
            ..self.spec(name, address, vec![config.clone().into()])
        };
        self.launch(&what, spec, address, config)
    }

    fn sentinels(&self, primary: SocketAddr, replica: SocketAddr) -> Result<Vec<RedisNode>, Error> {
        let identify = |_| Ok(Identity { address: free_address()?, id: random_hex(20)? });
        let identities = (0..SENTINELS).map(identify).collect::<Result<Vec<_>, Error>>()?;
        let mut sentinels: Vec<RedisNode> = Vec::new();
        for (index, own) in identities.iter().enumerate() {
            let others = identities.iter().filter(|other| other.id != own.id);
            let text = redis_config::sentinel(&self.password, &primary.into())
                + &redis_config::acquaintances(own, others, replica);
            match self.sentinel(index + 1, own.address, &text) {
                Ok(sentinel) => sentinels.push(sentinel),
                Err(error) => {
                    // They have been told of an address that is not to be had.
                    sentinels.iter().for_each(|sentinel| sentinel.kill());
                    return Err(error);
                }
            }
        }
        Ok(sentinels)
    }

    fn sentinel(&self, number: usize, address: SocketAddr, text: &str) -> Result<RedisNode, Error> {
        let name = format!("sentinel-{number}");
        let what = format!("{name} on {address}");
        let config = self.write_config(&name, "sentinel.conf", address, text)?;
        let spec = self.spec(name, address, vec![config.clone().into(), "--sentinel".into()]);
        self.launch(&what, spec, address, config)
    }

    /// Into a folder of its own that is empty otherwise: nothing an earlier stack left may come back.
    fn write_config(
        &self,
        name: &str,
        file: &str,
        address: SocketAddr,
        text: &str,
    ) -> Result<PathBuf, Error> {
        let folder = self.context.state().path(name);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("removing", &folder)(error));
            }
            _ => fs::create_dir_all(&folder).map_err(Error::io("making the folder", &folder))?,
        }
        let config = folder.join(file);
        let text = redis_config::server(address, &folder, &self.password) + text;
        write_atomically(&config, text.as_bytes(), 0o600)?;
        Ok(config)
    }

    fn spec(&self, name: String, address: SocketAddr, args: Vec<OsString>) -> Spec {
        let options = &self.context.options;
        let password = Arc::clone(&self.password);
        Spec {
            program: options.tool("redis-server"),
            args,
            env: Vec::new(),
            log: self.context.state().log(&name),
            prepare: Box::new(|| Ok(())),
            ready: Box::new(move || serves(address, &password)),
            limit: START_LIMIT,
            cancel: options.cancel.clone(),
            name,
        }
    }

    fn launch(
        &self,
        what: &str,
        spec: Spec,
        address: SocketAddr,
        config: PathBuf,
    ) -> Result<RedisNode, Error> {
        let process = self.context.launch(what, spec)?;
        Ok(RedisNode { process, address, config, password: Arc::clone(&self.password) })
    }
}

/// A replica serves once it has the primary's data.
pub(crate) fn serves(address: SocketAddr, password: &str) -> Result<(), String> {
    match ask(address, password, &["INFO"]) {
        Ok(Reply::Text(text)) if text.contains("master_link_status:down") => {
            Err("has not copied the primary's data yet".into())
        }
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// A node that comes back after a failover still has "primary" in its file. It would say so for about 10 s, until the
/// Sentinels correct it, and there would be two primaries; so it asks them first.
pub(crate) fn take_elected_role(
    watchers: &[SocketAddr],
    password: &str,
    config: &Path,
    own: &HostPort,
) -> Result<(), Error> {
    let Some(primary) = elected_primary(watchers, password) else {
        return Ok(());
    };
    let text = fs::read_to_string(config).map_err(Error::io("reading", config))?;
    let text = redis_config::with_role(&text, (primary != *own).then_some(&primary));
    write_atomically(config, text.as_bytes(), 0o600)
}

fn random_hex(bytes: usize) -> Result<String, Error> {
    let path = Path::new("/dev/urandom");
    let mut random = vec![0; bytes];
    File::open(path)
        .and_then(|mut source| source.read_exact(&mut random))
        .map_err(Error::io("reading", path))?;
    Ok(random.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}")))
}
