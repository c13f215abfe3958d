//! `routes[]`: kinds of requests.

use serde_json::{Value as Json, json};

use super::super::key::{Absent, Key, Kind, Object, Reads};
use super::super::kind::{List, Text};
use super::super::reader::{Members, Value};
use super::super::{Route, Template};
use super::name::NAME;

const NAME_KEY: Key<Text> = Key {
    name: "name",
    doc: "how rules, breakers and cache policies refer to it; unique among routes",
    takes: NAME,
    absent: Absent::Refused,
};

const PATH: Key<TemplateKind> = Key {
    name: "path",
    doc: "a template: `/items/{id}` takes one segment for `{id}`, `/items/{*rest}` any number of them, none included",
    takes: TemplateKind,
    absent: Absent::Refused,
};

const METHODS: Key<List<Text>> = Key {
    name: "methods",
    doc: "the methods that it takes",
    // More than HTTP and WebDAV have in common use.
    takes: List { length: 1..=16, of: "methods", item: METHOD },
    absent: Absent::Means("all"),
};

/// Longest method in bytes; the longest registered one has 17.
const MAX_METHOD_BYTES: usize = 32;

/// A method (RFC 9110 §9.1) as all registered ones are written.
pub(super) const METHOD: Text = Text {
    allowed: "a method in capitals, such as \"GET\"",
    pattern: "^[A-Z0-9_-]{1,32}$",
    is_allowed: |text| {
        let is_allowed = |c: u8| matches!(c, b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-');
        (1..=MAX_METHOD_BYTES).contains(&text.len()) && text.bytes().all(is_allowed)
    },
};

pub(super) const OBJECT: Object = Object { keys: &[&NAME_KEY, &PATH, &METHODS], between: "{}" };

/// A path template.
struct TemplateKind;

impl Kind for TemplateKind {
    fn allowed(&self) -> String {
        "a path, such as \"/items/{id}\" or \"/items/{*rest}\"".to_owned()
    }

    fn schema(&self) -> Json {
        json!({"type": "string", "pattern": "^/[^?#\\s]*$"})
    }
}

impl Reads for TemplateKind {
    type Out<'d> = Template;

    fn read<'d>(&self, value: &Value<'d>) -> Option<Template> {
        let Some(text) = value.as_text() else { return value.refuse(self.allowed()) };
        Template::parse(text).or_else(|allowed| value.refuse(allowed).ok_or(())).ok()
    }
}

/// Reads all routes. No two of them may take the same requests by the same template.
pub(super) fn read_all(values: &[Value<'_>]) -> Option<Vec<Route>> {
    let routes: Vec<_> = values.iter().map(|value| OBJECT.read(value, read)).collect();
    for (index, (value, route)) in values.iter().zip(&routes).enumerate() {
        let earlier = values.iter().zip(&routes).take(index).find(|(_, earlier)| {
            route.as_ref().zip(earlier.as_ref()).is_some_and(|(a, b)| take_same_requests(a, b))
        });
        if let Some((earlier, _)) = earlier {
            let path = value.member(PATH.name);
            let same = earlier.member(PATH.name).found();
            path.refuse_found::<()>(
                format!("{}, the same requests as {same} of {}", path.found(), earlier.path()),
                "a path or methods that no other route has",
            );
        }
    }
    routes.into_iter().collect()
}

fn read(route: &mut Members<'_, '_>) -> Option<Route> {
    let name = NAME_KEY.read(route);
    let path = PATH.read(route);
    let methods = METHODS.of(route).optional(|list| {
        METHODS.takes.distinct(list, |value| METHOD.read(value).map(ToOwned::to_owned))
    });
    Some(Route { name: name?.to_owned(), path: path?, methods: methods? })
}

fn take_same_requests(a: &Route, b: &Route) -> bool {
    let methods_overlap = match (&a.methods, &b.methods) {
        (Some(a), Some(b)) => a.iter().any(|method| b.contains(method)),
        (None, _) | (_, None) => true,
    };
    a.path == b.path && methods_overlap
}
