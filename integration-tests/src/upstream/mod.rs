//! The stand-in upstream: an HTTP/1.1 server that looks like the API behind the proxy, does what
//! tests need, and can be told to misbehave.
//!
//! - Of the API: `/categories/{id}`, `/items/{id}`, `/users/{id}`, `/sites/{id}/categories` and
//!   `/sites/{id}/search?q=…`. For tests: `/echo/*` tells what was received; `/status/{code}`,
//!   `/bytes/{count}` and `/stream/{count}?every=10ms` answer with what their path names;
//!   `/versions/{name}` tells a version, which every unsafe method makes one more.
//! - A [`Fault`] replaces or changes the answers under a prefix.
//! - [`control`] sets faults, and says what was received, on a port of its own.
//!
//! It is also the upstream of benchmarks, so a plain GET costs little beside what a proxy spends
//! on it.

mod answer;
mod body;
mod connection;
mod content;
pub mod control;
mod counts;
mod duration;
mod faults;

mod request;
mod server;
mod versions;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use self::control::Control;
use self::counts::Recorder;
pub use self::counts::{Counts, MAX_LINES, MAX_NAMES, OTHERS};
use self::faults::Faults;
pub use self::faults::{Action, Fault, Ratio};
use self::server::Server;
use self::versions::Versions;

/// Where and how to serve.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the API is played; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Where it is controlled.
    pub control: SocketAddr,
    /// Serve `listen` over TLS.
    pub tls: Option<TlsFiles>,
    /// Threads that serve.
    pub threads: NonZeroUsize,
}

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate, followed by those that lead to its root.
    pub certificates: PathBuf,
    /// The private key: PKCS #8, PKCS #1 or SEC1.
    pub key: PathBuf,
}

/// Why it does not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The certificate or the key cannot be used.
    #[error("{}: {problem}", file.display())]
    Tls {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Threads cannot be started.
    #[error("cannot start threads: {0}")]
    Threads(io::Error),
}

/// A running stand-in upstream. Dropped, it takes no more connections, and ends when what is in
/// flight is answered, but after one second at the latest.
#[derive(Debug)]
pub struct Upstream {
    server: Server,
}

impl Upstream {
    /// Serves from the moment this returns, on threads of its own.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(options: &Options) -> Result<Self, StartError> {
        Ok(Self { server: Server::start(options, Arc::default())? })
    }

    /// Where it plays the API.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Its control port.
    #[must_use]
    pub fn control_address(&self) -> SocketAddr {
        self.server.control
    }

    /// A client of its control port.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::new(self.control_address())
    }
}

/// What connections and control port share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    recorder: Recorder,
    versions: Versions,
    faults: RwLock<Arc<Faults>>,
}

impl Shared {
    fn faults(&self) -> Arc<Faults> {
        self.faults.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_faults(&self, faults: Faults) {
        *self.faults.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(faults);
    }
}
