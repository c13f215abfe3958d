//! Every type, every way to be cut, every way to be wrong, and both sides of every limit. Random
//! values and an independent decoder beside ours: `tests/resp.rs`.

use super::*;

fn bulk(text: &str) -> Value {
    Value::Bulk(text.as_bytes().to_vec())
}

fn simple(text: &str) -> Value {
    Value::Simple(text.as_bytes().to_vec())
}

fn decode(limits: Limits, bytes: &[u8]) -> Result<Option<Value>, ProtocolError> {
    let mut decoder = Decoder::new(limits);
    decoder.feed(bytes);
    decoder.poll_value()
}

/// What is written so, and means that.
fn valid() -> Vec<(&'static str, Value)> {
    let big = "+3492890328409238509324850943850943825024385";
    vec![
        ("+OK\r\n", simple("OK")),
        ("+\r\n", simple("")),
        ("-ERR no\r\n", Value::Error(b"ERR no".to_vec())),
        ("!6\r\nERR no\r\n", Value::Error(b"ERR no".to_vec())),
        (":0\r\n", Value::Integer(0)),
        (":+7\r\n", Value::Integer(7)),
        (":-1\r\n", Value::Integer(-1)),
        (":9223372036854775807\r\n", Value::Integer(i64::MAX)),
        (":-9223372036854775808\r\n", Value::Integer(i64::MIN)),
        ("$5\r\na\r\nb\0\r\n", bulk("a\r\nb\0")),
        ("$0\r\n\r\n", bulk("")),
        ("$-1\r\n", Value::Null),
        ("*-1\r\n", Value::Null),
        ("_\r\n", Value::Null),
        ("*0\r\n", Value::Array(vec![])),
        ("*2\r\n:1\r\n$1\r\nx\r\n", Value::Array(vec![Value::Integer(1), bulk("x")])),
        ("*1\r\n*1\r\n*0\r\n", Value::Array(vec![Value::Array(vec![Value::Array(vec![])])])),
        ("%0\r\n", Value::Map(vec![])),
        ("%1\r\n+k\r\n:1\r\n", Value::Map(vec![(simple("k"), Value::Integer(1))])),
        ("~2\r\n:1\r\n:2\r\n", Value::Set(vec![Value::Integer(1), Value::Integer(2)])),
        (",1.5\r\n", Value::Double(1.5)),
        (",-10\r\n", Value::Double(-10.0)),
        (",1.5e-3\r\n", Value::Double(0.0015)),
        (",2E+10\r\n", Value::Double(2e10)),
        (",inf\r\n", Value::Double(f64::INFINITY)),
        (",-inf\r\n", Value::Double(f64::NEG_INFINITY)),
        ("#t\r\n", Value::Boolean(true)),
        ("#f\r\n", Value::Boolean(false)),
        (
            "(+3492890328409238509324850943850943825024385\r\n",
            Value::BigNumber(big.as_bytes().to_vec()),
        ),
        ("=7\r\ntxt:abc\r\n", Value::Verbatim(*b"txt", b"abc".to_vec())),
        ("=4\r\nmkd:\r\n", Value::Verbatim(*b"mkd", vec![])),
        (">2\r\n+a\r\n:1\r\n", Value::Push(vec![simple("a"), Value::Integer(1)])),
        (">0\r\n", Value::Push(vec![])),
        ("|1\r\n+ttl\r\n:9\r\n:5\r\n", Value::Integer(5)),
        ("|0\r\n:5\r\n", Value::Integer(5)),
        (
            "*2\r\n|1\r\n+ttl\r\n*1\r\n:9\r\n:1\r\n:2\r\n",
            Value::Array(vec![Value::Integer(1), Value::Integer(2)]),
        ),
    ]
}

#[test]
fn every_type_is_read() {
    for (bytes, value) in valid() {
        assert_eq!(decode(Limits::default(), bytes.as_bytes()), Ok(Some(value)), "{bytes:?}");
    }
    let nan = decode(Limits::default(), b",nan\r\n");
    assert!(matches!(nan, Ok(Some(Value::Double(number))) if number.is_nan()));
}

#[test]
fn a_value_cut_anywhere_is_none_and_then_the_value() {
    for (bytes, value) in valid() {
        for cut in 0..bytes.len() {
            let (head, tail) = bytes.as_bytes().split_at(cut);
            let mut decoder = Decoder::default();
            decoder.feed(head);
            assert_eq!(decoder.poll_value(), Ok(None), "{bytes:?} cut at {cut}");
            decoder.feed(tail);
            assert_eq!(decoder.poll_value(), Ok(Some(value.clone())), "{bytes:?} cut at {cut}");
            assert_eq!(decoder.poll_value(), Ok(None));
        }
    }
}

#[test]
fn values_behind_each_other_are_read_in_order_however_they_come() {
    let (texts, values): (Vec<_>, Vec<_>) = valid().into_iter().unzip();
    let stream = texts.concat().repeat(3);
    for piece in [1, 2, 3, 7, 64, stream.len()] {
        let mut decoder = Decoder::default();
        let mut read = Vec::new();
        for piece in stream.as_bytes().chunks(piece) {
            decoder.feed(piece);
            read.extend(std::iter::from_fn(|| decoder.poll_value().unwrap()));
        }
        assert_eq!(read, [&values[..], &values, &values].concat());
    }
}

