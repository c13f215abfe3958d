//! What a push says: a message of RESP3 that answers no command.

use super::resp::Value;

/// A push, told apart by its first word and its form.
#[derive(Debug, PartialEq)]
pub(super) enum Push {
    /// `subscribe`: from now on what is published on this channel is told.
    Confirmation(Vec<u8>),
    /// `message`: what was published on a channel.
    Message { channel: Vec<u8>, payload: Vec<u8> },
    /// Anything else, such as `invalidate`, unchanged.
    Other(Vec<Value>),
}

impl Push {
    pub(super) fn of(elements: Vec<Value>) -> Self {
        match <[Value; 3]>::try_from(elements) {
            Ok([kind, Value::Bulk(channel), Value::Integer(_)])
                if kind.as_bytes() == Some(b"subscribe") =>
            {
                Self::Confirmation(channel)
            }
            Ok([kind, Value::Bulk(channel), Value::Bulk(payload)])
                if kind.as_bytes() == Some(b"message") =>
            {
                Self::Message { channel, payload }
            }
            Ok(elements) => Self::Other(elements.into()),
            Err(elements) => Self::Other(elements),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    #[test]
    fn messages_and_confirmations_are_told_apart() {
        let message = Push::Message { channel: b"c".to_vec(), payload: b"\r\n\0".to_vec() };
        assert_eq!(Push::of(vec![text("message"), text("c"), text("\r\n\0")]), message);
        let confirmation = Push::Confirmation(b"c".to_vec());
        assert_eq!(Push::of(vec![text("subscribe"), text("c"), Value::Integer(1)]), confirmation);
    }

    #[test]
    fn everything_else_passes_unchanged() {
        let keys = Value::Array(vec![text("key")]);
        for elements in [
            vec![],
            vec![Value::Integer(7)],
            vec![text("invalidate"), keys.clone()],
            vec![text("invalidate"), Value::Null],
            vec![text("unsubscribe"), text("c"), Value::Integer(0)],
            vec![text("pmessage"), text("c*"), text("c"), text("payload")],
            vec![text("message"), text("c")],
            vec![text("message"), text("c"), Value::Integer(1)],
            vec![text("message"), text("c"), text("payload"), text("more")],
            vec![text("message"), keys, text("payload")],
            vec![text("subscribe"), text("c")],
            vec![text("subscribe"), text("c"), text("1")],
            vec![text("subscribe"), Value::Null, Value::Integer(0)],
            vec![Value::Error(b"message".to_vec()), text("c"), text("payload")],
        ] {
            assert_eq!(Push::of(elements.clone()), Push::Other(elements));
        }
    }
}
