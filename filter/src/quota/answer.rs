//! What a client is told when a quota refuses it.

use std::time::Duration;

use serde::Serialize;

use crate::config::Rule;
use crate::http::{Fields, LocalReply};
use crate::refusal;

/// Problem type of a refusal, from the HTTP Problem Types registry (draft-ietf-httpapi-ratelimit-headers-11 §5.1).
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/// 429 Too Many Requests (RFC 6585 §4).
const TOO_MANY_REQUESTS: u16 = 429;

/// The answer to a request that the `violated` rules refuse, in the order of the file: as the first of them says that
/// has a refusal of its own, otherwise 429 with a problem description (RFC 9457) that names them all. Without
/// `retry_after` no retry will ever pass.
#[must_use]
pub fn refusal(violated: &[&Rule], retry_after: Option<Duration>, fields: Fields) -> LocalReply {
    let own = violated.iter().find_map(|rule| rule.refusal.as_ref());
    let problem = |status| problem(status, violated);
    refusal::reply(own, TOO_MANY_REQUESTS, problem, retry_after, fields)
}

#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: &'a str,
    status: u16,
    #[serde(rename = "violated-policies")]
    violated_policies: &'a [&'a str],
}

fn problem(status: u16, violated: &[&Rule]) -> String {
    let names: Vec<_> = violated.iter().map(|rule| rule.name.as_str()).collect();
    let title = if status == TOO_MANY_REQUESTS { "Too Many Requests" } else { "Quota Exceeded" };
    let problem = Problem { kind: QUOTA_EXCEEDED, title, status, violated_policies: &names };
    serde_json::to_string(&problem).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Config;

    const FILE: &str = r#"{"version": 1, "quotas": [
        {"name": "per-origin", "limit": 1, "per": "1s"},
        {"name": "items", "limit": 1, "per": "1s"},
        {"name": "status", "limit": 1, "per": "1s", "refusal": {"status": 503}},
        {"name": "own", "limit": 1, "per": "1s",
         "refusal": {"status": 420, "content_type": "text/plain", "body": "calm down"}},
        {"name": "fields", "limit": 1, "per": "1s",
         "refusal": {"headers": {"X-Own": "1", "Link": "</terms>; rel=help"}}},
        {"name": "cached", "limit": 1, "per": "1s", "refusal": {"headers": {"Cache-Control": "max-age=1"}}}
    ]}"#;

    fn refused_by(names: &[&str]) -> LocalReply {
        let config = Config::parse(FILE.as_bytes()).unwrap();
        let violated: Vec<_> =
            config.rules.iter().filter(|rule| names.contains(&rule.name.as_str())).collect();
        let fields = vec![("ratelimit", "\"own\";r=0;t=30".to_owned())];
        let reply = refusal(&violated, Some(Duration::from_secs(30)), fields);
        assert_eq!(values(&reply, "retry-after"), ["30"]);
        assert_eq!(values(&reply, "ratelimit"), ["\"own\";r=0;t=30"]);
        reply
    }

    /// All lines of a header field.
    fn values<'r>(reply: &'r LocalReply, name: &str) -> Vec<&'r str> {
        let lines = reply.headers.iter().filter(|(of, _)| of == name);
        lines.map(|(_, value)| value.as_str()).collect()
    }

    #[track_caller]
    fn assert_problem(reply: &LocalReply, status: u16, title: &str, names: &[&str]) {
        assert_eq!(reply.status, status);
        assert!(
            reply.headers.contains(&("content-type".into(), "application/problem+json".to_owned()))
        );
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(body["type"], QUOTA_EXCEEDED);
        assert_eq!(body["title"], title);
        assert_eq!(body["status"], status);
        assert_eq!(body["violated-policies"], json!(names));
    }

    #[test]
    fn the_body_is_a_problem_that_names_the_rules() {
        let names = ["per-origin", "items"];
        assert_problem(&refused_by(&names), 429, "Too Many Requests", &names);
    }

    #[test]
    fn a_rule_may_have_a_status_of_its_own() {
        let names = ["items", "status"];
        assert_problem(&refused_by(&names), 503, "Quota Exceeded", &names);
    }

    #[test]
    fn a_rule_may_have_a_body_of_its_own() {
        let reply = refused_by(&["items", "own"]);
        assert_eq!((reply.status, reply.body.as_slice()), (420, b"calm down".as_slice()));
        assert_eq!(values(&reply, "content-type"), ["text/plain"]);
        assert_eq!(values(&reply, "cache-control"), ["no-store"]);
    }

    #[test]
    fn a_rule_may_have_header_fields_of_its_own() {
        let reply = refused_by(&["items", "fields", "cached"]);
        assert_problem(&reply, 429, "Too Many Requests", &["items", "fields", "cached"]);
        assert_eq!(values(&reply, "x-own"), ["1"]);
        assert_eq!(values(&reply, "link"), ["</terms>; rel=help"]);
    }

    #[test]
    fn a_rule_may_say_something_else_of_caches() {
        assert_eq!(values(&refused_by(&["cached"]), "cache-control"), ["max-age=1"]);
    }

    #[test]
    fn the_first_rule_of_the_file_with_a_refusal_of_its_own_decides() {
        let names = ["status", "own"];
        assert_problem(&refused_by(&names), 503, "Quota Exceeded", &names);
    }

    #[test]
    fn who_is_always_refused_is_not_told_to_come_again() {
        let config = Config::parse(FILE.as_bytes()).unwrap();
        let violated: Vec<_> = config.rules.iter().take(1).collect();
        let reply = refusal(&violated, None, Fields::new());
        assert_eq!(reply.status, 429);
        assert_eq!(values(&reply, "retry-after"), [""; 0]);
    }
}
