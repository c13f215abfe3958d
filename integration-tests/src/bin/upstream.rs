//! `upstream`: the stand-in upstream as a program.

use std::error::Error;
use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use integration_tests::upstream::{Options, TlsFiles, Upstream};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// An HTTP/1.1 server that looks like the API behind the proxy, and can be told to misbehave.
///
/// Serves /categories/{id}, /items/{id}, /users/{id}, /sites/{id}/categories,
/// /sites/{id}/search?q=…, /echo/*, /status/{code}, /bytes/{count}, /stream/{count}?every=10ms
/// and /versions/{name}. Once it does, it prints one line of JSON that says where.
///
/// Control port: PUT, GET, DELETE /faults; GET, DELETE /counts; GET /requests.
/// For example, to make every second request to /items/ fail:
///
///   curl -X PUT 127.0.0.1:PORT/faults -d \
///     '[{"prefix": "/items/", "action": "status", "status": 503, "ratio": 0.5}]'
///
/// Actions: status (with status and body), delay, headers, reset, close, cut, hang.
/// Optional: methods, delay ("200ms"), headers ([["Name", "value"]]), remove (["Name"]),
/// times, ratio.
///
/// SIGTERM and SIGINT: answers what is in flight, for up to one second, and exits with 0.
#[derive(Parser)]
#[command(verbatim_doc_comment)]
struct Arguments {
    /// Where the API is played; port 0: any
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where it is controlled; port 0: any
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    control: SocketAddr,
    /// Serve --listen over TLS with this certificate chain (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Threads that serve
    #[arg(long, value_name = "N", default_value = "1")]
    threads: NonZeroUsize,
    /// Also write the line with the addresses to this file, by rename
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "upstream: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let options = Options {
        listen: arguments.listen,
        control: arguments.control,
        tls: arguments
            .tls_cert
            .zip(arguments.tls_key)
            .map(|(certificates, key)| TlsFiles { certificates, key }),
        threads: arguments.threads,
    };
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let upstream = Upstream::start(&options)?;
    let line = serde_json::json!({
        "listen": upstream.address().to_string(),
        "control": upstream.control_address().to_string(),
    });
    if let Some(file) = arguments.ready_file {
        write_atomically(&file, &format!("{line}\n"))
            .map_err(|error| format!("--ready-file {}: {error}", file.display()))?;
    }
    writeln!(io::stdout(), "{line}")?;
    signals.forever().next();
    Ok(())
}

/// Replaces `file` by rename: whoever sees it, sees all of it.
fn write_atomically(file: &Path, content: &str) -> io::Result<()> {
    let mut new = file.as_os_str().to_owned();
    new.push(format!(".{}", std::process::id()));
    fs::write(&new, content)?;
    fs::rename(&new, file)
}
