//! Where meliproxy meets Envoy: the one place that knows proxy-wasm.
//!
//! The same `.wasm` plays two parts, told by the plugin's `root_id`: `meliproxy` filters requests ([`filter`]),
//! `bridge` sits on the internal listener that leads to Redis ([`bridge`]). They must have different `vm_id`s: the
//! filter's stream is served by the bridge of the same thread, and a VM cannot be called while it is calling.

mod bridge;
mod calls;
mod driver;
mod filter;
mod host;
mod link;
mod request;
mod stream;
mod wire;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{ContextType, LogLevel};

use self::bridge::BridgeStream;
use self::filter::Filter;

proxy_wasm::main! {{
    std::panic::set_hook(Box::new(|panic| host::log(LogLevel::Critical, &panic.to_string())));
    proxy_wasm::set_root_context(|context| Box::new(Root { context, part: Part::Unknown }));
}}

/// The root context of one plugin configuration.
struct Root {
    context: u32,
    part: Part,
}

/// What this root has been configured to be.
enum Part {
    Unknown,
    Bridge,
    Filter(Filter),
}

impl Root {
    const fn filter(&mut self) -> Option<&mut Filter> {
        match &mut self.part {
            Part::Filter(filter) => Some(filter),
            Part::Unknown | Part::Bridge => None,
        }
    }
}

impl Context for Root {
    fn on_grpc_stream_message(&mut self, token: u32, length: usize) {
        if let Some(filter) = self.filter() {
            filter.on_stream_message(token, length);
        }
    }

    fn on_grpc_stream_close(&mut self, token: u32, status: u32) {
        if let Some(filter) = self.filter() {
            filter.on_stream_close(token, status);
        }
    }

    fn on_http_call_response(&mut self, token: u32, headers: usize, length: usize, _: usize) {
        if let Some(filter) = self.filter() {
            filter.on_call_answer(token, headers, length);
        }
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, length: usize) -> bool {
        let root_id = host::property(&["plugin_root_id"]).unwrap_or_default();
        let part = match root_id.as_slice() {
            b"bridge" => Ok(Part::Bridge),
            b"meliproxy" => Filter::configured(self.context, length).map(Part::Filter),
            other => {
                let found = String::from_utf8_lossy(other);
                Err(format!("root_id: found {found:?}, allowed: \"meliproxy\", \"bridge\""))
            }
        };
        match part {
            Ok(part) => {
                self.part = part;
                true
            }
            Err(problems) => {
                host::log(LogLevel::Error, &format!("configuration refused:\n{problems}"));
                false
            }
        }
    }

    fn on_tick(&mut self) {
        if let Some(filter) = self.filter() {
            filter.on_tick();
        }
    }

    fn on_queue_ready(&mut self, queue: u32) {
        if let Some(filter) = self.filter() {
            filter.on_queue_ready(queue);
        }
    }

    fn create_http_context(&self, context: u32) -> Option<Box<dyn HttpContext>> {
        match &self.part {
            Part::Filter(filter) => Some(Box::new(filter.request(context))),
            Part::Bridge => Some(Box::<BridgeStream>::default()),
            Part::Unknown => None,
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
