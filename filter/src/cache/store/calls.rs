//! What Redis is asked.

use std::time::Duration;

use super::names::{Names, ObjectId, Place, Url};
use crate::cache::groups::Group;
use crate::cache::stored::{BodyId, GroupId, Stored};
use crate::cache::vary;
use crate::redis::{Command, ScriptCall, ScriptId};

/// The scripts of this room, as a client has to load them.
pub const SOURCES: [&str; 5] = [
    concat!(include_str!("../lua/records.lua"), include_str!("../lua/lookup.lua")),
    concat!(include_str!("../lua/records.lua"), include_str!("../lua/put.lua")),
    concat!(include_str!("../lua/records.lua"), include_str!("../lua/release.lua")),
    concat!(include_str!("../lua/records.lua"), include_str!("../lua/invalidate.lua")),
    concat!(include_str!("../lua/records.lua"), include_str!("../lua/acquire.lua")),
];

/// Places in [`SOURCES`].
const LOOKUP: usize = 0;
const PUT: usize = 1;
const RELEASE: usize = 2;
const INVALIDATE: usize = 3;
const ACQUIRE: usize = 4;

/// Keys of all calls that are about one response.
const KEYS_OF_PLACE: usize = 8;

/// Who fetches a response for all that wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

impl Token {
    fn word(self) -> String {
        format!("{:016x}", self.0)
    }
}

/// What becomes of what was stored before an invalidation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is gone.
    Hard,
    /// It is stale: good for validation, and for what stale responses are allowed to do.
    Soft,
}

/// What is invalidated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All representations of one resource.
    Url(Url),
    /// A group.
    Group(Group),
    /// All of a host, as requests name it.
    Host(Vec<u8>),
    /// All whose paths begin with these segments: origin and path, a line each.
    Prefix(Vec<u8>),
    /// All.
    All,
}

/// For how long something is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept(pub Duration);

impl Kept {
    fn millis(self) -> u64 {
        // Zero would be an error of Redis.
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX).clamp(1, LONGEST_MS)
    }
}

/// A hundred years: what Redis still adds to its clock.
const LONGEST_MS: u64 = 100 * 365 * 86_400 * 1000;

/// Writes calls.
#[derive(Debug)]
pub struct Calls {
    names: Names,
    first: usize,
}

impl Calls {
    /// Of a namespace, for a client whose scripts from `first` on are [`SOURCES`].
    #[must_use]
    pub fn new(namespace: &str, first: ScriptId) -> Self {
        Self { names: Names::new(namespace), first: first.0 }
    }

    /// The channel on which ids are told ([`ObjectId::word`]): of what was waited for, and of what was replaced.
    #[must_use]
    pub fn channel(&self) -> String {
        self.names.channel()
    }

    /// The channel on which one worker alone is told.
    #[must_use]
    pub fn channel_of(&self, worker: u64) -> String {
        format!("{}:{worker}", self.names.channel())
    }

    /// Has every worker that hears it say [`Self::known`] to `worker`, once it has read what was sent to it before. The
    /// answer is how many hear it.
    #[must_use]
    pub fn sync(&self, worker: u64, number: u64) -> Command {
        let message = format!("sync {worker} {number}");
        Command::new(b"PUBLISH").arg(self.channel().as_bytes()).arg(message.as_bytes())
    }

    /// Says so.
    #[must_use]
    pub fn known(&self, worker: u64, number: u64) -> Command {
        let message = format!("known {number}");
        Command::new(b"PUBLISH").arg(self.channel_of(worker).as_bytes()).arg(message.as_bytes())
    }

    /// What the names of all records of invalidations begin with.
    #[must_use]
    pub fn invalidated(&self) -> Vec<u8> {
        self.names.invalidated()
    }

    /// Looks for what is at a place, which was made for these `names`. With a token it is this worker that fetches it if
    /// it is missing and nobody else does; for so long others wait.
    #[must_use]
    pub fn lookup(
        &self,
        place: &Place,
        names: &vary::Names,
        fetch: Option<(Token, Duration)>,
    ) -> ScriptCall {
        let mut call = self.about(LOOKUP, place);
        call.arg(&names.text());
        let (token, lease) = fetch.unzip();
        call.arg(token.map(Token::word).unwrap_or_default().as_bytes());
        call.arg_u64(Kept(lease.unwrap_or_default()).millis());
        call.arg(&self.names.invalidated_groups());
        call.arg(&place.url.text);
        call
    }

