//! Goal: whatever a server sends and however it is cut, the decoder reads what was meant, reads the
//! same each time, or refuses; within its bounds.
//!
//! Method: random values, written by a writer of this file and cut at random; the `redis-protocol`
//! crate as an independent reader of the same bytes; random and damaged bytes; and the default
//! limits, from both sides.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may panic"
)]

use meliproxy::redis::{Decoder, Limit, Limits, ProtocolError, Value};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use proptest::sample::Index;
use redis_protocol::resp2::types::OwnedFrame as Resp2;
use redis_protocol::resp3::types::{OwnedFrame as Resp3, VerbatimStringFormat};
use redis_protocol::{resp2, resp3};

/// All values read, and the error that ended it, if one did.
type Reading = (Vec<Value>, Option<ProtocolError>);

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Reading {
    let mut decoder = Decoder::default();
    let mut values = Vec::new();
    for piece in pieces {
        decoder.feed(piece);
        loop {
            match decoder.poll_value() {
                Ok(Some(value)) => values.push(value),
                Ok(None) => break,
                Err(error) => return (values, Some(error)),
            }
        }
    }
    (values, None)
}

fn cut<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.sort_unstable();
    let mut pieces = Vec::new();
    let mut start = 0;
    for cut in cuts.into_iter().chain([bytes.len()]) {
        pieces.push(&bytes[start..cut]);
        start = cut;
    }
    pieces
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    "[ -~]{0,20}".prop_map(String::into_bytes)
}

fn number() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("NaN equals nothing", |number| !number.is_nan())
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        line().prop_map(Value::Simple),
        line().prop_map(Value::Error),
        any::<i64>().prop_map(Value::Integer),
        vec(any::<u8>(), 0..40).prop_map(Value::Bulk),
        number().prop_map(Value::Double),
        any::<bool>().prop_map(Value::Boolean),
        "[+-]?[0-9]{1,40}".prop_map(|digits| Value::BigNumber(digits.into_bytes())),
        (prop_oneof![Just(*b"txt"), Just(*b"mkd")], line())
            .prop_map(|(format, text)| Value::Verbatim(format, text)),
    ]
}

/// A value as it may be an element. Keys of maps and elements of sets are distinct strings: the
/// other reader keeps them in hash tables.
fn element() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 64, 8, |inner| {
        let pairs = btree_map(line(), inner.clone(), 0..6).prop_map(|pairs| {
            Value::Map(pairs.into_iter().map(|(key, value)| (Value::Bulk(key), value)).collect())
        });
        let set = btree_set(line(), 0..6)
            .prop_map(|set| Value::Set(set.into_iter().map(Value::Bulk).collect()));
        prop_oneof![vec(inner, 0..8).prop_map(Value::Array), pairs, set]
    })
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![4 => element(), 1 => vec(element(), 0..4).prop_map(Value::Push)]
}

fn resp2_value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        line().prop_map(Value::Simple),
        line().prop_map(Value::Error),
        any::<i64>().prop_map(Value::Integer),
        vec(any::<u8>(), 0..40).prop_map(Value::Bulk),
    ];
    scalar.prop_recursive(4, 64, 8, |inner| vec(inner, 0..8).prop_map(Value::Array))
}

/// How values are written where the protocol leaves a choice.
#[derive(Clone, Copy, Debug)]
struct Manner {
    resp2: bool,
    /// Errors as strings of a length.
    blob_errors: bool,
    /// An attribute before every value.
    attributes: bool,
}

const RESP3: Manner = Manner { resp2: false, blob_errors: false, attributes: false };

