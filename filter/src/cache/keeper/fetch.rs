//! What the upstream is asked for a request, and what is made of its answer.

use std::rc::Rc;
use std::time::Duration;

use super::series::{Miss, Series, Stale};
use super::{Asking, FAILED_FOR, Have, Keeper, LAST_DATE_S, Reply, USELESS_FOR};
use crate::cache::fields::Fields;
use crate::cache::freshness::Times;
use crate::cache::policy::Policy;
use crate::cache::reuse::{self, Failure};
use crate::cache::status::Handling;
use crate::cache::storable::{Refusal, Storable, storable};
use crate::cache::store::{Place, Token};
use crate::cache::stored::Stored;
use crate::cache::validation::{Freshened, freshen};
use crate::time::Now;

/// Most bytes of bodies on their way into the store, of one worker; what is beyond is not stored.
pub const MOST_FILLING_BYTES: usize = 32 << 20;

/// A request that goes to the upstream, and what it is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Fetch {
    pub(super) asking: Asking,
    pub(super) place: Place,
    /// The lock that it holds: others wait for it.
    pub(super) token: Option<Token>,
    /// What is invalidated from here on is newer than its response; none if that is not known, so that it is not stored.
    pub(super) epoch: Option<u64>,
    /// What may be validated, or used if the upstream fails.
    pub(super) have: Option<Have>,
    /// What is asked about that.
    pub(super) conditions: Vec<(&'static str, Vec<u8>)>,
    /// Why it is asked.
    pub(super) miss: Miss,
    pub(super) requested_ms: u64,
    /// It stands for an unsafe request, whose answer later ones may get: which invalidation it has to wait for.
    pub(super) post: Option<u64>,
}

/// A response that is coming in to be stored.
#[derive(Debug, PartialEq, Eq)]
pub struct Filling {
    pub(super) fetch: Box<Fetch>,
    pub(super) status: u16,
    pub(super) storable: Storable,
    pub(super) times: Times,
    pub(super) body: Vec<u8>,
    /// How long the body has to be, if that was said.
    length: Option<u64>,
    most_bytes: u64,
}

/// What is made of the header of a response.
#[derive(Debug)]
pub enum Arrival {
    /// It goes on.
    Pass(Handling),
    /// It goes on, and its body is to be handed in too.
    Fill(Box<Filling>, Handling),
    /// A stored response takes its place.
    Reply(Box<Reply>),
}

/// The header of a response.
#[derive(Clone, Debug)]
pub struct Header {
    /// Its status.
    pub status: u16,
    /// Its fields.
    pub fields: Fields,
    /// Whether it is an answer of the upstream, and not one that was made on the way.
    pub is_upstreams: bool,
}

impl Fetch {
    /// The request with which the upstream is asked, but for what [`Self::conditions`] put in.
    #[must_use]
    pub const fn asking(&self) -> &Asking {
        &self.asking
    }

    /// The lines of a request that asks the same for nobody in particular: without what a client wants to know of a
    /// response that it has.
    #[must_use]
    pub fn request(&self) -> Fields {
        let [scheme, authority, path] = &*self.asking.target;
        let mut lines = Fields::default();
        lines.push(b":method", b"GET");
        lines.push(b":scheme", scheme);
        lines.push(b":authority", authority);
        lines.push(b":path", path);
        let is_sent = |name: &[u8]| {
            let aside = reuse::SET_ASIDE.iter().any(|of| of.as_bytes() == name);
            !aside && !matches!(name, b"cache-control" | b"pragma" | b"content-length")
        };
        let fields = self.asking.request.fields.iter().filter(|(name, _)| is_sent(name));
        fields.for_each(|(name, value)| lines.push(name, value));
        lines
    }

