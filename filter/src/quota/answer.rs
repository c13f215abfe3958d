//! What a client is told when a quota refuses it.

use std::time::Duration;

use serde::Serialize;

use super::fields::delay_seconds;
use crate::config::{Content, Refusal, Rule};
use crate::http::{Fields, LocalReply};

/// Problem type of a refusal, from the HTTP Problem Types registry (draft-ietf-httpapi-ratelimit-headers-11 §5.1).
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/// 429 Too Many Requests (RFC 6585 §4).
const TOO_MANY_REQUESTS: u16 = 429;

/// The answer to a request that the `violated` rules refuse, in the order of the file: as the first of them says that
/// has a refusal of its own, otherwise 429 with a problem description (RFC 9457) that names them all. With `fields`,
/// and with `Retry-After` (RFC 9110 §10.2.3) unless no retry will ever pass.
#[must_use]
pub fn refusal(violated: &[&Rule], retry_after: Option<Duration>, fields: Fields) -> LocalReply {
    let own = violated.iter().find_map(|rule| rule.refusal.as_ref());
    let status = own.map_or(TOO_MANY_REQUESTS, |refusal| refusal.status);
    let (content_type, body) = match own {
        Some(Refusal { content: Some(Content { content_type, body }), .. }) => {
            (content_type.clone(), body.clone())
        }
        Some(Refusal { content: None, .. }) | None => {
            ("application/problem+json".to_owned(), problem(status, violated))
        }
    };
    let mut headers = vec![
        ("content-type", content_type),
        // A refusal is about one client at one moment; no cache may answer another with it.
        ("cache-control", "no-store".to_owned()),
    ];
    headers.extend(retry_after.map(|wait| ("retry-after", delay_seconds(wait).to_string())));
    headers.extend(fields);
    LocalReply { status, headers, body: body.into_bytes() }
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
         "refusal": {"status": 420, "content_type": "text/plain", "body": "calm down"}}
    ]}"#;

    fn refused_by(names: &[&str]) -> LocalReply {
        let config = Config::parse(FILE.as_bytes()).unwrap();
        let violated: Vec<_> =
            config.rules.iter().filter(|rule| names.contains(&rule.name.as_str())).collect();
        let fields = vec![("ratelimit", "\"own\";r=0;t=30".to_owned())];
        let reply = refusal(&violated, Some(Duration::from_secs(30)), fields);
        assert!(reply.headers.contains(&("retry-after", "30".to_owned())));
        assert!(reply.headers.contains(&("cache-control", "no-store".to_owned())));
        assert!(reply.headers.contains(&("ratelimit", "\"own\";r=0;t=30".to_owned())));
        reply
    }

    #[track_caller]
    fn assert_problem(reply: &LocalReply, status: u16, title: &str, names: &[&str]) {
        assert_eq!(reply.status, status);
        assert!(reply.headers.contains(&("content-type", "application/problem+json".to_owned())));
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(body["type"], QUOTA_EXCEEDED);
        assert_eq!(body["title"], title);
        assert_eq!(body["status"], status);
        assert_eq!(body["violated-policies"], json!(names));
    }

    #[test]
    fn retry_after_is_rounded_up_and_never_zero() {
        assert_eq!(delay_seconds(Duration::ZERO), 1);
        assert_eq!(delay_seconds(Duration::from_millis(999)), 1);
        assert_eq!(delay_seconds(Duration::from_secs(1)), 1);
        assert_eq!(delay_seconds(Duration::from_millis(1001)), 2);
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
        assert!(reply.headers.contains(&("content-type", "text/plain".to_owned())));
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
        assert!(reply.headers.iter().all(|(name, _)| *name != "retry-after"));
    }
}
