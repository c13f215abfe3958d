//! The JSON of a configuration file as a tree that keeps what `serde_json::Value` drops: the order of the file, and
//! keys that are given twice.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::error::Problem;

/// Largest configuration file in bytes. The largest possible number of routes and rules fits several times; anything
/// larger is the wrong file, and the filter should not fill its memory with it.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// One JSON value.
pub(super) struct Node {
    /// Position among all values of the file, the outermost being 0.
    pub(super) order: usize,
    pub(super) content: Content,
}

/// What a JSON value is, as finely as a configuration needs it.
pub(super) enum Content {
    Object(Vec<(String, Node)>),
    List(Vec<Node>),
    Text(String),
    Whole(u64),
    Flag(bool),
    /// What no setting takes (null, negative or fractional numbers), as it reads in JSON.
    Other(String),
}

/// Reads a whole file.
pub(super) fn parse(text: &[u8]) -> Result<Node, Problem> {
    if text.len() > MAX_FILE_BYTES {
        return Err(Problem {
            path: "the file".to_owned(),
            found: format!("{} bytes", text.len()),
            allowed: format!("at most {MAX_FILE_BYTES} bytes"),
        });
    }
    let mut count = 0;
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    Reading { count: &mut count }
        .deserialize(&mut deserializer)
        .and_then(|node| deserializer.end().map(|()| node))
        .map_err(|error| syntax_problem(&error))
}

fn syntax_problem(error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let reason = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
    Problem {
        path: format!("line {line}, column {column}"),
        found: format!("what is not JSON ({reason})"),
        allowed: "JSON without comments and trailing commas (RFC 8259)".to_owned(),
    }
}

/// Reads one value and counts it.
struct Reading<'c> {
    count: &'c mut usize,
}

impl Reading<'_> {
    const fn next_order(&mut self) -> usize {
        let order = *self.count;
        *self.count += 1;
        order
    }

    /// For a value inside this one.
    const fn inner(&mut self) -> Reading<'_> {
        Reading { count: self.count }
    }

    fn leaf<E>(mut self, content: Content) -> Result<Node, E> {
        Ok(Node { order: self.next_order(), content })
    }
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        self.leaf(Content::Other("null".to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        self.leaf(Content::Flag(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        self.leaf(Content::Whole(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        self.leaf(Content::Other(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        self.leaf(Content::Other(format!("{value:?}")))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        self.leaf(Content::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut access: A) -> Result<Node, A::Error> {
        let order = self.next_order();
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self.inner())? {
            items.push(item);
        }
        Ok(Node { order, content: Content::List(items) })
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<Node, A::Error> {
        let order = self.next_order();
        let mut members = Vec::new();
        while let Some(key) = access.next_key()? {
            members.push((key, access.next_value_seed(self.inner())?));
        }
        Ok(Node { order, content: Content::Object(members) })
    }
}
