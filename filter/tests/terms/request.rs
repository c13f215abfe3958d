//! Requests as the host shows them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use meliproxy::http::RequestView;

/// A request, and how often each thing was asked of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) host: Option<String>,
    pub(crate) client: Option<IpAddr>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) asked: BTreeMap<String, usize>,
}

impl Request {
    pub(crate) fn to(path: &str) -> Self {
        Self { path: path.to_owned(), ..Self::default() }
    }

    pub(crate) fn with(mut self, header: &str, value: &str) -> Self {
        self.headers.insert(header.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn sent_by(mut self, client: &str) -> Self {
        self.client = Some(client.parse().unwrap());
        self
    }

    fn ask(&mut self, what: &str) {
        *self.asked.entry(what.to_owned()).or_default() += 1;
    }
}

impl RequestView for Request {
    fn path(&mut self) -> Option<Vec<u8>> {
        self.ask(":path");
        Some(self.path.clone().into_bytes())
    }

    fn method(&mut self) -> Option<Vec<u8>> {
        self.ask(":method");
        Some(b"GET".to_vec())
    }

    fn host(&mut self) -> Option<Vec<u8>> {
        self.ask(":authority");
        self.host.clone().map(String::into_bytes)
    }

    fn header(&mut self, name: &str) -> Option<Vec<u8>> {
        self.ask(name);
        self.headers.get(name).map(|value| value.clone().into_bytes())
    }

    fn source_address(&mut self) -> Option<Vec<u8>> {
        self.ask("source.address");
        self.client.map(|client| client.to_string().into_bytes())
    }

    fn lines(&mut self) -> meliproxy::http::header::Fields {
        meliproxy::http::header::Fields::default()
    }

    fn is_over(&self) -> bool {
        true
    }
}