#[test]
fn what_is_not_resp_is_refused_however_it_comes() {
    use ProtocolError::{Length, LineEnd, Malformed, NestedPush, Streamed, UnknownType};
    for (bytes, error) in [
        ("H", UnknownType(b'H')),
        ("\r", UnknownType(b'\r')),
        (";4\r\n", UnknownType(b';')),
        (".\r\n", UnknownType(b'.')),
        ("*1\r\nx", UnknownType(b'x')),
        ("+OK\n", LineEnd),
        ("+OK\rx", LineEnd),
        ("+a\nb\r\n", LineEnd),
        ("$1\r\nxy", LineEnd),
        ("$1\r\nx\rz", LineEnd),
        ("$1\r\nx\n", LineEnd),
        ("$\r\n", Length),
        ("$-2\r\n", Length),
        ("$-0\r\n", Length),
        ("$+1\r\n", Length),
        ("$ 1\r\n", Length),
        ("$1x\r\n", Length),
        ("$99999999999999999999\r\n", Length),
        ("*-2\r\n", Length),
        ("*1.0\r\n", Length),
        ("!-1\r\n", Length),
        ("=-1\r\n", Length),
        ("%-1\r\n", Length),
        ("~-1\r\n", Length),
        (">-1\r\n", Length),
        ("|-1\r\n", Length),
        ("$?\r\n", Streamed(b'$')),
        ("*?\r\n", Streamed(b'*')),
        ("%?\r\n", Streamed(b'%')),
        ("~?\r\n", Streamed(b'~')),
        (":\r\n", Malformed(b':')),
        (":-\r\n", Malformed(b':')),
        (":--1\r\n", Malformed(b':')),
        (": 1\r\n", Malformed(b':')),
        (":1a\r\n", Malformed(b':')),
        (":9223372036854775808\r\n", Malformed(b':')),
        (":-9223372036854775809\r\n", Malformed(b':')),
        (",\r\n", Malformed(b',')),
        (",.5\r\n", Malformed(b',')),
        (",5.\r\n", Malformed(b',')),
        (",1e\r\n", Malformed(b',')),
        (",1e5.0\r\n", Malformed(b',')),
        (",infinity\r\n", Malformed(b',')),
        (",0x10\r\n", Malformed(b',')),
        ("#x\r\n", Malformed(b'#')),
        ("#true\r\n", Malformed(b'#')),
        ("_x\r\n", Malformed(b'_')),
        ("(\r\n", Malformed(b'(')),
        ("(1.5\r\n", Malformed(b'(')),
        ("=3\r\ntxt\r\n", Malformed(b'=')),
        ("=5\r\ntxt-a\r\n", Malformed(b'=')),
        ("*1\r\n>0\r\n", NestedPush),
        ("|1\r\n+k\r\n>0\r\n", NestedPush),
    ] {
        assert_eq!(decode(Limits::default(), bytes.as_bytes()), Err(error), "{bytes:?}");
        let mut decoder = Decoder::default();
        let mut outcome = Ok(None);
        for byte in bytes.as_bytes() {
            decoder.feed(&[*byte]);
            outcome = decoder.poll_value();
        }
        assert_eq!(outcome, Err(error), "{bytes:?}, byte by byte");
    }
}

#[test]
fn an_error_is_for_ever() {
    let mut decoder = Decoder::default();
    decoder.feed(b":1\r\nH");
    assert_eq!(decoder.poll_value(), Ok(Some(Value::Integer(1))));
    for _ in 0..2 {
        assert_eq!(decoder.poll_value(), Err(ProtocolError::UnknownType(b'H')));
        decoder.feed(b":2\r\n");
    }
}

