//! What has to hold.

use meliproxy::cache::keeper::{LEASE, MOST_FILLING_BYTES};
use meliproxy::cache::range::Part;
use meliproxy::cache::status::Handling;

use super::request::Wanted;
use super::*;
use crate::upstream::KINDS;

/// How a reply came about, as far as it matters for what it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Fresh { is_from_memory: bool },
    Refreshing,
    Wanted,
    Collapsed,
    Validated,
    Failed,
}

impl Way {
    fn of(handling: &Handling) -> Self {
        match *handling {
            Handling::Hit { detail: Some("swr"), .. } => Self::Refreshing,
            Handling::Hit { detail: Some("max-stale"), .. } => Self::Wanted,
            Handling::Hit { detail, .. } => Self::Fresh { is_from_memory: detail == Some("l1") },
            Handling::Forwarded { collapsed: true, .. } => Self::Collapsed,
            Handling::Forwarded { status: Some(304), .. } => Self::Validated,
            Handling::Forwarded { .. } => Self::Failed,
            Handling::Refused { .. } => panic!("nothing is served"),
        }
    }
}

impl Fleet {
    pub(super) fn check_reply(&mut self, wanted: &Wanted, reply: &Reply) {
        let directives = &wanted.asking.request.directives;
        if matches!(reply.handling, Handling::Refused { .. }) {
            assert!(directives.only_if_cached && reply.answer.status == 504);
            return;
        }
        let content = Content::parse(&reply.body);
        let way = Way::of(&reply.handling);
        self.counts.replies += 1;
        self.counts.collapsed += u64::from(way == Way::Collapsed);
        self.counts.from_memory += u64::from(way == Way::Fresh { is_from_memory: true });
        self.counts.stale += u64::from(matches!(way, Way::Refreshing | Way::Failed));
        // It is what was asked for, and header and body belong to each other.
        assert_eq!(content.url, wanted.url, "of another URL");
        let language = if KINDS[wanted.url].varies { wanted.language } else { 0 };
        assert_eq!(content.language, language, "of another language");
        assert!(content.version <= self.upstream.versions[content.url]);
        let tag = reply.answer.fields.first("etag").map(<[u8]>::to_vec);
        assert_eq!(tag, content.tag(), "the header of another body");
        let expected = if reply.answer.part == Part::Whole { 200 } else { 206 };
        assert_eq!(reply.answer.status, expected);
        if self.has_time {
            self.check_age(wanted, content, way);
        }
        if self.has_all {
            self.check_purged(wanted, content, way);
        }
    }

    fn check_age(&self, wanted: &Wanted, content: Content, way: Way) {
        let kind = &KINDS[content.url];
        let heard_at = self.upstream.heard_at[&content];
        let directives = &wanted.asking.request.directives;
        // By whole seconds, so that it may be almost one more.
        let wanted_stale_s = directives.max_stale.map_or(0, |most_s| most_s.saturating_add(1));
        let most_s = match way {
            Way::Fresh { .. } => kind.max_age_s.saturating_add(wanted_stale_s),
            Way::Refreshing => kind.max_age_s + kind.refreshing_s,
            Way::Wanted => {
                assert!(directives.max_stale.is_some(), "nobody wanted it stale");
                kind.max_age_s.saturating_add(wanted_stale_s)
            }
            Way::Failed => kind.max_age_s + kind.if_error_s,
            Way::Collapsed => {
                // By whole milliseconds.
                assert!(heard_at / 1000 >= wanted.began / 1000, "it was there before");
                return;
            }
            Way::Validated => {
                assert_eq!(heard_at, self.now);
                return;
            }
        };
        let age = self.now - heard_at;
        assert!(age / 1000 <= most_s.saturating_mul(1000), "{age} us old, {way:?}, {content:?}");
        assert!(!directives.no_cache || way == Way::Failed, "it wanted a validated one");
    }

    fn check_purged(&self, wanted: &Wanted, content: Content, way: Way) {
        let Content { url, version, .. } = content;
        let lease = u64::try_from(LEASE.as_micros()).unwrap();
        let is_cut_off = self.nodes[wanted.node].cut_at.is_some_and(|at| self.now < at + lease);
        if is_cut_off && way == (Way::Fresh { is_from_memory: true }) {
            return;
        }
        let hard = self.floors.hard(wanted.began, url);
        assert!(version >= hard, "{content:?} was purged, {hard} is there, {way:?}");
        if matches!(way, Way::Fresh { .. } | Way::Collapsed) && directives_allow(wanted) {
            let soft = self.floors.soft(wanted.began, url);
            assert!(version >= soft, "{content:?} is stale, {soft} is there, {way:?}");
        }
    }

    /// Whoever asks for anything gets nothing that was purged, wherever.
    pub fn check_purged_in_the_end(&mut self) {
        self.has_all = true;
        for _ in 0..2 {
            for node in 0..self.nodes.len() {
                for url in 0..KINDS.len() - 1 {
                    self.ask(node, "GET", url, Some(("cache-control", "max-stale")));
                    self.run_for(200_000);
                }
            }
        }
        self.rest();
    }

    pub(super) fn check_bounds(&self, node: usize) {
        let keeper = &self.nodes[node].keeper;
        assert!(keeper.memory_bytes() as u64 <= MEMORY_BYTES);
        assert!(keeper.filling_bytes() <= MOST_FILLING_BYTES);
        assert!(keeper.waiting_count() <= MOST_WAITING);
    }

    /// All is over: nobody is left waiting, and nothing is left behind.
    pub fn check_end(&self) {
        assert!(self.asking.is_empty(), "{} were never decided", self.asking.len());
        assert!(self.calls.is_empty());
        self.check_purges();
        for node in &self.nodes {
            assert_eq!(node.keeper.waiting_count(), 0);
            assert_eq!(node.keeper.fetching_count(), 0);
            assert_eq!(node.keeper.filling_bytes(), 0);
        }
    }
}

/// Whether what is stale is not what the client wants.
fn directives_allow(wanted: &Wanted) -> bool {
    wanted.asking.request.directives.max_stale.is_none()
}
