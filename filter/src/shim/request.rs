//! One request on its way through the filter.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, BufferType};

use super::driver::{Driver, Passed, REFRESH_FIELD, ask_upstream, tell_access_log};
use super::host::{self, EndOfCall, Headers, HostSharedData, ResponseHeaders, WholeHeader};
use super::wire;
use crate::exchange::{Conclusion, Fate};
use crate::http::RequestView;
use crate::worker::{Callback, ContextId, Part, Place, Verdict};

/// The filter chain by which invalidations are ordered.
const PURGE_CHAIN: &[u8] = b"meliproxy-purge";

/// The filter chain by which this VM's own requests come back to it.
const REFRESH_CHAIN: &[u8] = b"meliproxy-refresh";

/// The request.
pub(super) struct Request {
    context: ContextId,
    driver: Rc<Driver>,
    /// Set once the request was paused.
    place: Option<Place>,
    /// Whether the request was over with its header.
    ended: bool,
    /// What there is of it, unless it was paused.
    passed: Passed,
}

impl Request {
    /// Has `look` see what is kept of it since it passed.
    fn with_passed<T>(&mut self, look: impl FnOnce(&mut Passed) -> T) -> Option<T> {
        if self.place.is_some() {
            self.driver.passed.borrow_mut().get_mut(&self.context.0).map(look)
        } else {
            Some(look(&mut self.passed))
        }
    }
}

impl Request {
    pub(super) fn new(context: u32, driver: Rc<Driver>) -> Self {
        let (context, passed) = (ContextId(context), Passed::default());
        Self { context, driver, place: None, ended: false, passed }
    }
}

impl Context for Request {}

impl HttpContext for Request {
    fn on_http_request_headers(&mut self, _count: usize, end: bool) -> Action {
        self.ended = end;
        #[cfg(feature = "fault-injection")]
        crash_if_asked();
        let (path, verdict) = if self.driver.has_cache {
            let mut header = WholeHeader::read(end);
            if header.first(":method") == Some(b"PURGE") && host::filter_chain() == PURGE_CHAIN {
                return self.purge(&mut header);
            }
            let refresh = header.first(REFRESH_FIELD);
            let refresh = refresh.filter(|_| host::filter_chain() == REFRESH_CHAIN);
            match refresh.map(|number| std::str::from_utf8(number).ok()?.parse().ok()) {
                Some(ticket) => self.refresh(ticket.unwrap_or_default(), &mut header),
                None => self.ask(&mut header),
            }
        } else {
            self.ask(&mut Headers)
        };
        if let Some(path) = path {
            host::set_path(&path);
        }
        self.driver.drain(Callback::Request);
        let (Conclusion { fate, entry }, onward) = match verdict {
            Verdict::Conclude(conclusion, onward) => (conclusion, onward),
            Verdict::Pause(place) => {
                self.place = Some(place);
                return Action::Pause;
            }
        };
        tell_access_log(entry);
        match fate {
            Fate::Pass(fields) => {
                ask_upstream(&onward);
                self.passed = Passed { fields, onward };
                Action::Continue
            }
            Fate::Refuse(reply) => {
                host::reply(&reply);
                Action::Pause
            }
            Fate::Serve(reply) => {
                wire::serve(&reply);
                Action::Pause
            }
        }
    }

    fn on_http_response_headers(&mut self, _count: usize, end: bool) -> Action {
        let driver = Rc::clone(&self.driver);
        self.with_passed(|Passed { fields, onward }| {
            if onward.calls.wants_response() {
                let mut worker = driver.worker.borrow_mut();
                worker.on_response(host::now(), &mut onward.calls, &mut ResponseHeaders);
            }
            if !matches!(onward.part, Part::None) && driver.exchange(onward, fields, end) {
                return;
            }
            for (name, value) in fields.drain(..) {
                host::set_response_field(name, &value);
            }
        });
        Action::Continue
    }

    fn on_http_response_body(&mut self, length: usize, end: bool) -> Action {
        let driver = Rc::clone(&self.driver);
        self.with_passed(|Passed { onward, .. }| {
            if matches!(onward.part, Part::Filling(_)) {
                let bytes = host::buffer(BufferType::HttpResponseBody, 0, length);
                driver.fill(&mut onward.part, &bytes.unwrap_or_default(), end);
            }
        });
        Action::Continue
    }
}

impl Request {
    fn ask(&self, view: &mut dyn RequestView) -> (Option<Vec<u8>>, Verdict) {
        let mut worker = self.driver.worker.borrow_mut();
        let now = host::now();
        worker.begin_callback(now, Callback::Request);
        worker.on_request(now, self.context, view, &mut HostSharedData)
    }

    /// A request of this VM itself has come back: what it is for goes to the upstream.
    fn refresh(&self, ticket: u64, header: &mut WholeHeader) -> (Option<Vec<u8>>, Verdict) {
        host::remove_request_field(REFRESH_FIELD);
        let mut worker = self.driver.worker.borrow_mut();
        let now = host::now();
        worker.begin_callback(now, Callback::Request);
        let refreshed = worker.on_refresh(now, self.context, ticket, header, &mut HostSharedData);
        refreshed.unwrap_or_else(|| (None, Verdict::gone()))
    }

    fn purge(&mut self, header: &mut WholeHeader) -> Action {
        let ordered = {
            let mut worker = self.driver.worker.borrow_mut();
            let now = host::now();
            worker.begin_callback(now, Callback::Request);
            worker.on_purge(now, self.context, &header.lines(), &mut HostSharedData)
        };
        self.driver.drain(Callback::Request);
        match ordered {
            Ok(place) => self.place = Some(place),
            Err(reply) => wire::serve(&reply),
        }
        Action::Pause
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let Driver { worker, passed, .. } = &*self.driver;
        let passed = if let Some(place) = self.place {
            worker.borrow_mut().on_request_done(self.context, place);
            passed.borrow_mut().remove(&self.context.0).unwrap_or_default()
        } else {
            std::mem::take(&mut self.passed)
        };
        if !passed.onward.is_empty() {
            let (ended, end, shared) = (self.ended, &mut EndOfCall, &mut HostSharedData);
            worker.borrow_mut().on_onward_done(passed.onward, ended, end, shared);
            self.driver.drain(Callback::End);
        }
    }
}

/// Traps, as a defect would.
#[cfg(feature = "fault-injection")]
#[allow(clippy::panic, reason = "the fault that a test asks for")]
fn crash_if_asked() {
    use proxy_wasm::hostcalls;
    use proxy_wasm::types::MapType;
    let header = hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, "x-meliproxy-crash");
    assert!(!matches!(header, Ok(Some(_))), "crash asked for by the request");
}
