//! Faults as JSON, and everything that can be wrong with them.
//!
//! ```json
//! {"prefix": "/items/", "methods": ["GET"], "times": 3, "ratio": 0.5, "delay": "200ms",
//!  "action": "status", "status": 503, "body": "{}",
//!  "headers": [["Retry-After", "5"]], "remove": ["ETag"]}
//! ```
//! Only `prefix` and `action` are always there. `status` and `body` belong to the action `status`;
//! `headers` and `remove` to those that answer; `delay` waits before any action.

use std::num::NonZeroU64;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::super::duration;
use super::super::faults::{Action, Fault, Ratio};

/// Faults in force at once; each request is held against all of them.
pub(super) const MAX_FAULTS: usize = 64;

/// Fields that tell where a message ends: a fault that breaks the framing is a cut.
const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];

/// What is wrong with a field of the input.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct FieldError {
    /// Such as `[2].status`.
    field: String,
    /// The JSON found there; empty if nothing was.
    found: String,
    allowed: String,
}

impl FieldError {
    pub(super) fn new(field: &str, found: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self { field: field.to_owned(), found: found.into(), allowed: allowed.into() }
    }
}

/// Reads a list of faults.
///
/// # Errors
/// Everything that is wrong with it, not only the first.
pub(super) fn parse(input: &Value) -> Result<Vec<Fault>, Vec<FieldError>> {
    let refuse = |found| {
        let allowed = format!("a list of up to {MAX_FAULTS} faults");
        Err(vec![FieldError::new("", found, allowed)])
    };
    let Some(list) = input.as_array() else {
        return refuse(input.to_string());
    };
    if list.len() > MAX_FAULTS {
        return refuse(format!("{} faults", list.len()));
    }
    let mut errors = Vec::new();
    let faults = list
        .iter()
        .enumerate()
        .filter_map(|(index, fault)| parse_fault(format!("[{index}]"), fault, &mut errors))
        .collect();
    if errors.is_empty() { Ok(faults) } else { Err(errors) }
}

fn parse_fault(path: String, input: &Value, errors: &mut Vec<FieldError>) -> Option<Fault> {
    let Some(object) = input.as_object() else {
        errors.push(FieldError::new(
            &path,
            input.to_string(),
            "a fault, such as \
            {\"prefix\": \"/items/\", \"action\": \"reset\"}",
        ));
        return None;
    };
    let mut fields = Fields { path, object: object.clone(), known: Vec::new(), errors };
    let prefix = fields.required("prefix", "text that begins with /", |value| {
        value.as_str().filter(|prefix| prefix.starts_with('/')).map(str::to_owned)
    });
    let action =
        fields.required("action", &format!("one of {}", Action::NAMES.join(", ")), |value| {
            value.as_str().filter(|name| Action::NAMES.contains(name)).map(str::to_owned)
        });
    let action = action.and_then(|name| fields.action(&name));
    let delay_of = |value: &Value| value.as_str().and_then(duration::parse);
    let delay = if action == Some(Action::Delay) {
        fields.required("delay", duration::ALLOWED, delay_of)
    } else {
        fields.optional("delay", duration::ALLOWED, delay_of)
    };
    let methods = fields.optional("methods", "a list of one or more methods", methods);
    let times = fields.optional("times", "a whole number from 1", |value| {
        value.as_u64().and_then(NonZeroU64::new)
    });
    let ratio =
        fields.optional("ratio", "a number from 0 to 1", |value| Ratio::new(value.as_f64()?));
    let (mut headers, mut remove) = (None, None);
    if action.as_ref().is_none_or(Action::answers) {
        let given = ["headers", "remove"].iter().any(|name| fields.object.contains_key(*name));
        if action == Some(Action::Headers) && !given {
            fields.missing("headers", "headers, remove or both");
        }
        headers = fields.optional(
            "headers",
            "a list of [name, value], without Content-Length and Transfer-Encoding",
            |value| value.as_array()?.iter().map(header).collect(),
        );
        remove = fields.optional("remove", "a list of header names", |value| {
            value.as_array()?.iter().map(header_name).collect()
        });
    }
    fields.finish();
    Some(Fault {
        prefix: prefix?,
        methods: methods.unwrap_or_default(),
        action: action?,
        delay: delay.unwrap_or(Duration::ZERO),
        headers: headers.unwrap_or_default(),
        remove: remove.unwrap_or_default(),
        times,
        ratio: ratio.unwrap_or(Ratio::ALWAYS),
    })
}

