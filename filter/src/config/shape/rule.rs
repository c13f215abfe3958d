//! `quotas[]`: the rules.

use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::super::duration::{DurationRange, Unit, WHOLE_SECONDS, Written};
use super::super::key::{Absent, Key, Kind, Object, Reads};
use super::super::kind::{Flag, List, Text, Whole, Words};
use super::super::reader::Value;
use super::super::{Algorithm, OnStoreFailure, Per, Precision, RouteIndex, Rule};
use super::answers::{self, REFUSAL, read_refusal};
use super::cost::{self, CostKind};
use super::key_part::PartKind;
use super::name::{NAME, ROUTE_NAME, find_route};
use super::overrides;

const NAME_KEY: Key<Text> = Key {
    name: "name",
    doc: "what refusals and metrics call it; unique among rules",
    takes: NAME,
    absent: Absent::Refused,
};

pub(super) const ROUTES: Key<List<Text>> = Key {
    name: "routes",
    doc: "which requests it is about",
    takes: ROUTE_NAMES,
    absent: Absent::Means("every request, also those of no route"),
};

/// The routes that an entry is about.
pub(super) const ROUTE_NAMES: List<Text> = List { length: 1..=256, of: "routes", item: ROUTE_NAME };

const BY: Key<List<PartKind>> = Key {
    name: "by",
    doc: "what requests have to agree in to be counted together",
    takes: List { length: PARTS, of: "parts", item: PartKind },
    absent: Absent::Means("one counter for all"),
};

/// Parts of one key.
pub(super) const PARTS: RangeInclusive<usize> = 1..=8;

const LIMIT: Key<Whole<NonZeroU64>> = Key {
    name: "limit",
    doc: "units that may pass in each window; a request is one unit unless `cost` says otherwise",
    takes: UNITS,
    absent: Absent::Refused,
};

/// Up to the largest integer of a structured header field (RFC 9651 §3.3.1), in which limits are announced.
pub(super) const UNITS: Whole<NonZeroU64> = Whole::new(1..=999_999_999_999_999);

const PER: Key<PerKind> = Key {
    name: "per",
    doc: "length of the window; `day` (the same as `1d`) and `month` are those of the calendar in UTC, `month` for \
          `fixed_window` alone",
    takes: PerKind,
    absent: Absent::Refused,
};

const ALGORITHM: Key<Words<Division>> = Key {
    name: "algorithm",
    doc: "how time is divided, see below",
    takes: Words(&[
        ("fixed_window", Division::FixedWindow),
        ("sliding_window", Division::SlidingWindow),
        ("token_bucket", Division::TokenBucket),
    ]),
    absent: Absent::Is(r#""fixed_window""#),
};

/// [`Algorithm`] by name alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Division {
    FixedWindow,
    SlidingWindow,
    TokenBucket,
}

const BURST: Key<Whole<NonZeroU64>> = Key {
    name: "burst",
    doc: "units that the bucket holds; for `token_bucket` alone",
    takes: UNITS,
    absent: Absent::Means("as `limit`"),
};