#[test]
fn each_limit_lets_pass_what_is_on_it_and_nothing_above() {
    let wide = Limits::default();
    let cases = [
        (Limits { bulk_bytes: 3, ..wide }, "$3\r\nabc\r\n", "$4\r\n", Limit::Bulk),
        (Limits { bulk_bytes: 4, ..wide }, "=4\r\ntxt:\r\n", "=5\r\n", Limit::Bulk),
        (Limits { bulk_bytes: 3, ..wide }, "!3\r\nERR\r\n", "!4\r\n", Limit::Bulk),
        (Limits { line_bytes: 3, ..wide }, "+abc\r\n", "+abcd", Limit::Line),
        (Limits { line_bytes: 3, ..wide }, ":123\r\n", ":1234\r\n", Limit::Line),
        (
            Limits { aggregate_elements: 2, ..wide },
            "*2\r\n:1\r\n:2\r\n",
            "*3\r\n",
            Limit::Aggregate,
        ),
        (
            Limits { aggregate_elements: 2, ..wide },
            "%1\r\n:1\r\n:2\r\n",
            "%2\r\n",
            Limit::Aggregate,
        ),
        (
            Limits { aggregate_elements: 2, ..wide },
            "~2\r\n:1\r\n:2\r\n",
            "~3\r\n",
            Limit::Aggregate,
        ),
        (Limits { aggregate_elements: 1, ..wide }, ">1\r\n:1\r\n", ">2\r\n", Limit::Aggregate),
        (
            Limits { aggregate_elements: 2, ..wide },
            "|1\r\n:1\r\n:2\r\n:3\r\n",
            "|2\r\n",
            Limit::Aggregate,
        ),
        (Limits { depth: 2, ..wide }, "*1\r\n*1\r\n:1\r\n", "*1\r\n*1\r\n*0\r\n", Limit::Depth),
        (Limits { depth: 1, ..wide }, "*1\r\n:1\r\n", "*1\r\n|1\r\n", Limit::Depth),
        (
            Limits { reply_elements: 4, ..wide },
            "*2\r\n*1\r\n:1\r\n:2\r\n",
            "*2\r\n*1\r\n:1\r\n*1\r\n:2\r\n",
            Limit::Reply,
        ),
        (Limits { reply_elements: 2, ..wide }, "|0\r\n:1\r\n", "|0\r\n|0\r\n:1\r\n", Limit::Reply),
        (Limits { held_bytes: 6, ..wide }, "+abc\r\n", "+abcd\r\n", Limit::Held),
    ];
    for (limits, passes, refused, limit) in cases {
        let passed = decode(limits, passes.as_bytes());
        assert!(matches!(passed, Ok(Some(_))), "{passes:?}: {passed:?}");
        let error = ProtocolError::Limit(limit);
        assert_eq!(decode(limits, refused.as_bytes()), Err(error), "{refused:?}");
    }
}

#[test]
fn limits_are_of_one_reply_and_start_again_with_the_next() {
    let limits = Limits { reply_elements: 2, held_bytes: 12, depth: 1, ..Limits::default() };
    let mut decoder = Decoder::new(limits);
    for _ in 0..1000 {
        decoder.feed(b"*1\r\n");
        assert_eq!(decoder.poll_value(), Ok(None));
        decoder.feed(b":1\r\n:2\r\n");
        assert_eq!(decoder.poll_value(), Ok(Some(Value::Array(vec![Value::Integer(1)]))));
        assert_eq!(decoder.poll_value(), Ok(Some(Value::Integer(2))));
    }
}

#[test]
fn a_reply_may_not_grow_beyond_what_is_held_however_it_comes() {
    let limits = Limits { held_bytes: 100, ..Limits::default() };
    let mut decoder = Decoder::new(limits);
    decoder.feed(b"*9\r\n");
    for _ in 0..9 {
        assert_eq!(decoder.poll_value(), Ok(None));
        decoder.feed(b"$5\r\nabcde\r\n");
    }
    assert_eq!(decoder.poll_value(), Err(ProtocolError::Limit(Limit::Held)));
}

#[test]
fn nothing_is_made_room_for_that_was_only_announced() {
    let mut decoder = Decoder::default();
    let opening = format!("*{}\r\n", Limits::AGGREGATE_ELEMENTS).repeat(Limits::DEPTH);
    decoder.feed(opening.as_bytes());
    assert_eq!(decoder.poll_value(), Ok(None));
    let room: usize = decoder.open.iter().map(|open| open.elements.capacity()).sum();
    assert!(room <= Limits::DEPTH * FIRST_ELEMENTS, "{room}");

    let mut decoder = Decoder::default();
    decoder.feed(format!("${}\r\nabc", Limits::BULK_BYTES).as_bytes());
    assert_eq!(decoder.poll_value(), Ok(None));
    assert!(decoder.arriving.unwrap().bytes.capacity() < 100);
}

#[test]
fn room_for_a_large_reply_is_given_back() {
    let mut decoder = Decoder::default();
    let text = "x".repeat(KEPT_BYTES);
    decoder.feed(format!("${}\r\n{text}\r\n", text.len()).as_bytes());
    assert_eq!(decoder.poll_value(), Ok(Some(bulk(&text))));
    decoder.feed(b":1\r\n");
    assert_eq!(decoder.poll_value(), Ok(Some(Value::Integer(1))));
    assert!(decoder.buffer.capacity() < 100);
}

/// Bytes looked at or moved, measured as time, would make this test a lottery; instead it is large
/// enough that a cost which grows with the square (10^12 steps) could not end.
#[test]
fn a_large_reply_byte_by_byte_costs_linear_time() {
    let length = 1 << 20;
    let mut decoder = Decoder::new(Limits { line_bytes: length, ..Limits::default() });
    decoder.feed(format!("*2\r\n${length}\r\n").as_bytes());
    for _ in 0..length {
        decoder.feed(b"x");
        assert_eq!(decoder.poll_value(), Ok(None));
    }
    decoder.feed(b"\r\n+");
    for _ in 0..length {
        decoder.feed(b"x");
        assert_eq!(decoder.poll_value(), Ok(None));
    }
    decoder.feed(b"\r\n");
    assert!(matches!(decoder.poll_value(), Ok(Some(Value::Array(_)))));
}
