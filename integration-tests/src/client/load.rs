//! Many requests: all at once, or at a steady rate while something else happens.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::{Client, Request, Response, runtime};

/// What became of one request of many.
#[derive(Debug)]
pub struct Outcome {
    /// Its number, counted from 0.
    pub number: u32,
    /// When it was due: under a steady rate a late answer delays no measurement.
    pub due_at: Instant,
    /// From then to the end of the response.
    pub latency: Duration,
    /// The response, or why there is none.
    pub result: io::Result<Response>,
}

impl Outcome {
    /// The status code, 0 if there is no response.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.result.as_ref().map_or(0, |response| response.status)
    }
}

/// The latency that `share` (0 to 1) of the outcomes do not exceed; zero if there are none.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an index far below 2^52"
)]
pub fn percentile<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>, share: f64) -> Duration {
    let mut latencies: Vec<_> = outcomes.into_iter().map(|outcome| outcome.latency).collect();
    latencies.sort_unstable();
    let rank = (latencies.len() as f64 * share).ceil() as usize;
    latencies.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// Sends `count` copies of a request as fast as `connections` connections carry them, each to one of `addresses` in
/// turn, and returns once all are answered.
///
/// # Errors
/// If the client's threads cannot be started; failures of requests are in their outcomes.
pub fn burst(
    addresses: &[SocketAddr],
    from: Ipv4Addr,
    request: &Request,
    count: usize,
    connections: usize,
) -> io::Result<Vec<Outcome>> {
    let at_once = vec![(Duration::ZERO, request.clone()); count];
    arrivals(addresses, from, at_once, connections)
}

/// Sends requests in their order, each so long after the start or as soon after as one of `connections` connections is
/// free, and returns once all are answered. The connections are to the `addresses` in turn.
///
/// # Errors
/// As [`burst`].
pub fn arrivals(
    addresses: &[SocketAddr],
    from: Ipv4Addr,
    requests: Vec<(Duration, Request)>,
    connections: usize,
) -> io::Result<Vec<Outcome>> {
    let (requests, next) = (Arc::new(requests), Arc::new(AtomicU32::new(0)));
    let start = Instant::now();
    let senders = addresses.iter().cycle().take(connections).map(|to| {
        let mut client = Client::new(*to).from(from);
        let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
        async move {
            let mut outcomes = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some((after, request)) = requests.get(number as usize) else {
                    return outcomes;
                };
                tokio::time::sleep_until((start + *after).into()).await;
                outcomes.push(send(&mut client, request, number, Instant::now()).await);
            }
        }
    });
    let runtime = runtime()?;
    let senders: Vec<_> = senders.map(|sender| runtime.spawn(sender)).collect();
    collect(senders)
}

/// Requests at a steady rate, from [`Load::start`] until [`Load::stop`].
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    senders: Vec<JoinHandle<Vec<Outcome>>>,
}

impl Load {
    /// Sends `per_second` requests over `connections` connections, each to one of `addresses` in turn. `request` is
    /// called with the number of each.
    ///
    /// # Errors
    /// If the client's threads cannot be started.
    pub fn start(
        addresses: &[SocketAddr],
        per_second: u32,
        connections: u32,
        request: impl Fn(u32) -> Request + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let runtime = runtime()?;
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let request = Arc::new(request);
        let start = Instant::now();
        let spawn = |(first, to): (u32, &SocketAddr)| {
            let (stop, request) = (Arc::clone(&stop), Arc::clone(&request));
            let answered = Arc::clone(&answered);
            let mut client = Client::new(*to);
            runtime.spawn(async move {
                let mut outcomes = Vec::new();
                for number in (first..).step_by(connections as usize) {
                    let due_at = start + Duration::from_secs(1) * number / per_second;
                    tokio::time::sleep_until(due_at.into()).await;
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    outcomes.push(send(&mut client, &request(number), number, due_at).await);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                outcomes
            })
        };
        let senders = (0..connections).zip(addresses.iter().cycle()).map(spawn).collect();
        Ok(Self { stop, answered, senders })
    }

    /// How many requests have an outcome by now.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Ends it, and returns what became of all requests, in the order in which they were due.
    ///
    /// # Errors
    /// If a sender panicked.
    pub fn stop(self) -> io::Result<Vec<Outcome>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut outcomes = collect(self.senders)?;
        outcomes.sort_by_key(|outcome| outcome.due_at);
        Ok(outcomes)
    }
}

async fn send(client: &mut Client, request: &Request, number: u32, due_at: Instant) -> Outcome {
    let result = client.exchange(request).await;
    Outcome { number, due_at, latency: due_at.elapsed(), result }
}

fn collect(senders: Vec<JoinHandle<Vec<Outcome>>>) -> io::Result<Vec<Outcome>> {
    runtime()?.block_on(async {
        let mut all = Vec::new();
        for sender in senders {
            all.append(&mut sender.await?);
        }
        Ok(all)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_nearest_rank() {
        let outcomes: Vec<_> = (1..=100)
            .map(|n| Outcome {
                number: n,
                due_at: Instant::now(),
                latency: Duration::from_millis(n.into()),
                result: Ok(Response::default()),
            })
            .collect();
        let ms = |share| percentile(&outcomes, share).as_millis();
        assert_eq!((ms(0.0), ms(0.5), ms(0.99), ms(1.0)), (1, 50, 99, 100));
        assert_eq!(percentile(&outcomes[..1], 0.99).as_millis(), 1);
        assert_eq!(percentile([], 0.99), Duration::ZERO);
    }
}
