//! A model of a Redis server: small, exact in what the client relies on, and moody.

use std::collections::{HashMap, HashSet, VecDeque};

use meliproxy::redis::{Decoder, Value};

/// What is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Redis,
    /// Knows no `HELLO 3`, as Envoy's `redis_proxy`.
    Resp2Only,
    /// Knows neither `HELLO`, `CLIENT` nor `SCRIPT`.
    Minimal,
}

/// How it behaves at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Healthy,
    /// Reads nothing and says nothing.
    Stuck,
    /// Answers late.
    Slow,
    /// Streams cannot be opened.
    Unreachable,
    /// Streams are opened and end at once.
    HangsUp,
    WrongPassword,
    Loading,
    Replica,
}

pub(crate) const BAD_MOODS: [Mood; 7] = [
    Mood::Stuck,
    Mood::Slow,
    Mood::Unreachable,
    Mood::HangsUp,
    Mood::WrongPassword,
    Mood::Loading,
    Mood::Replica,
];

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) mood: Mood,
    pub(crate) password: Option<&'static str>,
    /// Whether its user may not subscribe.
    pub(crate) refuses_channels: bool,
    scripts: HashSet<Vec<u8>>,
    counts: HashMap<Vec<u8>, i64>,
}

/// One connection to it.
#[derive(Debug, Default)]
pub(crate) struct Session {
    commands: Commands,
    authenticated: bool,
    resp3: bool,
    pub(crate) subscribed: bool,
}

/// Commands out of a stream of bytes.
#[derive(Debug, Default)]
pub(crate) struct Commands(Decoder);

impl Commands {
    pub(crate) fn read(&mut self, bytes: &[u8]) -> VecDeque<Vec<Vec<u8>>> {
        self.0.feed(bytes);
        let next = || self.0.poll_value().expect("the client writes RESP");
        std::iter::from_fn(next).map(args).collect()
    }
}

fn args(command: Value) -> Vec<Vec<u8>> {
    let Value::Array(args) = command else { panic!("no command: {command:?}") };
    let bytes = |arg| match arg {
        Value::Bulk(bytes) => bytes,
        other => panic!("no argument: {other:?}"),
    };
    args.into_iter().map(bytes).collect()
}

/// Stands in for SHA-1: 40 characters that depend on the source.
fn digest(source: &[u8]) -> Vec<u8> {
    let hash = source.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:040x}").into_bytes()
}

fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// The channel that the client subscribes to.
pub(crate) const CHANNEL: &str = "news";

/// What was published on it, as subscribers are told.
pub(crate) fn message(payload: &str) -> Vec<u8> {
    let bulk = |text: &str| bulk(text.as_bytes());
    [b">3\r\n".to_vec(), bulk("message"), bulk(CHANNEL), bulk(payload)].concat()
}

impl Server {
    pub(crate) fn new(kind: Kind, password: Option<&'static str>) -> Self {
        let (scripts, counts) = Default::default();
        let refuses_channels = false;
        Self { kind, mood: Mood::Healthy, password, refuses_channels, scripts, counts }
    }

    pub(crate) fn flush_scripts(&mut self) {
        self.scripts.clear();
    }

    /// The answers to the commands that are complete with these bytes, each with its command.
    pub(crate) fn on_input(
        &mut self,
        session: &mut Session,
        bytes: &[u8],
    ) -> Vec<(Vec<Vec<u8>>, Vec<u8>)> {
        let commands = session.commands.read(bytes);
        let answer = |command: Vec<Vec<u8>>| {
            let answer = self
                .answer(session, &command)
                .unwrap_or_else(|error| [b"-", error.as_bytes(), b"\r\n"].concat());
            (command, answer)
        };
        commands.into_iter().map(answer).collect()
    }