const PRECISION: Key<Words<Precision>> = Key {
    name: "precision",
    doc: "whether Redis is asked about every request, or each worker takes units of hot keys ahead, see below",
    takes: Words(&[("exact", Precision::Exact), ("leased", Precision::Leased)]),
    absent: Absent::Is(r#""exact""#),
};

const COST: Key<CostKind> = Key {
    name: "cost",
    doc: "units that a request takes, or the request header that says it",
    takes: CostKind,
    absent: Absent::Is("1"),
};

const OVERRIDES: Key<List<Object>> = Key {
    name: "overrides",
    doc: "keys that are treated otherwise; the first that matches counts",
    takes: List { length: 0..=256, of: "overrides", item: overrides::OBJECT },
    absent: Absent::Is("[]"),
};

const ON_STORE_FAILURE: Key<Words<OnStoreFailure>> = Key {
    name: "on_store_failure",
    doc: "what decides while Redis does not: what each process counts itself, against `limit` divided by the number of \
          processes last seen; or nothing is refused; or everything is",
    takes: Words(&[
        ("local", OnStoreFailure::Local),
        ("allow", OnStoreFailure::Allow),
        ("deny", OnStoreFailure::Deny),
    ]),
    absent: Absent::Is(r#""local""#),
};

const SHADOW: Key<Flag> = Key {
    name: "shadow",
    doc: "whether the rule only counts and tells what it would have done, and refuses nothing",
    takes: Flag,
    absent: Absent::Is("false"),
};

const ENFORCE_PERCENT: Key<Whole<u8>> = Key {
    name: "enforce_percent",
    doc: "the share of keys that the rule is for; to all others it is a shadow. Which keys those are is the same in \
          all replicas and at any time",
    takes: Whole::new(0..=100),
    absent: Absent::Is("100"),
};

pub(super) const OBJECT: Object = Object {
    keys: &[
        &NAME_KEY,
        &ROUTES,
        &BY,
        &LIMIT,
        &PER,
        &ALGORITHM,
        &BURST,
        &PRECISION,
        &COST,
        &OVERRIDES,
        &ON_STORE_FAILURE,
        &SHADOW,
        &ENFORCE_PERCENT,
        &REFUSAL,
    ],
    between: r#"{
        "allOf": [
            {
                "if": {"required": ["burst"]},
                "then": {"properties": {"algorithm": {"const": "token_bucket"}}, "required": ["algorithm"]}
            },
            {
                "if": {"properties": {"per": {"const": "month"}}, "required": ["per"]},
                "then": {"properties": {"algorithm": {"const": "fixed_window"}}}
            }
        ]
    }"#,
};

/// Reads one rule of a file whose routes have these names, and which counts IPv6 addresses by this prefix, as far as
/// they can be read.
pub(super) fn read(
    value: &Value<'_>,
    route_names: Option<&[Option<&str>]>,
    ipv6_prefix: Option<u8>,
) -> Option<Rule> {
    OBJECT.read(value, |rule| {
        let name = NAME_KEY.read(rule);
        let routes = read_routes(&ROUTES.of(rule), route_names);
        let by = BY
            .of(rule)
            .or(Vec::new(), |list| BY.takes.distinct(list, |value| PartKind.read(value)));
        let limit = LIMIT.read(rule);
        let per_value = PER.of(rule);
        let per = PER.takes.read(&per_value);
        let division = ALGORITHM.read_or(rule, Division::FixedWindow);
        let burst = read_burst(&BURST.of(rule), division);
        let precision = PRECISION.read_or(rule, Precision::Exact);
        let cost = COST.of(rule).or(cost::DEFAULT, |value| COST.takes.read(value));
        let overrides = OVERRIDES.of(rule);
        let overrides = overrides.or(Vec::new(), |list| {
            let context =
                overrides::Context { by: by.as_deref(), division, route_names, ipv6_prefix };
            overrides::read_all(&OVERRIDES.takes.items(list)?, &context)
        });
        let on_store_failure = ON_STORE_FAILURE.read_or(rule, OnStoreFailure::Local);
        let shadow = SHADOW.read_or(rule, false);
        let enforce_percent = ENFORCE_PERCENT.read_or(rule, 100);
        let refusal =
            REFUSAL.of(rule).optional(|value| read_refusal(value, answers::DEFAULT_STATUS));
        if per == Some(Per::Month) && division.is_some_and(|word| word != Division::FixedWindow) {
            let allowed = format!("{SPAN}, or \"day\" (\"month\" is for \"fixed_window\" alone)");
            per_value.refuse::<()>(allowed);
        }
        let limit = limit?;
        let algorithm = match division? {
            Division::FixedWindow => Algorithm::FixedWindow,
            Division::SlidingWindow => Algorithm::SlidingWindow,
            Division::TokenBucket => Algorithm::TokenBucket { burst: burst?.unwrap_or(limit) },
        };
        burst?;
        Some(Rule {
            name: name?.to_owned(),
            routes: routes?,
            by: by?,
            limit,
            per: per?,
            algorithm,
            precision: precision?,
            cost: cost?,
            overrides: overrides?,
            on_store_failure: on_store_failure?,
            shadow: shadow?,
            enforce_percent: enforce_percent?,
            refusal: refusal?,
        })
    })
}

/// Reads the `routes` that an entry is about.
pub(super) fn read_routes(
    value: &Value<'_>,
    route_names: Option<&[Option<&str>]>,
) -> Option<Option<Vec<RouteIndex>>> {
    value.optional(|list| {
        ROUTE_NAMES.distinct(list, |value| {
            let name = ROUTE_NAME.read(value)?;
            find_route(value, name, route_names?)
        })
    })
}

/// Reads a `burst`, which only buckets have.
pub(super) fn read_burst(
    value: &Value<'_>,
    division: Option<Division>,
) -> Option<Option<NonZeroU64>> {
    value.optional(|burst| match division {
        Some(Division::TokenBucket) | None => UNITS.read(burst),
        Some(Division::FixedWindow | Division::SlidingWindow) => {
            burst.refuse("no burst, which is for \"token_bucket\" alone")
        }
    })
}

/// The length of a window.
struct PerKind;

const SPAN: DurationRange =
    DurationRange { units: WHOLE_SECONDS, min: Written(1, Unit::S), max: Written(365, Unit::D) };

const CALENDAR: Words<Per> =
    Words(&[("day", Per::Span(Duration::from_secs(24 * 60 * 60))), ("month", Per::Month)]);

impl Kind for PerKind {
    fn allowed(&self) -> String {
        format!("{SPAN}, or {}", CALENDAR.allowed())
    }

    fn schema(&self) -> Json {
        json!({"anyOf": [SPAN.schema(), CALENDAR.schema()]})
    }
}

impl Reads for PerKind {
    type Out<'d> = Per;

    fn read<'d>(&self, value: &Value<'d>) -> Option<Per> {
        let text = value.as_text();
        let span = text.and_then(|text| SPAN.parse(text)).map(Per::Span);
        let word = || text.and_then(|text| CALENDAR.meaning(text));
        span.or_else(word).or_else(|| value.refuse(self.allowed()))
    }
}
