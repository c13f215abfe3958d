//! `breakers[].failure_statuses`: with which statuses an upstream has failed.

use std::ops::RangeInclusive;

use serde_json::{Value as Json, json};

use super::super::Statuses;
use super::super::key::{Kind, Reads};
use super::super::kind::{Whole, Words};
use super::super::reader::Value;

/// Errors of client and server (RFC 9110 §15).
const STATUS: Whole<u16> = Whole::new(400..=599);

const SERVER_ERRORS: RangeInclusive<u16> = 500..=599;

const CLASS: Words<RangeInclusive<u16>> = Words(&[("4xx", 400..=499), ("5xx", SERVER_ERRORS)]);

/// All that says the upstream is at fault.
pub(super) fn default() -> Statuses {
    SERVER_ERRORS.collect()
}

/// One status, or a class of them.
pub(super) struct StatusKind;

impl Kind for StatusKind {
    fn allowed(&self) -> String {
        format!("{}, or {}", STATUS.allowed(), CLASS.allowed())
    }

    fn schema(&self) -> Json {
        json!({"anyOf": [STATUS.schema(), CLASS.schema()]})
    }
}

impl Reads for StatusKind {
    type Out<'d> = RangeInclusive<u16>;

    fn read<'d>(&self, value: &Value<'d>) -> Option<RangeInclusive<u16>> {
        let status = value.as_whole().and_then(|number| STATUS.number(number));
        let class = || value.as_text().and_then(|text| CLASS.meaning(text));
        let statuses = status.map(|status| status..=status).or_else(class);
        statuses.or_else(|| value.refuse(self.allowed()))
    }
}
