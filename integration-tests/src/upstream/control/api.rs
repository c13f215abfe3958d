//! The server side of the control port.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::Shared;
use super::super::answer::{Answer, Body};
use super::super::body::{MAX_KEPT_BYTES, Received};
use super::super::connection::{Reply, Service};
use super::super::faults::Faults;
use super::super::request::Request;
use super::fault_json::{self, FieldError};

/// What answers the control port.
pub(crate) struct Api {
    pub(crate) shared: Arc<Shared>,
}

impl Service for Api {
    fn reply(&self, request: &Request<'_>, body: &Received) -> Reply {
        let shared = &self.shared;
        let answer = match (request.method, request.target) {
            ("PUT", "/faults") => self.put_faults(body),
            ("GET", "/faults") => ok(&shared.faults().fired().map(listed).collect()),
            ("DELETE", "/faults") => {
                shared.set_faults(Faults::default());
                done()
            }
            ("GET", "/counts") => ok(&json!(shared.recorder.counts())),
            ("DELETE", "/counts") => {
                shared.recorder.reset();
                done()
            }
            ("GET", "/requests") => ok(&json!(shared.recorder.lines())),
            (_, "/faults") => {
                Answer::error(405, "method not allowed").with("Allow", "GET, PUT, DELETE")
            }
            (_, "/counts") => Answer::error(405, "method not allowed").with("Allow", "GET, DELETE"),
            (_, "/requests") => Answer::error(405, "method not allowed").with("Allow", "GET"),
            _ => Answer::error(404, "there are /faults, /counts and /requests"),
        };
        answer.into()
    }
}

impl Api {
    fn put_faults(&self, body: &Received) -> Answer {
        let Some(body) = body.whole(MAX_KEPT_BYTES) else {
            return Answer::error(413, "a list of faults takes up to 1 MiB");
        };
        let faults = serde_json::from_slice(body)
            .map_err(|error| vec![FieldError::new("", error.to_string(), "JSON")])
            .and_then(|input| fault_json::parse(&input));
        match faults {
            Ok(faults) => {
                self.shared.set_faults(Faults::new(faults));
                done()
            }
            Err(errors) => Answer::json(400, json!({"errors": errors}).to_string().into_bytes()),
        }
    }
}

fn listed((fault, fired): (&super::super::faults::Fault, u64)) -> Value {
    json!({"fault": fault_json::write(fault), "fired": fired})
}

fn ok(value: &Value) -> Answer {
    Answer::json(200, value.to_string().into_bytes())
}

fn done() -> Answer {
    Answer::new(204, Body::Whole(Vec::new()))
}
