//! The ports, and the connections they accept.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::body::Received;
use super::connection::{Reply, Service, serve};
use super::control::Api;
use super::request::Request;
use super::{Options, Shared, StartError, TlsFiles, content};

/// How long what is in flight may take when the server stops.
const GRACE: Duration = Duration::from_secs(1);

/// Pause after the system refused a connection: it is out of descriptors, and some may be given
/// back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Both ports, served.
#[derive(Debug)]
pub(super) struct Server {
    runtime: Runtime,
    pub(super) address: SocketAddr,
    pub(super) control: SocketAddr,
    stopping: watch::Sender<bool>,
}

impl Server {
    pub(super) fn start(options: &Options, shared: Arc<Shared>) -> Result<Self, StartError> {
        let tls = options.tls.as_ref().map(acceptor).transpose()?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(options.threads.get())
            .enable_all()
            .build()
            .map_err(StartError::Threads)?;
        let (listener, address) = listen(&runtime, options.listen)?;
        let (control_listener, control) = listen(&runtime, options.control)?;
        let (stopping, stop) = watch::channel(false);
        let site = Arc::new(Site { shared: shared.clone() });
        runtime.spawn(accept(listener, tls, site, stop.clone()));
        runtime.spawn(accept(control_listener, None, Arc::new(Api { shared }), stop));
        Ok(Self { runtime, address, control, stopping })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.send_replace(true);
        // Every connection holds a receiver until it ends. Those that take longer end with the
        // runtime.
        let _ = self.runtime.block_on(async { timeout(GRACE, self.stopping.closed()).await });
    }
}

fn listen(runtime: &Runtime, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = runtime.block_on(TcpListener::bind(address)).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, StartError> {
    let TlsFiles { certificates, key } = files;
    let failed = |file: &std::path::Path, error: &dyn std::fmt::Display| StartError::Tls {
        file: file.to_owned(),
        problem: error.to_string(),
    };
    let chain = CertificateDer::pem_file_iter(certificates)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(certificates, &error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, &error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_no_client_auth())
        .and_then(|builder| builder.with_single_cert(chain, private))
        .map_err(|error| failed(certificates, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    service: Arc<impl Service>,
    stop: watch::Receiver<bool>,
) {
    let mut stopped = std::pin::pin!(stopped(stop.clone()));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stopped => return,
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(connect(stream, tls.clone(), service.clone(), stop.clone()));
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connect(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    service: Arc<impl Service>,
    stop: watch::Receiver<bool>,
) {
    // Without it, the second part of an answer waits for an acknowledgement. A socket that is gone
    // already fails later.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return serve(stream, &*service, stopped(stop)).await;
    };
    let handshake = tokio::select! {
        handshake = tls.accept(stream) => handshake,
        () = stopped(stop.clone()) => return,
    };
    // A client that does not trust the certificate ends the handshake: its right.
    if let Ok(stream) = handshake {
        serve(stream, &*service, stopped(stop)).await;
    }
}

/// Ready once the server stops. It holds a receiver until then or until it is dropped.
async fn stopped(mut stop: watch::Receiver<bool>) {
    // A sender that is gone has stopped too.
    let _ = stop.wait_for(|stopping| *stopping).await;
}

/// What answers the API's port.
struct Site {
    shared: Arc<Shared>,
}

impl Service for Site {
    fn reply(&self, request: &Request<'_>, body: &Received) -> Reply {
        self.shared.recorder.record(request);
        let faults = self.shared.faults();
        let versioned = || self.shared.versions.answer(request);
        let normal = || versioned().unwrap_or_else(|| content::answer(request, body));
        faults.fire(request).map_or_else(|| normal().into(), |fault| fault.apply(normal))
    }
}
