//! One request of a run: what it asks, and what became of it.

use std::time::Duration;

use meliproxy::exchange::{Conclusion, Fate};
use meliproxy::http::RequestView;
use meliproxy::worker::Place;

/// The longest any request may wait: the command's deadline, a late tick, the grace after an own stall, and what it
/// takes to let a crowd go.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_millis(60);

pub(crate) struct Request {
    pub(crate) member: usize,
    began: u64,
    pub(crate) rules: &'static str,
    pub(crate) place: Option<Place>,
    pub(crate) left: bool,
    conclusions: Vec<(u64, bool)>,
}

impl Request {
    pub(crate) const fn new(member: usize, began: u64, rules: &'static str) -> Self {
        Self { member, began, rules, place: None, left: false, conclusions: Vec::new() }
    }

    /// It passed, or was refused; its client and the access log are told how it stands.
    pub(crate) fn conclude(&mut self, at: u64, conclusion: &Conclusion) {
        let (passed, fields) = match &conclusion.fate {
            Fate::Pass(fields) => {
                (true, fields.iter().map(|(name, value)| (*name, &**value)).collect::<Vec<_>>())
            }
            Fate::Refuse(reply) => {
                assert_eq!(reply.status, 429);
                (false, reply.headers.iter().map(|(name, value)| (&**name, &**value)).collect())
            }
            Fate::Serve(_) => panic!("there is no cache"),
        };
        self.check_what_is_told(passed, &fields);
        self.check_what_is_logged(at, passed, conclusion.entry.as_deref().unwrap());
        // The host drops what is said of a request that is gone.
        if !self.left {
            self.conclusions.push((at, passed));
        }
    }

    /// The policies of all its rules; how it stands to all of them, or to those that refuse.
    fn check_what_is_told(&self, passed: bool, fields: &[(&str, &str)]) {
        let value = |name| fields.iter().find(|(of, _)| *of == name).map(|(_, value)| *value);
        let (policy, limit) = (value("ratelimit-policy").unwrap(), value("ratelimit").unwrap());
        let exhausted = |rule| limit.contains(&format!("\"{rule}\";r=0;t="));
        for rule in self.rules.split(' ') {
            assert!(policy.contains(&format!("\"{rule}\";q=")), "{policy}");
            assert!(limit.contains(&format!("\"{rule}\";r=")) || !passed, "{limit}");
        }
        assert!(passed || self.rules.split(' ').any(exhausted), "{limit}");
    }

    /// One of its rules, what became of it, and how long it waited; it may be let go after it was decided.
    fn check_what_is_logged(&self, at: u64, passed: bool, line: &str) {
        let pairs = line.split(' ').map(|pair| pair.split_once('=').unwrap());
        let (keys, values): (Vec<_>, Vec<_>) = pairs.unzip();
        assert_eq!(keys, ["rule", "outcome", "source", "remaining", "redis_us"]);
        assert!(self.rules.split(' ').any(|rule| rule == values[0]), "{line}");
        assert_eq!(values[1], if passed { "allowed" } else { "denied" }, "{line}");
        let (remaining, waited): (u64, u64) =
            (values[3].parse().unwrap(), values[4].parse().unwrap());
        assert!(passed || remaining == 0, "{line}");
        assert!(waited <= at - self.began, "{line}");
        assert!(values[2] != "memory" || waited == 0, "{line}");
    }

    pub(crate) fn passed(&self) -> bool {
        self.conclusions.iter().any(|(_, passed)| *passed)
    }

    pub(crate) fn check_it_was_concluded_once_and_in_time(&self, number: usize) {
        let waited = self.conclusions.first().map(|(at, _)| at - self.began);
        let once = self.conclusions.len() == 1 || (self.left && waited.is_none());
        assert!(once, "request {number}: {:?}", self.conclusions);
        let waited = Duration::from_micros(waited.unwrap_or(0));
        assert!(waited <= LONGEST_WAIT, "request {number} waited {waited:?}");
    }
}

/// A request from the one client there is. What no rule needs must not be asked for.
pub(crate) struct View {
    pub(crate) path: &'static str,
}

impl RequestView for View {
    fn path(&mut self) -> Option<Vec<u8>> {
        Some(self.path.as_bytes().to_vec())
    }

    fn method(&mut self) -> Option<Vec<u8>> {
        panic!("no rule needs the method")
    }

    fn host(&mut self) -> Option<Vec<u8>> {
        panic!("no rule needs the host")
    }

    fn header(&mut self, name: &str) -> Option<Vec<u8>> {
        panic!("no rule needs {name}")
    }

    fn source_address(&mut self) -> Option<Vec<u8>> {
        Some(b"192.0.2.1:4711".to_vec())
    }

    fn lines(&mut self) -> meliproxy::http::header::Fields {
        meliproxy::http::header::Fields::default()
    }

    fn is_over(&self) -> bool {
        true
    }
}
