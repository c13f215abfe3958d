//! What was received: counted always, cheaply, within bounds.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::request::Request;

/// Different prefixes, and different methods, that are counted by name; clients choose them.
pub const MAX_NAMES: usize = 256;

/// Where the requests are counted whose prefix or method came after [`MAX_NAMES`] others.
pub const OTHERS: &str = "(others)";

/// Request lines that are remembered.
pub const MAX_LINES: usize = 1000;

/// What the remembered request lines may take together; one line is at most a request head, 64 KiB.
const MAX_LINES_BYTES: usize = 256 << 10;

/// Requests by what they were; a request counts once it has been read whole, whatever a fault then
/// does to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counts {
    /// All requests.
    pub total: u64,
    /// By first segment of the path, such as `/items`.
    pub by_prefix: BTreeMap<String, u64>,
    /// By method.
    pub by_method: BTreeMap<String, u64>,
}

impl Counts {
    /// Requests whose path begins with the segment `prefix`, such as `/items`.
    #[must_use]
    pub fn of_prefix(&self, prefix: &str) -> u64 {
        self.by_prefix.get(prefix).copied().unwrap_or_default()
    }

    /// Requests with this method.
    #[must_use]
    pub fn of_method(&self, method: &str) -> u64 {
        self.by_method.get(method).copied().unwrap_or_default()
    }

    fn add(&mut self, request: &Request<'_>) {
        self.total += 1;
        increase(&mut self.by_prefix, prefix(request.path()));
        increase(&mut self.by_method, request.method);
    }
}

/// `/items` of `/items/MLA1`.
fn prefix(path: &str) -> &str {
    let end = path.bytes().skip(1).position(|byte| byte == b'/').map(|end| end + 1);
    end.and_then(|end| path.get(..end)).unwrap_or(path)
}

fn increase(counts: &mut BTreeMap<String, u64>, name: &str) {
    if let Some(count) = counts.get_mut(name) {
        *count += 1;
    } else {
        let name = if counts.len() < MAX_NAMES { name } else { OTHERS };
        *counts.entry(name.to_owned()).or_default() += 1;
    }
}

/// Counts and recent request lines, shared by all connections.
#[derive(Debug, Default)]
pub(crate) struct Recorder(Mutex<Record>);

#[derive(Debug, Default)]
struct Record {
    counts: Counts,
    lines: VecDeque<String>,
    lines_bytes: usize,
}

impl Recorder {
    pub(crate) fn record(&self, request: &Request<'_>) {
        self.with(|record| {
            record.counts.add(request);
            record.remember(request);
        });
    }

    pub(crate) fn counts(&self) -> Counts {
        self.with(|record| record.counts.clone())
    }

    /// The last request lines, oldest first.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.with(|record| record.lines.iter().cloned().collect())
    }

    pub(crate) fn reset(&self) {
        self.with(|record| *record = Record::default());
    }

    fn with<T>(&self, act: impl FnOnce(&mut Record) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Record {
    /// Adds the request line; the oldest ones make room.
    fn remember(&mut self, request: &Request<'_>) {
        let version = if request.minor == 0 { " HTTP/1.0" } else { " HTTP/1.1" };
        let line = [request.method, " ", request.target, version].concat();
        while self.lines.len() >= MAX_LINES || self.lines_bytes + line.len() > MAX_LINES_BYTES {
            let Some(oldest) = self.lines.pop_front() else {
                break;
            };
            self.lines_bytes -= oldest.len();
        }
        self.lines_bytes += line.len();
        self.lines.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>(method: &'a str, target: &'a str) -> Request<'a> {
        Request { method, target, minor: 1, headers: &[] }
    }

    #[test]
    fn requests_count_in_total_by_prefix_and_by_method() {
        let recorder = Recorder::default();
        for (method, target) in
            [("GET", "/items/1"), ("GET", "/items?x=/y"), ("PUT", "/"), ("OPTIONS", "*")]
        {
            recorder.record(&request(method, target));
        }
        let counts = recorder.counts();
        assert_eq!(counts.total, 4);
        let prefixes = [("/items", 2), ("/", 1), ("*", 1), ("/users", 0)];
        assert!(prefixes.iter().all(|(prefix, count)| counts.of_prefix(prefix) == *count));
        let methods = [("GET", 2), ("PUT", 1), ("OPTIONS", 1), ("POST", 0)];
        assert!(methods.iter().all(|(method, count)| counts.of_method(method) == *count));
    }

    #[test]
    fn the_first_segment_is_the_prefix() {
        for (path, expected) in
            [("/", "/"), ("/a", "/a"), ("/a/", "/a"), ("/a/b/c", "/a"), ("//a", "/"), ("*", "*")]
        {
            assert_eq!(prefix(path), expected, "{path}");
        }
    }

    #[test]
    fn names_are_bounded() {
        let recorder = Recorder::default();
        for number in 0..MAX_NAMES + 2 {
            recorder.record(&request("GET", &format!("/{number}/x")));
        }
        recorder.record(&request("GET", "/0/x"));
        let counts = recorder.counts();
        assert_eq!((counts.of_prefix("/0"), counts.of_prefix("/255")), (2, 1));
        assert_eq!((counts.of_prefix("/256"), counts.of_prefix(OTHERS)), (0, 2));
        assert_eq!(counts.by_prefix.len(), MAX_NAMES + 1);
    }

    #[test]
    fn the_last_lines_are_remembered_in_order() {
        let recorder = Recorder::default();
        for number in 0..=MAX_LINES {
            recorder.record(&request("GET", &format!("/{number}?q=1")));
        }
        let lines = recorder.lines();
        assert_eq!(lines.len(), MAX_LINES);
        assert_eq!(lines.first().unwrap(), "GET /1?q=1 HTTP/1.1");
        assert_eq!(lines.last().unwrap(), "GET /1000?q=1 HTTP/1.1");
    }

    #[test]
    fn lines_are_bounded_in_bytes() {
        let recorder = Recorder::default();
        let target = "/".repeat((64 << 10) - "GET  HTTP/1.1".len());
        for _ in 0..5 {
            recorder.record(&request("GET", &target));
        }
        assert_eq!(recorder.lines().len(), 4);
        recorder.record(&request("GET", "/"));
        assert_eq!(recorder.lines().len(), 4);
        assert_eq!(recorder.counts().total, 6);
    }

    #[test]
    fn reset_forgets_counts_and_lines() {
        let recorder = Recorder::default();
        recorder.record(&request("GET", "/"));
        recorder.reset();
        assert_eq!((recorder.counts(), recorder.lines()), (Counts::default(), Vec::new()));
    }
}