fn write(value: &Value, manner: Manner, out: &mut Vec<u8>) {
    let write_line = |out: &mut Vec<u8>, kind: char, line: &[u8]| {
        out.extend(kind.to_string().bytes().chain(line.iter().copied()).chain(*b"\r\n"));
    };
    let length = |out: &mut Vec<u8>, kind, length: usize| {
        write_line(out, kind, length.to_string().as_bytes());
    };
    let text = |out: &mut Vec<u8>, kind, text: &[u8]| {
        length(out, kind, text.len());
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
    };
    if manner.attributes {
        out.extend_from_slice(b"|1\r\n+ttl\r\n*2\r\n:1\r\n,0.5\r\n");
    }
    match value {
        Value::Null if manner.resp2 => out.extend_from_slice(b"$-1\r\n"),
        Value::Null => out.extend_from_slice(b"_\r\n"),
        Value::Simple(line) => write_line(out, '+', line),
        Value::Error(line) if manner.blob_errors => text(out, '!', line),
        Value::Error(line) => write_line(out, '-', line),
        Value::Integer(number) => write_line(out, ':', number.to_string().as_bytes()),
        Value::Bulk(bytes) => text(out, '$', bytes),
        Value::Double(number) => write_line(out, ',', number.to_string().as_bytes()),
        Value::Boolean(flag) => write_line(out, '#', if *flag { b"t" } else { b"f" }),
        Value::BigNumber(digits) => write_line(out, '(', digits),
        Value::Verbatim(format, words) => text(out, '=', &[format, &b":"[..], words].concat()),
        Value::Array(elements) => {
            length(out, '*', elements.len());
            elements.iter().for_each(|element| write(element, manner, out));
        }
        Value::Set(elements) => {
            length(out, '~', elements.len());
            elements.iter().for_each(|element| write(element, manner, out));
        }
        Value::Push(elements) => {
            length(out, '>', elements.len());
            elements.iter().for_each(|element| write(element, manner, out));
        }
        Value::Map(pairs) => {
            length(out, '%', pairs.len());
            for (key, value) in pairs {
                write(key, manner, out);
                write(value, manner, out);
            }
        }
    }
}

