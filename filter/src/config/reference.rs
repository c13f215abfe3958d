//! What the reader takes, told to people and to their editors: the tables of the reference, and a JSON Schema.
//!
//! Both are written from the declarations that the reader itself goes by.

use serde_json::{Value as Json, json};

use super::key::{Absent, AnyKey, Kind, Object};
use super::shape::OBJECT;

/// The configuration file as JSON Schema (draft 2020-12), with a line break at its end.
///
/// It takes every file that [`Config::parse`](super::Config::parse) takes, and some more: it does not know what has to
/// hold between values far apart, such as that a rule's routes exist.
#[must_use]
pub fn schema() -> String {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of meliproxy",
    });
    if let (Some(members), Json::Object(file)) = (schema.as_object_mut(), OBJECT.schema()) {
        members.extend(file);
    }
    format!("{schema:#}\n")
}

/// The keys of each object of the file as a table in Markdown, with the object's path: `redis`, `quotas[].cost`. The
/// file itself comes first and has an empty path.
#[must_use]
pub fn tables() -> Vec<(String, String)> {
    let mut tables = Vec::new();
    add_tables(String::new(), &OBJECT, &mut tables);
    tables
}

fn add_tables(path: String, object: &Object, tables: &mut Vec<(String, String)>) {
    let rows: Vec<_> = object.keys.iter().map(|key| row(*key)).collect();
    let head = "| key | meaning | allowed | default |\n| --- | --- | --- | --- |\n";
    tables.push((path.clone(), format!("{head}{}", rows.concat())));
    for key in object.keys {
        if let Some((inner, is_list)) = key.takes().object() {
            let dot = if path.is_empty() { "" } else { "." };
            let items = if is_list { "[]" } else { "" };
            add_tables(format!("{path}{dot}{}{items}", key.name()), inner, tables);
        }
    }
}

fn row(key: &dyn AnyKey) -> String {
    let absent = match key.absent() {
        Absent::Refused => "required".to_owned(),
        Absent::Is(value) => format!("`{value}`"),
        Absent::Means(words) => (*words).to_owned(),
    };
    let allowed = key.takes().reference();
    format!("| `{}` | {} | {allowed} | {absent} |\n", key.name(), key.doc())
}
