//! The upstream: what it has at each URL has a version, which only grows.

use std::collections::BTreeMap;

use meliproxy::cache::fields::Fields;
use meliproxy::cache::keeper::{Fetch, Header};
use meliproxy::rng::Rng;

/// What is said of the content of one URL.
pub struct Kind {
    control: &'static str,
    pub max_age_s: u64,
    /// For how long after that it may be used, while it is validated or if that fails.
    pub refreshing_s: u64,
    pub if_error_s: u64,
    has_tag: bool,
    pub varies: bool,
    pub is_grouped: bool,
}

const fn kind(control: &'static str, max_age_s: u64) -> Kind {
    let (refreshing_s, if_error_s, varies, is_grouped) = (0, 0, false, false);
    Kind { control, max_age_s, refreshing_s, if_error_s, has_tag: true, varies, is_grouped }
}

pub const KINDS: [Kind; 9] = [
    kind("max-age=20", 20),
    Kind { refreshing_s: 5, ..kind("max-age=1, stale-while-revalidate=5", 1) },
    kind("no-cache", 0),
    kind("no-store", 0),
    Kind { varies: true, ..kind("max-age=3", 3) },
    Kind { if_error_s: 10, ..kind("max-age=2, stale-if-error=10", 2) },
    Kind { has_tag: false, is_grouped: true, ..kind("max-age=20", 20) },
    Kind { is_grouped: true, ..kind("max-age=2, must-revalidate", 2) },
    kind("max-age=5", 5),
];
/// A URL whose content is not to be stored.
pub const UNCACHEABLE: usize = 3;
/// That to which POST is sent, whose answers stand for it.
pub const POSTED: usize = 8;
pub const LANGUAGES: u64 = 3;

/// What a body says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content {
    pub url: usize,
    pub version: u64,
    /// Of those that vary.
    pub language: u64,
}

impl Content {
    pub fn body(self) -> Vec<u8> {
        format!("{} {} {}", self.url, self.version, self.language).into_bytes()
    }

    pub fn parse(body: &[u8]) -> Self {
        let text = std::str::from_utf8(body).unwrap();
        let numbers: Vec<u64> = text.split(' ').map(|word| word.parse().unwrap()).collect();
        let url = usize::try_from(numbers[0]).unwrap();
        Self { url, version: numbers[1], language: numbers[2] }
    }

    pub fn tag(self) -> Option<Vec<u8>> {
        let tag = format!("\"{}-{}-{}\"", self.url, self.version, self.language);
        KINDS[self.url].has_tag.then(|| tag.into_bytes())
    }

    pub fn fields(self) -> Fields {
        let kind = &KINDS[self.url];
        let mut fields: Fields = [("cache-control", kind.control)].into_iter().collect();
        if let Some(tag) = self.tag() {
            fields.push(b"etag", &tag);
        }
        if kind.varies {
            // What it varies on is learnt anew from time to time.
            let names = if self.version.is_multiple_of(2) { "x-lang" } else { "x-lang, x-other" };
            fields.push(b"vary", names.as_bytes());
        }
        if kind.is_grouped {
            fields.push(b"surrogate-key", b"g");
        }
        fields
    }
}

/// What comes back.
pub struct Answer {
    pub header: Header,
    pub content: Option<Content>,
}

pub struct Upstream {
    pub versions: [u64; KINDS.len()],
    /// When it was heard last that something is what is there.
    pub heard_at: BTreeMap<Content, u64>,
    pub fails: bool,
    /// Some answers are not to be stored, and some bodies are cut.
    pub is_flaky: bool,
    /// Some answers take longer than anybody waits.
    pub is_slow: bool,
    pub breaker_is_open: bool,
    /// How long it takes at least.
    pub least_us: u64,
    pub requests: u64,
    pub requested_at: Vec<u64>,
    pub answered_at: Vec<u64>,
}

impl Upstream {
    pub const fn new() -> Self {
        Self {
            versions: [1; KINDS.len()],
            heard_at: BTreeMap::new(),
            fails: false,
            is_flaky: false,
            is_slow: false,
            breaker_is_open: false,
            least_us: 0,
            requests: 0,
            requested_at: Vec::new(),
            answered_at: Vec::new(),
        }
    }

    pub const fn content(&self, url: usize, language: u64) -> Content {
        let language = if KINDS[url].varies { language } else { 0 };
        Content { url, version: self.versions[url], language }
    }

    pub fn answer(
        &mut self,
        now: u64,
        rng: &mut Rng,
        fetch: &Fetch,
        url: usize,
        language: u64,
    ) -> Answer {
        self.requests += 1;
        self.requested_at.push(now);
        if self.fails && rng.up_to(9) > 0 {
            let is_upstreams = rng.up_to(1) == 0;
            let header = Header { status: 503, fields: Fields::default(), is_upstreams };
            return Answer { header, content: None };
        }
        let content = self.content(url, language);
        let mut fields = content.fields();
        if self.is_flaky && rng.up_to(9) == 0 {
            fields.set("cache-control", b"no-store");
        }
        let asked = fetch.conditions().iter().find(|(name, _)| *name == "if-none-match");
        let is_it = asked.is_some() && asked.map(|(_, tag)| tag) == content.tag().as_ref();
        let status = if is_it { 304 } else { 200 };
        let header = Header { status, fields, is_upstreams: true };
        Answer { header, content: Some(content) }
    }
}
