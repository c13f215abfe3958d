//! A stored response without its body, and how it is written.
//!
//! What is read back is input like any other: it has a version, every part a bound, and nothing that does not belong into
//! a header gets into one.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::directives::Response;
use super::fields::Fields;
use super::freshness::Times;
use super::groups::{Group, MOST_GROUPS};
use super::storable::Storable;
use super::vary::Values;

/// The first byte of what is written. Another one is of another version of this, and nothing.
const VERSION: u8 = 1;

/// Largest header that is stored, in bytes.
pub const LARGEST_HEADER_BYTES: usize = 64 << 10;

/// Names one body: what the header was stored with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BodyId(pub u64);

/// The digest of a group's name: they may be long, and there may be many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GroupId(pub [u8; 16]);

impl GroupId {
    /// Of a group.
    #[must_use]
    pub fn of(group: &Group) -> Self {
        let digest: [u8; 32] = Sha256::digest(group.as_bytes()).into();
        let (half, _) = digest.split_at(16);
        Self(half.try_into().unwrap_or_default())
    }
}

/// A stored response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// The primary key, whole.
    pub key: Vec<u8>,
    /// What the request had that it varies on.
    pub vary: Values,
    /// Its status.
    pub status: u16,
    /// Its header.
    pub fields: Fields,
    /// When the response came, in milliseconds since 1970.
    pub received_ms: u64,
    /// How old it was then, in seconds.
    pub initial_age_s: u64,
    /// For how long it is fresh, in seconds.
    pub lifetime_s: u64,
    /// For how long after that it may be used while it is validated, in seconds.
    pub stale_while_revalidate_s: u64,
    /// For how long after that it may be used when the upstream fails, in seconds; none if it does not say.
    pub stale_if_error_s: Option<u64>,
    /// Whether it must not be used once stale.
    pub forbids_stale: bool,
    /// Whether it has to be validated before each use.
    pub no_cache: bool,
    /// The groups that it is in.
    pub groups: Vec<GroupId>,
    /// By which invalidations are older than it: when it was asked for, by the clock that counts them.
    pub epoch: u64,
    /// Its body.
    pub body: BodyId,
    /// How long that is, in bytes.
    pub body_bytes: u64,
}

impl Stored {
    /// A response that may be stored.
    #[must_use]
    pub fn new(
        key: Vec<u8>,
        vary: Values,
        status: u16,
        storable: Storable,
        times: Times,
        body: (BodyId, u64),
    ) -> Self {
        let mut stored = Self {
            key,
            vary,
            status,
            fields: Fields::default(),
            received_ms: 0,
            initial_age_s: 0,
            lifetime_s: 0,
            stale_while_revalidate_s: 0,
            stale_if_error_s: None,
            forbids_stale: false,
            no_cache: false,
            groups: Vec::new(),
            epoch: 0,
            body: body.0,
            body_bytes: body.1,
        };
        stored.renew(storable, times);
        stored
    }

    /// Puts a newer header in the place of this one.
    pub(super) fn renew(&mut self, storable: Storable, times: Times) {
        let Storable { fields, freshness, vary: _ } = storable;
        let Response { stale_while_revalidate, stale_if_error, .. } = freshness.directives;
        self.received_ms = times.received_ms;
        self.initial_age_s = freshness.initial_age_s;
        self.lifetime_s = freshness.lifetime_s;
        self.stale_while_revalidate_s = stale_while_revalidate.unwrap_or_default();
        self.stale_if_error_s = stale_if_error;
        self.forbids_stale = freshness.directives.forbids_stale();
        self.no_cache = freshness.is_no_cache();
        let groups = super::groups::groups(&fields, self.origin());
        self.groups = groups.iter().map(GroupId::of).collect();
        self.fields = fields;
    }

    /// The origin that it is of ([`super::key::origin`]).
    #[must_use]
    pub fn origin(&self) -> &[u8] {
        let mut lines = self.key.splitn(3, |byte| *byte == b'\n');
        let lengths = [lines.next(), lines.next()].map(|line| line.map_or(0, <[u8]>::len));
        let end = lengths.into_iter().fold(1, usize::saturating_add);
        self.key.get(..end).unwrap_or(&self.key)
    }

    /// How old it is (RFC 9111 §4.2.3), in seconds.
    #[must_use]
    pub fn age_s(&self, now_ms: u64) -> u64 {
        let resident_s = now_ms.saturating_sub(self.received_ms) / 1000;
        self.initial_age_s.saturating_add(resident_s)
    }

    /// Whether it is fresh (RFC 9111 §4.2).
    #[must_use]
    pub fn is_fresh(&self, now_ms: u64) -> bool {
        self.lifetime_s > self.age_s(now_ms)
    }

    /// For how long it has been stale, in seconds.
    #[must_use]
    pub fn stale_for_s(&self, now_ms: u64) -> u64 {
        self.age_s(now_ms).saturating_sub(self.lifetime_s)
    }

    /// Makes it stale from this moment on, if it is fresh for longer: in milliseconds since 1970.
    pub fn expire_at(&mut self, at_ms: u64) {
        self.lifetime_s = self.lifetime_s.min(self.age_s(at_ms));
    }

