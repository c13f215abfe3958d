//! Keys that a rule treats otherwise.
//!
//! Partner lists are long and mostly name single values, so those are looked up and not tried one after the other:
//! however many there are, a request is looked up once for each set of parts that overrides look at, usually one.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::config::{KeyPart, Override, Pattern, Treatment};
use crate::http::address::Block;
use crate::key::{PartList, PartPlace, Parts, plain_host};

/// The overrides of one rule, in the order of the configuration: the first that matches counts.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Those that want single values, by what they look at.
    tables: Vec<Table>,
    /// All others.
    tried: Vec<Tried>,
}

/// What an override looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    /// The client's whole address.
    Client,
    /// A part as it is counted.
    Part(PartPlace),
}

/// What a subject has to be.
#[derive(Clone, Debug)]
enum Test {
    Is(Vec<u8>),
    /// For the client alone.
    IsIn(Block),
}

/// Overrides that want single values of the same subjects.
#[derive(Clone, Debug)]
struct Table {
    /// In order, none twice.
    subjects: Vec<Subject>,
    /// By the values of the subjects, see [`push_value`]; with its place among all overrides of the rule.
    entries: HashMap<Vec<u8>, (usize, Treatment)>,
}

/// An override that has to be tried.
#[derive(Clone, Debug)]
struct Tried {
    place: usize,
    tests: Vec<(Subject, Test)>,
    treatment: Treatment,
}

impl Overrides {
    /// Makes `overrides` ready; the parts they look at are added to `parts`.
    #[must_use]
    pub fn new(overrides: &[Override], parts: &mut PartList) -> Self {
        let mut all = Self::default();
        for (place, entry) in overrides.iter().enumerate() {
            let mut tests: Vec<(Subject, Test)> =
                entry.matches.iter().map(|(part, pattern)| test(part, pattern, parts)).collect();
            tests.sort_by_key(|(subject, _)| *subject);
            match values(&tests) {
                Some((subjects, values)) => all.insert(subjects, values, place, entry.treatment),
                None => all.tried.push(Tried { place, tests, treatment: entry.treatment }),
            }
        }
        all
    }

    /// What becomes of the key that a request with these `parts` has, if it is treated otherwise. A missing part
    /// matches nothing.
    pub fn find(&self, parts: &mut Parts<'_>) -> Option<Treatment> {
        let looked_up = self.tables.iter().filter_map(|table| table.find(parts));
        let first = looked_up.min_by_key(|(place, _)| *place);
        let mut earlier = self
            .tried
            .iter()
            .take_while(|tried| first.is_none_or(|(place, _)| tried.place < place));
        match earlier.find(|tried| tried.matches(parts)) {
            Some(tried) => Some(tried.treatment),
            None => first.map(|(_, treatment)| treatment),
        }
    }

    fn insert(
        &mut self,
        subjects: Vec<Subject>,
        values: Vec<u8>,
        place: usize,
        treatment: Treatment,
    ) {
        let table = match self.tables.iter_mut().find(|table| table.subjects == subjects) {
            Some(table) => table,
            None => self.tables.push_mut(Table { subjects, entries: HashMap::new() }),
        };
        table.entries.entry(values).or_insert((place, treatment));
    }
}

impl Table {
    fn find(&self, parts: &mut Parts<'_>) -> Option<(usize, Treatment)> {
        let mut values = Vec::new();
        for subject in &self.subjects {
            subject.with_value(parts, |value| push_value(&mut values, value))?;
        }
        self.entries.get(&values).copied()
    }
}

impl Tried {
    fn matches(&self, parts: &mut Parts<'_>) -> bool {
        self.tests.iter().all(|(subject, test)| match test {
            Test::Is(wanted) => subject.with_value(parts, |value| value == wanted) == Some(true),
            Test::IsIn(block) => {
                parts.client_address().is_some_and(|address| block.contains(address))
            }
        })
    }
}

impl Subject {
    fn with_value<T>(self, parts: &mut Parts<'_>, then: impl FnOnce(&[u8]) -> T) -> Option<T> {
        match self {
            Self::Client => parts.client_address().map(|address| then(&octets(address))),
            Self::Part(place) => parts.value(place).map(then),
        }
    }
}

fn test(part: &KeyPart, pattern: &Pattern, parts: &mut PartList) -> (Subject, Test) {
    match pattern {
        Pattern::Exact(text) => {
            let wanted = match part {
                KeyPart::Host => plain_host(text.as_bytes()),
                KeyPart::ClientAddress
                | KeyPart::Path
                | KeyPart::Route
                | KeyPart::Method
                | KeyPart::Header(_)
                | KeyPart::Cookie(_)
                | KeyPart::Query(_) => text.as_bytes().to_vec(),
            };
            (Subject::Part(parts.add(part)), Test::Is(wanted))
        }
        Pattern::Block(address, prefix) => {
            let block = Block::new(*address, *prefix);
            let single = block.single().map(|address| Test::Is(octets(address)));
            (Subject::Client, single.unwrap_or(Test::IsIn(block)))
        }
    }
}

/// The subjects of tests that want single values, each of another subject, and those values for a [`Table`].
fn values(tests: &[(Subject, Test)]) -> Option<(Vec<Subject>, Vec<u8>)> {
    let (mut subjects, mut values) = (Vec::new(), Vec::new());
    for (subject, test) in tests {
        let Test::Is(value) = test else { return None };
        if subjects.last() == Some(subject) {
            return None;
        }
        subjects.push(*subject);
        push_value(&mut values, value);
    }
    Some((subjects, values))
}

/// Appends a value so that no two lists of values are written alike: its length goes first.
fn push_value(values: &mut Vec<u8>, value: &[u8]) {
    values.extend_from_slice(&value.len().to_le_bytes());
    values.extend_from_slice(value);
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
