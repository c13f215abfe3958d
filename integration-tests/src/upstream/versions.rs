//! `/versions/{name}`: what changes. It has a version that begins with 1; `GET` tells it, and `POST`, `PUT`, `PATCH` and
//! `DELETE` make it one more and tell that, so that a test knows whether what it is given is old.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::answer::{Answer, Body};
use super::content::{CACHE_CONTROL, has_tag};
use super::counts::MAX_NAMES;
use super::request::Request;

const METHODS: &str = "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE";

/// The versions of all that was ever changed.
#[derive(Debug, Default)]
pub(crate) struct Versions(Mutex<BTreeMap<String, u64>>);

impl Versions {
    /// Answers a request for something that has a version; `None` if it is for anything else.
    pub(crate) fn answer(&self, request: &Request<'_>) -> Option<Answer> {
        let name = request.path().strip_prefix("/versions/")?;
        if name.is_empty() || name.contains('/') {
            return None;
        }
        let version = match request.method {
            "GET" | "HEAD" => self.now(name),
            "POST" | "PUT" | "PATCH" | "DELETE" => match self.next(name) {
                Some(version) => version,
                None => return Some(Answer::error(507, "no more names can be changed")),
            },
            "OPTIONS" => {
                return Some(Answer::new(200, Body::Whole(Vec::new())).with("Allow", METHODS));
            }
            _ => return Some(Answer::error(405, "method not allowed").with("Allow", METHODS)),
        };
        Some(tell(request, name, version))
    }

    fn now(&self, name: &str) -> u64 {
        self.with(|versions| versions.get(name).copied().unwrap_or(1))
    }

    /// Names are bounded; clients choose them.
    fn next(&self, name: &str) -> Option<u64> {
        self.with(|versions| {
            if versions.len() >= MAX_NAMES && !versions.contains_key(name) {
                return None;
            }
            let version = versions.entry(name.to_owned()).or_insert(1);
            *version += 1;
            Some(*version)
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<String, u64>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn tell(request: &Request<'_>, name: &str, version: u64) -> Answer {
    let etag = format!("\"{version}\"");
    let is_read = matches!(request.method, "GET" | "HEAD");
    let answer = if is_read && has_tag(request, &etag) {
        Answer::new(304, Body::Whole(Vec::new()))
    } else {
        let body = serde_json::json!({"name": name, "version": version});
        Answer::json(200, body.to_string().into_bytes())
    };
    let control = if is_read { CACHE_CONTROL } else { "no-store" };
    answer.with("Cache-Control", control).with("ETag", etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(versions: &Versions, method: &str, target: &str) -> Answer {
        versions.answer(&Request { method, target, minor: 1, headers: &[] }).unwrap()
    }

    fn version(answer: &Answer) -> u64 {
        let Body::Whole(bytes) = &answer.body else { panic!("{answer:?}") };
        let body: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        body["version"].as_u64().unwrap()
    }

    fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
        answer.headers.iter().find(|(found, _)| found == name).map(|(_, value)| &**value).unwrap()
    }

    #[test]
    fn what_changes_tells_which_one_it_is() {
        let versions = Versions::default();
        assert_eq!(version(&ask(&versions, "GET", "/versions/a?q=1")), 1);
        for (expected, method) in (2..).zip(["POST", "PUT", "PATCH", "DELETE"]) {
            let changed = ask(&versions, method, "/versions/a");
            assert_eq!((changed.status, version(&changed)), (200, expected), "{method}");
            assert_eq!(header(&changed, "Cache-Control"), "no-store");
            let read = ask(&versions, "GET", "/versions/a");
            assert_eq!(
                (version(&read), header(&read, "ETag")),
                (expected, &*format!("\"{expected}\""))
            );
            assert_eq!(header(&read, "Cache-Control"), CACHE_CONTROL);
        }
        assert_eq!(version(&ask(&versions, "GET", "/versions/b")), 1, "another one");
    }

    #[test]
    fn who_has_it_is_told_so_until_it_changes() {
        let versions = Versions::default();
        let headers = [httparse::Header { name: "If-None-Match", value: b"\"1\"" }];
        let status = |versions: &Versions| {
            let request =
                Request { method: "GET", target: "/versions/a", minor: 1, headers: &headers };
            versions.answer(&request).unwrap().status
        };
        assert_eq!(status(&versions), 304);
        ask(&versions, "POST", "/versions/a");
        assert_eq!(status(&versions), 200);
    }

    #[test]
    fn names_are_bounded_and_other_paths_are_none() {
        let versions = Versions::default();
        for number in 0..MAX_NAMES {
            assert_eq!(ask(&versions, "POST", &format!("/versions/{number}")).status, 200);
        }
        assert_eq!(ask(&versions, "POST", "/versions/more").status, 507);
        assert_eq!(ask(&versions, "POST", "/versions/0").status, 200);
        assert_eq!(ask(&versions, "TRACE", "/versions/0").status, 405);
        assert_eq!(ask(&versions, "OPTIONS", "/versions/0").status, 200);
        for target in ["/versions", "/versions/", "/versions/a/b", "/items/1"] {
            let request = Request { method: "GET", target, minor: 1, headers: &[] };
            assert!(versions.answer(&request).is_none(), "{target}");
        }
    }
}
