//! What a client is told when a breaker refuses it.

use std::time::Duration;

use serde::Serialize;

use crate::config::Breaker;
use crate::http::{Fields, LocalReply};
use crate::refusal;

/// 503 Service Unavailable (RFC 9110 §15.6.4).
const SERVICE_UNAVAILABLE: u16 = 503;

/// The answer to a request that this breaker refuses for so long: as its configuration says, otherwise 503 with a
/// problem description (RFC 9457) that names it.
#[must_use]
pub fn refusal(breaker: &Breaker, retry_after: Duration) -> LocalReply {
    let problem = |status| problem(status, &breaker.name);
    let (own, fields) = (breaker.refusal.as_ref(), Fields::new());
    refusal::reply(own, SERVICE_UNAVAILABLE, problem, Some(retry_after), fields)
}

#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: &'a str,
    status: u16,
    breaker: &'a str,
}

fn problem(status: u16, breaker: &str) -> String {
    let is_usual = status == SERVICE_UNAVAILABLE;
    let title = if is_usual { "Service Unavailable" } else { "Circuit Breaker Open" };
    // No type of its own: the status says what it is (RFC 9457 §4.2.1).
    let problem = Problem { kind: "about:blank", title, status, breaker };
    serde_json::to_string(&problem).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Config;

    const FILE: &str = r#"{"version": 1, "breakers": [
        {"name": "plain"},
        {"name": "status", "refusal": {"status": 502}},
        {"name": "own", "refusal": {"status": 500, "content_type": "text/plain", "body": "later",
                                    "headers": {"X-Why": "open"}}}
    ]}"#;

    fn refused_by(breaker: usize) -> LocalReply {
        let config = Config::parse(FILE.as_bytes()).unwrap();
        refusal(&config.breakers[breaker], Duration::from_millis(1500))
    }

    fn has(reply: &LocalReply, name: &'static str, value: &str) -> bool {
        reply.headers.contains(&(name.into(), value.to_owned()))
    }

    #[test]
    fn it_is_a_problem_that_names_the_breaker() {
        let reply = refused_by(0);
        assert_eq!(reply.status, 503);
        assert!(has(&reply, "content-type", "application/problem+json"));
        assert!(has(&reply, "retry-after", "2"));
        assert!(has(&reply, "cache-control", "no-store"));
        let problem: Value = serde_json::from_slice(&reply.body).unwrap();
        let title = "Service Unavailable";
        let expected =
            json!({"type": "about:blank", "title": title, "status": 503, "breaker": "plain"});
        assert_eq!(problem, expected);
    }

    #[test]
    fn a_breaker_may_say_something_else() {
        let problem: Value = serde_json::from_slice(&refused_by(1).body).unwrap();
        assert_eq!(
            (&problem["status"], &problem["title"]),
            (&502.into(), &"Circuit Breaker Open".into())
        );
        let reply = refused_by(2);
        assert_eq!((reply.status, reply.body.as_slice()), (500, b"later".as_slice()));
        assert!(has(&reply, "x-why", "open") && has(&reply, "retry-after", "2"));
        assert!(has(&reply, "content-type", "text/plain"));
    }
}
