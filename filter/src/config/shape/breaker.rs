//! `breakers[]`: when requests are kept from an upstream that fails.

use std::num::NonZeroU32;
use std::time::Duration;

use super::super::duration::{DurationRange, Unit, Written};
use super::super::key::{Absent, Key, Object, Reads};
use super::super::kind::{Flag, List, Text, Whole, Words};
use super::super::reader::Value;
use super::super::{Breaker, Force, KeyPart, Scope};
use super::answers::{self, BREAKER_REFUSAL, read_refusal};
use super::name::NAME;
use super::rule::{ROUTES, read_routes};
use super::statuses::{self, StatusKind};
use super::trip;

const NAME_KEY: Key<Text> = Key {
    name: "name",
    doc: "what refusals and metrics call it; unique among breakers",
    takes: NAME,
    absent: Absent::Refused,
};

const BY: Key<List<Words<KeyPart>>> = Key {
    name: "by",
    doc: "what requests have to agree in to share one state",
    takes: List { length: 1..=4, of: "parts", item: PART },
    absent: Absent::Is(r#"["route"]"#),
};

/// What tells one part of an upstream from another. Who the client is does not.
const PART: Words<KeyPart> = Words(&[
    ("route", KeyPart::Route),
    ("path", KeyPart::Path),
    ("host", KeyPart::Host),
    ("method", KeyPart::Method),
]);

const FAILURE_STATUSES: Key<List<StatusKind>> = Key {
    name: "failure_statuses",
    doc: "with which statuses the upstream has failed",
    takes: List { length: 1..=32, of: "statuses", item: StatusKind },
    absent: Absent::Is(r#"["5xx"]"#),
};

/// Milliseconds to hours.
const UNITS: &[Unit] = &[Unit::Ms, Unit::S, Unit::M, Unit::H];

/// Shorter than what it takes to tell all workers of it, a time would mean nothing.
const MIN: Written<Unit> = Written(100, Unit::Ms);

const OPEN_FOR: Key<DurationRange> = Key {
    name: "open_for",
    doc: "how long it stays open the first time",
    takes: DurationRange { units: UNITS, min: MIN, max: Written(1, Unit::H) },
    absent: Absent::Is(r#""30s""#),
};

const DEFAULT_OPEN_FOR: Duration = Duration::from_secs(30);

const MAX_OPEN_FOR: Key<DurationRange> = Key {
    name: "max_open_for",
    doc: "how long it stays open at most; not less than `open_for`",
    takes: DurationRange { units: UNITS, min: MIN, max: Written(24, Unit::H) },
    absent: Absent::Means(r#"`"5m"`, or `open_for` if that is longer"#),
};

const DEFAULT_MAX_OPEN_FOR: Duration = Duration::from_secs(5 * 60);

const OBEY_RETRY_AFTER: Key<Flag> = Key {
    name: "obey_retry_after",
    doc: "whether a 429 or 503 of the upstream with `Retry-After` is a failure, and says how long to stay open",
    takes: Flag,
    absent: Absent::Is("false"),
};

const PROBES: Key<Whole<NonZeroU32>> = Key {
    name: "probes",
    doc: "trial requests that may be on their way at a time while it is half-open",
    takes: Whole::new(1..=100),
    absent: Absent::Is("1"),
};

const PROBE_TIMEOUT: Key<DurationRange> = Key {
    name: "probe_timeout",
    doc: "a trial request without a response by then has failed",
    takes: DurationRange { units: UNITS, min: MIN, max: Written(5, Unit::M) },
    absent: Absent::Is(r#""10s""#),
};

const DEFAULT_PROBE_TIMEOUT: Duration = Duration::from_secs(10);

const CLOSE_AFTER: Key<Whole<NonZeroU32>> = Key {
    name: "close_after",
    doc: "successful trial requests that close it",
    takes: Whole::new(1..=1000),
    absent: Absent::Is("1"),
};

const RAMP: Key<DurationRange> = Key {
    name: "ramp",
    doc: "how long after it closed until all requests pass again",
    takes: DurationRange { units: UNITS, min: MIN, max: Written(1, Unit::H) },
    absent: Absent::Means("none: all at once"),
};

const SCOPE: Key<Words<Scope>> = Key {
    name: "scope",
    doc: "who shares its state: all replicas, for which `redis` is needed, or the workers of each one",
    takes: Words(&[("fleet", Scope::Fleet), ("replica", Scope::Replica)]),
    absent: Absent::Means("`\"fleet\"` if the file has `redis`, otherwise `\"replica\"`"),
};

const FORCE: Key<Words<Force>> = Key {
    name: "force",
    doc: "its state by hand: `open` refuses everything, `closed` nothing; not together with `shadow`",
    takes: Words(&[("open", Force::Open), ("closed", Force::Closed)]),
    absent: Absent::Means("what its evidence makes of it"),
};

const SHADOW: Key<Flag> = Key {
    name: "shadow",
    doc: "whether the breaker only changes its state and tells what it would have done, and refuses nothing",
    takes: Flag,
    absent: Absent::Is("false"),
};

pub(super) const OBJECT: Object = Object {
    keys: &[
        &NAME_KEY,
        &ROUTES,
        &BY,
        &trip::TRIP,
        &FAILURE_STATUSES,
        &OPEN_FOR,
        &MAX_OPEN_FOR,
        &OBEY_RETRY_AFTER,
        &PROBES,
        &PROBE_TIMEOUT,
        &CLOSE_AFTER,
        &RAMP,
        &SCOPE,
        &FORCE,
        &SHADOW,
        &BREAKER_REFUSAL,
    ],
    between: r#"{
        "if": {"properties": {"shadow": {"const": true}}, "required": ["shadow"]},
        "then": {"not": {"required": ["force"]}}
    }"#,
};

/// Reads one breaker of a file whose routes have these names, as far as they can be read, and which says something of
/// Redis or not.
pub(super) fn read(
    value: &Value<'_>,
    route_names: Option<&[Option<&str>]>,
    has_redis: bool,
) -> Option<Breaker> {
    OBJECT.read(value, |breaker| {
        let name = NAME_KEY.read(breaker);
        let routes = read_routes(&ROUTES.of(breaker), route_names);
        let by = BY.of(breaker);
        let by =
            by.or(vec![KeyPart::Route], |list| BY.takes.distinct(list, |value| PART.read(value)));
        let trip = trip::TRIP.of(breaker).or(trip::DEFAULT, trip::read);
        let failure_statuses = FAILURE_STATUSES.of(breaker);
        let failure_statuses = failure_statuses.or(statuses::default(), |list| {
            let statuses = FAILURE_STATUSES.takes.distinct(list, |value| StatusKind.read(value))?;
            Some(statuses.into_iter().flatten().collect())
        });
        let open_for = OPEN_FOR.read_or(breaker, DEFAULT_OPEN_FOR);
        let max_open_for = read_max_open_for(&MAX_OPEN_FOR.of(breaker), open_for);
        let obey_retry_after = OBEY_RETRY_AFTER.read_or(breaker, false);
        let probes = PROBES.read_or(breaker, NonZeroU32::MIN);
        let probe_timeout = PROBE_TIMEOUT.read_or(breaker, DEFAULT_PROBE_TIMEOUT);
        let close_after = CLOSE_AFTER.read_or(breaker, NonZeroU32::MIN);
        let ramp = RAMP.read_or(breaker, Duration::ZERO);
        let scope = read_scope(&SCOPE.of(breaker), has_redis);
        let force_value = FORCE.of(breaker);
        let force = force_value.optional(|value| FORCE.takes.read(value));
        let shadow = SHADOW.read_or(breaker, false);
        let refusal = BREAKER_REFUSAL
            .of(breaker)
            .optional(|value| read_refusal(value, answers::DEFAULT_BREAKER_STATUS));
        let (force, shadow) = (force?, shadow?);
        if shadow && force.is_some() {
            // Forced open it would refuse all the same, or not be forced: its author may have meant either.
            return force_value.refuse("no state by hand together with \"shadow\"");
        }
        Some(Breaker {
            name: name?.to_owned(),
            routes: routes?,
            by: by?,
            trip: trip?,
            failure_statuses: failure_statuses?,
            open_for: open_for?,
            max_open_for: max_open_for?,
            obey_retry_after: obey_retry_after?,
            probes: probes?,
            probe_timeout: probe_timeout?,
            close_after: close_after?,
            ramp: ramp?,
            scope: scope?,
            force,
            shadow,
            refusal: refusal?,
        })
    })
}

fn read_max_open_for(value: &Value<'_>, open_for: Option<Duration>) -> Option<Duration> {
    let default = DEFAULT_MAX_OPEN_FOR.max(open_for.unwrap_or_default());
    let max_open_for = value.or(default, |value| MAX_OPEN_FOR.takes.read(value))?;
    if open_for.is_some_and(|open_for| max_open_for < open_for) {
        return value.refuse("no less than \"open_for\"");
    }
    Some(max_open_for)
}

fn read_scope(value: &Value<'_>, has_redis: bool) -> Option<Scope> {
    let default = if has_redis { Scope::Fleet } else { Scope::Replica };
    let scope = value.or(default, |value| SCOPE.takes.read(value))?;
    if scope == Scope::Fleet && !has_redis {
        return value.refuse("\"replica\" (\"fleet\" is for files with \"redis\" alone)");
    }
    Some(scope)
}
