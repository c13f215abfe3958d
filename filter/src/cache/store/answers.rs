//! What Redis answers. Anything else is no answer, and the response is fetched.

use super::calls::id;
use crate::cache::stored::Stored;
use crate::cache::vary::Names;
use crate::redis::Value;

/// What there is of a response that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Responses of this key vary on these names: it is elsewhere.
    Names(Names),
    /// It.
    Stored {
        /// It.
        stored: Box<Stored>,
        /// The invalidation since when it counts as stale, if there is one: an epoch.
        invalid_since: Option<u64>,
        /// What is invalidated from here on is newer.
        epoch: u64,
    },
    /// Nothing.
    Missing {
        /// The epoch of what is fetched from now on.
        epoch: u64,
        /// Who fetches it.
        lock: Lock,
    },
}

/// Who fetches a response that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Who has asked.
    Mine,
    /// Somebody else: it is told when it is there.
    Taken,
    /// Everyone for themselves: such responses are not stored.
    Useless,
    /// Nobody has asked for it.
    NotAsked,
    /// What is there is not what was to be validated any more.
    Changed,
}

/// What has come of storing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is stored.
    Stored,
    /// It was invalidated since it was asked for.
    Invalidated,
    /// The header is of another body than the one that is there.
    Changed,
}

/// Reads the answer to a lookup. A stored response that cannot be read, or is not of this key, is missing.
#[must_use]
pub fn found(answer: &Value, key: &[u8]) -> Option<Found> {
    let Value::Array(values) = answer else { return None };
    let word = |place: usize| values.get(place).and_then(Value::as_bytes);
    let epoch = |place: usize| match values.get(place) {
        Some(Value::Integer(epoch)) => u64::try_from(*epoch).ok(),
        _ => None,
    };
    match word(0)? {
        b"names" => Names::parse(word(1)?).map(Found::Names),
        b"found" => {
            let stored = Stored::read(word(1)?).filter(|stored| stored.key == key);
            let Some(stored) = stored else {
                return Some(Found::Missing { epoch: epoch(2)?, lock: Lock::NotAsked });
            };
            let invalid_since = Some(epoch(3)?).filter(|since| *since > 0);
            Some(Found::Stored { stored: Box::new(stored), invalid_since, epoch: epoch(2)? })
        }
        b"missing" => Some(Found::Missing { epoch: epoch(1)?, lock: lock(values.get(2)?)? }),
        _ => None,
    }
}

/// Reads the answer to the question who fetches.
#[must_use]
pub fn lock(answer: &Value) -> Option<Lock> {
    match answer.as_bytes()? {
        b"mine" => Some(Lock::Mine),
        b"taken" => Some(Lock::Taken),
        b"useless" => Some(Lock::Useless),
        b"none" => Some(Lock::NotAsked),
        b"changed" => Some(Lock::Changed),
        _ => None,
    }
}

/// The body in an answer, if it is the one of this header.
#[must_use]
pub fn body(answer: &Value, stored: &Stored) -> Option<Vec<u8>> {
    let body = answer.as_bytes()?.strip_prefix(&id(stored.body))?;
    (body.len() as u64 == stored.body_bytes).then(|| body.to_vec())
}

/// Reads the answer to a put.
#[must_use]
pub fn put(answer: &Value) -> Option<Put> {
    match answer.as_bytes()? {
        b"stored" => Some(Put::Stored),
        b"invalidated" => Some(Put::Invalidated),
        b"changed" => Some(Put::Changed),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::stored::tests::stored;

    fn bulk(bytes: &[u8]) -> Value {
        Value::Bulk(bytes.to_vec())
    }

    #[test]
    fn what_is_found_is_of_the_key() {
        let stored = stored(200, &[("cache-control", "max-age=60")]);
        let header = bulk(&stored.write().unwrap());
        let answer =
            Value::Array(vec![bulk(b"found"), header, Value::Integer(5), Value::Integer(4)]);
        let (expected, invalid_since) = (Box::new(stored.clone()), Some(4));
        let expected = Found::Stored { stored: expected, invalid_since, epoch: 5 };
        assert_eq!(found(&answer, &stored.key), Some(expected));
        let missing = Found::Missing { epoch: 5, lock: Lock::NotAsked };
        assert_eq!(
            found(&answer, b"http\nexample.com\n/b"),
            Some(missing.clone()),
            "of another key"
        );
        let garbage = vec![bulk(b"found"), bulk(b"\x01?"), Value::Integer(5), Value::Integer(0)];
        assert_eq!(found(&Value::Array(garbage), &stored.key), Some(missing));
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for answer in [
            Value::Null,
            Value::Error(b"ERR".to_vec()),
            Value::Array(vec![]),
            Value::Array(vec![bulk(b"found")]),
            Value::Array(vec![bulk(b"missing"), Value::Integer(-1), bulk(b"mine")]),
            Value::Array(vec![bulk(b"missing"), Value::Integer(1), bulk(b"yours")]),
            Value::Array(vec![bulk(b"names"), bulk(b"*")]),
        ] {
            assert_eq!(found(&answer, b"key"), None, "{answer:?}");
        }
    }

    #[test]
    fn a_body_is_that_of_its_header() {
        let stored = stored(200, &[("cache-control", "max-age=60")]);
        let whole = [&id(stored.body)[..], b"01234567890"].concat();
        assert_eq!(body(&bulk(&whole), &stored), Some(b"01234567890".to_vec()));
        for bad in [&b""[..], b"0", &whole[..whole.len() - 1], b"xxxxxxxx01234567890"] {
            assert_eq!(body(&bulk(bad), &stored), None);
        }
        assert_eq!(body(&Value::Null, &stored), None);
    }
}
