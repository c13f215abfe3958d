//! Reads values out of the JSON tree and notes what is wrong with each, so that one pass meets every problem.
//!
//! A [`Value`] may be absent: it is then refused with the same words as a wrong one, which makes a missing setting
//! say what it should have been.

use super::error::{Problem, Problems};
use super::json::{Content, Node};

/// Longest piece of a file that is quoted in a message, in characters.
const QUOTED_CHARS: usize = 64;

/// Most names that one message lists.
const LISTED_NAMES: usize = 16;

/// Most letters in which a word may differ from the one that was probably meant.
const MAX_TYPOS: usize = 2;

/// The place of one value in the file, and the value if there is one.
pub(super) struct Value<'d> {
    node: Option<&'d Node>,
    path: String,
    order: usize,
    problems: &'d Problems,
}

impl<'d> Value<'d> {
    /// The whole file.
    pub(super) fn root(node: &'d Node, problems: &'d Problems) -> Self {
        Self { node: Some(node), path: String::new(), order: node.order, problems }
    }

    /// Notes that this value is not among the `allowed` ones.
    pub(super) fn refuse<T>(&self, allowed: impl Into<String>) -> Option<T> {
        self.refuse_found(self.found(), allowed)
    }

    /// [`Self::refuse`] with more to say about what was found.
    pub(super) fn refuse_found<T>(&self, found: String, allowed: impl Into<String>) -> Option<T> {
        let path = if self.path.is_empty() { "the file".to_owned() } else { self.path.clone() };
        self.problems.note(self.order, Problem { path, found, allowed: allowed.into() });
        None
    }

    /// This value in a message.
    pub(super) fn found(&self) -> String {
        match self.node.map(|node| &node.content) {
            None => "nothing".to_owned(),
            Some(Content::Object(_)) => "an object".to_owned(),
            Some(Content::List(items)) => format!("a list of {}", items.len()),
            Some(Content::Text(text)) => quoted(text),
            Some(Content::Whole(number)) => number.to_string(),
            Some(Content::Flag(flag)) => flag.to_string(),
            Some(Content::Other(text)) => text.clone(),
        }
    }

    /// Where this value stands.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// What `read` makes of this value, or `default` if there is none.
    pub(super) fn or<T>(&self, default: T, read: impl FnOnce(&Self) -> Option<T>) -> Option<T> {
        if self.node.is_some() { read(self) } else { Some(default) }
    }

    /// What `read` makes of this value if there is one.
    pub(super) fn optional<T>(&self, read: impl FnOnce(&Self) -> Option<T>) -> Option<Option<T>> {
        self.or(None, |value| read(value).map(Some))
    }

    /// Whether there is a value.
    pub(super) const fn is_present(&self) -> bool {
        self.node.is_some()
    }

    /// The text, if it is one. Like the other `as_`s it notes nothing otherwise.
    pub(super) fn as_text(&self) -> Option<&'d str> {
        match &self.node?.content {
            Content::Text(text) => Some(text),
            Content::Object(_)
            | Content::List(_)
            | Content::Whole(_)
            | Content::Flag(_)
            | Content::Other(_) => None,
        }
    }

    /// The number, if it is a whole one that is not negative.
    pub(super) fn as_whole(&self) -> Option<u64> {
        match self.node?.content {
            Content::Whole(number) => Some(number),
            Content::Object(_)
            | Content::List(_)
            | Content::Text(_)
            | Content::Flag(_)
            | Content::Other(_) => None,
        }
    }

    /// Whether this is `true`, if it is that or `false`.
    pub(super) fn as_flag(&self) -> Option<bool> {
        match self.node?.content {
            Content::Flag(flag) => Some(flag),
            Content::Object(_)
            | Content::List(_)
            | Content::Text(_)
            | Content::Whole(_)
            | Content::Other(_) => None,
        }
    }

    /// The items, if this is a list.
    pub(super) fn as_list(&self) -> Option<Vec<Self>> {
        let Content::List(items) = &self.node?.content else { return None };
        let item = |(index, node): (usize, &'d Node)| Self {
            node: Some(node),
            path: format!("{}[{index}]", self.path),
            order: node.order,
            problems: self.problems,
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// The members, if this is an object.
    pub(super) fn as_object(&self) -> Option<Members<'_, 'd>> {
        match &self.node?.content {
            Content::Object(members) => Some(Members { object: self, members, asked: Vec::new() }),
            Content::List(_)
            | Content::Text(_)
            | Content::Whole(_)
            | Content::Flag(_)
            | Content::Other(_) => None,
        }
    }

    /// The member `key` of an object: absent if there is none, or if this is no object.
    pub(super) fn member(&self, key: &str) -> Self {
        let members = match self.node.map(|node| &node.content) {
            Some(Content::Object(members)) => members.as_slice(),
            _ => &[],
        };
        let node = members.iter().find(|(name, _)| name == key).map(|(_, node)| node);
        Self { node, order: node.map_or(self.order, |node| node.order), ..self.at_key(key) }
    }

    fn at_key(&self, key: &str) -> Self {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let path = if key.len() > QUOTED_CHARS || !key.chars().all(is_plain) {
            format!("{}[{}]", self.path, quoted(key))
        } else if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        };
        Self { path, ..*self }
    }
}

