//! The keys of the file: what each is called, means, takes and is by default.
//!
//! A key is declared once. What reads it, the messages about it, the tables of the reference and the schema for editors
//! all go by that declaration, so none of them can say something else.

use serde_json::{Value as Json, json};

use super::reader::{Members, Value};

/// What a setting takes.
pub(super) trait Kind {
    /// What is allowed, in the words of messages.
    fn allowed(&self) -> String;

    /// The same as JSON Schema (draft 2020-12). It may take more than is read, never less.
    fn schema(&self) -> Json;

    /// What is allowed, in the words of the reference.
    fn reference(&self) -> String {
        self.allowed()
    }

    /// The object that this is, or that each item of it is, and whether it is a list of them.
    fn object(&self) -> Option<(&Object, bool)> {
        None
    }
}

/// A kind of values that can be read without knowing the rest of the file.
pub(super) trait Reads: Kind {
    /// What is read.
    type Out<'d>;

    /// Reads a value, or notes what is wrong with it.
    fn read<'d>(&self, value: &Value<'d>) -> Option<Self::Out<'d>>;
}

/// What it means that a key is absent.
pub(super) enum Absent {
    /// It is refused.
    Refused,
    /// The same as this value, written in JSON.
    Is(&'static str),
    /// What no value says, in words.
    Means(&'static str),
}

/// One key of an object.
pub(super) struct Key<K> {
    pub(super) name: &'static str,
    /// What it means, as the reference and editors say it (Markdown, part of a sentence).
    pub(super) doc: &'static str,
    pub(super) takes: K,
    pub(super) absent: Absent,
}

impl<K> Key<K> {
    /// The value of this key, present or not.
    pub(super) fn of<'d>(&self, members: &mut Members<'_, 'd>) -> Value<'d> {
        members.value(self.name)
    }
}

impl<K: Reads> Key<K> {
    /// The value, which has to be there.
    pub(super) fn read<'d>(&self, members: &mut Members<'_, 'd>) -> Option<K::Out<'d>> {
        self.takes.read(&self.of(members))
    }

    /// The value, or `default` if there is none.
    pub(super) fn read_or<'d>(
        &self,
        members: &mut Members<'_, 'd>,
        default: K::Out<'d>,
    ) -> Option<K::Out<'d>> {
        self.of(members).or(default, |value| self.takes.read(value))
    }
}

/// A [`Key`] of any kind.
pub(super) trait AnyKey {
    fn name(&self) -> &'static str;
    fn doc(&self) -> &'static str;
    fn takes(&self) -> &dyn Kind;
    fn absent(&self) -> &Absent;
}

impl<K: Kind> AnyKey for Key<K> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn doc(&self) -> &'static str {
        self.doc
    }

    fn takes(&self) -> &dyn Kind {
        &self.takes
    }

    fn absent(&self) -> &Absent {
        &self.absent
    }
}

/// An object with these keys and no others.
pub(super) struct Object {
    /// In the order in which they are read.
    pub(super) keys: &'static [&'static dyn AnyKey],
    /// What has to hold between them, as far as JSON Schema can say it: the members of an object.
    pub(super) between: &'static str,
}

impl Object {
    /// What `read` makes of the members of `value`. It has to ask for every key, whatever is wrong with the others.
    pub(super) fn read<'d, T>(
        &self,
        value: &Value<'d>,
        read: impl FnOnce(&mut Members<'_, 'd>) -> Option<T>,
    ) -> Option<T> {
        let Some(mut members) = value.as_object() else { return value.refuse(self.allowed()) };
        let object = read(&mut members);
        debug_assert!(
            self.keys.iter().map(|key| key.name()).eq(members.asked().iter().copied()),
            "keys other than the declared ones are read: {:?}",
            members.asked()
        );
        members.refuse_others();
        object
    }
}

impl Kind for Object {
    fn allowed(&self) -> String {
        "an object".to_owned()
    }

    fn schema(&self) -> Json {
        let required = self.keys.iter().filter(|key| matches!(key.absent(), Absent::Refused));
        let required: Vec<_> = required.map(|key| key.name()).collect();
        let properties = self.keys.iter().map(|key| (key.name().to_owned(), property(*key)));
        let mut schema = json!({
            "type": "object",
            "properties": Json::Object(properties.collect()),
            "additionalProperties": false,
        });
        let between = serde_json::from_str(self.between).ok();
        if let (Some(members), Some(Json::Object(between))) = (schema.as_object_mut(), between) {
            if !required.is_empty() {
                members.insert("required".to_owned(), required.into());
            }
            members.extend(between);
        }
        schema
    }

    fn object(&self) -> Option<(&Object, bool)> {
        Some((self, false))
    }
}

/// The schema of what stands at a key.
fn property(key: &dyn AnyKey) -> Json {
    let mut schema = key.takes().schema();
    if let Some(members) = schema.as_object_mut() {
        members.insert("description".to_owned(), key.doc().into());
        if let Absent::Is(text) = key.absent() {
            members.insert("default".to_owned(), serde_json::from_str(text).unwrap_or_default());
        }
    }
    schema
}
