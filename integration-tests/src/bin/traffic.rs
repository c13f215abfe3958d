//! `traffic`: requests at a steady rate, or all at once, and what became of them. For the demo in `compose/`.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use clap::Parser;
use integration_tests::client::{Load, Outcome, Request, burst, percentile};
use integration_tests::stack::HostPort;
use integration_tests::terminal::{tell, warn};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Between two summaries. Each round looks the name up anew and opens new connections.
const ROUND: Duration = Duration::from_secs(10);

/// What is asked for if nothing is chosen: a little of everything that the rules of the demo speak of.
const MIX: [&str; 10] = [
    "/categories/MLA97994",
    "/users/1",
    "/categories/MLA5725",
    "/sites/MLA/search?q=chair",
    "/items/MLA1",
    "/categories/MLA97994",
    "/users/2",
    "/categories/MLA1055",
    "/sites/MLA/categories",
    "/status/503",
];

/// Sends GET requests, and tells what came of them: how many of each status, and latencies.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where they go.
    #[arg(long, value_name = "HOST:PORT")]
    to: HostPort,
    /// What is asked for, in turn; several times for several. Default: a mix.
    #[arg(long, value_name = "PATH")]
    path: Vec<String>,
    /// Requests per second, 1 to 10000.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// For so long, in seconds; until it is stopped by default. SIGTERM ends it earlier, with the same summary.
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<u64>,
    /// So many requests at once instead.
    #[arg(long, value_name = "N", conflicts_with_all = ["rate", "seconds"])]
    burst: Option<usize>,
    /// Over so many connections, 1 to 1000.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    connections: u32,
    /// Fail if a request was answered otherwise; several times for several. Not for endless traffic.
    #[arg(long, value_name = "STATUS")]
    expect: Vec<u16>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            warn(format_args!("traffic: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether all was as expected.
fn run(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    let stop = on_signal()?;
    if let Some(count) = arguments.burst {
        let to = [address(&arguments.to)?];
        let connections = arguments.connections as usize;
        let outcomes =
            burst(&to, Ipv4Addr::UNSPECIFIED, &request(arguments, 0), count, connections)?;
        return Ok(told(arguments, &outcomes));
    }
    tell(format_args!("sending to {}", arguments.to));
    if let Some(seconds) = arguments.seconds {
        let outcomes = round(arguments, Duration::from_secs(seconds), &stop)?.0;
        return Ok(told(arguments, &outcomes));
    }
    loop {
        match round(arguments, ROUND, &stop) {
            Ok((outcomes, goes_on)) => {
                told(arguments, &outcomes);
                if !goes_on {
                    return Ok(true);
                }
            }
            Err(error) => {
                warn(format_args!("traffic: {error}"));
                if stop.recv_timeout(Duration::from_secs(1)) != Err(RecvTimeoutError::Timeout) {
                    return Ok(true);
                }
            }
        }
    }
}

/// What came of the traffic of `time`, and whether nobody asked to stop.
fn round(
    arguments: &Arguments,
    time: Duration,
    stop: &mpsc::Receiver<()>,
) -> Result<(Vec<Outcome>, bool), Box<dyn Error>> {
    let to = [address(&arguments.to)?];
    let requests: Vec<_> = (0..arguments.period()).map(|n| request(arguments, n)).collect();
    let pick = move |number: u32| {
        let request = requests.get(number as usize % requests.len());
        request.cloned().unwrap_or_else(|| Request::get("/"))
    };
    let load = Load::start(&to, arguments.rate, arguments.connections, pick)?;
    let goes_on = stop.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
    Ok((load.stop()?, goes_on))
}

impl Arguments {
    /// After how many requests the paths begin again.
    fn period(&self) -> usize {
        if self.path.is_empty() { MIX.len() } else { self.path.len() }
    }
}

fn request(arguments: &Arguments, number: usize) -> Request {
    let given = arguments.path.get(number).map(String::as_str);
    let path = given.or_else(|| MIX.get(number).copied()).unwrap_or("/");
    Request::get(path).header("Host", arguments.to.to_string())
}

/// Tells what came of requests; whether it is what was expected.
fn told(arguments: &Arguments, outcomes: &[Outcome]) -> bool {
    let mut statuses = BTreeMap::new();
    for outcome in outcomes {
        *statuses.entry(outcome.status()).or_insert(0_u32) += 1;
    }
    let name = |status: &u16| match status {
        0 => "failed".to_owned(),
        status => status.to_string(),
    };
    let counts: Vec<_> =
        statuses.iter().map(|(status, n)| format!("{} x{n}", name(status))).collect();
    let (p50, p99) = (percentile(outcomes, 0.5), percentile(outcomes, 0.99));
    tell(format_args!("{}; p50 {p50:.1?}, p99 {p99:.1?}", counts.join(", ")));
    let is_expected = |outcome: &&Outcome| {
        arguments.expect.is_empty() || arguments.expect.contains(&outcome.status())
    };
    match outcomes.iter().find(|outcome| !is_expected(outcome)) {
        None => !outcomes.is_empty(),
        Some(unexpected) => {
            warn(format_args!("traffic: not expected: {unexpected:?}"));
            false
        }
    }
}

/// The first address that the name has now.
fn address(of: &HostPort) -> Result<SocketAddr, String> {
    let addresses = (of.host(), of.port()).to_socket_addrs();
    let mut addresses = addresses.map_err(|error| format!("looking up {of}: {error}"))?;
    addresses.find(SocketAddr::is_ipv4).ok_or_else(|| format!("{of} has no IPv4 address"))
}

/// A message for the first signal that asks to stop.
fn on_signal() -> Result<mpsc::Receiver<()>, Box<dyn Error>> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for _ in signals.forever() {
            // Nobody listens any more: it is stopping already.
            let _ = sender.send(());
        }
    });
    Ok(receiver)
}
