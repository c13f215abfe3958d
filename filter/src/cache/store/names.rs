//! What things are called in Redis: `mp:{<namespace>}:<kind>:1:<id>`, all of a namespace in one slot of a cluster.

use sha2::{Digest as _, Sha256};

use crate::cache::stored::GroupId;
use crate::cache::vary::Values;

/// What is common to all representations of one resource: origin and path with query, as a key has them
/// ([`crate::cache::key`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Origin and path, a line each.
    pub text: Vec<u8>,
    /// The host, perhaps with a port.
    pub host: Vec<u8>,
}

/// Names a stored response: a digest of its primary key and of what it varies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId(pub [u8; 16]);

/// Where a stored response is, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its URL.
    pub url: Url,
    /// The digest of its primary key.
    pub primary: [u8; 16],
    /// It.
    pub object: ObjectId,
}

impl Url {
    /// Of a primary key, which begins with scheme, authority and path.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        let mut lines = key.splitn(4, |byte| *byte == b'\n');
        let [scheme, host, path] =
            [lines.next(), lines.next(), lines.next()].map(Option::unwrap_or_default);
        Self { text: [scheme, host, path].join(&b'\n'), host: host.to_vec() }
    }

    /// What records of its invalidation go by.
    #[must_use]
    pub fn digest(&self) -> [u8; 16] {
        digest_of(&self.text)
    }
}

impl Place {
    /// Of a primary key and what the request has that responses vary on.
    #[must_use]
    pub fn of(key: &[u8], values: &Values) -> Self {
        Self::with(key, Self::primary(key), values)
    }

    /// The digest of a primary key.
    #[must_use]
    pub fn primary(key: &[u8]) -> [u8; 16] {
        digest_of(key)
    }

    /// As [`Self::of`], for a key whose digest is known.
    #[must_use]
    pub fn with(key: &[u8], primary: [u8; 16], values: &Values) -> Self {
        let mut whole = primary.to_vec();
        values.write(&mut whole);
        Self { url: Url::of(key), primary, object: ObjectId(digest_of(&whole)) }
    }
}

/// What a record of an invalidation is about, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// A URL: [`Url::digest`].
    Url([u8; 16]),
    /// A group.
    Group(GroupId),
    /// Anything else: all may be concerned.
    Other,
}

impl Record {
    /// Of the name of a record, as the store tells it.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        let kind = |kind: &[u8]| {
            let name = [b"cache-invalid:1:", kind].concat();
            move |text: &[u8]| {
                let at = text.windows(name.len()).position(|window| window == name)?;
                text.get(at.saturating_add(name.len())..).map(<[u8]>::to_vec)
            }
        };
        if let Some(id) = kind(b"g:")(name).and_then(|id| id.try_into().ok()) {
            return Self::Group(GroupId(id));
        }
        let url = kind(b"u:")(name).and_then(|word| ObjectId::parse(&word));
        url.map_or(Self::Other, |ObjectId(digest)| Self::Url(digest))
    }
}

impl ObjectId {
    /// As keys and messages have it.
    #[must_use]
    pub fn word(self) -> String {
        hex(&self.0)
    }

    /// Reads [`Self::word`].
    #[must_use]
    pub fn parse(word: &[u8]) -> Option<Self> {
        let word = std::str::from_utf8(word)
            .ok()
            .filter(|word| word.len() == 32 && !word.starts_with('+'))?;
        u128::from_str_radix(word, 16).ok().map(|number| Self(number.to_be_bytes()))
    }
}

/// The names of one namespace.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn new(namespace: &str) -> Self {
        Self { prefix: format!("mp:{{{namespace}}}:") }
    }

    fn name(&self, kind: &str, id: &str) -> Vec<u8> {
        format!("{}{kind}:1:{id}", self.prefix).into_bytes()
    }

    pub(super) fn vary(&self, place: &Place) -> Vec<u8> {
        self.name("cache-vary", &hex(&place.primary))
    }

    pub(super) fn object(&self, object: ObjectId) -> Vec<u8> {
        self.name("cache", &object.word())
    }

    pub(super) fn lock(&self, object: ObjectId) -> Vec<u8> {
        self.name("cache-lock", &object.word())
    }

    pub(super) fn epoch(&self) -> Vec<u8> {
        self.name("cache-epoch", "")
    }

    pub(super) fn records(&self) -> Vec<u8> {
        self.name("cache-records", "")
    }

    /// What the names of all records of invalidations begin with.
    pub(super) fn invalidated(&self) -> Vec<u8> {
        self.name("cache-invalid", "")
    }

    pub(super) fn invalidated_all(&self) -> Vec<u8> {
        self.name("cache-invalid", "a")
    }

    pub(super) fn invalidated_host(&self, host: &[u8]) -> Vec<u8> {
        self.name("cache-invalid", &format!("h:{}", hex(&digest_of(host))))
    }

    pub(super) fn invalidated_url(&self, url: &[u8]) -> Vec<u8> {
        self.name("cache-invalid", &format!("u:{}", hex(&digest_of(url))))
    }

    pub(super) fn invalidated_prefixes(&self) -> Vec<u8> {
        self.name("cache-invalid", "p")
    }

    pub(super) fn invalidated_groups(&self) -> Vec<u8> {
        self.name("cache-invalid", "g:")
    }

    pub(super) fn invalidated_group(&self, group: GroupId) -> Vec<u8> {
        [self.invalidated_groups(), group.0.to_vec()].concat()
    }

    pub(super) fn channel(&self) -> String {
        format!("{}cache", self.prefix)
    }
}

/// The first 128 bits of SHA-256: nobody can make two that are alike.
fn digest_of(bytes: &[u8]) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let (half, _) = digest.split_at(16);
    half.try_into().unwrap_or_default()
}

fn hex(digest: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*digest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::fields::Fields;
    use crate::cache::vary;

    #[test]
    fn a_place_is_of_a_key_and_of_what_it_varies_on() {
        let names = vary::Names::parse(b"a").unwrap();
        let values = |value| names.values(&[("a", value)].into_iter().collect());
        let none = vary::Names::default().values(&Fields::default());
        let (one, other) = (b"http\nexample.com\n/a\nx=1", b"http\nexample.com\n/a\nx=2");
        let places = [
            Place::of(one, &none),
            Place::of(other, &none),
            Place::of(one, &values("1")),
            Place::of(one, &values("2")),
        ];
        for (at, place) in places.iter().enumerate() {
            assert!(places[at + 1..].iter().all(|other| other.object != place.object));
            assert_eq!(place.url.text, b"http\nexample.com\n/a", "one URL");
            assert_eq!(place.url.host, b"example.com");
        }
        assert_eq!(places[0].primary, places[2].primary);
    }

    #[test]
    fn ids_can_be_read_back() {
        for id in [ObjectId([0; 16]), ObjectId([255; 16]), ObjectId([7; 16])] {
            assert_eq!(ObjectId::parse(id.word().as_bytes()), Some(id));
        }
        for word in
            ["", "0", "g0000000000000000000000000000000", "+0000000000000000000000000000000"]
        {
            assert_eq!(ObjectId::parse(word.as_bytes()), None, "{word}");
        }
    }
}