    /// Whether the upstream can be asked if it is still good.
    #[must_use]
    pub fn has_validator(&self) -> bool {
        self.fields.has("etag") || self.fields.has("last-modified")
    }

    /// Writes it. None if there is too much of it.
    #[must_use]
    pub fn write(&self) -> Option<Vec<u8>> {
        let body = postcard::to_extend(self, vec![VERSION]).ok()?;
        (body.len() <= LARGEST_HEADER_BYTES).then_some(body)
    }

    /// Reads what [`Self::write`] wrote; none if it was not that, or is not fit to be sent.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        if *version != VERSION || bytes.len() > LARGEST_HEADER_BYTES {
            return None;
        }
        let (stored, left): (Self, _) = postcard::take_from_bytes(rest).ok()?;
        let is_sound = left.is_empty()
            && (200..600).contains(&stored.status)
            && stored.groups.len() <= MOST_GROUPS
            && stored.fields.iter().all(|(name, value)| is_name(name) && is_value(value));
        is_sound.then_some(stored)
    }
}

/// RFC 9110 §5.1, in lower case.
fn is_name(name: &[u8]) -> bool {
    let is_of_name = |byte: &u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(byte)
    };
    !name.is_empty() && name.iter().all(is_of_name)
}

/// RFC 9110 §5.5.
fn is_value(value: &[u8]) -> bool {
    !value.iter().any(|byte| matches!(byte, b'\0' | b'\r' | b'\n'))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cache::policy::Policy;
    use crate::cache::request::Request;
    use crate::cache::storable::storable;

    pub(in crate::cache) const NOW_MS: u64 = 1_795_500_000_000;

    /// A response to a GET of /a, as it is stored.
    pub(in crate::cache) fn stored(status: u16, fields: &[(&str, &str)]) -> Stored {
        let times = Times { requested_ms: NOW_MS, received_ms: NOW_MS };
        let request = Request::of(b"GET", b"/a", Fields::default(), true, &[]).unwrap();
        let fields = fields.iter().copied().collect();
        let storable = storable(&Policy::default(), &request, status, &fields, times).unwrap();
        let vary = storable.vary.values(&request.fields);
        let key = b"http\nexample.com\n/a".to_vec();
        Stored::new(key, vary, status, storable, times, (BodyId(7), 11))
    }

    #[test]
    fn what_is_written_is_read() {
        let stored = stored(
            200,
            &[
                ("cache-control", "max-age=60, stale-while-revalidate=5"),
                ("cache-groups", "\"a\""),
                ("surrogate-key", "b c"),
                ("set-cookie", "a=1"),
                ("set-cookie", "b=\u{fc}"),
            ],
        );
        assert_eq!(stored.groups.len(), 3);
        assert_eq!(stored.origin(), b"http\nexample.com");
        assert_eq!(Stored::read(&stored.write().unwrap()), Some(stored));
    }

    #[test]
    fn what_is_not_that_is_nothing() {
        let good = stored(200, &[("cache-control", "max-age=60")]);
        let written = good.write().unwrap();
        for length in 0..written.len() {
            assert_eq!(Stored::read(&written[..length]), None, "cut at {length}");
        }
        assert_eq!(Stored::read(&[&written[..], b"x"].concat()), None);
        let other_version = [&[VERSION + 1], &written[1..]].concat();
        assert_eq!(Stored::read(&other_version), None);
        for (name, value) in
            [("x", "a\r\nb: c"), ("x", "a\nb"), ("x", "\0"), ("x y", "a"), ("", "a"), ("x:", "a")]
        {
            let mut bad = good.clone();
            bad.fields.push(name.as_bytes(), value.as_bytes());
            assert_eq!(Stored::read(&bad.write().unwrap()), None, "{name:?}: {value:?}");
        }
        let bad = Stored { status: 199, ..good.clone() };
        assert_eq!(Stored::read(&bad.write().unwrap()), None);
        let mut large = good;
        large.fields.push(b"x", &[b'a'; LARGEST_HEADER_BYTES]);
        assert_eq!(large.write(), None);
    }

    #[test]
    fn time_makes_it_older() {
        let stored = stored(200, &[("cache-control", "max-age=60"), ("age", "10")]);
        for (after_ms, age, is_fresh, stale_for) in [
            (0, 10, true, 0),
            (49_999, 59, true, 0),
            (50_000, 60, false, 0),
            (51_000, 61, false, 1),
        ] {
            let now = NOW_MS + after_ms;
            assert_eq!(
                (stored.age_s(now), stored.is_fresh(now), stored.stale_for_s(now)),
                (age, is_fresh, stale_for),
                "{after_ms} ms"
            );
        }
        assert_eq!(stored.age_s(0), 10, "a clock that went back");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_response_or_nothing(mut bytes in proptest::collection::vec(any::<u8>(), 1..300)) {
            bytes[0] = VERSION;
            if let Some(stored) = Stored::read(&bytes) {
                prop_assert!(Stored::read(&stored.write().unwrap()) == Some(stored));
            }
        }
    }
}