/// The fields of one fault that have not been read yet.
struct Fields<'a> {
    path: String,
    object: Map<String, Value>,
    known: Vec<&'static str>,
    errors: &'a mut Vec<FieldError>,
}

impl Fields<'_> {
    fn optional<T>(
        &mut self,
        name: &'static str,
        allowed: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        self.known.push(name);
        let value = self.object.remove(name)?;
        let read = read(&value);
        if read.is_none() {
            self.error(name, value.to_string(), allowed);
        }
        read
    }

    fn required<T>(
        &mut self,
        name: &'static str,
        allowed: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        if !self.object.contains_key(name) {
            self.known.push(name);
            self.missing(name, allowed);
        }
        self.optional(name, allowed, read)
    }

    fn action(&mut self, name: &str) -> Option<Action> {
        Some(match name {
            "status" => {
                let status = self.required("status", "a status code from 200 to 599", |value| {
                    let status = value.as_u64().and_then(|status| u16::try_from(status).ok());
                    status.filter(|status| (200..=599).contains(status))
                });
                let body = self.optional("body", "text", |value| value.as_str().map(str::to_owned));
                Action::Status { status: status?, body }
            }
            "delay" => Action::Delay,
            "headers" => Action::Headers,
            "reset" => Action::Reset,
            "close" => Action::Close,
            "cut" => Action::Cut,
            "hang" => Action::Hang,
            _ => return None,
        })
    }

    fn missing(&mut self, name: &str, allowed: &str) {
        self.error(name, String::new(), allowed);
    }

    fn error(&mut self, name: &str, found: String, allowed: &str) {
        self.errors.push(FieldError::new(&format!("{}.{name}", self.path), found, allowed));
    }

    /// Refuses what nobody has read.
    fn finish(mut self) {
        let allowed = format!("here only {}", self.known.join(", "));
        for (name, value) in std::mem::take(&mut self.object) {
            self.error(&name, value.to_string(), &allowed);
        }
    }
}

fn methods(value: &Value) -> Option<Vec<String>> {
    let methods: Vec<_> = value.as_array()?.iter().map(header_name).collect::<Option<_>>()?;
    (!methods.is_empty()).then_some(methods)
}

fn header(value: &Value) -> Option<(String, String)> {
    let [name, value] = value.as_array()?.as_slice() else {
        return None;
    };
    let name = header_name(name)?;
    let framing = FRAMING.iter().any(|framing| name.eq_ignore_ascii_case(framing));
    let value = value.as_str()?;
    http::HeaderValue::from_str(value).ok()?;
    (!framing).then(|| (name, value.to_owned()))
}

/// A token (RFC 9110 §5.6.2): the form of header names and of methods.
fn header_name(value: &Value) -> Option<String> {
    let name = value.as_str()?;
    http::Method::from_bytes(name.as_bytes()).ok().map(|_| name.to_owned())
}

/// Writes a fault so that [`parse`] reads it back.
pub(super) fn write(fault: &Fault) -> Value {
    let mut object = Map::new();
    let mut set = |name: &str, value: Value| object.insert(name.to_owned(), value);
    set("prefix", json!(fault.prefix));
    set("action", json!(fault.action.name()));
    if let Action::Status { status, body } = &fault.action {
        set("status", json!(status));
        if let Some(body) = body {
            set("body", json!(body));
        }
    }
    if !fault.methods.is_empty() {
        set("methods", json!(fault.methods));
    }
    if fault.action == Action::Delay || !fault.delay.is_zero() {
        set("delay", json!(format!("{}ms", fault.delay.as_millis())));
    }
    if !fault.headers.is_empty() {
        set("headers", json!(fault.headers));
    }
    if !fault.remove.is_empty() {
        set("remove", json!(fault.remove));
    }
    if let Some(times) = fault.times {
        set("times", json!(times));
    }
    if fault.ratio != Ratio::ALWAYS {
        set("ratio", json!(fault.ratio.share()));
    }
    object.into()
}

#[cfg(test)]
mod tests;
