//! The kinds of values that settings take: numbers, words, texts, lists.

use std::marker::PhantomData;
use std::num::{NonZeroU8, NonZeroU32, NonZeroU64};
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::duration::DurationRange;
use super::key::{Kind, Object, Reads};
use super::reader::{Value, words_listed};
use super::size::SizeRange;

/// A whole number, read as a `T`, which holds all of the range.
pub(super) struct Whole<T> {
    range: RangeInclusive<u64>,
    read_as: PhantomData<T>,
}

impl<T> Whole<T> {
    pub(super) const fn new(range: RangeInclusive<u64>) -> Self {
        Self { range, read_as: PhantomData }
    }
}

impl<T: Number> Whole<T> {
    /// A number of the range.
    pub(super) fn number(&self, number: u64) -> Option<T> {
        if self.range.contains(&number) { T::from_whole(number) } else { None }
    }
}

/// What a whole number is read as. `TryFrom<u64>` is not there for the smaller types without zero.
pub(super) trait Number: Sized {
    fn from_whole(number: u64) -> Option<Self>;
}

macro_rules! numbers {
    ($($number:ty as $by_way_of:ty),+) => {$(
        impl Number for $number {
            fn from_whole(number: u64) -> Option<Self> {
                <$by_way_of>::try_from(number).ok()?.try_into().ok()
            }
        }
    )+};
}

numbers!(u8 as u8, u16 as u16, u64 as u64, NonZeroU8 as u8, NonZeroU32 as u32, NonZeroU64 as u64);

impl<T> Kind for Whole<T> {
    fn allowed(&self) -> String {
        let (min, max) = (self.range.start(), self.range.end());
        if min == max { min.to_string() } else { format!("a whole number from {min} to {max}") }
    }

    fn schema(&self) -> Json {
        let (min, max) = (self.range.start(), self.range.end());
        if min == max {
            json!({"const": min})
        } else {
            json!({"type": "integer", "minimum": min, "maximum": max})
        }
    }
}

impl<T: Number> Reads for Whole<T> {
    type Out<'d> = T;

    fn read<'d>(&self, value: &Value<'d>) -> Option<T> {
        let number = value.as_whole().and_then(|number| self.number(number));
        number.or_else(|| value.refuse(self.allowed()))
    }
}

/// `true` or `false`.
pub(super) struct Flag;

impl Kind for Flag {
    fn allowed(&self) -> String {
        "true or false".to_owned()
    }

    fn schema(&self) -> Json {
        json!({"type": "boolean"})
    }
}

impl Reads for Flag {
    type Out<'d> = bool;

    fn read<'d>(&self, value: &Value<'d>) -> Option<bool> {
        value.as_flag().or_else(|| value.refuse(self.allowed()))
    }
}

/// A text.
pub(super) struct Text {
    /// What it has to be like, in words.
    pub(super) allowed: &'static str,
    /// The same as a regular expression (ECMA-262), which may match more, or empty.
    pub(super) pattern: &'static str,
    pub(super) is_allowed: fn(&str) -> bool,
}

impl Kind for Text {
    fn allowed(&self) -> String {
        self.allowed.to_owned()
    }

    fn schema(&self) -> Json {
        match self.pattern {
            "" => json!({"type": "string"}),
            pattern => json!({"type": "string", "pattern": pattern}),
        }
    }
}

impl Reads for Text {
    type Out<'d> = &'d str;

    fn read<'d>(&self, value: &Value<'d>) -> Option<&'d str> {
        let text = value.as_text().filter(|text| (self.is_allowed)(text));
        text.or_else(|| value.refuse(self.allowed))
    }
}

/// One of a few words, each with what it means.
pub(super) struct Words<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T> Words<T> {
    fn words(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(word, _)| *word)
    }

    /// What a word means.
    pub(super) fn meaning(&self, text: &str) -> Option<T>
    where
        T: Clone,
    {
        self.0.iter().find(|(word, _)| *word == text).map(|(_, meaning)| meaning.clone())
    }
}

impl<T> Kind for Words<T> {
    fn allowed(&self) -> String {
        words_listed(self.words())
    }

    fn schema(&self) -> Json {
        json!({"enum": self.words().collect::<Vec<_>>()})
    }
}

impl<T: Clone> Reads for Words<T> {
    type Out<'d> = T;

    fn read<'d>(&self, value: &Value<'d>) -> Option<T> {
        let meaning = value.as_text().and_then(|text| self.meaning(text));
        meaning.or_else(|| value.refuse(self.allowed()))
    }
}

impl Kind for DurationRange {
    fn allowed(&self) -> String {
        self.to_string()
    }

    fn schema(&self) -> Json {
        json!({"type": "string", "pattern": self.pattern()})
    }
}

impl Reads for DurationRange {
    type Out<'d> = Duration;

    fn read<'d>(&self, value: &Value<'d>) -> Option<Duration> {
        let duration = value.as_text().and_then(|text| self.parse(text));
        duration.or_else(|| value.refuse(self.allowed()))
    }
}

impl Kind for SizeRange {
    fn allowed(&self) -> String {
        self.to_string()
    }

    fn schema(&self) -> Json {
        let [min, max] = self.ends();
        json!({"anyOf": [
            {"type": "integer", "minimum": min, "maximum": max},
            {"type": "string", "pattern": self.pattern()},
        ]})
    }
}

/// In bytes.
impl Reads for SizeRange {
    type Out<'d> = u64;

    fn read<'d>(&self, value: &Value<'d>) -> Option<u64> {
        let bytes = value.as_whole().filter(|bytes| self.contains(*bytes));
        let bytes = bytes.or_else(|| value.as_text().and_then(|text| self.amount(text)));
        bytes.or_else(|| value.refuse(self.allowed()))
    }
}

/// A list.
pub(super) struct List<K> {
    pub(super) length: RangeInclusive<usize>,
    /// What the items are called.
    pub(super) of: &'static str,
    pub(super) item: K,
}

impl<K: Kind> List<K> {
    /// The items.
    pub(super) fn items<'d>(&self, value: &Value<'d>) -> Option<Vec<Value<'d>>> {
        let items = value.as_list().filter(|items| self.length.contains(&items.len()));
        items.or_else(|| value.refuse(self.allowed()))
    }

    /// What `read` makes of each item, if no two of them are equal.
    pub(super) fn distinct<'d, T: PartialEq>(
        &self,
        value: &Value<'d>,
        read: impl Fn(&Value<'d>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let mut seen: Vec<Option<T>> = Vec::new();
        for item in self.items(value)? {
            let value = read(&item);
            let repeated = value.is_some() && seen.contains(&value);
            seen.push(if repeated {
                item.refuse_found(format!("{} again", item.found()), "each of the list once")
            } else {
                value
            });
        }
        seen.into_iter().collect()
    }
}

impl<K: Kind> Kind for List<K> {
    fn allowed(&self) -> String {
        format!("a list of {} to {} {}", self.length.start(), self.length.end(), self.of)
    }

    fn schema(&self) -> Json {
        json!({
            "type": "array",
            "items": self.item.schema(),
            "minItems": self.length.start(),
            "maxItems": self.length.end(),
        })
    }

    fn reference(&self) -> String {
        match self.item.object() {
            Some(_) => self.allowed(),
            None => format!("{}, each {}", self.allowed(), self.item.reference()),
        }
    }

    fn object(&self) -> Option<(&Object, bool)> {
        self.item.object().map(|(object, _)| (object, true))
    }
}