    fn answer(&mut self, session: &mut Session, command: &[Vec<u8>]) -> Result<Vec<u8>, String> {
        let words: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
        match (&words[..], self.kind) {
            ([b"HELLO", ..], Kind::Resp2Only) => {
                return Err("NOPROTO unsupported protocol version".into());
            }
            ([b"HELLO" | b"CLIENT" | b"SCRIPT", ..], Kind::Minimal) => {
                return Err("ERR unknown command".into());
            }
            ([b"HELLO", b"3", rest @ ..], Kind::Redis) => return self.hello(session, rest),
            ([b"AUTH", .., password], _) => return self.auth(session, password),
            _ => {}
        }
        if self.password.is_some() && !session.authenticated {
            return Err("NOAUTH Authentication required.".into());
        }
        if self.mood == Mood::Loading {
            return Err("LOADING Redis is loading the dataset in memory".into());
        }
        match &words[..] {
            [b"SUBSCRIBE", channel] => {
                assert!(session.resp3, "of no other use any more");
                if self.refuses_channels {
                    return Err("NOPERM No permissions to access a channel".into());
                }
                session.subscribed = true;
                let length = channel.len();
                let start = format!(">3\r\n$9\r\nsubscribe\r\n${length}\r\n").into_bytes();
                Ok([&start, *channel, b"\r\n:1\r\n"].concat())
            }
            [b"CLIENT", b"SETNAME", _] => Ok(b"+OK\r\n".to_vec()),
            [b"SCRIPT", b"LOAD", source] => {
                self.scripts.insert(digest(source));
                Ok(bulk(&digest(source)))
            }
            [b"ECHO", text] => Ok(bulk(text)),
            [b"INCRBY", key, by] => {
                let by: i64 = std::str::from_utf8(by).unwrap().parse().unwrap();
                Ok(format!(":{}\r\n", self.count(key, by)?).into_bytes())
            }
            [b"EVAL", source, b"1", key, text] => {
                self.scripts.insert(digest(source));
                self.run(&digest(source), key, text)
            }
            [b"EVALSHA", digest, b"1", key, text] => self.run(digest, key, text),
            other => panic!("unexpected command {other:?}"),
        }
    }

    fn hello(&self, session: &mut Session, rest: &[&[u8]]) -> Result<Vec<u8>, String> {
        if let [b"AUTH", b"default", password, ..] = rest {
            self.auth(session, password)?;
        } else if self.password.is_some() && !session.authenticated {
            return Err("NOAUTH HELLO must be called with the client already authenticated".into());
        }
        session.resp3 = true;
        let role = if self.mood == Mood::Replica { "replica" } else { "master" };
        let proto = "$5\r\nproto\r\n:3\r\n";
        Ok(format!("%2\r\n{proto}$4\r\nrole\r\n${}\r\n{role}\r\n", role.len()).into_bytes())
    }

    fn auth(&self, session: &mut Session, password: &[u8]) -> Result<Vec<u8>, String> {
        let right = self.password.is_some_and(|right| right.as_bytes() == password);
        if !right || self.mood == Mood::WrongPassword {
            return Err("WRONGPASS invalid username-password pair or user is disabled.".into());
        }
        session.authenticated = true;
        Ok(b"+OK\r\n".to_vec())
    }

    fn count(&mut self, key: &[u8], by: i64) -> Result<i64, String> {
        if self.mood == Mood::Replica {
            return Err("READONLY You can't write against a read only replica.".into());
        }
        let count = self.counts.entry(key.to_vec()).or_default();
        *count += by;
        Ok(*count)
    }

    /// Each script counts its key and gives back its digest, the count and its argument.
    fn run(&mut self, digest: &[u8], key: &[u8], text: &[u8]) -> Result<Vec<u8>, String> {
        if !self.scripts.contains(digest) {
            return Err("NOSCRIPT No matching script.".into());
        }
        let count = self.count(key, 1)?;
        let count = format!(":{count}\r\n").into_bytes();
        Ok([b"*3\r\n".to_vec(), bulk(digest), count, bulk(text)].concat())
    }
}

/// What a script has to give back.
pub(crate) fn script_reply(source: &str, text: &[u8]) -> Value {
    let digest = Value::Bulk(digest(source.as_bytes()));
    Value::Array(vec![digest, Value::Integer(1), Value::Bulk(text.to_vec())])
}