fn written(value: &Value, manner: Manner) -> Vec<u8> {
    let mut out = Vec::new();
    write(value, manner, &mut out);
    out
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The same value in the words of the other reader.
fn in_resp3(value: &Value) -> Resp3 {
    let attributes = None;
    let all = |elements: &[Value]| elements.iter().map(in_resp3).collect();
    match value {
        Value::Null => Resp3::Null,
        Value::Simple(line) => Resp3::SimpleString { data: line.clone(), attributes },
        Value::Error(line) => Resp3::SimpleError { data: text(line), attributes },
        Value::Integer(number) => Resp3::Number { data: *number, attributes },
        Value::Bulk(bytes) => Resp3::BlobString { data: bytes.clone(), attributes },
        Value::Double(number) => Resp3::Double { data: *number, attributes },
        Value::Boolean(flag) => Resp3::Boolean { data: *flag, attributes },
        Value::BigNumber(digits) => Resp3::BigNumber { data: digits.clone(), attributes },
        Value::Verbatim(format, words) => {
            let markdown = format == b"mkd";
            let format =
                if markdown { VerbatimStringFormat::Markdown } else { VerbatimStringFormat::Text };
            Resp3::VerbatimString { data: words.clone(), format, attributes }
        }
        Value::Array(elements) => Resp3::Array { data: all(elements), attributes },
        Value::Set(elements) => {
            Resp3::Set { data: elements.iter().map(in_resp3).collect(), attributes }
        }
        Value::Push(elements) => Resp3::Push { data: all(elements), attributes },
        Value::Map(pairs) => {
            let data = pairs.iter().map(|(key, value)| (in_resp3(key), in_resp3(value))).collect();
            Resp3::Map { data, attributes }
        }
    }
}

fn in_resp2(value: &Value) -> Resp2 {
    match value {
        Value::Null => Resp2::Null,
        Value::Simple(line) => Resp2::SimpleString(line.clone()),
        Value::Error(line) => Resp2::Error(text(line)),
        Value::Integer(number) => Resp2::Integer(*number),
        Value::Bulk(bytes) => Resp2::BulkString(bytes.clone()),
        Value::Array(elements) => Resp2::Array(elements.iter().map(in_resp2).collect()),
        other => panic!("not of RESP2: {other:?}"),
    }
}

proptest! {
    #[test]
    fn random_values_cut_at_random_are_read_as_they_were_meant(
        values in vec(value(), 1..5),
        (blob_errors, attributes) in any::<(bool, bool)>(),
        cuts in vec(any::<Index>(), 0..20),
    ) {
        let manner = Manner { blob_errors, attributes, ..RESP3 };
        let bytes: Vec<u8> = values.iter().flat_map(|value| written(value, manner)).collect();
        prop_assert_eq!(read(cut(&bytes, &cuts)), (values, None));
    }

    #[test]
    fn every_prefix_of_a_value_is_none_and_then_the_same_value(value in value()) {
        let bytes = written(&value, RESP3);
        for at in 0..bytes.len() {
            prop_assert_eq!(read([&bytes[..at]]), (vec![], None));
            prop_assert_eq!(read([&bytes[..at], &bytes[at..]]), (vec![value.clone()], None));
        }
    }

    #[test]
    fn another_reader_of_resp3_reads_the_same(value in value()) {
        let bytes = written(&value, RESP3);
        let (theirs, length) = resp3::decode::complete::decode(&bytes).unwrap().unwrap();
        prop_assert_eq!(length, bytes.len());
        let (ours, error) = read([&bytes[..]]);
        prop_assert_eq!(error, None);
        prop_assert_eq!(in_resp3(&ours[0]), theirs);
    }

    #[test]
    fn another_reader_of_resp2_reads_the_same(value in resp2_value()) {
        let bytes = written(&value, Manner { resp2: true, ..RESP3 });
        let (theirs, length) = resp2::decode::decode(&bytes).unwrap().unwrap();
        prop_assert_eq!(length, bytes.len());
        let (ours, error) = read([&bytes[..]]);
        prop_assert_eq!(error, None);
        prop_assert_eq!(in_resp2(&ours[0]), theirs);
    }

    #[test]
    fn what_was_damaged_is_read_the_same_however_it_is_cut(
        values in vec(value(), 1..4),
        damage in vec((any::<Index>(), any::<u8>()), 1..4),
        cuts in vec(any::<Index>(), 0..20),
    ) {
        let mut bytes: Vec<u8> = values.iter().flat_map(|value| written(value, RESP3)).collect();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        same_however_cut(&bytes, &cuts)?;
    }

    #[test]
    fn noise_is_read_the_same_however_it_is_cut(
        bytes in "[-+:$*_#,(!=%~>|?0-9tfei.\r\n\r\n]{0,80}",
        cuts in vec(any::<Index>(), 0..20),
    ) {
        same_however_cut(bytes.as_bytes(), &cuts)?;
    }
}

fn same_however_cut(bytes: &[u8], cuts: &[Index]) -> Result<(), TestCaseError> {
    let whole = format!("{:?}", read([bytes]));
    prop_assert_eq!(&format!("{:?}", read(cut(bytes, cuts))), &whole);
    prop_assert_eq!(format!("{:?}", read(bytes.chunks(1))), whole);
    Ok(())
}

/// Both sides of each default limit: what passes, what does not.
#[test]
fn the_default_limits_hold_from_both_sides() {
    let bulk = |length: usize| format!("${length}\r\n{}\r\n", "x".repeat(length));
    let line = |length: usize| format!("+{}\r\n", "x".repeat(length));
    let array = |length: usize| format!("*{length}\r\n{}", ":1\r\n".repeat(length));
    let nested = |depth: usize| format!("{}:1\r\n", "*1\r\n".repeat(depth));
    // Four aggregates and their elements, and the one around them.
    let full = |more: usize| {
        let quarter = array(Limits::REPLY_ELEMENTS / 4 - 2);
        format!("*{}\r\n{}{}", 4 + more, quarter.repeat(4), ":1\r\n".repeat(more))
    };
    // Two strings of which each is within its own limit.
    let held = bulk(Limits::HELD_BYTES / 2 - 12).repeat(2);
    assert_eq!(held.len(), Limits::HELD_BYTES);
    for (limit, passes, refused) in [
        (Limit::Bulk, bulk(Limits::BULK_BYTES), bulk(Limits::BULK_BYTES + 1)),
        (Limit::Line, line(Limits::LINE_BYTES), line(Limits::LINE_BYTES + 1)),
        (
            Limit::Aggregate,
            array(Limits::AGGREGATE_ELEMENTS),
            array(Limits::AGGREGATE_ELEMENTS + 1),
        ),
        (Limit::Depth, nested(Limits::DEPTH), nested(Limits::DEPTH + 1)),
        (Limit::Reply, full(3), full(4)),
        (Limit::Held, held.clone(), format!("{held}+")),
    ] {
        for size in [passes.len(), 1 << 16] {
            let (values, error) = read(passes.as_bytes().chunks(size));
            assert_eq!((values.is_empty(), error), (false, None), "{limit:?}");
        }
        let (values, error) = read([refused.as_bytes()]);
        assert_eq!(error, Some(ProtocolError::Limit(limit)));
        assert!(values.is_empty(), "{limit:?}");
    }
}