/// The members of an object that is being read.
pub(super) struct Members<'v, 'd> {
    object: &'v Value<'d>,
    members: &'d [(String, Node)],
    asked: Vec<&'static str>,
}

impl<'d> Members<'_, 'd> {
    /// The value of `key`, present or not.
    pub(super) fn value(&mut self, key: &'static str) -> Value<'d> {
        self.asked.push(key);
        self.object.member(key)
    }

    /// The keys that were asked for so far.
    pub(super) fn asked(&self) -> &[&'static str] {
        &self.asked
    }

    /// All members in the order of the file, each with its key.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'d str, Value<'d>)> {
        self.members.iter().map(|(key, node)| {
            let value = Value { node: Some(node), order: node.order, ..self.object.at_key(key) };
            (key.as_str(), value)
        })
    }

    /// Notes the members that were not asked for, and those that are there twice.
    pub(super) fn refuse_others(&self) {
        for (index, (key, value)) in self.all().enumerate() {
            if !self.asked.contains(&key) {
                let found = format!("an unknown key{}", did_you_mean(key, &self.asked));
                value.refuse_found::<()>(found, words_listed(self.asked.iter().copied()));
            } else if self.members.iter().take(index).any(|(earlier, _)| earlier == key) {
                value.refuse_found::<()>(format!("{} again", value.found()), "each key once");
            }
        }
    }
}

/// `"a", "b" or "c"`, or as many of them as a message should list.
pub(super) fn words_listed<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    let mut words: Vec<_> = words.into_iter().map(quoted).collect();
    let more_count = words.len().saturating_sub(LISTED_NAMES);
    words.truncate(LISTED_NAMES);
    let last = if more_count > 0 { Some(format!("{more_count} more")) } else { words.pop() };
    match last {
        Some(last) if words.is_empty() => last,
        Some(last) => format!("{} or {last}", words.join(", ")),
        None => String::new(),
    }
}

/// ` (did you mean "limit"?)` if one of the `known` words is close to `word`.
pub(super) fn did_you_mean(word: &str, known: &[&str]) -> String {
    if word.len() > QUOTED_CHARS {
        return String::new();
    }
    known
        .iter()
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= MAX_TYPOS)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= MAX_TYPOS && distance * 2 < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| format!(" (did you mean {}?)", quoted(candidate)))
        .unwrap_or_default()
}

/// Letters to insert, drop or change to get from one word to the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, a) in from.bytes().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(to.bytes()) {
            let change = diagonal + usize::from(a != b);
            diagonal = *cell;
            left = change.min(left + 1).min(*cell + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// `text` as it is written in JSON, cut if it is long.
fn quoted(text: &str) -> String {
    let mut start: String = text.chars().take(QUOTED_CHARS).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    serde_json::Value::String(start).to_string()
}
