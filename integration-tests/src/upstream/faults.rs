//! Faults: which requests get something else than their normal answer, and what. The first fault
//! that fires wins.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::answer::Answer;
use super::connection::{Ending, Reply};
use super::request::Request;

/// How the stand-in misbehaves towards the requests under a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub(crate) prefix: String,
    pub(crate) methods: Vec<String>,
    pub(crate) action: Action,
    pub(crate) delay: Duration,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) remove: Vec<String>,
    pub(crate) times: Option<NonZeroU64>,
    pub(crate) ratio: Ratio,
}

/// What is done instead of answering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Answer with this status, 200 to 599, and this body; without one, with the API's error
    /// document.
    Status {
        /// The status code.
        status: u16,
        /// The body, sent as JSON unless a header says otherwise.
        body: Option<String>,
    },
    /// Answer normally, but only after the fault's delay.
    Delay,
    /// Answer normally, but with the fault's headers.
    Headers,
    /// TCP RST before any byte of an answer.
    Reset,
    /// FIN before any byte of an answer.
    Close,
    /// Announce the whole body, send half of it, then FIN.
    Cut,
    /// Never answer.
    Hang,
}

impl Action {
    /// The names of all actions.
    pub(crate) const NAMES: [&'static str; 7] =
        ["status", "delay", "headers", "reset", "close", "cut", "hang"];

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::Delay => "delay",
            Self::Headers => "headers",
            Self::Reset => "reset",
            Self::Close => "close",
            Self::Cut => "cut",
            Self::Hang => "hang",
        }
    }

    /// Whether an answer is begun, so that headers can be changed.
    pub(crate) fn answers(&self) -> bool {
        matches!(self, Self::Status { .. } | Self::Delay | Self::Headers | Self::Cut)
    }
}

/// A share from 0 to 1, exact to a millionth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio(u32);

const MILLION: u32 = 1_000_000;

impl Ratio {
    /// Every time.
    pub const ALWAYS: Self = Self(MILLION);

    /// From a number; `None` outside 0 to 1.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to a million")]
    pub fn new(share: f64) -> Option<Self> {
        (0.0..=1.0).contains(&share).then(|| Self((share * f64::from(MILLION)).round() as u32))
    }

    pub(crate) fn share(self) -> f64 {
        f64::from(self.0) / f64::from(MILLION)
    }

    /// Whether it includes event `number`, counted from 0: evenly spread, the same in every run.
    fn includes(self, number: u64) -> bool {
        let passed = |events: u128| events * u128::from(self.0) / u128::from(MILLION);
        passed(u128::from(number) + 1) > passed(u128::from(number))
    }
}

impl Fault {
    /// For all requests whose path begins with `prefix`, which begins with `/`.
    #[must_use]
    pub fn new(prefix: &str, action: Action) -> Self {
        Self {
            prefix: prefix.to_owned(),
            methods: Vec::new(),
            action,
            delay: Duration::ZERO,
            headers: Vec::new(),
            remove: Vec::new(),
            times: None,
            ratio: Ratio::ALWAYS,
        }
    }

    /// Answers with `status` and the API's error document.
    #[must_use]
    pub fn status(prefix: &str, status: u16) -> Self {
        Self::new(prefix, Action::Status { status, body: None })
    }

    /// Answers normally after `delay`, up to 60 s.
    #[must_use]
    pub fn delay(prefix: &str, delay: Duration) -> Self {
        Self::new(prefix, Action::Delay).after(delay)
    }

    /// Only for these methods.
    #[must_use]
    pub fn methods(mut self, methods: &[&str]) -> Self {
        self.methods = methods.iter().map(|method| (*method).to_owned()).collect();
        self
    }

    /// Waits `delay`, up to 60 s in whole milliseconds, before the action, whichever it is.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sets a header of the answer. The fields of that name which the answer has of itself are
    /// replaced, those which this fault has set before are kept.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Removes a header of the answer.
    #[must_use]
    pub fn remove(mut self, name: &str) -> Self {
        self.remove.push(name.to_owned());
        self
    }

    /// Only the next `count` requests.
    #[must_use]
    pub fn times(mut self, count: NonZeroU64) -> Self {
        self.times = Some(count);
        self
    }

    /// Only this share of the requests, evenly spread and the same in every run.
    #[must_use]
    pub fn ratio(mut self, ratio: Ratio) -> Self {
        self.ratio = ratio;
        self
    }

    fn matches(&self, request: &Request<'_>) -> bool {
        request.path().starts_with(&self.prefix)
            && (self.methods.is_empty() || self.methods.iter().any(|m| m == request.method))
    }

    /// What becomes of a request whose answer would be `normal`.
    pub(crate) fn apply(&self, normal: impl FnOnce() -> Answer) -> Reply {
        let ending = match &self.action {
            Action::Status { status, body: Some(body) } => {
                Ending::Answered(self.edit(Answer::json(*status, body.clone().into_bytes())))
            }
            Action::Status { status, body: None } => {
                Ending::Answered(self.edit(Answer::error(*status, "told to fail")))
            }
            Action::Delay | Action::Headers => Ending::Answered(self.edit(normal())),
            Action::Cut => Ending::Cut(self.edit(normal())),
            Action::Close => Ending::Closed,
            Action::Reset => Ending::Reset,
            Action::Hang => Ending::Hung,
        };
        Reply { delay: self.delay, ending }
    }

    fn edit(&self, mut answer: Answer) -> Answer {
        for name in self.remove.iter().chain(self.headers.iter().map(|(name, _)| name)) {
            answer.remove(name);
        }
        self.headers
            .iter()
            .fold(answer, |answer, (name, value)| answer.with(name.clone(), value.clone()))
    }
}

/// The faults in force, and how often each has fired.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Armed>);

#[derive(Debug)]
struct Armed {
    fault: Fault,
    matched: AtomicU64,
    fired: AtomicU64,
}

impl Faults {
    pub(crate) fn new(faults: Vec<Fault>) -> Self {
        let arm = |fault| Armed { fault, matched: AtomicU64::new(0), fired: AtomicU64::new(0) };
        Self(faults.into_iter().map(arm).collect())
    }

    /// The first fault that fires on this request.
    pub(crate) fn fire(&self, request: &Request<'_>) -> Option<&Fault> {
        self.0.iter().find(|armed| armed.fires(request)).map(|armed| &armed.fault)
    }

    /// Each fault, and how often it has fired.
    pub(crate) fn fired(&self) -> impl Iterator<Item = (&Fault, u64)> {
        self.0.iter().map(|armed| (&armed.fault, armed.fired.load(Ordering::Relaxed)))
    }
}

impl Armed {
    fn fires(&self, request: &Request<'_>) -> bool {
        if !self.fault.matches(request) {
            return false;
        }
        let number = self.matched.fetch_add(1, Ordering::Relaxed);
        if !self.fault.ratio.includes(number) {
            return false;
        }
        let most = self.fault.times.map_or(u64::MAX, NonZeroU64::get);
        let fire = |fired| (fired < most).then(|| fired + 1);
        self.fired.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fire).is_ok()
    }
}

#[cfg(test)]
mod tests;
