//! `quotas[].cost`: what a request takes of a limit.

use std::num::NonZeroU64;

use serde_json::{Value as Json, json};

use super::super::Cost;
use super::super::key::{Absent, Key, Kind, Object, Reads};
use super::super::kind::{Text, Whole};
use super::super::reader::Value;
use super::key_part::FIELD_NAME;

/// One unit for each request.
pub(super) const DEFAULT: Cost = Cost { units: NonZeroU64::MIN, header: None };

const UNITS: Whole<NonZeroU64> = Whole::new(1..=1_000_000);

const HEADER: Key<Text> = Key {
    name: "header",
    doc: "the request header that says how many units, as a whole number from 1 to 1000000",
    takes: FIELD_NAME,
    absent: Absent::Refused,
};

const DEFAULT_KEY: Key<Whole<NonZeroU64>> = Key {
    name: "default",
    doc: "units of a request whose header is absent or says anything else",
    takes: UNITS,
    absent: Absent::Is("1"),
};

const OBJECT: Object = Object { keys: &[&HEADER, &DEFAULT_KEY], between: "{}" };

/// A number, or an object that names a header.
pub(super) struct CostKind;

impl Kind for CostKind {
    fn allowed(&self) -> String {
        format!("{}, or an object with \"header\"", UNITS.allowed())
    }

    fn schema(&self) -> Json {
        json!({"anyOf": [UNITS.schema(), OBJECT.schema()]})
    }

    fn object(&self) -> Option<(&Object, bool)> {
        Some((&OBJECT, false))
    }
}

impl Reads for CostKind {
    type Out<'d> = Cost;

    fn read<'d>(&self, value: &Value<'d>) -> Option<Cost> {
        if value.as_object().is_none() {
            let units = value.as_whole().and_then(|number| UNITS.number(number));
            let units = units.or_else(|| value.refuse(self.allowed()))?;
            return Some(Cost { units, header: None });
        }
        OBJECT.read(value, |cost| {
            let header = HEADER.read(cost);
            let units = DEFAULT_KEY.read_or(cost, DEFAULT.units);
            Some(Cost { units: units?, header: Some(header?.to_ascii_lowercase()) })
        })
    }
}