    /// Lets this worker validate what is at a place, unless another one does so: [`super::lock`] of its answer. For so long
    /// others wait. `received_ms` is when what was found there was received; none: whatever there is.
    #[must_use]
    pub fn acquire(
        &self,
        place: &Place,
        token: Token,
        lease: Duration,
        received_ms: Option<u64>,
    ) -> ScriptCall {
        let mut call = self.about(ACQUIRE, place);
        call.arg(token.word().as_bytes());
        call.arg_u64(Kept(lease).millis());
        match received_ms {
            Some(received_ms) => call.arg_u64(received_ms),
            None => call.arg(b""),
        }
        call
    }

    /// Asks for the body of a stored response: [`super::body`] of its answer.
    #[must_use]
    pub fn body(&self, object: ObjectId) -> Command {
        Command::new(b"HGET").arg(&self.names.object(object)).arg(b"b")
    }

    /// Stores a response, for so long, and ends the lock of a token. Without a `body` only the header is stored, if the
    /// body that is there is that of the header.
    #[must_use]
    pub fn put(
        &self,
        place: &Place,
        stored: &Stored,
        header: &[u8],
        body: Option<&[u8]>,
        kept: Kept,
        token: Option<Token>,
    ) -> ScriptCall {
        let mut call = self.about(PUT, place);
        call.arg(token.map(Token::word).unwrap_or_default().as_bytes());
        call.arg(self.channel().as_bytes());
        call.arg(place.object.word().as_bytes());
        call.arg(&self.names.invalidated_groups());
        call.arg(&place.url.text);
        call.arg(&stored.vary.names().text());
        call.arg_u64(kept.millis());
        call.arg(header);
        call.arg_u64(stored.epoch);
        call.arg(&stored.groups.iter().flat_map(|group| group.0).collect::<Vec<u8>>());
        call.arg(&id(stored.body));
        call.arg_u64(stored.received_ms);
        if let Some(body) = body {
            call.arg(&[&id(stored.body), body].concat());
        }
        call
    }

    /// Ends the lock of a token without a stored response; for `useless_for` nobody waits for one.
    #[must_use]
    pub fn release(&self, place: &Place, token: Token, useless_for: Duration) -> ScriptCall {
        let mut call = self.about(RELEASE, place);
        call.arg(token.word().as_bytes());
        call.arg(self.channel().as_bytes());
        call.arg(place.object.word().as_bytes());
        call.arg_u64(u64::try_from(useless_for.as_millis()).unwrap_or(u64::MAX).min(LONGEST_MS));
        call
    }

    /// Invalidates what was stored before: the answer is the epoch of it. `seen` is the newest one that was seen, and
    /// `kept` the longest that anything is.
    #[must_use]
    pub fn invalidate(&self, scopes: &[Scope], mode: Mode, seen: u64, kept: Kept) -> ScriptCall {
        let (mut records, mut prefixes) = (Vec::new(), Vec::new());
        for scope in scopes {
            match scope {
                Scope::Url(url) => records.push(self.names.invalidated_url(&url.text)),
                Scope::Group(group) => {
                    records.push(self.names.invalidated_group(GroupId::of(group)));
                }
                Scope::Host(host) => records.push(self.names.invalidated_host(host)),
                Scope::All => records.push(self.names.invalidated_all()),
                Scope::Prefix(prefix) => prefixes.push(prefix),
            }
        }
        let mut call = ScriptCall::new(self.script(INVALIDATE), records.len().saturating_add(4));
        call.key(&self.names.epoch());
        call.key(&self.names.records());
        call.key(&self.names.invalidated_all());
        call.key(&self.names.invalidated_prefixes());
        records.iter().for_each(|record| call.key(record));
        call.arg(match mode {
            Mode::Hard => b"hard",
            Mode::Soft => b"soft",
        });
        call.arg_u64(seen);
        call.arg_u64(kept.millis());
        prefixes.into_iter().for_each(|prefix| call.arg(prefix));
        call
    }

    fn about(&self, script: usize, place: &Place) -> ScriptCall {
        let mut call = ScriptCall::new(self.script(script), KEYS_OF_PLACE);
        call.key(&self.names.vary(place));
        call.key(&self.names.object(place.object));
        call.key(&self.names.lock(place.object));
        call.key(&self.names.invalidated_all());
        call.key(&self.names.invalidated_host(&place.url.host));
        call.key(&self.names.invalidated_url(&place.url.text));
        call.key(&self.names.invalidated_prefixes());
        call.key(&self.names.epoch());
        call
    }

    const fn script(&self, place: usize) -> ScriptId {
        ScriptId(self.first.saturating_add(place))
    }
}

pub(super) fn id(body: BodyId) -> [u8; 8] {
    body.0.to_be_bytes()
}
