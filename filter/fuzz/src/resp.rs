//! Replies: read the same however they are cut, and never more of them than the limits allow.

use meliproxy::redis::{Decoder, Limits, ProtocolError, ServerError, Value};
use meliproxy::rng::Rng;

use crate::input::Input;

/// Limits that an input of some hundred bytes meets.
const TIGHT: Limits = Limits {
    bulk_bytes: 40,
    line_bytes: 20,
    aggregate_elements: 8,
    reply_elements: 24,
    depth: 3,
    held_bytes: 200,
};

/// All values read, and the error that ended it, if one did.
type Reading = (Vec<Value>, Option<ProtocolError>);

/// The first byte says how the others are cut.
pub fn resp(data: &[u8]) {
    let mut input = Input::new(data);
    let cuts = u64::from(input.byte());
    let bytes = input.rest();
    let whole = read(Limits::default(), [bytes]);
    assert_same(&read(Limits::default(), pieces(bytes, cuts)), &whole);
    assert_same(&read(Limits::default(), bytes.chunks(1)), &whole);

    let (values, error) = read(TIGHT, pieces(bytes, cuts));
    for value in &values {
        let elements = elements_of(value, TIGHT.depth);
        assert!(elements <= TIGHT.reply_elements, "{elements} elements of {value:?}");
    }
    // Limits end a reading earlier, and change nothing before that.
    let until_then = whole.0.iter().take(values.len()).cloned().collect();
    match error {
        Some(_) => assert_same(&(values, None), &(until_then, None)),
        None => assert_same(&(values, None), &whole),
    }
}

fn read<'a>(limits: Limits, pieces: impl IntoIterator<Item = &'a [u8]>) -> Reading {
    let mut decoder = Decoder::new(limits);
    let mut values = Vec::new();
    for piece in pieces {
        decoder.feed(piece);
        loop {
            match decoder.poll_value() {
                Ok(Some(value)) => values.push(value),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.poll_value(), Err(error), "an error stays");
                    return (values, Some(error));
                }
            }
        }
    }
    (values, None)
}

fn pieces(bytes: &[u8], cuts: u64) -> impl Iterator<Item = &[u8]> {
    let (mut rng, mut rest) = (Rng::with_seed(cuts), bytes);
    std::iter::from_fn(move || {
        let length = usize::try_from(rng.up_to(16)).unwrap();
        let (piece, after) = rest.split_at(length.min(rest.len()));
        (!std::mem::replace(&mut rest, after).is_empty()).then_some(piece)
    })
}

/// NaN is not itself, but reads the same.
fn assert_same(one: &Reading, other: &Reading) {
    assert!(
        one == other || format!("{one:?}") == format!("{other:?}"),
        "read once as {one:?}, once as {other:?}"
    );
}

/// How many values there are in a value, which nests at most `depth` deep and is within the other limits.
fn elements_of(value: &Value, depth: usize) -> usize {
    let inner = |values: &[Value]| {
        assert!(depth > 0, "deeper than allowed: {values:?}");
        assert!(values.len() <= TIGHT.aggregate_elements, "{} elements", values.len());
        values.iter().map(|value| elements_of(value, depth - 1)).sum()
    };
    let (longest, elements) = match value {
        Value::Simple(line) | Value::BigNumber(line) => (line.len(), 0),
        Value::Bulk(bytes) | Value::Verbatim(_, bytes) => (bytes.len(), 0),
        Value::Error(error) => {
            let _ = ServerError::of(error);
            (error.len(), 0)
        }
        Value::Array(values) | Value::Set(values) | Value::Push(values) => (0, inner(values)),
        Value::Map(pairs) => {
            let all: Vec<_> = pairs.iter().cloned().flat_map(|(key, value)| [key, value]).collect();
            (0, inner(&all))
        }
        Value::Null | Value::Integer(_) | Value::Double(_) | Value::Boolean(_) => (0, 0),
    };
    let allowed = if matches!(value, Value::Simple(_) | Value::BigNumber(_)) {
        TIGHT.line_bytes
    } else {
        TIGHT.bulk_bytes
    };
    assert!(longest <= allowed, "{longest} bytes of {value:?}");
    elements + 1
}