    /// What is asked about the stored response. If there is something, what the client wants to know of one that it has
    /// ([`reuse::SET_ASIDE`]) is not asked.
    #[must_use]
    pub fn conditions(&self) -> &[(&'static str, Vec<u8>)] {
        &self.conditions
    }

    /// Gives it what is there, to be validated.
    pub(super) fn validate(&mut self, have: Have, forward: reuse::Forward) {
        self.conditions = forward.conditions;
        self.have = Some(have);
    }

    /// Whether a response of this status is about what this client has or wants a part of, and so for nobody else.
    fn is_about_conditions(&self, status: u16) -> bool {
        let has = |name: &&str| self.asking.request.fields.has(name);
        let is_sent = self.conditions.is_empty() && reuse::SET_ASIDE.iter().any(has);
        is_sent && matches!(status, 412 | 416)
    }

    fn handling(&self, status: Option<u16>, stored: bool) -> Handling {
        let (cause, detail) = (self.miss.cause(), self.miss.detail());
        Handling::Forwarded { cause, status, stored, collapsed: false, detail }
    }

    /// A stale response in the place of one that the upstream does not give.
    fn instead(&self, now: Now, policy: &Policy, failure: Failure, why: Stale) -> Option<Reply> {
        let Have { stored, body } = self.have.as_ref()?;
        let (request, grace) = (&self.asking.request, policy.stale_if_error);
        let now_ms = now.unix.as_millis();
        let answer = reuse::after_failure(stored, request, now_ms, failure, grace)?;
        let status = match failure {
            Failure::Status(status) => Some(status),
            Failure::Unreachable => None,
        };
        let (cause, detail) = (self.miss.cause(), Some(why.name()));
        let handling =
            Handling::Forwarded { cause, status, stored: false, collapsed: false, detail };
        Some(Reply { answer, body: Rc::clone(body), handling, policy: self.asking.policy })
    }
}

impl Filling {
    /// Takes in a part of the body; false if it is too large, and nothing more is wanted.
    #[must_use]
    pub fn takes(&self, bytes: usize) -> bool {
        let length = self.body.len().saturating_add(bytes);
        u64::try_from(length).is_ok_and(|length| length <= self.most_bytes)
    }

    pub(super) const fn storable(&self) -> &Storable {
        &self.storable
    }

    fn is_whole(&self) -> bool {
        self.length.is_none_or(|length| length == self.body.len() as u64)
    }
}

impl Keeper {
    /// A request to be sent because of `asking`.
    pub(super) fn fetch(&self, now: Now, asking: &Asking, place: Place, miss: Miss) -> Fetch {
        Fetch {
            asking: asking.clone(),
            place,
            token: None,
            epoch: None,
            have: None,
            conditions: Vec::new(),
            miss,
            requested_ms: now.unix.as_millis(),
            post: None,
        }
    }

    /// The header of the response has come.
    pub fn on_header(&mut self, now: Now, fetch: Box<Fetch>, header: &Header) -> Arrival {
        let Some(policy) = self.policies.get(fetch.asking.policy).cloned() else {
            return Arrival::Pass(fetch.handling(None, false));
        };
        let failure = match header.status {
            status @ 500.. if header.is_upstreams => {
                Some((Failure::Status(status), Stale::IfError))
            }
            500.. => Some((Failure::Unreachable, Stale::Unreachable)),
            _ => None,
        };
        if let Some((failure, why)) = failure
            && let Some(reply) = fetch.instead(now, &policy, failure, why)
        {
            self.count(fetch.asking.policy, Series::Stale(why));
            self.end(now, *fetch, FAILED_FOR);
            return Arrival::Reply(Box::new(reply));
        }
        let times = Times { requested_ms: fetch.requested_ms, received_ms: now.unix.as_millis() };
        if header.status == 304 && header.is_upstreams && !fetch.conditions.is_empty() {
            return self.on_not_modified(now, *fetch, &policy, header, times);
        }
        if !header.is_upstreams {
            return self.pass(now, *fetch, header, None);
        }
        let fields = with_date(&header.fields, times);
        match storable(&policy, &fetch.asking.request, header.status, &fields, times) {
            Err(refusal) => self.pass(now, *fetch, header, Some(refusal)),
            Ok(_) if fetch.is_about_conditions(header.status) => {
                self.pass(now, *fetch, header, Some(Refusal::Status))
            }
            // The answer to HEAD has no body.
            Ok(_) if fetch.asking.request.is_head || fetch.epoch.is_none() => {
                self.pass(now, *fetch, header, None)
            }
            Ok(storable) => {
                let handling = fetch.handling(None, true);
                let length = fields.first("content-length");
                let length = length.and_then(crate::cache::directives::delta_seconds);
                let (status, most_bytes) = (header.status, policy.max_object_bytes);
                let body = Vec::new();
                let filling = Filling { fetch, status, storable, times, body, length, most_bytes };
                Arrival::Fill(Box::new(filling), handling)
            }
        }
    }

    fn pass(
        &mut self,
        now: Now,
        fetch: Fetch,
        header: &Header,
        refusal: Option<Refusal>,
    ) -> Arrival {
        let changed = fetch.have.is_some().then_some(header.status);
        let handling = fetch.handling(changed, false);
        if let Some(refusal) = refusal {
            self.count(fetch.asking.policy, Series::NotStored(refusal));
        }
        let is_failure = header.status >= 500;
        let useless_for = if is_failure { FAILED_FOR } else { USELESS_FOR };
        self.end(now, fetch, useless_for);
        Arrival::Pass(handling)
    }

    fn on_not_modified(
        &mut self,
        now: Now,
        mut fetch: Fetch,
        policy: &Policy,
        header: &Header,
        times: Times,
    ) -> Arrival {
        let Some(Have { stored, body }) = fetch.have.take() else {
            return self.pass(now, fetch, header, None);
        };
        let fields = with_date(&header.fields, times);
        let request = Rc::clone(&fetch.asking.request);
        let Freshened { stored, refusal } = freshen(policy, &request, &stored, &fields, times);
        let is_stored = refusal.is_none() && fetch.epoch.is_some();
        let handling = fetch.handling(Some(304), is_stored);
        let answer = reuse::answer(&stored, &request, times.received_ms);
        let reply = Reply { answer, body: Rc::clone(&body), handling, policy: fetch.asking.policy };
        match refusal {
            Some(refusal) => {
                self.count(fetch.asking.policy, Series::NotStored(refusal));
                self.end(now, fetch, USELESS_FOR);
            }
            None => self.put(now, fetch, stored, body, false),
        }
        Arrival::Reply(Box::new(reply))
    }

    /// A part of the body has come. What is not taken any more goes on without being stored.
    pub fn on_body(
        &mut self,
        now: Now,
        mut filling: Box<Filling>,
        bytes: &[u8],
    ) -> Option<Box<Filling>> {
        let has_room = self.filling_bytes.saturating_add(bytes.len()) <= MOST_FILLING_BYTES;
        if filling.takes(bytes.len()) && has_room {
            self.filling_bytes = self.filling_bytes.saturating_add(bytes.len());
            filling.body.extend_from_slice(bytes);
            return Some(filling);
        }
        self.refuse(now, *filling, Refusal::TooLarge);
        None
    }

    /// The response is whole.
    pub fn on_filled(&mut self, now: Now, filling: Box<Filling>) {
        if !filling.is_whole() {
            self.refuse(now, *filling, Refusal::Incomplete);
            return;
        }
        if let Some(number) = filling.fetch.post {
            self.on_post_filled(now, number, filling);
            return;
        }
        self.let_go(&filling);
        let Filling { fetch, status, storable, times, body, .. } = *filling;
        let vary = storable.vary.values(&fetch.asking.request.fields);
        let id = crate::cache::stored::BodyId(self.rng.next_u64());
        let key = fetch.asking.key.to_vec();
        let length = body.len() as u64;
        let stored = Stored::new(key, vary, status, storable, times, (id, length));
        self.put(now, *fetch, stored, body.into(), true);
    }

    /// The rest of the body will not come.
    pub fn on_cut(&mut self, now: Now, filling: Box<Filling>) {
        self.refuse(now, *filling, Refusal::Incomplete);
    }

    /// Its body does not count as one on its way any more.
    pub(super) fn let_go(&mut self, filling: &Filling) {
        self.filling_bytes = self.filling_bytes.saturating_sub(filling.body.len());
    }

    fn refuse(&mut self, now: Now, filling: Filling, refusal: Refusal) {
        self.let_go(&filling);
        self.count(filling.fetch.asking.policy, Series::NotStored(refusal));
        let is_cut = refusal == Refusal::Incomplete;
        let useless_for = if is_cut { Duration::ZERO } else { USELESS_FOR };
        self.end(now, *filling.fetch, useless_for);
    }

    /// The upstream was not asked, as its breaker is open: what answers in its place, if anything does.
    pub fn on_refused(&mut self, now: Now, fetch: Fetch) -> Option<Box<Reply>> {
        let policy = self.policies.get(fetch.asking.policy)?;
        let reply = fetch.instead(now, policy, Failure::Unreachable, Stale::BreakerOpen);
        if reply.is_some() {
            self.count(fetch.asking.policy, Series::Stale(Stale::BreakerOpen));
        }
        self.end(now, fetch, FAILED_FOR);
        reply.map(Box::new)
    }

    /// Whoever was to fetch it has gone before there was a response.
    pub fn on_abandoned(&mut self, now: Now, fetch: Fetch) {
        self.end(now, fetch, Duration::ZERO);
    }
}

/// Who receives a response without `Date` notes when it came (RFC 9110 §6.6.1).
fn with_date(fields: &Fields, times: Times) -> Fields {
    let mut fields = fields.clone();
    let since_epoch = Duration::from_secs((times.received_ms / 1000).min(LAST_DATE_S));
    if !fields.has("date")
        && let Some(at) = std::time::UNIX_EPOCH.checked_add(since_epoch)
    {
        fields.push(b"date", httpdate::fmt_http_date(at).as_bytes());
    }
    fields
}
